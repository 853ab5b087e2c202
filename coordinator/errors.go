package coordinator

import (
	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/internal/preflight"
)

// An error means that an operation has no answer. Test with errors.Is; the text names
// the thing and the remedy. The errors of arguments are in package budget.
var (
	// ErrClosed: the coordinator was closed before the operation was sent. Nothing
	// happened; make a new coordinator.
	ErrClosed = lane.ErrClosed

	// ErrOverloaded: too many calls are queued, of the tenant or in all
	// (WithQueueLimits). Nothing happened; shed load or raise the limit.
	ErrOverloaded = lane.ErrOverloaded

	// ErrTooManyHolds: the tenant has as many open holds as it may (WithMaxHolds).
	// Nothing happened; settle what is open or raise the limit.
	ErrTooManyHolds = lane.ErrTooManyHolds

	// ErrUnavailable: Redis did not answer in time, or refuses to. Nothing happened
	// unless the error is ErrUnknownOutcome as well; refuse the work or try again.
	ErrUnavailable = lane.ErrUnavailable

	// ErrUnknownOutcome: the operation was sent and the caller stopped waiting. It takes
	// effect exactly once or not at all. The coordinator releases a reserve that took
	// effect; a settlement may be repeated, and MissingReservation with Prior then says
	// how the first one went. See UnknownOutcomeError.
	ErrUnknownOutcome = lane.ErrUnknownOutcome

	// ErrGap: Redis lost writes that it had acknowledged (a failover, a restore), and
	// the operation did not take effect. With repair enabled (WithRepair, the default)
	// only two operations return it: a settlement of a reservation that is lost and
	// that its node may be about to restore, to be repeated until the repair window has
	// passed; and an operation on a partition that is gone, which needs an operator.
	// Without repair every operation that meets the gap does: repeat it after an
	// operator has looked.
	ErrGap = lane.ErrGap

	// ErrRecreated: the partition was deleted, or deleted and recreated, since this
	// coordinator first used it. Nothing happened, not even by EnsureTenant, which would
	// hand out the whole budget again. An operator decides, then restarts the nodes.
	ErrRecreated = lane.ErrRecreated

	// ErrOutOfMemory: Redis is past maxmemory, so nothing new is held, created or
	// granted; commits and releases still land. Raise maxmemory.
	ErrOutOfMemory = lane.ErrOutOfMemory

	// ErrCorrupt: a stored record cannot be read or breaks the invariant. Nothing
	// happened; run bursar inspect on what the text names.
	ErrCorrupt = lane.ErrCorrupt

	// ErrLayout: what is stored is in a layout, or has a number of partitions, that this
	// coordinator cannot use. Nothing happened; follow the remedy in the text.
	ErrLayout = lane.ErrLayout

	// ErrUnfit: money can't be trusted to this Redis as it is configured.
	ErrUnfit = preflight.ErrUnfit
)

// UnknownOutcomeError is an ErrUnknownOutcome with the reservation that it is about:
// the one to be settled, or the one that a reserve may have made. ID is zero for
// operations without one; Cause says why the caller stopped waiting, for example
// context.DeadlineExceeded.
type UnknownOutcomeError = lane.UnknownOutcomeError
