package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
)

// Errors mean that the question was not answered. Test with errors.Is; the text
// names the thing and the remedy. Those of arguments are in package budget.
var (
	// ErrClosed: the coordinator was closed before the operation was sent.
	// Nothing happened; make a new coordinator.
	ErrClosed = errors.New("coordinator is closed")

	// ErrOverloaded: too many operations wait (WithQueueLimits), or too many holds of
	// the family are open (WithMaxHolds). Nothing happened; shed load, settle what is
	// open, or raise the limit that the text names.
	ErrOverloaded = errors.New("too many operations are waiting")

	// ErrUnavailable: Redis gave no answer in time, or refuses to. Nothing
	// happened unless the error is ErrUnknownOutcome as well; refuse the work or
	// try again.
	ErrUnavailable = errors.New("Redis does not answer")

	// ErrUnknownOutcome: the operation was sent and the caller stopped waiting.
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

// UnknownOutcomeError is an ErrUnknownOutcome with the reservation that it is
// about: the one to be settled, or the one that a reserve may have made. It is
// the zero id for operations without one.
type UnknownOutcomeError struct {
	ID    budget.ReservationID
	Cause error // why the caller stopped waiting, for example context.DeadlineExceeded
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
