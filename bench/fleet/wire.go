package fleet

import (
	"errors"
	"time"

	"github.com/calybris/bursar/bench/record"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// What a run and a node that is a process of its own say to each other: lines of JSON on
// the node's standard input and output, first an assignment. Secrets travel here, never in
// arguments, which everybody on the machine can read.

// Assignment is what a node must know.
type Assignment struct {
	Config   Config
	Redis    string          // as scratch.Open takes it; all nodes have it
	Secrets  connect.Secrets // the same
	Prefix   string
	Tenants  []budget.TenantID
	PoolSize int // 0 is go-redis' own
	Nodes    int
	Node     int // from 0; a crew sets it
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
func (f *Fleet) played(round Pace) *played {
	p := &played{
		Cycles: round.Cycles, Decisions: round.Decisions, Took: round.Took,
		Unsent: f.Unsent, Counts: f.Counts, Told: make(map[int]record.Told), Reserve: f.Reserve.All(), Commit: f.Commit.All(),
	}
	for tenant := range f.tenants {
		if t := f.Ledger.Told(tenant); t != (record.Told{}) {
			p.Told[tenant] = t
		}
	}
	return p
}

// include adds what another process was told. One at a time.
func (f *Fleet) include(p *played) {
	f.Unsent += p.Unsent
	f.Counts.Add(&p.Counts)
	for tenant, t := range p.Told {
		f.Ledger.Add(tenant, t)
	}
	f.Reserve.Add(p.Reserve)
	f.Commit.Add(p.Commit)
}
