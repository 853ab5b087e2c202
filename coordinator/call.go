package coordinator

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// A call is one caller's operation on its way through a lane.
//
// Its state decides, by one compare-and-swap between the caller and the lane,
// who may still touch it: a call is delivered or abandoned, never both, so a
// granted hold is either told to its caller or released.
type call struct {
	kind    byte
	tenant  budget.TenantID
	amount  budget.Microcents
	holdTTL time.Duration
	// id is the reservation to settle; for a reserve the lane writes it before
	// the call becomes sent, and the caller reads it after.
	id     budget.ReservationID
	state  atomic.Uint32
	done   chan struct{}
	answer answer
	// stalledAt is when the lane first failed to get an answer; its own field.
	stalledAt time.Time
}

const (
	callQueued     uint32 = iota // in a lane's queue, not sent
	callSent                     // in a batch that may have taken effect
	callDelivered                // answered; the caller's again
	callLeft                     // abandoned before it was sent: nothing happened
	callLeftUnsure               // abandoned after it was sent
)

// answer is what a lane found out about a call.
type answer struct {
	outcome   budget.Outcome
	prior     budget.Outcome
	remaining budget.Microcents
	required  budget.Microcents
	actual    budget.Microcents
	returned  budget.Microcents
	balance   budget.Balance
	err       error
}

var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

func newCall(kind byte, tenant budget.TenantID, amount budget.Microcents, id budget.ReservationID) *call {
	c := calls.Get().(*call)
	c.kind, c.tenant, c.amount, c.id = kind, tenant, amount, id
	return c
}

// reuse gives a delivered call back. An abandoned one is left to the collector,
// since its lane may still hold it.
func (c *call) reuse() {
	done := c.done
	*c = call{done: done}
	calls.Put(c)
}

// wait returns the answer, or leaves the call when the context ends.
func (c *call) wait(ctx context.Context) (answer, budget.ReservationID, error) {
	select {
	case <-c.done:
	case <-ctx.Done():
		if err := c.leave(context.Cause(ctx)); err != nil {
			return answer{}, budget.ReservationID{}, err
		}
		<-c.done
	}
	a, id := c.answer, c.id
	c.reuse()
	return a, id, a.err
}

// leave abandons the call; it returns nil where the answer came first. It ends:
// a lane takes a call back only a bounded number of times.
func (c *call) leave(cause error) error {
	for {
		switch c.state.Load() {
		case callQueued:
			if c.state.CompareAndSwap(callQueued, callLeft) {
				return fmt.Errorf("%w in time, and the operation was not sent: %w", ErrUnavailable, cause)
			}
		case callSent:
			if c.state.CompareAndSwap(callSent, callLeftUnsure) {
				return &UnknownOutcomeError{ID: c.id, Cause: cause}
			}
		default:
			return nil
		}
	}
}

// substitute stands in for a call that is answered while its batch is not
// resolved: what the batch did for it has no taker.
func (c *call) substitute() *call {
	s := &call{kind: c.kind, tenant: c.tenant, amount: c.amount, id: c.id}
	s.state.Store(callLeftUnsure)
	return s
}

// send claims the call for a batch; false when its caller has left.
func (c *call) send() bool { return c.state.CompareAndSwap(callQueued, callSent) }

// unsend takes back a call whose batch did not take effect; false when its
// caller has left.
func (c *call) unsend() bool { return c.state.CompareAndSwap(callSent, callQueued) }

// deliver hands the answer over; false when the caller has left.
func (c *call) deliver(a answer) bool {
	c.answer = a
	if !c.state.CompareAndSwap(callSent, callDelivered) && !c.state.CompareAndSwap(callQueued, callDelivered) {
		return false
	}
	c.done <- struct{}{}
	return true
}

// settles reports whether the call ends a hold.
func (c *call) settles() bool { return c.kind == 'c' || c.kind == 'l' }
