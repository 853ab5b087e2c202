package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
)

// Errors mean that the question was not answered. Test with errors.Is; the text
// names the thing and the remedy. Those of arguments are in package budget. The error
// of a call whose context has ended matches context.Canceled or
// context.DeadlineExceeded as well, and has the context's cause as text.
var (
	// ErrClosed: the coordinator was closed before the operation was sent.
	// Nothing happened; make a new coordinator.
	ErrClosed = errors.New("coordinator is closed")

	// ErrOverloaded: too many operations wait (WithQueueLimits), or too many holds of
	// the family are open (WithMaxHolds). Nothing happened; shed load, settle what is
	// open, or raise the limit that the text names.
	ErrOverloaded = errors.New("too many operations are waiting")

	// ErrUnavailable: Redis gave no answer in time, or it answered with an error; then
	// the text says that it refuses the command, and the remedy. Nothing happened
	// unless the error is ErrUnknownOutcome as well; refuse the work or try again.
	ErrUnavailable = errors.New("Redis does not answer")

	// ErrUnknownOutcome: the operation was sent, and the caller stopped waiting or the
	// reply says nothing about it, such as the error of a proxy.
	// It takes effect once or never. A reserve that took effect is released by
	// the coordinator; a settle may be repeated without harm, and
	// MissingReservation with Prior then tells how it went. See UnknownOutcomeError.
	ErrUnknownOutcome = errors.New("outcome unknown")

	// ErrGap: Redis has lost writes that it had acknowledged (a failover, a restore),
	// and the operation did not take effect. With a repair (WithRepair, the default) only
	// two things are told so: a settle of a reservation that is lost, and whose node may be
	// about to restore it: repeat it until the repair's window has passed; and an
	// operation on a family that is gone: an operator looks. Without a repair, whatever
	// meets the gap is: repeat it after an operator has looked.
	ErrGap = errors.New("Redis lost acknowledged writes")

	// ErrRecreated: the family was deleted, or deleted and created again, since
	// this coordinator knew it. Nothing happened, also not by EnsureTenant: it
	// would hand out the whole budget again. An operator decides, then restarts
	// the nodes.
	ErrRecreated = errors.New("the tenant's family was deleted or created anew")

	// ErrOutOfMemory: Redis is past maxmemory, so nothing new is held, created
	// or granted; commits and releases still land. Raise maxmemory.
	ErrOutOfMemory = errors.New("Redis is out of memory")

	// ErrCorrupt: what Redis has stored breaks the law or cannot be read. Nothing
	// happened; inspect the named field.
	ErrCorrupt = errors.New("stored state is corrupt")

	// ErrLayout: the family is stored in a layout that this version does not
	// know. Nothing happened; upgrade this program.
	ErrLayout = errors.New("unknown storage layout")

	// ErrUnfit: New found a Redis that money cannot be trusted to.
	ErrUnfit = errors.New("Redis is not fit for budgets")
)

// contextError returns why ctx has ended: context.Canceled or
// context.DeadlineExceeded, with the cause as text. A cause is the caller's own error:
// if it were in the chain of a call's, the call would match whatever it matches, such
// as the UnknownOutcomeError of another call.
func contextError(ctx context.Context) error {
	ended := context.Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		ended = context.DeadlineExceeded
	}
	if cause := fmt.Sprint(context.Cause(ctx)); cause != ended.Error() {
		return fmt.Errorf("%w: %s", ended, cause)
	}
	return ended
}

// unsentError is the error of a call whose context had ended before it.
type unsentError struct{ ended error }

func (e *unsentError) Error() string { return "the operation was not sent: " + e.ended.Error() }

// Unwrap makes errors.Is find what is true of every call that is not sent.
func (e *unsentError) Unwrap() []error { return []error{ErrUnavailable, e.ended} }

// UnknownOutcomeError is an ErrUnknownOutcome with the reservation that it is
// about: the one to be settled, or the one that a reserve may have made. It is
// the zero id for operations without one.
type UnknownOutcomeError struct {
	ID budget.ReservationID
	// Cause says why the outcome is unknown, for example context.DeadlineExceeded, or the
	// reply. What context.Cause returns is in its text, not in its chain.
	Cause error
}

func (e *UnknownOutcomeError) Error() string {
	if e.ID.IsZero() {
		return fmt.Sprintf("%v: %v", ErrUnknownOutcome, e.Cause)
	}
	return fmt.Sprintf("%v of reservation %s: %v", ErrUnknownOutcome, e.ID, e.Cause)
}

// Unwrap makes errors.Is find ErrUnknownOutcome, and of the cause that Redis did
// not answer or how the context ended. It hides sentinels that say "nothing
// happened", which here nobody knows.
func (e *UnknownOutcomeError) Unwrap() []error {
	found := []error{ErrUnknownOutcome}
	for _, target := range []error{ErrUnavailable, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(e.Cause, target) {
			found = append(found, target)
		}
	}
	return found
}
