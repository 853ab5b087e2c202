package coordinator

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
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
	// batch is the span of the batch that the call was sent in. Like id, the lane
	// writes it before the call becomes sent.
	batch *trace.SpanContext
	timer *time.Timer // bounds the wait of a caller without a deadline
	// owed: a Do owes it for what it has reserved, so no bound keeps it away.
	owed bool
	// kept: the coordinator's own release of an abandoned reserve. Nobody waits
	// for it, and it is tried until it has been answered.
	kept bool
	// unasked: no caller asked for it, so it takes no caller's place.
	unasked bool
	// merge: of a repair, the state of the hold as the scripts write it.
	merge string
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
	at, until int64              // of a hold that was looked up: Unix milliseconds, 0 for none
	batch     *trace.SpanContext // see call
	code      byte               // of a merge, or CodeLost
	err       error
}

func (a answer) settlement() budget.Settlement {
	return budget.Settlement{
		Outcome: a.outcome, Remaining: a.remaining, Actual: a.actual, Returned: a.returned, Prior: a.prior,
	}
}

func (a answer) fate() budget.Fate {
	f := budget.Fate{Outcome: a.outcome, Amount: a.actual}
	if a.at != 0 {
		f.At = time.UnixMilli(a.at).UTC()
	}
	if a.until != 0 {
		f.Deadline = time.UnixMilli(a.until).UTC()
	}
	return f
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
	*c = call{done: c.done, timer: c.timer}
	calls.Put(c)
}

// wait returns the answer, or leaves the call when the context ends, or after the
// timeout where the context has no deadline. left is true where the call was
// abandoned before it was sent.
func (c *call) wait(ctx context.Context, timeout time.Duration) (a answer, id budget.ReservationID, left bool, err error) {
	var expired <-chan time.Time
	if _, bounded := ctx.Deadline(); !bounded {
		if c.timer == nil {
			c.timer = time.NewTimer(timeout)
		} else {
			c.timer.Reset(timeout)
		}
		expired = c.timer.C
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		left, err = c.leave(contextError(ctx))
	case <-expired:
		left, err = c.leave(fmt.Errorf("%w within %s", ErrUnavailable, timeout))
	}
	if err != nil {
		if !left {
			a.batch = c.batch
		}
		return a, budget.ReservationID{}, left, err
	}
	a, id = c.answer, c.id
	a.batch = c.batch
	if c.timer != nil {
		c.timer.Stop()
	}
	c.reuse()
	return a, id, false, a.err
}

// leave abandons the call; err is nil where the answer came first. It ends: a
// lane takes a call back only a bounded number of times.
func (c *call) leave(cause error) (left bool, err error) {
	for {
		switch c.state.Load() {
		case callQueued:
			if c.state.CompareAndSwap(callQueued, callLeft) {
				return true, fmt.Errorf("%w in time, and the operation was not sent: %w", ErrUnavailable, cause)
			}
		case callSent:
			if c.state.CompareAndSwap(callSent, callLeftUnsure) {
				return false, &UnknownOutcomeError{ID: c.id, Cause: cause}
			}
		default:
			<-c.done
			return false, nil
		}
	}
}

// substitute stands in for a call that is answered while its batch is not
// resolved: what the batch did for it has no taker.
func (c *call) substitute() *call {
	s := &call{kind: c.kind, tenant: c.tenant, amount: c.amount, id: c.id, unasked: c.unasked}
	s.state.Store(callLeftUnsure)
	return s
}

// send claims the call for a batch; false when its caller has left.
func (c *call) send() bool { return c.state.CompareAndSwap(callQueued, callSent) }

// unsend takes back a call whose batch did not take effect; false when its
// caller has left.
func (c *call) unsend() bool { return c.state.CompareAndSwap(callSent, callQueued) }

// deliver leaves the answer with the call; false when the caller has left. It has to
// be woken then: by now it waits for that and nothing else.
func (c *call) deliver(a answer) bool {
	c.answer = a
	return c.state.CompareAndSwap(callSent, callDelivered) || c.state.CompareAndSwap(callQueued, callDelivered)
}

// wake tells the caller of an answer that was delivered. The call is the caller's then.
func (c *call) wake() { c.done <- struct{}{} }

// names reports whether the call is about a hold that was made before.
func (c *call) names() bool {
	return c.settles() || c.kind == luascripts.KindLookup || c.kind == luascripts.KindMerge
}

// ensures reports whether the call still wants its tenant to exist.
func (c *call) ensures() bool { return c.kind == luascripts.KindEnsure && c.state.Load() != callLeft }

// reserves reports whether the call makes a hold.
func (c *call) reserves() bool {
	return c.kind == luascripts.KindReserve || c.kind == luascripts.KindReserveTTL
}

// settles reports whether the call ends a hold.
func (c *call) settles() bool {
	return c.kind == luascripts.KindCommit || c.kind == luascripts.KindRelease
}
