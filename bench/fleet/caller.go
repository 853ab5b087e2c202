package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/record"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// caller plays one request after the other. Its own work in a cycle is a draw, a few
// sums, and the clock; it allocates nothing.
type caller struct {
	node      Decider
	tenants   []budget.TenantID
	timeEvery uint64
	lines     []record.Line
	reserves  *record.Stripe
	commits   *record.Stripe
	remains   *record.Remains
	stint     *stint
	timer     *time.Timer // of a closed loop with a hold time

	cycles  int64
	sent    int64 // requests begun
	counts  record.Counts
	failure error // the first call without an answer; the caller stops there

	// What the counts came to, for whoever watches meanwhile.
	answered, refused atomic.Int64
}

// loop is a closed one: the next request follows the last.
func (c *caller) loop(from load.Source) {
	defer c.publish()
	var r load.Request
	for turn := uint64(0); c.failure == nil && !c.stint.over.Load() && from.Next(turn, &r); turn++ {
		c.cycle(&r, stopwatch{on: turn%c.timeEvery == 0})
	}
}

// serve is an open one: it plays what has become due, and what is late counts from
// when it was due.
func (c *caller) serve(from load.Source) {
	defer c.publish()
	var r load.Request
	for due := range c.stint.tickets {
		if c.failure != nil || c.stint.over.Load() || !from.Next(due.number, &r) {
			return
		}
		c.cycle(&r, stopwatch{on: true, began: due.at})
	}
}

func (c *caller) cycle(r *load.Request, watch stopwatch) {
	c.sent++
	watch.start()
	reserved, err := c.node.TryReserve(context.Background(), c.tenants[r.Tenant], r.Hold)
	watch.stop(c.reserves)
	c.counts[reserved.Outcome]++
	if watch.on {
		c.remains.Tell(r.Tenant, reserved.Remaining)
		c.publish()
	}
	entry := &c.lines[r.Tenant]
	switch {
	case errors.Is(err, contender.ErrConflict): // given up, and counted as an answer that never came
	case err != nil:
		c.fail("reserve", r, exit.With(exit.Unavailable, err))
	case reserved.Outcome == budget.Insufficient:
		entry.Refused.Add(1)
	case reserved.Outcome != budget.Reserved:
		c.fail("reserve", r, fmt.Errorf("the answer is %s", reserved.Outcome))
	case c.stint.holdTime > 0:
		c.hold(r, reserved.ID, watch)
	case c.stint.leavesOpen():
		entry.Open.Add(int64(r.Hold))
	default:
		c.settle(r, reserved.ID, stopwatch{on: watch.on})
	}
}

func (c *caller) settle(r *load.Request, id budget.ReservationID, watch stopwatch) {
	if r.Failed {
		settled, err := c.node.Release(context.Background(), id)
		c.settled(r, settled, err, budget.Released)
	} else {
		c.commit(r, id, watch)
	}
}

// commit caps what an overrun refused at the hold, which is always affordable:
// the work is done, and an open hold would pay for nothing.
func (c *caller) commit(r *load.Request, id budget.ReservationID, watch stopwatch) {
	watch.start()
	settled, err := c.node.Commit(context.Background(), id, r.Cost)
	watch.stop(c.commits)
	if settled.Outcome == budget.Overrun {
		c.counts[budget.Overrun]++
		settled, err = c.node.Commit(context.Background(), id, r.Hold)
	}
	c.settled(r, settled, err, budget.Committed)
}

func (c *caller) settled(r *load.Request, settled budget.Settlement, err error, want budget.Outcome) {
	c.counts[settled.Outcome]++
	switch {
	case errors.Is(err, contender.ErrConflict):
		c.lines[r.Tenant].Open.Add(int64(r.Hold))
	case err != nil:
		c.fail("settle", r, exit.With(exit.Unavailable, err))
	case settled.Outcome != want:
		c.fail("settle", r, fmt.Errorf("the answer is %s, not %s", settled.Outcome, want))
	default:
		c.lines[r.Tenant].Committed.Add(int64(settled.Actual))
		c.cycles++
	}
}

func (c *caller) fail(verb string, r *load.Request, err error) {
	c.lines[r.Tenant].Doubt.Add(int64(max(r.Hold, r.Cost)))
	c.failure = fmt.Errorf("%s for tenant %q: %w", verb, c.tenants[r.Tenant], err)
	c.stint.stop()
}

func (c *caller) publish() {
	c.answered.Store(c.counts.Answers())
	c.refused.Store(c.counts[budget.Insufficient])
}

// stopwatch reads the clock only where the cycle is timed. It starts at the call, or
// when the call was due: what waited for a caller to be free has waited, too.
// Measuring from the call would leave out just the requests that a stall kept from
// being made (Gil Tene's "coordinated omission"; wrk2 measures as this does).
type stopwatch struct {
	on    bool
	began time.Time // before the call in an open loop only
}

func (w *stopwatch) start() {
	if w.on && w.began.IsZero() {
		w.began = time.Now()
	}
}

func (w *stopwatch) stop(into *record.Stripe) {
	if w.on {
		into.Record(time.Since(w.began))
	}
}
