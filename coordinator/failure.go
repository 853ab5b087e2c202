package coordinator

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
)

// failure is what an error says about the command that met it.
type failure int

const (
	failureLost      failure = iota // no reply: it may have been executed
	failureUnknown                  // an error that is in no list here: the same
	failureUnsent                   // no byte of it was written
	failureTransient                // Redis refused it for now, unexecuted
	failureNoScript                 // unexecuted: Redis does not know the script's SHA
	failureMemory                   // unexecuted: Redis is past maxmemory
	failureRefused                  // unexecuted, and a repeat is not likely to change that
	failureKinds
)

// failureNames are the reasons of retries in telemetry.
var failureNames = [failureKinds]string{
	failureLost: "lost", failureUnknown: "unknown", failureUnsent: "unsent", failureTransient: "transient",
	failureNoScript: "no_script", failureMemory: "out_of_memory", failureRefused: "refused",
}

// knownCodes are the error codes by which Redis says that it did not execute a command
// or, of a script, that nothing was written. A proxy answers errors of its own, also for
// commands that Redis has executed, so a code that is not here proves nothing.
var knownCodes = map[string]failure{
	"LOADING": failureTransient, "TRYAGAIN": failureTransient, "CLUSTERDOWN": failureTransient,
	"MASTERDOWN": failureTransient, "READONLY": failureTransient, "MOVED": failureTransient,
	"ASK": failureTransient, "BUSY": failureTransient, "NOREPLICAS": failureTransient,
	"UNBLOCKED": failureTransient, "MISCONF": failureTransient,
	"NOSCRIPT": failureNoScript,
	"OOM":      failureMemory,
	"NOPERM":   failureRefused, "NOAUTH": failureRefused, "WRONGPASS": failureRefused, "DENIED": failureRefused,
	"WRONGTYPE": failureRefused, "CROSSSLOT": failureRefused,
}

// knownTexts begin the errors of the code ERR that say the same.
var knownTexts = map[string]failure{
	"ERR max number of clients": failureTransient,
	"ERR unknown command":       failureRefused,
}

func classify(err error) failure {
	unsent := false
	if tried := (*attemptError)(nil); errors.As(err, &tried) {
		unsent = !tried.written
	} else if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
		unsent = true
	} else {
		unsent = errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed) ||
			errors.Is(err, redis.Nil) // of a Sentinel that knows no master
	}
	var reply redis.Error
	switch answered := errors.As(err, &reply); {
	case answered && reply != redis.Nil:
		kind := classifyReply(reply)
		if unsent && kind == failureUnknown {
			return failureRefused // to what go-redis sends first on a connection
		}
		return kind
	case unsent:
		return failureUnsent
	case errors.As(err, new(unreadableReply)):
		return failureUnknown
	default:
		return failureLost
	}
}

func classifyReply(reply redis.Error) failure {
	text := reply.Error()
	code, _, _ := strings.Cut(text, " ")
	if kind, known := knownCodes[code]; known {
		return kind
	}
	for prefix, kind := range knownTexts {
		if strings.HasPrefix(text, prefix) {
			return kind
		}
	}
	if raised(reply) {
		return failureRefused
	}
	return failureUnknown
}

// raised reports whether a script raised the error: it ended before its first write, or
// before the one that moves money. Redis adds the place to the text.
func raised(reply redis.Error) bool {
	var ofFamily scriptError
	return errors.As(reply, &ofFamily) || strings.Contains(reply.Error(), ", on @user_script:")
}

// attemptError is the error of a command of which it is known whether go-redis began to
// write it. What was not written is not executed, whatever the error: no connection in
// the pool, a limiter's or a hook's refusal, a dialer's own error.
type attemptError struct {
	err     error
	written bool
}

func (e *attemptError) Error() string { return e.err.Error() }
func (e *attemptError) Unwrap() error { return e.err }

// unreadableReply is a reply that is no error, and that no script gives.
type unreadableReply string

func (r unreadableReply) Error() string { return string(r) }

// unreadable describes a reply. It hands it to nothing that would keep it: else each reply
// of a shared call would cost an allocation.
func unreadable(value any) unreadableReply {
	switch value := value.(type) {
	case nil:
		return "nil"
	case string:
		return unreadableReply(value)
	case int64:
		return unreadableReply(strconv.FormatInt(value, 10))
	case []any:
		return unreadableReply("an array of " + strconv.Itoa(len(value)))
	default:
		return "a reply of another type"
	}
}

// refusedError is an ErrUnavailable from a Redis that does answer: with an error.
type refusedError struct {
	err   error
	known bool // the error says that the command was not executed
}

func (e *refusedError) Error() string {
	if e.known {
		return "Redis refuses the command: " + e.err.Error()
	}
	return fmt.Sprintf("Redis, or a proxy before it, gives a reply that Bursar does not know: %.200q", e.err.Error())
}

// Unwrap makes errors.Is find ErrUnavailable.
func (e *refusedError) Unwrap() []error { return []error{ErrUnavailable, e.err} }

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
		err = l.c.explain(l.root, err)
	case failureLost, failureUnknown, failureUnsent, failureTransient, failureKinds:
	}
	if kind == failureRefused || kind == failureUnknown {
		err = &refusedError{err, kind == failureRefused}
	}
	if b := l.pending; b != nil {
		l.batchFailed(b, kind, err)
	} else {
		l.openingFailed(kind, err)
	}
	l.owing = false
	return l.backOff()
}

// openingFailed answers the callers whose session cannot be opened, or whose family
// cannot be created. No call of theirs was sent.
func (l *lane) openingFailed(kind failure, err error) {
	if kind == failureUnknown {
		l.unknown++
	}
	if kind == failureRefused || l.unknown >= maxRefusals {
		l.unknown = 0
		l.failQueue(func(*call) error { return fmt.Errorf("%w; nothing happened", err) })
	}
}

// clientClosed reports whether the client was closed, and ends the node with it. A
// Cluster's client closes by itself those of servers that have left.
func (c *Coordinator) clientClosed() bool {
	if c.cluster != nil {
		closed := false
		if !c.within(func() { closed = errors.Is(c.cluster.Ping(c.ctx).Err(), redis.ErrClosed) }) || !closed {
			return false
		}
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
func (c *Coordinator) explain(root budget.TenantID, err error) error {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return err
	}
	switch code, _, _ := strings.Cut(reply.Error(), " "); {
	case code == "WRONGTYPE":
		return fmt.Errorf("%w: family %q: its books or its timers hold something that Bursar did not write; give it a prefix of its own with WithKeyPrefix: %w",
			ErrCorrupt, root, err)
	case code == "NOPERM", raised(reply) && deniesRight(reply.Error()):
		return fmt.Errorf("the Redis user lacks a right on keys %s:*; grant it with ACL SETUSER: %w", c.config.prefix, err)
	case code == "NOAUTH", code == "WRONGPASS":
		return fmt.Errorf("the client's user or password is not Redis'; correct it: %w", err)
	case c.misdirected(err):
		return fmt.Errorf("the server is part of a Cluster; %s: %w", clusterRemedy(c.client), err)
	default:
		return err
	}
}

// deniesRight reports whether the text of an error that a script raised is about the
// ACL. Redis 7.0 says that the user "can't run this command" or "can't access" a key,
// later ones and Valkey "ACL failure in script: User … has no permissions".
func deniesRight(text string) bool {
	return slices.ContainsFunc([]string{"can't run this command", "can't access", "ACL", "permission"},
		func(words string) bool { return strings.Contains(text, words) })
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
	case failureRefused, failureUnknown:
		if kind == failureUnknown && !l.sweeping {
			b.lost = true
		}
		if b.refusals++; b.refusals < maxRefusals {
			return // it may pass
		}
		l.sweeping = false
		l.giveUpRefused(b, kind, err)
		return
	case failureTransient, failureNoScript, failureMemory, failureKinds:
	}
	if b.lost && l.superseded == nil && len(b.calls) > 0 && b.unwanted() {
		l.giveUp(b)
	}
}

// giveUpRefused answers the callers of a batch that Redis keeps refusing, or whose
// replies nobody knows.
func (l *lane) giveUpRefused(b *batch, kind failure, err error) {
	if !b.lost && l.superseded == nil {
		l.pending = nil
		l.ended(b, batchRefused)
		l.fail(b, func(*call) error { return fmt.Errorf("%w; nothing happened", err) })
		return
	}
	if b.repair {
		return // nobody waits for it, and nothing else may be sent before it
	}
	for i, c := range b.calls {
		if !c.kept {
			b.calls[i] = c.substitute()
			if c.deliver(answer{err: &UnknownOutcomeError{ID: c.id, Cause: err}}) {
				c.wake()
			}
		}
	}
	// A settle or a grant goes on being repeated where Redis has not said that it will not
	// be executed, as after a lost reply.
	if l.superseded == nil && (kind == failureRefused || b.unwanted()) {
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
	case failureLost, failureUnknown, failureUnsent:
		return true
	case failureTransient:
		text := err.Error()
		return !strings.HasPrefix(text, "TRYAGAIN") && !strings.HasPrefix(text, "MOVED ") && !strings.HasPrefix(text, "ASK ")
	case failureNoScript, failureMemory, failureRefused, failureKinds:
	}
	return false
}
