// Package exit says with which code the bursar command ends, so that scripts can
// tell a refusal from a wrong flag and from a Redis that does not answer.
//
// What belongs here is the codes and how an error carries one. Who finds an
// error gives it its code; main reads it with [Code].
package exit

import (
	"context"
	"errors"

	"github.com/calybris/bursar/coordinator"
)

// The codes. They do not change between versions.
const (
	Done        = 0 // it was done
	Refused     = 1 // the answer is no: refused by a budget, damage, a difference, bad input data, an unfit Redis
	Usage       = 2 // the command line is wrong; nothing was started
	Unavailable = 3 // Redis is out of reach, an outcome is unknown, or the command was interrupted
)

// Error is an error that carries a code.
type Error struct {
	code  int
	cause error
}

// With gives err a code; nil stays nil. A code that err carries already stays,
// because who found the error knew best.
func With(code int, err error) error {
	var coded *Error
	if err == nil || errors.As(err, &coded) {
		return err
	}
	return &Error{code: code, cause: err}
}

// OfStart gives the error of coordinator.New its code: Refused if Redis is not fit for
// budgets, which a repeat does not change, and else Unavailable.
func OfStart(err error) error {
	if errors.Is(err, coordinator.ErrUnfit) {
		return With(Refused, err)
	}
	return With(Unavailable, err)
}

// Code is the code of an error: Done for nil, Refused where none was given.
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

// Unwrap makes errors.Is find the cause.
func (e *Error) Unwrap() error { return e.cause }

// ErrInterrupted is the error of a command that was ended before it was done. It carries
// Unavailable: there is no answer.
var ErrInterrupted = With(Unavailable, errors.New("interrupted"))

// OrInterrupted is ErrInterrupted where ctx has ended: what a Ctrl-C made of the
// call under way must not read like a fault. Else it is err.
func OrInterrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ErrInterrupted
	}
	return err
}
