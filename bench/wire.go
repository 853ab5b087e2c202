package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

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
	Ready   *ready       `json:",omitempty"`
	Sample  *sampleWords `json:",omitempty"`
	Played  *played      `json:",omitempty"`
	Closed  bool         `json:",omitempty"`
	Failure *failure     `json:",omitempty"`
}

type ready struct {
	PoolSize int
}

// played is what a stint came to.
type played struct {
	Cycles, Decisions, Unsent, Trips int64
	Took                             time.Duration
	Counts                           counts
	Lines                            []lineWords
	Reserve, Commit                  string // histograms in HdrHistogram's V2 format
	Interrupted                      bool   // from outside
}

// lineWords is what was told of a tenant.
type lineWords struct {
	Tenant                 int
	Committed, Open, Doubt budget.Microcents
	Refused                int64
}

type sampleWords struct {
	From, To           time.Duration
	Warming            bool
	Decisions, Refused int64
	Latency            string
	Remaining          []int64
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

func encodeHistogram(h *hdrhistogram.Histogram) (string, error) {
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	return string(text), err
}

func mergeHistogram(into *hdrhistogram.Histogram, text string) error {
	h, err := hdrhistogram.Decode([]byte(text))
	if err != nil {
		return fmt.Errorf("a histogram of a node: %w", err)
	}
	into.Merge(h)
	return nil
}

func (s sample) words() (*sampleWords, error) {
	latency, err := encodeHistogram(s.latency)
	return &sampleWords{s.from, s.to, s.warming, s.decisions, s.refused, latency, s.remaining}, err
}

func (w *sampleWords) sample(finest time.Duration) (sample, error) {
	s := sample{
		from: w.From, to: w.To, warming: w.Warming, decisions: w.Decisions, refused: w.Refused,
		latency: newHistogram(finest), remaining: w.Remaining,
	}
	return s, mergeHistogram(s.latency, w.Latency)
}

// played is what a fleet has come to in its only stint.
func (f *fleet) played(round pace) (*played, error) {
	reserve, err := encodeHistogram(f.reserve.all())
	if err != nil {
		return nil, err
	}
	commit, err := encodeHistogram(f.commit.all())
	if err != nil {
		return nil, err
	}
	p := &played{
		Cycles: round.cycles, Decisions: round.decisions, Took: round.took,
		Unsent: f.unsent, Counts: f.counts, Reserve: reserve, Commit: commit,
	}
	for tenant := range f.tenants {
		if t := f.ledger.told(tenant); t != (told{}) {
			p.Lines = append(p.Lines, lineWords{tenant, t.committed, t.open, t.doubt, t.refused})
		}
	}
	return p, nil
}

// include adds what another process was told. One at a time.
func (f *fleet) include(p *played) error {
	f.unsent += p.Unsent
	f.counts.add(&p.Counts)
	lines := f.ledger.of(0)
	for _, l := range p.Lines {
		entry := &lines[l.Tenant]
		entry.committed.Add(int64(l.Committed))
		entry.open.Add(int64(l.Open))
		entry.doubt.Add(int64(l.Doubt))
		entry.refused.Add(l.Refused)
	}
	return errors.Join(mergeHistogram(f.reserve.taken, p.Reserve), mergeHistogram(f.commit.taken, p.Commit))
}
