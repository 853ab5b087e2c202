package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

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
	concurrency int
	tenants     []budget.TenantID
	timeEvery   uint64 // of so many cycles, the latency of one is measured

	ledger  *ledger
	reserve *latencies
	commit  *latencies
	counts  counts
}

// timeEveryLocal: reading the clock takes about as long as a local decision.
const timeEveryLocal = 64

func newFleet(nodes []decider, c Config, tenants []budget.TenantID) *fleet {
	callers := len(nodes) * c.Concurrency
	f := &fleet{
		nodes: nodes, concurrency: c.Concurrency, tenants: tenants, timeEvery: 1,
		ledger: newLedger(len(tenants), callers),
	}
	finest := time.Microsecond
	if c.Engine == report.EngineLocal {
		f.timeEvery, finest = timeEveryLocal, time.Nanosecond
	}
	f.reserve, f.commit = newLatencies(callers, finest), newLatencies(callers, finest)
	return f
}

// pace is what one round came to.
type pace struct {
	cycles, decisions int64
	took              time.Duration
}

// play runs one round: until the part is played, the limit (0 is none) has
// passed, ctx has ended, or an engine gave no answer, which is the error. Calls
// in flight are waited for; ctx is not handed to them, because a call given up
// is an outcome unknown.
func (f *fleet) play(ctx context.Context, work part, limit time.Duration) (pace, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	var stop atomic.Bool
	defer context.AfterFunc(ctx, func() { stop.Store(true) })()

	callers := make([]*caller, len(f.nodes)*f.concurrency)
	var all sync.WaitGroup
	start := time.Now()
	for i := range callers {
		c := f.caller(i)
		callers[i] = c
		all.Go(func() {
			c.run(work.source(i), &stop)
			if c.failure != nil {
				stop.Store(true)
			}
		})
	}
	all.Wait()
	round := pace{took: time.Since(start)}
	var failure error
	for _, c := range callers {
		round.cycles += c.cycles
		round.decisions += c.counts.answers()
		f.counts.add(&c.counts)
		if failure == nil {
			failure = c.failure
		}
	}
	return round, failure
}

func (f *fleet) caller(i int) *caller {
	return &caller{
		node: f.nodes[i/f.concurrency], tenants: f.tenants, timeEvery: f.timeEvery,
		lines: f.ledger.of(i), reserves: f.reserve.of(i), commits: f.commit.of(i),
	}
}

func (p pace) rate(count int64) float64 {
	if p.took <= 0 {
		return 0
	}
	return float64(count) / p.took.Seconds()
}
