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

// worker sends one request after the other. A cycle allocates nothing, and costs a random
// number, a few sums and the clock.
type worker struct {
	node     Engine
	phase    *phase
	cells    []metrics.Cell
	reserves *metrics.Stripe
	commits  *metrics.Stripe
	timer    *time.Timer // of a closed loop with a hold time

	cycles  int64
	sent    int64
	counts  metrics.Counts
	failure error // of the first call without an answer, at which the worker stops

	answered, refused atomic.Int64 // counts, for the sampler
}

// closedLoop sends each request after the last.
func (w *worker) closedLoop(next workload.Generator) {
	defer w.publish()
	var r workload.Request
	for turn := uint64(0); w.failure == nil && !w.phase.over.Load() && next(turn, &r); turn++ {
		w.cycle(&r, latencyTimer{on: turn%w.phase.timeEvery == 0})
	}
}

// openLoop sends requests as they become due.
func (w *worker) openLoop(next workload.Generator) {
	defer w.publish()
	var r workload.Request
	for due := range w.phase.due {
		if w.failure != nil || w.phase.over.Load() || !next(due.number, &r) {
			return
		}
		w.cycle(&r, latencyTimer{on: true, began: due.at})
	}
}

func (w *worker) cycle(r *workload.Request, watch latencyTimer) {
	w.sent++
	watch.start()
	reserved, err := w.node.TryReserve(context.Background(), w.phase.tenants[r.Tenant], r.Hold)
	watch.stop(w.reserves)
	w.counts[reserved.Outcome]++
	if watch.on {
		w.phase.remaining.Set(r.Tenant, reserved.Remaining)
		w.publish()
	}
	cell := &w.cells[r.Tenant]
	switch {
	case errors.Is(err, baseline.ErrConflict): // counted as a call without an answer
	case err != nil:
		w.fail("reserve", r, exit.With(exit.Unavailable, err))
	case reserved.Outcome == budget.Insufficient:
		cell.Refused.Add(1)
	case reserved.Outcome != budget.Reserved:
		w.fail("reserve", r, fmt.Errorf("the answer is %s", reserved.Outcome))
	case w.phase.holdTime > 0:
		w.hold(r, reserved.ID, watch)
	case w.phase.leavesOpen():
		cell.Open.Add(int64(r.Hold))
	default:
		w.settle(r, reserved.ID, latencyTimer{on: watch.on})
	}
}

func (w *worker) settle(r *workload.Request, id budget.ReservationID, watch latencyTimer) {
	if r.Failed {
		settled, err := w.node.Release(context.Background(), id)
		w.settled(r, settled, err, budget.Released)
		return
	}
	watch.start()
	settled, err := w.node.Commit(context.Background(), id, r.Cost)
	watch.stop(w.commits)
	if settled.Outcome == budget.Overrun {
		// The work is done, so the worker pays its hold, which is always affordable.
		w.counts[budget.Overrun]++
		settled, err = w.node.Commit(context.Background(), id, r.Hold)
	}
	w.settled(r, settled, err, budget.Committed)
}

func (w *worker) settled(r *workload.Request, settled budget.Settlement, err error, want budget.Outcome) {
	w.counts[settled.Outcome]++
	switch {
	case errors.Is(err, baseline.ErrConflict):
		w.cells[r.Tenant].Open.Add(int64(r.Hold))
	case err != nil:
		w.fail("settle", r, exit.With(exit.Unavailable, err))
	case settled.Outcome != want:
		w.fail("settle", r, fmt.Errorf("the answer is %s, not %s", settled.Outcome, want))
	default:
		w.cells[r.Tenant].Committed.Add(int64(settled.Actual))
		w.cycles++
	}
}

func (w *worker) fail(verb string, r *workload.Request, err error) {
	w.cells[r.Tenant].Unknown.Add(int64(max(r.Hold, r.Cost)))
	w.failure = fmt.Errorf("%s for tenant %q: %w", verb, w.phase.tenants[r.Tenant], err)
	w.phase.stop()
}

func (w *worker) publish() {
	w.answered.Store(w.counts.Answers())
	w.refused.Store(w.counts[budget.Insufficient])
}

// latencyTimer measures a call, if the cycle is measured. It starts at the call, or in an
// open loop when the call was due, to include the wait for a free worker (see the package
// comment of bench on coordinated omission).
type latencyTimer struct {
	on    bool
	began time.Time // set before the call in an open loop only
}

func (t *latencyTimer) start() {
	if t.on && t.began.IsZero() {
		t.began = time.Now()
	}
}

func (t *latencyTimer) stop(into *metrics.Stripe) {
	if t.on {
		into.Record(time.Since(t.began))
	}
}

// arrival admits one request of an open loop.
type arrival struct {
	number uint64
	at     time.Time
}

// shortestSleep bounds the wake-ups at high rates: requests due in between are dispatched
// together.
const shortestSleep = 20 * time.Microsecond

// dispatch hands out arrivals as they become due. Nothing is dropped: if no worker is free,
// the arrival and those after it wait.
func (p *phase) dispatch(work workload.Round) {
	defer close(p.due)
	for number := 0; ; number++ {
		offset, exists := p.arrivals.Due(work, number)
		if !exists {
			return
		}
		next := arrival{number: uint64(number), at: p.start.Add(offset)}
		if wait := time.Until(next.at); wait > 0 && !p.pacer.sleep(max(wait, shortestSleep)) {
			return
		}
		select {
		case p.due <- next:
		case <-p.ended:
			return
		}
	}
}

// hold is a reservation of an open loop that a settler settles later, so that the worker
// which made it is free for the next request.
type hold struct {
	request workload.Request
	id      budget.ReservationID
	node    Engine
	due     time.Time
}

// hold keeps a reservation for the hold time. A worker of a closed loop waits for it.
func (w *worker) hold(r *workload.Request, id budget.ReservationID, watch latencyTimer) {
	h := hold{request: *r, id: id, node: w.node, due: time.Now().Add(w.phase.holdTime)}
	if w.phase.held != nil {
		select {
		case w.phase.held <- h:
		case <-w.phase.ended:
			w.endHold(&h)
		}
		return
	}
	w.timer.Reset(w.phase.holdTime)
	select {
	case <-w.timer.C:
		w.settle(r, id, latencyTimer{on: watch.on})
	case <-w.phase.ended:
		w.timer.Stop()
		w.endHold(&h)
	}
}

// endHold leaves a hold open at the end of a round, and settles it after a warm-up.
func (w *worker) endHold(h *hold) {
	if w.phase.leavesOpen() || w.failure != nil {
		w.cells[h.request.Tenant].Open.Add(int64(h.request.Hold))
		return
	}
	w.settle(&h.request, h.id, latencyTimer{})
}

// settleExpired settles holds, with latencies from when each was due.
func (w *worker) settleExpired() {
	defer w.publish()
	for h := range w.phase.expired {
		if w.phase.over.Load() {
			w.endHold(&h)
			continue
		}
		w.node = h.node
		w.settle(&h.request, h.id, latencyTimer{on: true, began: h.due})
		w.publish()
	}
}

// expire hands out holds as their time ends, which is in the order in which they were made,
// and at the end of the phase all of them.
func (p *phase) expire() {
	defer close(p.expired)
	for h := range p.held {
		p.settling.sleep(time.Until(h.due))
		p.expired <- h
	}
}
