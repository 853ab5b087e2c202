package lane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// A Call is one caller's operation on its way through a lane.
//
// One compare-and-swap of its state, by the caller or the lane, decides how it ends: it
// is delivered or abandoned, never both, so a granted hold is either returned to its
// caller or released.
type Call struct {
	kind    byte
	tenant  budget.TenantID
	limit   budget.Period // whose account it concerns, NoPeriod for the base limit
	amount  budget.Microcents
	holdTTL time.Duration
	// id is the reservation to settle. For a reserve, the lane writes it before the state
	// becomes callSent, and the caller reads it afterwards.
	id     budget.ReservationID
	state  atomic.Uint32
	done   chan struct{}
	answer Answer
	// trace identifies the batch for tracing. The lane writes it before the state becomes
	// callSent, like id.
	trace any
	timer *time.Timer // bounds the wait of a caller without a deadline
	next  *Call       // in a queue
	// deferred are the attempts that put the call off, since its tenant had overdue holds.
	deferred []attempt

	mustSend bool // a Do's settlement, which no queue limit may reject
	internal bool // issued by the node; not counted against TotalQueue
	retried  bool // the node's own, repeated until it is answered; see insist
	opening  bool // queued when the lane last sent OPEN
	merged   state
	change   *budget.Change // of settings
	at       int64          // in the epoch to read, Unix ms
	renewal  *renewal
}

const (
	callQueued        uint32 = iota
	callSent                 // in a batch that may have taken effect
	callDelivered            // answered; belongs to the caller again
	callAbandoned            // by its caller, before it was sent: nothing happened
	callAbandonedSent        // by its caller, after it was sent
)

// Answer is the result of a call.
type Answer struct {
	Outcome   budget.Outcome
	Prior     budget.Outcome
	Remaining budget.Microcents
	Level     budget.TenantID // account whose remaining amount is Remaining
	Limit     budget.Period   // of Level
	Required  budget.Microcents
	Actual    budget.Microcents
	Returned  budget.Microcents
	Shortfall budget.Microcents
	Cap       budget.Cap
	CapLimit  int64
	Balance   *budget.Balance   // of a balance or a delete
	Settings  *budget.Settings  // of a configure
	Limits    *budget.LimitList // of a list of limits
	Holds     int64             // number of open holds, for a balance
	At, Until int64             // times of a hold that was looked up, Unix ms, 0 for none
	Trace     any               // of the batch that carried the call
	Err       error

	Renews budget.Instant // when the window of Limit renews

	levels  byte // that a reserve or a settle moved
	code    byte // in the reply
	epochs  *store.Epochs
	missing *store.WindowAhead // boundaries of the window of Limit
}

var calls = sync.Pool{New: func() any { return &Call{done: make(chan struct{}, 1)} }}

// NewCall returns a call of a kind. id is the reservation that it names, if any.
func NewCall(kind byte, tenant budget.TenantID, amount budget.Microcents, id budget.ReservationID) *Call {
	c := calls.Get().(*Call)
	c.kind, c.tenant, c.amount, c.id = kind, tenant, amount, id
	return c
}

// WithTTL gives a reserve its own time to live.
func (c *Call) WithTTL(ttl time.Duration) *Call {
	c.kind, c.holdTTL = luascripts.KindReserveTTL, ttl
	return c
}

// WithChange gives an ensure or a configure its change of settings.
func (c *Call) WithChange(change *budget.Change) *Call {
	if c.change = change; c.kind == luascripts.KindEnsure {
		c.kind = luascripts.KindEnsureWith
	}
	return c
}

// AtEpoch makes a balance that of the epoch that contains a time. A time that doesn't fit the 48
// bits of the protocol is before or after all boundaries.
func (c *Call) AtEpoch(at budget.Instant) *Call {
	c.kind, c.at = luascripts.KindEpoch, min(max(int64(at), 0), 1<<48-1)
	return c
}

// OfLimit makes a balance that of a limit.
func (c *Call) OfLimit(limit budget.Period) *Call {
	c.limit = limit
	return c
}

// limits returns the limits of its tenant that the call names.
func (c *Call) limits() (limits budget.Periods) {
	if limits = limits.With(c.limit); c.change != nil {
		for i := range c.change.Limits {
			limits = limits.With(c.change.Limits[i].Window.Period)
		}
	}
	return limits
}

// MustSend exempts the call, a Do's settlement, from queue limits.
func (c *Call) MustSend() *Call {
	c.mustSend = true
	return c
}

// reuse returns a delivered call to the pool. An abandoned one is left to the garbage
// collector, since its lane may still hold it.
func (c *Call) reuse() {
	*c = Call{done: c.done, timer: c.timer}
	calls.Put(c)
}

// wait returns the answer, or abandons the call when ctx ends, or after the timeout if
// ctx has no deadline. unsent reports whether the call was abandoned before it was sent.
func (c *Call) wait(ctx context.Context, timeout time.Duration) (a Answer, id budget.ReservationID, unsent bool, err error) {
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
		unsent, err = c.abandon(Interrupted(ctx))
	case <-expired:
		unsent, err = c.abandon(fmt.Errorf("%w within %s", ErrUnavailable, timeout))
	}
	if err != nil {
		if !unsent {
			a.Trace = c.trace
		}
		return a, budget.ReservationID{}, unsent, err
	}
	a, id = c.answer, c.id
	a.Trace = c.trace
	if c.timer != nil {
		c.timer.Stop()
	}
	c.reuse()
	return a, id, false, a.Err
}

// Interrupted returns the error with which ctx has ended: context.Canceled or
// context.DeadlineExceeded, with the cause as text. A cause is the caller's own error: if
// a call's error wrapped it, the call would match everything that the cause matches, such
// as the UnknownOutcomeError of another call.
func Interrupted(ctx context.Context) error {
	ended := context.Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		ended = context.DeadlineExceeded
	}
	if cause := fmt.Sprint(context.Cause(ctx)); cause != ended.Error() {
		return fmt.Errorf("%w: %s", ended, cause)
	}
	return ended
}

// abandon gives the call up; err is nil if the answer came first. The loop ends because a
// lane requeues a call only a bounded number of times.
func (c *Call) abandon(cause error) (unsent bool, err error) {
	for {
		switch c.state.Load() {
		case callQueued:
			if c.state.CompareAndSwap(callQueued, callAbandoned) {
				return true, fmt.Errorf("%w in time, and the operation was not sent: %w", ErrUnavailable, cause)
			}
		case callSent:
			if c.state.CompareAndSwap(callSent, callAbandonedSent) {
				return false, &UnknownOutcomeError{ID: c.id, Cause: cause}
			}
		default:
			<-c.done
			return false, nil
		}
	}
}

// abandonedCopy returns a call that takes the place of c, which has been answered, in a
// batch that isn't resolved. If the batch turns out to have made a hold for it, the hold
// is released.
func (c *Call) abandonedCopy() *Call {
	p := &Call{kind: c.kind, tenant: c.tenant, limit: c.limit, amount: c.amount, id: c.id, change: c.change, internal: c.internal}
	p.state.Store(callAbandonedSent)
	return p
}

// send claims the call for a batch. It reports false if the caller has given up.
func (c *Call) send() bool { return c.state.CompareAndSwap(callQueued, callSent) }

// markQueued takes back a call whose batch did not take effect. It reports false if the
// caller has given up.
func (c *Call) markQueued() bool { return c.state.CompareAndSwap(callSent, callQueued) }

// deliver stores the answer in the call. It reports false if the caller has given up;
// otherwise the caller must be woken, since it now waits for nothing else.
func (c *Call) deliver(a Answer) bool {
	c.answer = a
	return c.state.CompareAndSwap(callSent, callDelivered) || c.state.CompareAndSwap(callQueued, callDelivered)
}

// wake returns a delivered call to its caller.
func (c *Call) wake() { c.done <- struct{}{} }

func (c *Call) properties() properties { return kinds[c.kind] }

// Settles reports whether the call ends a hold.
func (c *Call) Settles() bool { return c.properties().settles }

// ensures reports whether the call is an EnsureTenant that was not abandoned before it
// was sent.
func (c *Call) ensures() bool {
	return c.properties().creates && c.state.Load() != callAbandoned
}

// Tenant returns the operation's tenant.
func (c *Call) Tenant() budget.TenantID { return c.tenant }
