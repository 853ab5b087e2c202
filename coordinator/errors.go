package coordinator

import (
	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/internal/preflight"
)

// An error means that an operation has no answer. Test with errors.Is; the text names the
// tenant, key or server and the remedy. The errors of arguments are in package budget.
var (
	// ErrClosed: the coordinator was closed before the operation was sent. Nothing
	// happened; make a new coordinator.
	ErrClosed = lane.ErrClosed

	// ErrOverloaded: too many calls are queued, for the tenant or in total
	// (WithQueueLimits). Nothing happened; shed load or raise the limit.
	ErrOverloaded = lane.ErrOverloaded

	// ErrTooManyHolds: the tenant has as many open holds as it may (WithMaxHolds).
	// Nothing happened; settle open holds or raise the limit.
	ErrTooManyHolds = lane.ErrTooManyHolds

	// ErrUnavailable: Redis did not answer in time, or rejects commands. Nothing happened
	// unless the error is ErrUnknownOutcome as well; refuse the work or try again.
	ErrUnavailable = lane.ErrUnavailable

	// ErrUnknownOutcome: the operation was sent and the caller stopped waiting. It takes
	// effect exactly once or not at all. The coordinator releases a reserve that took
	// effect; a settlement may be repeated, and MissingReservation with Prior then shows
	// how the first one ended. See UnknownOutcomeError.
	ErrUnknownOutcome = lane.ErrUnknownOutcome

	// ErrGap: Redis lost writes that it had acknowledged (a failover, a restore), and the
	// operation did not take effect. With repair enabled (WithRepair, the default) only
	// two operations return it: a settlement of a lost reservation that its node may be
	// about to restore, which can be repeated until the repair window has passed; and an
	// operation on a partition that is gone, which needs an operator. Without repair
	// every operation that meets the gap returns it: repeat it after an operator has
	// looked.
	ErrGap = lane.ErrGap

	// ErrRecreated: the partition was deleted, or deleted and recreated, since this
	// coordinator first used it. Nothing happened, not even by EnsureTenant, which would
	// hand out the whole budget again. An operator has to decide, then restart the nodes.
	ErrRecreated = lane.ErrRecreated

	// ErrOutOfMemory: Redis is past maxmemory, so nothing new is held, created or
	// granted; commits and releases still succeed. Raise maxmemory.
	ErrOutOfMemory = lane.ErrOutOfMemory

	// ErrCorrupt: a stored record cannot be read or breaks the invariant. Nothing
	// happened; run bursar inspect on what the text names.
	ErrCorrupt = lane.ErrCorrupt

	// ErrLayout: the stored layout, or the stored number of partitions, is one that this
	// coordinator cannot use. Nothing happened; follow the remedy in the text.
	ErrLayout = lane.ErrLayout

	// ErrUnfit: money can't be trusted to this Redis as it is configured.
	ErrUnfit = preflight.ErrUnfit
)

// UnknownOutcomeError is an ErrUnknownOutcome with the reservation that it is about: the
// one to be settled, or the one that a reserve may have made. ID is zero for operations
// without one; Cause is the reason why the caller stopped waiting, for example
// context.DeadlineExceeded.
type UnknownOutcomeError = lane.UnknownOutcomeError
