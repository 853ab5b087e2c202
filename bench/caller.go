package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// counts are answers by outcome; Unknown counts the calls without one.
type counts [budget.Expired + 1]int64

func (c *counts) add(other *counts) {
	for i, n := range other {
		c[i] += n
	}
}

func (c *counts) answers() int64 {
	var sum int64
	for _, n := range c[budget.Unknown+1:] {
		sum += n
	}
	return sum
}

// caller is one closed loop. Its own work in a cycle is a draw, a few sums, and
// the clock; it allocates nothing.
type caller struct {
	node      decider
	tenants   []budget.TenantID
	timeEvery uint64
	lines     []line
	reserves  *latencyStripe
	commits   *latencyStripe

	cycles  int64
	counts  counts
	failure error // the first call without an answer; the caller stops there
}

func (c *caller) run(from source, stop *atomic.Bool) {
	var r request
	for turn := uint64(0); c.failure == nil && !stop.Load() && from.next(&r); turn++ {
		c.cycle(&r, turn%c.timeEvery == 0, stop)
	}
}

func (c *caller) cycle(r *request, timed bool, stop *atomic.Bool) {
	watch := stopwatch{on: timed}
	watch.start()
	reserved, err := c.node.TryReserve(context.Background(), c.tenants[r.tenant], r.hold)
	watch.stop(c.reserves)
	c.counts[reserved.Outcome]++
	entry := &c.lines[r.tenant]
	switch {
	case errors.Is(err, contender.ErrConflict):
		return
	case err != nil:
		c.fail("reserve", r, exit.With(exit.Unavailable, err))
		return
	case reserved.Outcome == budget.Insufficient:
		entry.refused.Add(1)
		return
	case reserved.Outcome != budget.Reserved:
		c.fail("reserve", r, fmt.Errorf("the answer is %s", reserved.Outcome))
		return
	case stop.Load():
		entry.open.Add(int64(r.hold))
		return
	}
	if r.failed {
		settled, err := c.node.Release(context.Background(), reserved.ID)
		c.settled(r, settled, err, budget.Released)
	} else {
		c.commit(r, reserved.ID, &watch)
	}
}

// commit caps what an overrun refused at the hold, which is always affordable:
// the work is done, and an open hold would pay for nothing.
func (c *caller) commit(r *request, id budget.ReservationID, watch *stopwatch) {
	watch.start()
	settled, err := c.node.Commit(context.Background(), id, r.cost)
	watch.stop(c.commits)
	if settled.Outcome == budget.Overrun {
		c.counts[budget.Overrun]++
		settled, err = c.node.Commit(context.Background(), id, r.hold)
	}
	c.settled(r, settled, err, budget.Committed)
}

func (c *caller) settled(r *request, settled budget.Settlement, err error, want budget.Outcome) {
	c.counts[settled.Outcome]++
	switch {
	case errors.Is(err, contender.ErrConflict):
		c.lines[r.tenant].open.Add(int64(r.hold))
	case err != nil:
		c.fail("settle", r, exit.With(exit.Unavailable, err))
	case settled.Outcome != want:
		c.fail("settle", r, fmt.Errorf("the answer is %s, not %s", settled.Outcome, want))
	default:
		c.lines[r.tenant].committed.Add(int64(settled.Actual))
		c.cycles++
	}
}

func (c *caller) fail(verb string, r *request, err error) {
	c.lines[r.tenant].doubt.Add(int64(max(r.hold, r.cost)))
	c.failure = fmt.Errorf("%s for tenant %q: %w", verb, c.tenants[r.tenant], err)
}

// stopwatch reads the clock only where the cycle is timed.
type stopwatch struct {
	on    bool
	began time.Time
}

func (w *stopwatch) start() {
	if w.on {
		w.began = time.Now()
	}
}

func (w *stopwatch) stop(into *latencyStripe) {
	if w.on {
		into.record(time.Since(w.began))
	}
}
