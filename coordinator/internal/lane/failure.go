package lane

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Failure is what an error says about the command that met it.
type Failure uint8

// The failures of a command.
const (
	FailureLost        Failure = iota // no reply, or one that proves nothing: it may have been executed
	FailureUnsent                     // it was not sent
	FailureTransient                  // not executed: Redis refused it for now
	FailureNoScript                   // not executed: Redis does not know the script
	FailureOutOfMemory                // not executed: Redis is past maxmemory
	FailureRejected                   // not executed: an error that a repeat is not likely to change
	Failures                          // the number of them
)

var failureNames = [Failures]string{"lost", "unsent", "transient", "no_script", "out_of_memory", "rejected"}

// String is the name of the failure in telemetry.
func (f Failure) String() string { return failureNames[f] }

const (
	firstBackoff = 2 * time.Millisecond
	maxBackoff   = 400 * time.Millisecond
	maxRejected  = 2
)

// failed decides what follows an error. A batch that may have taken effect stays
// pending and is repeated, byte for byte, until its session shows whether it did.
func (l *Lane) failed(err error, f Failure) time.Duration {
	if l.node.Dead() {
		return 0
	}
	l.node.config.Observer.Retried(f)
	if f == FailureLost || f == FailureUnsent {
		l.node.Failed()
	}
	if l.pending != nil {
		l.pending.Attempts++
	}
	switch f {
	case FailureNoScript:
		// A restart, a SCRIPT FLUSH, a promoted replica: the source goes along once.
		if !l.useSource {
			l.useSource = true
			return 0
		}
	case FailureOutOfMemory:
		if l.pending != nil && !l.pending.lowMemory {
			l.pending.lowMemory = true
			return 0
		}
		f, err = FailureRejected, fmt.Errorf("%w: %w", ErrOutOfMemory, err)
	case FailureLost, FailureUnsent, FailureTransient, FailureRejected, Failures:
	}
	if b := l.pending; b != nil {
		l.batchFailed(b, f, err)
	} else {
		if l.phase == rebuilding {
			if l.phase = ready; f == FailureLost {
				l.startRebuild()
			}
		}
		if f == FailureRejected {
			l.failQueue(func(*Call) error { return rejection(err) })
		}
	}
	l.retryLater = false
	return l.nextBackoff()
}

// rejection is the error of a call that Redis refused to execute.
func rejection(err error) error {
	return fmt.Errorf("%w: %w; nothing happened", ErrUnavailable, err)
}

// nextBackoff returns the next wait of a lane that is not answered.
func (l *Lane) nextBackoff() time.Duration {
	l.backoff = min(max(2*l.backoff, firstBackoff), maxBackoff)
	return l.backoff/2 + rand.N(l.backoff/2) //nolint:gosec // jitter protects nothing
}

func (l *Lane) batchFailed(b *Batch, f Failure, err error) {
	switch f {
	case FailureLost:
		b.lost = true
	case FailureUnsent:
		if !b.lost && l.superseded == nil {
			// Its bytes never left, so its callers need not be left unsure.
			l.pending, l.phase = nil, ready
			l.requeue(b)
			l.end(b, Unsent)
			return
		}
	case FailureRejected:
		if b.rejected++; b.rejected < maxRejected {
			return // it may pass
		}
		l.giveUpRejected(b, err)
		return
	case FailureTransient, FailureNoScript, FailureOutOfMemory, Failures:
	}
	if b.lost && l.superseded == nil && len(b.calls) > 0 && b.abandoned() {
		l.giveUp(b)
	}
}

// giveUpRejected answers the callers of a batch that Redis keeps rejecting.
func (l *Lane) giveUpRejected(b *Batch, err error) {
	if !b.lost && l.superseded == nil {
		l.pending, l.phase = nil, ready
		l.end(b, Refused)
		l.fail(b, func(*Call) error { return rejection(err) })
		return
	}
	for i, c := range b.calls {
		if !c.retried {
			b.calls[i] = c.placeholder()
			if c.deliver(Answer{Err: &UnknownOutcomeError{ID: c.id, Cause: fmt.Errorf("%w: %w", ErrUnavailable, err)}}) {
				c.wake()
			}
		}
	}
	if l.superseded == nil {
		l.giveUp(b)
	}
}

// giveUp replaces a batch by an empty one with a higher number: applied, it shows that
// the batch never will be; a gap at the batch's number shows that it was.
func (l *Lane) giveUp(b *Batch) {
	l.superseded, l.phase = b, givingUp
	l.pending = (&Batch{lost: true}).reset(l.node.nextNumber())
	l.pending.lost = true
	l.encode(l.pending)
}
