package bench

import (
	"errors"
	"time"

	"github.com/calybris/bursar/bench/record"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// What a run and a node that is a process of its own say to each other: lines of JSON on
// the node's standard input and output, first an assignment. Secrets travel here, or in
// the environment, never in arguments, which everybody on the machine can read.

// assignment is what a node must know.
type assignment struct {
	Config   Config // with the Redis that all nodes have
	Prefix   string
	Tenants  []budget.TenantID
	PoolSize int // 0 is go-redis' own
	Node     int // of so many
	Nodes    int
}

// order is to play, or to stop playing. The end of the input is to close the node and
// to go.
type order struct {
	Number  int  // a stop has the number of what it stops
	Stop    bool `json:",omitempty"`
	Part    int
	Parts   int
	Limit   time.Duration
	Warming bool
}

// word is what a node says: that it is ready, what it sees while it plays, what it
// played, and that it has closed; or the failure of any of these.
type word struct {
	Ready   *ready         `json:",omitempty"`
	Sample  *record.Sample `json:",omitempty"`
	Played  *played        `json:",omitempty"`
	Closed  bool           `json:",omitempty"`
	Failure *failure       `json:",omitempty"`
}

type ready struct {
	PoolSize int
}

// played is what a stint came to.
type played struct {
	Cycles, Decisions, Unsent, Trips int64
	Took                             time.Duration
	Counts                           record.Counts
	Told                             map[int]record.Told // by the number of the tenant
	Reserve, Commit                  *record.Histogram
	Interrupted                      bool // from outside
}

// failure is an error with its exit code.
type failure struct {
	Text string
	Code int
}

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	return &failure{err.Error(), exit.Code(err)}
}

func (f *failure) err() error {
	if f == nil {
		return nil
	}
	return exit.With(f.Code, errors.New(f.Text))
}

// played is what a fleet has come to in its only stint.
func (f *fleet) played(round pace) *played {
	p := &played{
		Cycles: round.cycles, Decisions: round.decisions, Took: round.took,
		Unsent: f.unsent, Counts: f.counts, Told: make(map[int]record.Told), Reserve: f.reserve.All(), Commit: f.commit.All(),
	}
	for tenant := range f.tenants {
		if t := f.ledger.Told(tenant); t != (record.Told{}) {
			p.Told[tenant] = t
		}
	}
	return p
}

// include adds what another process was told. One at a time.
func (f *fleet) include(p *played) {
	f.unsent += p.Unsent
	f.counts.Add(&p.Counts)
	for tenant, t := range p.Told {
		f.ledger.Add(tenant, t)
	}
	f.reserve.Add(p.Reserve)
	f.commit.Add(p.Commit)
}
