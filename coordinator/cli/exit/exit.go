// Package exit defines the exit codes of the bursar command, by which scripts can
// distinguish a refusal, a wrong flag and a Redis that does not answer.
//
// An error carries its code: the function that finds the error adds the code with [With],
// and cli.Run reads it with [Code].
package exit

import (
	"context"
	"errors"

	"github.com/calybris/bursar/coordinator"
)

// The codes. They do not change between versions.
const (
	Done        = 0 // success
	Refused     = 1 // refused by a budget, damage, a difference, bad input data, or an unfit Redis
	Usage       = 2 // invalid command line; nothing was started
	Unavailable = 3 // Redis unreachable, outcome unknown, or command interrupted
)

// Error is an error that carries a code.
type Error struct {
	code  int
	cause error
}

// With returns err with a code, or nil if err is nil. An err that already carries a code
// keeps it, because the function that found the error chose best.
func With(code int, err error) error {
	var coded *Error
	if err == nil || errors.As(err, &coded) {
		return err
	}
	return &Error{code: code, cause: err}
}

// OfStart returns an error of coordinator.New with its code: Refused for
// coordinator.ErrUnfit, since a retry would not help, and Unavailable otherwise.
func OfStart(err error) error {
	if errors.Is(err, coordinator.ErrUnfit) {
		return With(Refused, err)
	}
	return With(Unavailable, err)
}

// Code returns the code of an error: Done for nil, and Refused if it carries none.
func Code(err error) int {
	var coded *Error
	switch {
	case err == nil:
		return Done
	case errors.As(err, &coded):
		return coded.code
	default:
		return Refused
	}
}

func (e *Error) Error() string { return e.cause.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// ErrInterrupted is the error of a command that was interrupted before it completed. It
// carries Unavailable.
var ErrInterrupted = With(Unavailable, errors.New("interrupted"))

// OrInterrupted returns ErrInterrupted if err is not nil and ctx has ended: an error that
// Ctrl-C causes in a call must not look like a fault. Otherwise it returns err.
func OrInterrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ErrInterrupted
	}
	return err
}
