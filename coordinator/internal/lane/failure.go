package lane

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Failure is the class of an error: whether the command may have been executed, and
// whether a repeat may help.
type Failure uint8

// The failures of a command.
const (
	FailureLost        Failure = iota // no reply: it may have been executed
	FailureUnknown                    // a reply that proves nothing: it may have been executed
	FailureUnsent                     // it was not sent
	FailureTransient                  // not executed: Redis refused it for now
	FailureNoScript                   // not executed: Redis does not have the script
	FailureOutOfMemory                // not executed: Redis is past maxmemory
	FailureRejected                   // not executed: an error that a repeat is unlikely to change
	Failures                          // number of classes
)

var failureNames = [Failures]string{"lost", "unknown", "unsent", "transient", "no_script", "out_of_memory", "rejected"}

// String returns the name of the failure in telemetry.
func (f Failure) String() string { return failureNames[f] }

const (
	firstBackoff = 2 * time.Millisecond
	maxBackoff   = 400 * time.Millisecond
	maxRejected  = 2
)

// failed handles an error, and returns the time to wait before the next command. A batch
// that may have taken effect stays pending and is repeated, byte for byte, until its
// session shows whether it did.
func (l *Lane) failed(err error, f Failure) time.Duration {
	if l.node.Dead() {
		if l.phase == closing {
			l.closeFailed(err, f)
		}
		return 0
	}
	l.node.config.Observer.Retried(f)
	switch f {
	case FailureLost, FailureUnknown, FailureUnsent:
		l.node.Failed()
	case FailureTransient, FailureNoScript, FailureOutOfMemory, FailureRejected, Failures:
	}
	if l.pending != nil {
		l.pending.Attempts++
	}
	switch f {
	case FailureNoScript:
		// After a restart, a SCRIPT FLUSH or a failover: send the source once.
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
	case FailureLost, FailureUnknown, FailureUnsent, FailureTransient, FailureRejected, Failures:
	}
	if f == FailureRejected || f == FailureUnknown {
		err = &Rejection{err, f == FailureRejected}
	}
	if b := l.pending; b != nil {
		l.batchFailed(b, f, err)
	} else if l.phase == closing {
		l.closeFailed(err, f)
	} else {
		if l.phase == rebuilding {
			if l.phase = ready; f == FailureLost || f == FailureUnknown {
				l.startRebuild()
			}
		}
		l.openingFailed(f, err)
	}
	l.retryLater = false
	return l.nextBackoff()
}

// openingFailed fails the queued calls if the session cannot be opened or the partition
// cannot be created. None of them was sent.
func (l *Lane) openingFailed(f Failure, err error) {
	if f == FailureUnknown {
		l.unknown++
	}
	if f == FailureRejected || l.unknown >= maxRejected {
		l.unknown = 0
		l.failQueue(func(*Call) error { return fmt.Errorf("%w; nothing happened", err) })
	}
}

// nextBackoff returns the time to wait before the lane repeats a command.
func (l *Lane) nextBackoff() time.Duration {
	l.backoff = min(max(2*l.backoff, firstBackoff), maxBackoff)
	return l.backoff/2 + rand.N(l.backoff/2) //nolint:gosec // jitter needs no secure randomness
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
	case FailureRejected, FailureUnknown:
		b.lost = b.lost || f == FailureUnknown
		if b.rejected++; b.rejected < maxRejected {
			return // it may be transient
		}
		l.giveUpRejected(b, f, err)
		return
	case FailureTransient, FailureNoScript, FailureOutOfMemory, Failures:
	}
	if b.lost && l.superseded == nil && len(b.calls) > 0 && b.abandoned() {
		l.giveUp(b)
	}
}

// giveUpRejected answers the callers of a batch if Redis keeps rejecting it, or its
// replies prove nothing.
func (l *Lane) giveUpRejected(b *Batch, f Failure, err error) {
	if !b.lost && l.superseded == nil {
		l.pending, l.phase = nil, ready
		l.end(b, Refused)
		l.fail(b, func(*Call) error { return fmt.Errorf("%w; nothing happened", err) })
		return
	}
	if b.repair {
		return // no caller waits for it, and nothing else may be sent before it
	}
	for i, c := range b.calls {
		if !c.retried {
			b.calls[i] = c.abandonedCopy()
			if c.deliver(Answer{Err: &UnknownOutcomeError{ID: c.id, Cause: err}}) {
				c.wake()
			}
		}
	}
	// A settlement or a grant is repeated for as long as no reply proves that it was not
	// executed, as after a lost reply.
	if l.superseded == nil && (f == FailureRejected || len(b.calls) > 0 && b.abandoned()) {
		l.giveUp(b)
	}
}

// giveUp replaces a batch by an empty one with a higher number. If that one is applied,
// the batch never will be; if Redis replies with a gap at the batch's number, the batch
// was applied.
func (l *Lane) giveUp(b *Batch) {
	l.superseded, l.phase = b, givingUp
	l.pending = (&Batch{lost: true}).reset(l.node.nextNumber())
	l.pending.lost = true
	l.encode(l.pending)
}
