package fleet

import (
	"time"

	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/coordinator/budget"
)

// hold is what a caller of an open loop has reserved, and others settle when its time
// has come: that caller is free for the next request meanwhile.
type hold struct {
	request load.Request
	id      budget.ReservationID
	node    Decider
	due     time.Time
}

// hold keeps a reservation for the hold time. A closed loop waits; what the end
// interrupts stays open.
func (c *caller) hold(r *load.Request, id budget.ReservationID, watch stopwatch) {
	kept := hold{request: *r, id: id, node: c.node, due: time.Now().Add(c.stint.holdTime)}
	if c.stint.held != nil {
		select {
		case c.stint.held <- kept:
		case <-c.stint.ended:
			c.end(&kept)
		}
		return
	}
	c.timer.Reset(c.stint.holdTime)
	select {
	case <-c.timer.C:
		c.settle(r, id, stopwatch{on: watch.on})
	case <-c.stint.ended:
		c.timer.Stop()
		c.end(&kept)
	}
}

// end is what becomes of a hold at the end of a stint.
func (c *caller) end(kept *hold) {
	if c.stint.leavesOpen() || c.failure != nil {
		c.lines[kept.request.Tenant].Open.Add(int64(kept.request.Hold))
		return
	}
	c.settle(&kept.request, kept.id, stopwatch{})
}

// settleDue settles what others held, from when it was due.
func (c *caller) settleDue() {
	defer c.publish()
	for kept := range c.stint.due {
		if c.stint.over.Load() {
			c.end(&kept)
			continue
		}
		c.node = kept.node
		c.settle(&kept.request, kept.id, stopwatch{on: true, began: kept.due})
		c.publish()
	}
}

// release hands out the holds as they become due, which is in the order in which they
// were made, and at the end of the stint all of them.
func (s *stint) release() {
	defer close(s.due)
	for kept := range s.held {
		s.settling.sleepUntil(kept.due)
		s.due <- kept
	}
}
