package coordinator

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// failure is what an error says about the command that met it.
type failure int

const (
	failureLost      failure = iota // no reply: it may have been executed
	failureUnsent                   // no connection: it was not executed
	failureTransient                // Redis refused it for now, unexecuted
	failureNoScript                 // unexecuted: Redis does not know the script's SHA
	failureMemory                   // unexecuted: Redis is past maxmemory
	failureRefused                  // an error that a repeat is not likely to change
	failureKinds
)

// failureNames are the reasons of retries in telemetry.
var failureNames = [failureKinds]string{
	failureLost: "lost", failureUnsent: "unsent", failureTransient: "transient",
	failureNoScript: "no_script", failureMemory: "out_of_memory", failureRefused: "refused",
}

// transientErrors begin the error replies that pass by themselves.
var transientErrors = []string{
	"LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "MOVED ", "ASK ",
	"BUSY ", "NOREPLICAS", "UNBLOCKED", "MISCONF", "ERR max number of clients",
}

func classify(err error) failure {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" || errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrClosed) ||
		errors.Is(err, redis.Nil) { // of a Sentinel that knows no master
		return failureUnsent
	}
	var reply redis.Error
	if !errors.As(err, &reply) {
		return failureLost
	}
	text := reply.Error()
	switch {
	case strings.HasPrefix(text, "NOSCRIPT"):
		return failureNoScript
	case strings.HasPrefix(text, "OOM"):
		return failureMemory
	}
	for _, prefix := range transientErrors {
		if strings.HasPrefix(text, prefix) {
			return failureTransient
		}
	}
	return failureRefused
}

const (
	firstBackoff = 2 * time.Millisecond
	maxBackoff   = 400 * time.Millisecond
	maxRefusals  = 2
)

// failed decides what follows an error. A batch that may have taken effect stays
// pending and is repeated, byte for byte, until its session tells (S7).
func (l *lane) failed(err error) time.Duration {
	kind := classify(err)
	if l.c.misdirected(err) {
		kind = failureRefused
	}
	if errors.Is(err, redis.ErrClosed) && l.c.clientClosed() {
		return 0 // the lane ends
	}
	l.c.telemetry.retried(l.c.ctx, kind)
	if isDown(err) {
		l.c.failedAt.Store(l.c.config.now().UnixMilli())
	}
	if l.pending != nil {
		l.pending.attempts++
	}
	switch kind {
	case failureNoScript:
		// A restart, a SCRIPT FLUSH, a promoted replica: the text goes along once.
		if !l.useSource {
			l.useSource = true
			return 0
		}
	case failureMemory:
		if l.step == stepBatch && l.pending != nil && !l.sweeping && !l.pending.short {
			l.pending.short = true
			return 0
		}
		kind = failureRefused
		err = fmt.Errorf("%w: %w", ErrOutOfMemory, err)
	case failureRefused:
		err = l.explain(err)
	case failureLost, failureUnsent, failureTransient, failureKinds:
	}
	if b := l.pending; b != nil {
		l.batchFailed(b, kind, err)
	} else if kind == failureRefused {
		l.failQueue(func(*call) error { return fmt.Errorf("%w: %w; nothing happened", ErrUnavailable, err) })
	}
	l.owing = false
	return l.backOff()
}

// clientClosed reports whether the client was closed, and ends the node with it. A
// Cluster's client closes by itself those of servers that have left.
func (c *Coordinator) clientClosed() bool {
	if c.cluster != nil && !errors.Is(c.cluster.Ping(c.ctx).Err(), redis.ErrClosed) {
		return false
	}
	if !c.dead.Swap(true) {
		c.config.logger.Error("bursar: the Redis client was closed before the node, which ends with it; close the node first")
	}
	return true
}

// backOff returns the next wait of a lane that is not answered.
func (l *lane) backOff() time.Duration {
	l.backoff = min(max(2*l.backoff, firstBackoff), maxBackoff)
	return l.backoff/2 + rand.N(l.backoff/2) //nolint:gosec // jitter protects nothing
}

// explain adds what an operator needs to Redis' own words.
func (l *lane) explain(err error) error {
	switch text := err.Error(); {
	case strings.HasPrefix(text, "WRONGTYPE"):
		return fmt.Errorf("%w: family %q: its books or its timers hold something that Bursar did not write; give it a prefix of its own with WithKeyPrefix: %w",
			ErrCorrupt, l.root, err)
	case strings.HasPrefix(text, "NOPERM"), strings.Contains(text, "can't run this command"), strings.Contains(text, "can't access"):
		return fmt.Errorf("the Redis user lacks a right on keys %s:*; grant it with ACL SETUSER: %w", l.c.config.prefix, err)
	case l.c.misdirected(err):
		return fmt.Errorf("the server is part of a Cluster; %s: %w", clusterRemedy(l.c.client), err)
	default:
		return err
	}
}

func (l *lane) batchFailed(b *batch, kind failure, err error) {
	switch kind {
	case failureLost:
		b.lost = b.lost || !l.sweeping
	case failureUnsent:
		if !b.lost && l.superseded == nil {
			// Its bytes never left, so its callers are not to be left unsure.
			l.pending, l.sweeping = nil, false
			l.takeBack(b)
			l.ended(b, batchUnsent)
			return
		}
	case failureRefused:
		if b.refusals++; b.refusals < maxRefusals {
			return // it may pass
		}
		l.sweeping = false
		l.giveUpRefused(b, err)
		return
	case failureTransient, failureNoScript, failureMemory, failureKinds:
	}
	if b.lost && l.superseded == nil && len(b.calls) > 0 && b.unwanted() {
		l.giveUp(b)
	}
}

// giveUpRefused answers the callers of a batch that Redis keeps refusing.
func (l *lane) giveUpRefused(b *batch, err error) {
	if !b.lost && l.superseded == nil {
		l.pending = nil
		l.ended(b, batchRefused)
		l.fail(b, func(*call) error { return fmt.Errorf("%w: %w; nothing happened", ErrUnavailable, err) })
		return
	}
	for i, c := range b.calls {
		if !c.kept {
			b.calls[i] = c.substitute()
			if c.deliver(answer{err: &UnknownOutcomeError{ID: c.id, Cause: fmt.Errorf("%w: %w", ErrUnavailable, err)}}) {
				c.wake()
			}
		}
	}
	if l.superseded == nil {
		l.giveUp(b)
	}
}

// giveUp replaces a batch by an empty one with a higher number (S8): applied, it
// shows that the batch never will be; a gap at the batch's number, that it was.
func (l *lane) giveUp(b *batch) {
	l.superseded = b
	l.sweeping = false
	l.pending = &batch{number: l.c.nextNumber(), lost: true}
	l.pending.encode(l.session, l.c.clockText(), l.validUntil(), &l.c.config)
}

// isDown reports whether an error means that the server does no work for anybody
// now. Redirections concern one family only.
func isDown(err error) bool {
	switch classify(err) {
	case failureLost, failureUnsent:
		return true
	case failureTransient:
		text := err.Error()
		return !strings.HasPrefix(text, "TRYAGAIN") && !strings.HasPrefix(text, "MOVED ") && !strings.HasPrefix(text, "ASK ")
	case failureNoScript, failureMemory, failureRefused, failureKinds:
	}
	return false
}
