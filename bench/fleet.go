package bench

import (
	"context"
	"time"

	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/record"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
)

// decider is what callers ask; every budget.Engine is one.
type decider interface {
	TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.Option) (budget.Reservation, error)
	Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents, opts ...budget.Option) (budget.Settlement, error)
	Release(ctx context.Context, id budget.ReservationID, opts ...budget.Option) (budget.Settlement, error)
}

// fleet is all callers of all nodes, and what they were told over all rounds.
type fleet struct {
	nodes       []decider
	crew        *crew // instead of nodes, where each is a process of its own
	concurrency int
	firstCaller int // of this process, where each node has one of its own
	tenants     []budget.TenantID
	timeEvery   uint64        // of so many cycles, the latency of one is measured
	finest      time.Duration // that a latency can be
	arrivals    load.Arrivals
	holdTime    time.Duration
	warmup      time.Duration // that is still to be played
	tick        time.Duration // between two samples

	ledger  *record.Ledger
	reserve *record.Latencies
	commit  *record.Latencies
	counts  record.Counts
	unsent  int64
	remains *record.Remains

	timeline *record.Timeline    // nil where none is kept
	watched  func(record.Sample) // nil where nobody watches
}

// timeEveryLocal: reading the clock takes about as long as a local decision.
const timeEveryLocal = 64

func newFleet(nodes []decider, c Config, tenants []budget.TenantID) *fleet {
	callers := len(nodes) * c.Concurrency
	f := &fleet{
		nodes: nodes, concurrency: c.Concurrency, tenants: tenants, timeEvery: 1, finest: time.Microsecond,
		arrivals: c.Arrivals(), holdTime: c.HoldTime, warmup: c.warmup(), tick: record.SampleEvery(c.Duration),
		ledger: record.NewLedger(len(tenants), callers), remains: record.NewRemains(len(tenants)),
	}
	if c.Engine == report.EngineLocal {
		f.timeEvery, f.finest = timeEveryLocal, time.Nanosecond
	}
	f.reserve, f.commit = record.NewLatencies(callers, f.finest), record.NewLatencies(callers, f.finest)
	return f
}

// pace is what one round came to.
type pace struct {
	cycles, decisions int64
	took              time.Duration
}

// warmUp plays what is not measured, once and no longer than a round.
func (f *fleet) warmUp(ctx context.Context, work load.Part, limit time.Duration) error {
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

// play runs one round: until the part is played, the limit (0 is none) has passed,
// ctx has ended, or an engine gave no answer, which is the error.
func (f *fleet) play(ctx context.Context, work load.Part, limit time.Duration) (pace, error) {
	round, err := f.stretch(ctx, work, limit, false)
	if f.timeline != nil {
		f.timeline.EndRound(round.took)
	}
	return round, err
}

func (f *fleet) stretch(ctx context.Context, work load.Part, limit time.Duration, warming bool) (pace, error) {
	if f.crew != nil {
		return f.crew.stint(ctx, f, work, limit, warming)
	}
	return f.stint(ctx, work, limit, warming)
}

func (p pace) rate(count int64) float64 {
	if p.took <= 0 {
		return 0
	}
	return float64(count) / p.took.Seconds()
}

// decisions are the latencies of reserves and commits together. The callers must have
// stopped.
func (f *fleet) decisions() *record.Histogram {
	both := record.NewHistogram(f.finest)
	both.Merge(f.reserve.All())
	both.Merge(f.commit.All())
	return both
}

// drains are how the budgets went of some tenants that ran out.
func (f *fleet) drains(budgets []budget.Microcents) []report.Drain {
	return f.timeline.Drains(f.remains, f.ledger, f.tenants, budgets)
}
