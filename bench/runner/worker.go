package runner

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// worker plays one request after the other. Its own work in a cycle is a draw, a few
// sums, and the clock; it allocates nothing.
type worker struct {
	node      Engine
	tenants   []budget.TenantID
	timeEvery uint64
	cells     []metrics.Cell
	reserves  *metrics.Stripe
	commits   *metrics.Stripe
	remaining *metrics.LastRemaining
	phase     *phase
	timer     *time.Timer // of a closed loop with a hold time

	cycles  int64
	sent    int64 // requests begun
	counts  metrics.Counts
	failure error // the first call without an answer; the worker stops there

	// What the counts came to, for whoever watches meanwhile.
	answered, refused atomic.Int64
}

// loop is a closed one: the next request follows the last.
func (c *worker) loop(from workload.Generator) {
	defer c.publish()
	var r workload.Request
	for turn := uint64(0); c.failure == nil && !c.phase.over.Load() && from.Next(turn, &r); turn++ {
		c.cycle(&r, latencyTimer{on: turn%c.timeEvery == 0})
	}
}

// serve is an open one: it plays what has become due, and what is late counts from
// when it was due.
func (c *worker) serve(from workload.Generator) {
	defer c.publish()
	var r workload.Request
	for due := range c.phase.arrivals {
		if c.failure != nil || c.phase.over.Load() || !from.Next(due.number, &r) {
			return
		}
		c.cycle(&r, latencyTimer{on: true, began: due.at})
	}
}

func (c *worker) cycle(r *workload.Request, watch latencyTimer) {
	c.sent++
	watch.start()
	reserved, err := c.node.TryReserve(context.Background(), c.tenants[r.Tenant], r.Hold)
	watch.stop(c.reserves)
	c.counts[reserved.Outcome]++
	if watch.on {
		c.remaining.Set(r.Tenant, reserved.Remaining)
		c.publish()
	}
	entry := &c.cells[r.Tenant]
	switch {
	case errors.Is(err, baseline.ErrConflict): // given up, and counted as an answer that never came
	case err != nil:
		c.fail("reserve", r, exit.With(exit.Unavailable, err))
	case reserved.Outcome == budget.Insufficient:
		entry.Refused.Add(1)
	case reserved.Outcome != budget.Reserved:
		c.fail("reserve", r, fmt.Errorf("the answer is %s", reserved.Outcome))
	case c.phase.holdTime > 0:
		c.hold(r, reserved.ID, watch)
	case c.phase.leavesOpen():
		entry.Open.Add(int64(r.Hold))
	default:
		c.settle(r, reserved.ID, latencyTimer{on: watch.on})
	}
}

func (c *worker) settle(r *workload.Request, id budget.ReservationID, watch latencyTimer) {
	if r.Failed {
		settled, err := c.node.Release(context.Background(), id)
		c.settled(r, settled, err, budget.Released)
	} else {
		c.commit(r, id, watch)
	}
}

// commit caps what an overrun refused at the hold, which is always affordable:
// the work is done, and an open hold would pay for nothing.
func (c *worker) commit(r *workload.Request, id budget.ReservationID, watch latencyTimer) {
	watch.start()
	settled, err := c.node.Commit(context.Background(), id, r.Cost)
	watch.stop(c.commits)
	if settled.Outcome == budget.Overrun {
		c.counts[budget.Overrun]++
		settled, err = c.node.Commit(context.Background(), id, r.Hold)
	}
	c.settled(r, settled, err, budget.Committed)
}

func (c *worker) settled(r *workload.Request, settled budget.Settlement, err error, want budget.Outcome) {
	c.counts[settled.Outcome]++
	switch {
	case errors.Is(err, baseline.ErrConflict):
		c.cells[r.Tenant].Open.Add(int64(r.Hold))
	case err != nil:
		c.fail("settle", r, exit.With(exit.Unavailable, err))
	case settled.Outcome != want:
		c.fail("settle", r, fmt.Errorf("the answer is %s, not %s", settled.Outcome, want))
	default:
		c.cells[r.Tenant].Committed.Add(int64(settled.Actual))
		c.cycles++
	}
}

func (c *worker) fail(verb string, r *workload.Request, err error) {
	c.cells[r.Tenant].Unknown.Add(int64(max(r.Hold, r.Cost)))
	c.failure = fmt.Errorf("%s for tenant %q: %w", verb, c.tenants[r.Tenant], err)
	c.phase.stop()
}

func (c *worker) publish() {
	c.answered.Store(c.counts.Answers())
	c.refused.Store(c.counts[budget.Insufficient])
}

// latencyTimer reads the clock only where the cycle is timed. It starts at the call, or
// when the call was due: what waited for a worker to be free has waited, too.
// Measuring from the call would leave out just the requests that a stall kept from
// being made (Gil Tene's "coordinated omission"; wrk2 measures as this does).
type latencyTimer struct {
	on    bool
	began time.Time // before the call in an open loop only
}

func (w *latencyTimer) start() {
	if w.on && w.began.IsZero() {
		w.began = time.Now()
	}
}

func (w *latencyTimer) stop(into *metrics.Stripe) {
	if w.on {
		into.Record(time.Since(w.began))
	}
}

// hold is what a worker of an open loop has reserved, and others settle when its time
// has come: that worker is free for the next request meanwhile.
type hold struct {
	request workload.Request
	id      budget.ReservationID
	node    Engine
	due     time.Time
}

// hold keeps a reservation for the hold time. A closed loop waits; what the end
// interrupts stays open.
func (c *worker) hold(r *workload.Request, id budget.ReservationID, watch latencyTimer) {
	kept := hold{request: *r, id: id, node: c.node, due: time.Now().Add(c.phase.holdTime)}
	if c.phase.held != nil {
		select {
		case c.phase.held <- kept:
		case <-c.phase.ended:
			c.end(&kept)
		}
		return
	}
	c.timer.Reset(c.phase.holdTime)
	select {
	case <-c.timer.C:
		c.settle(r, id, latencyTimer{on: watch.on})
	case <-c.phase.ended:
		c.timer.Stop()
		c.end(&kept)
	}
}

// end is what becomes of a hold at the end of a phase.
func (c *worker) end(kept *hold) {
	if c.phase.leavesOpen() || c.failure != nil {
		c.cells[kept.request.Tenant].Open.Add(int64(kept.request.Hold))
		return
	}
	c.settle(&kept.request, kept.id, latencyTimer{})
}

// settleDue settles what others held, from when it was due.
func (c *worker) settleDue() {
	defer c.publish()
	for kept := range c.phase.due {
		if c.phase.over.Load() {
			c.end(&kept)
			continue
		}
		c.node = kept.node
		c.settle(&kept.request, kept.id, latencyTimer{on: true, began: kept.due})
		c.publish()
	}
}

// release hands out the holds as they become due, which is in the command in which they
// were made, and at the end of the phase all of them.
func (s *phase) release() {
	defer close(s.due)
	for kept := range s.held {
		s.settling.sleepUntil(kept.due)
		s.due <- kept
	}
}

// arrival admits one request.
type arrival struct {
	number uint64
	at     time.Time
}

// shortestSleep keeps an timer for each of very many requests a second from taking the
// workers' time: what is due meanwhile is handed out together.
const shortestSleep = 20 * time.Microsecond

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// admit hands out arrivals as requests become due, to whoever is free. Nothing is
// dropped: where nobody is free the arrival waits, and so do those after it.
func (s *phase) admit(work workload.Round) {
	defer close(s.arrivals)
	for number := 0; ; number++ {
		offset, exists := s.schedule.Due(work, number)
		if !exists {
			return
		}
		due := arrival{number: uint64(number), at: s.start.Add(offset)}
		if time.Until(due.at) > 0 && !s.arriving.sleepUntil(later(due.at, time.Now().Add(shortestSleep))) {
			return
		}
		select {
		case s.arrivals <- due:
		case <-s.ended:
			return
		}
	}
}
