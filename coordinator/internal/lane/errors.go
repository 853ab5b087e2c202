package lane

import (
	"context"
	"errors"
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
)

// The errors of a node; package coordinator documents them.
var (
	ErrClosed         = errors.New("coordinator is closed")
	ErrOverloaded     = errors.New("queue full")
	ErrTooManyHolds   = errors.New("too many open holds")
	ErrUnavailable    = errors.New("Redis does not answer")
	ErrUnknownOutcome = errors.New("outcome unknown")
	ErrGap            = errors.New("Redis lost acknowledged writes")
	ErrRecreated      = errors.New("partition was deleted or recreated")
	ErrOutOfMemory    = errors.New("Redis is out of memory")
	ErrCorrupt        = errors.New("stored state is corrupt")
	ErrLayout         = errors.New("unknown storage layout")
)

// UnsentError is the error of a call whose context ended before it was sent.
type UnsentError struct{ Ended error }

func (e *UnsentError) Error() string { return "the operation was not sent: " + e.Ended.Error() }

// Unwrap makes errors.Is match the errors of every call that was not sent.
func (e *UnsentError) Unwrap() []error { return []error{ErrUnavailable, e.Ended} }

// Rejection is an ErrUnavailable of a Redis that does answer, but with an error.
type Rejection struct {
	Err   error
	Known bool // the error proves that the command was not executed
}

func (e *Rejection) Error() string {
	if e.Known {
		return "Redis rejects the command: " + e.Err.Error()
	}
	return fmt.Sprintf("Redis, or a proxy in front of it, sent an unknown reply: %.200q", e.Err.Error())
}

// Unwrap makes errors.Is find ErrUnavailable.
func (e *Rejection) Unwrap() []error { return []error{ErrUnavailable, e.Err} }

// UnknownOutcomeError is documented in package coordinator.
type UnknownOutcomeError struct {
	ID    budget.ReservationID
	Cause error
}

func (e *UnknownOutcomeError) Error() string {
	if e.ID.IsZero() {
		return fmt.Sprintf("%v: %v", ErrUnknownOutcome, e.Cause)
	}
	return fmt.Sprintf("%v of reservation %s: %v", ErrUnknownOutcome, e.ID, e.Cause)
}

// Unwrap makes errors.Is find ErrUnknownOutcome and, in the cause, only ErrUnavailable
// and the errors of contexts. It hides errors that imply that nothing happened.
func (e *UnknownOutcomeError) Unwrap() []error {
	found := []error{ErrUnknownOutcome}
	for _, target := range []error{ErrUnavailable, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(e.Cause, target) {
			found = append(found, target)
		}
	}
	return found
}
