package fleet

import (
	"context"
	"time"

	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/record"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
)

// Decider is what callers ask; every budget.Engine is one.
type Decider interface {
	TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error)
	Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error)
	Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error)
}

// Config says what a fleet is.
type Config struct {
	load.Spec
	Local       bool          // the nodes are of the local engine
	Concurrency int           // callers a node
	Warmup      time.Duration // before the first round, not measured
	Tick        time.Duration // between two samples

	// Of the coordinators:
	Partitions int // 0 is their default
	HoldTTL    time.Duration
	MaxHolds   int // of a tenant
}

// Fleet is all callers of all nodes, and what they were told over all rounds.
type Fleet struct {
	nodes       []Decider
	crew        *Crew // instead of nodes, where each is a process of its own
	concurrency int
	firstCaller int // of this process, where each node has one of its own
	tenants     []budget.TenantID
	timeEvery   uint64        // of so many cycles, the latency of one is measured
	finest      time.Duration // that a latency can be
	arrivals    load.Arrivals
	holdTime    time.Duration
	warmup      time.Duration // that is still to be played
	tick        time.Duration // between two samples
	newAlarm    func() (alarm, error)

	Ledger  *record.Ledger // several fleets may have one
	Reserve *record.Latencies
	Commit  *record.Latencies
	Counts  record.Counts
	Unsent  int64 // requests of an open loop that the end came before
	remains *record.Remains

	timeline *record.Timeline    // nil where none is kept
	watched  func(record.Sample) // nil where nobody watches
}

// timeEveryLocal: reading the clock takes about as long as a local decision.
const timeEveryLocal = 64

// New has callers on nodes of this process.
func New(nodes []Decider, c Config, tenants []budget.TenantID) *Fleet {
	callers := len(nodes) * c.Concurrency
	f := &Fleet{
		nodes: nodes, concurrency: c.Concurrency, tenants: tenants, timeEvery: 1, finest: time.Microsecond,
		arrivals: c.Arrivals(), holdTime: c.HoldTime, warmup: c.Warmup, tick: c.Tick, newAlarm: newAlarm,
		Ledger: record.NewLedger(len(tenants), callers), remains: record.NewRemains(len(tenants)),
	}
	if c.Local {
		f.timeEvery, f.finest = timeEveryLocal, time.Nanosecond
	}
	f.Reserve, f.Commit = record.NewLatencies(callers, f.finest), record.NewLatencies(callers, f.finest)
	return f
}

// NewOfProcesses has all callers on the nodes of a crew.
func NewOfProcesses(crew *Crew, c Config, tenants []budget.TenantID) *Fleet {
	f := New(nil, c, tenants)
	f.crew = crew
	return f
}

// Pids are the ids of its nodes' processes, if they have any.
func (f *Fleet) Pids() []int {
	if f.crew == nil {
		return nil
	}
	pids := make([]int, len(f.crew.members))
	for i, m := range f.crew.members {
		pids[i] = m.process.Process.Pid
	}
	return pids
}

// KeepStory has it keep what Story returns.
func (f *Fleet) KeepStory() { f.timeline = record.NewTimeline(f.tick) }

// Watch hands each sample on, one at a time.
func (f *Fleet) Watch(tell func(record.Sample)) { f.watched = tell }

// Open says whether it plays an open loop.
func (f *Fleet) Open() bool { return f.arrivals.Open() }

// WarmUp plays what is not measured, no longer than a round (0 is no limit), and only the
// first time that it is called.
func (f *Fleet) WarmUp(ctx context.Context, work load.Part, limit time.Duration) error {
	warmup := f.warmup
	if f.warmup = 0; limit > 0 {
		warmup = min(warmup, limit)
	}
	if warmup == 0 {
		return nil
	}
	_, err := f.stretch(ctx, work, warmup, true)
	return err
}

// Play runs one round: until the part is played, the limit (0 is none) has passed,
// ctx has ended, or an engine gave no answer, which is the error.
func (f *Fleet) Play(ctx context.Context, work load.Part, limit time.Duration) (Pace, error) {
	round, err := f.stretch(ctx, work, limit, false)
	if f.timeline != nil {
		f.timeline.EndRound(round.Took)
	}
	return round, err
}

func (f *Fleet) stretch(ctx context.Context, work load.Part, limit time.Duration, warming bool) (Pace, error) {
	if f.crew != nil {
		return f.crew.stint(ctx, f, work, limit, warming)
	}
	return f.stint(ctx, work, limit, warming)
}

// Pace is what one round came to.
type Pace struct {
	Cycles, Decisions int64
	Took              time.Duration
}

// Rate is a count of the round, a second.
func (p Pace) Rate(count int64) float64 {
	if p.Took <= 0 {
		return 0
	}
	return float64(count) / p.Took.Seconds()
}

// Decisions are the latencies of reserves and commits together. The callers must have
// stopped.
func (f *Fleet) Decisions() *record.Histogram {
	both := record.NewHistogram(f.finest)
	both.Merge(f.Reserve.All())
	both.Merge(f.Commit.All())
	return both
}

// Story is, where it is kept, how the rounds went, moment by moment, and how the budgets went of some
// tenants that ran out.
func (f *Fleet) Story(budgets []budget.Microcents) ([]report.Moment, []report.Drain) {
	return f.timeline.Report(), f.timeline.Drains(f.remains, f.Ledger, f.tenants, budgets)
}
