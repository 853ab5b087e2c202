package dispatch

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/lane"
)

// knownCodes are the error codes which prove that Redis did not execute a command or, for
// a script, that it wrote nothing. A proxy returns errors of its own, even for commands
// that Redis has executed, so any other code proves nothing.
var knownCodes = map[string]lane.Failure{
	"LOADING": lane.FailureTransient, "TRYAGAIN": lane.FailureTransient, "CLUSTERDOWN": lane.FailureTransient,
	"MASTERDOWN": lane.FailureTransient, "READONLY": lane.FailureTransient, "MOVED": lane.FailureTransient,
	"ASK": lane.FailureTransient, "BUSY": lane.FailureTransient, "NOREPLICAS": lane.FailureTransient,
	"UNBLOCKED": lane.FailureTransient, "MISCONF": lane.FailureTransient,
	"NOSCRIPT": lane.FailureNoScript,
	"OOM":      lane.FailureOutOfMemory,
	"NOPERM":   lane.FailureRejected, "NOAUTH": lane.FailureRejected, "WRONGPASS": lane.FailureRejected, "DENIED": lane.FailureRejected,
	"WRONGTYPE": lane.FailureRejected, "CROSSSLOT": lane.FailureRejected,
}

// knownTexts are prefixes of errors with the code ERR that prove the same.
var knownTexts = map[string]lane.Failure{
	"ERR max number of clients": lane.FailureTransient,
	"ERR unknown command":       lane.FailureRejected,
}

// Classify returns the class of an error.
func Classify(err error) lane.Failure {
	unsent := false
	if tried := (*attemptError)(nil); errors.As(err, &tried) {
		unsent = !tried.written
	} else if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
		unsent = true
	} else {
		unsent = errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed) ||
			errors.Is(err, redis.Nil) // a Sentinel without a master
	}
	var reply redis.Error
	switch replied := errors.As(err, &reply); {
	case replied && reply != redis.Nil:
		f := ClassifyReply(reply)
		if unsent && f == lane.FailureUnknown {
			return lane.FailureRejected // reply to a command that go-redis sends first on a connection
		}
		return f
	case unsent:
		return lane.FailureUnsent
	default:
		return lane.FailureLost
	}
}

// ClassifyReply returns the class of an error reply.
func ClassifyReply(reply redis.Error) lane.Failure {
	text := reply.Error()
	code, _, _ := strings.Cut(text, " ")
	if f, known := knownCodes[code]; known {
		return f
	}
	for prefix, f := range knownTexts {
		if strings.HasPrefix(text, prefix) {
			return f
		}
	}
	if raised(reply) {
		return lane.FailureRejected
	}
	return lane.FailureUnknown
}

// raised reports whether a script raised the error: it then ended before its first write,
// or before the one that moves money. Redis adds the script's line to the text.
func raised(reply redis.Error) bool { return strings.Contains(reply.Error(), ", on @user_script:") }

// attemptError is the error of a command, with whether go-redis began to write it. A
// command that was not written was not executed, whatever the error: no connection in the
// pool, a refusal of a limiter or a hook, an error of the dialer.
type attemptError struct {
	err     error
	written bool
}

func (e *attemptError) Error() string { return e.err.Error() }
func (e *attemptError) Unwrap() error { return e.err }

// Explain adds the remedy to an error reply.
func (d *Dispatcher) Explain(err error) error {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return err
	}
	switch code, _, _ := strings.Cut(reply.Error(), " "); {
	case code == "WRONGTYPE":
		return fmt.Errorf("%w: a key of a partition has something that Bursar did not write; use another prefix with WithKeyPrefix: %w", lane.ErrCorrupt, err)
	case code == "NOPERM", raised(reply) && deniesRight(reply.Error()):
		return fmt.Errorf("the Redis user lacks a right on keys %s:*; grant it with ACL SETUSER: %w", d.config.Prefix, err)
	case code == "NOAUTH", code == "WRONGPASS":
		return fmt.Errorf("Redis rejects the client's user or password; correct it: %w", err)
	case d.misdirected(err):
		return fmt.Errorf("the server is part of a Cluster; %s: %w", d.config.ClusterRemedy, err)
	default:
		return err
	}
}

// deniesRight reports whether the text of an error that a script raised is about the ACL.
// Redis 7.0 writes that the user "can't run this command" or "can't access" a key, later
// versions and Valkey "ACL failure in script: User … has no permissions".
func deniesRight(text string) bool {
	return slices.ContainsFunc([]string{"can't run this command", "can't access", "ACL", "permission"},
		func(words string) bool { return strings.Contains(text, words) })
}

// misdirected reports whether a Cluster's node sent a redirection to a client that can't
// follow it.
func (d *Dispatcher) misdirected(err error) bool {
	return d.cluster == nil && HasPrefix(err, "MOVED ", "ASK ", "CROSSSLOT")
}

// HasPrefix reports whether an error is a server's reply with one of the prefixes.
func HasPrefix(err error, prefixes ...string) bool {
	var reply redis.Error
	return errors.As(err, &reply) && slices.ContainsFunc(prefixes, func(prefix string) bool {
		return strings.HasPrefix(reply.Error(), prefix)
	})
}

// isDown reports whether an error shows that the server currently works for no client.
// Redirections concern only one slot.
func isDown(err error) bool {
	switch Classify(err) {
	case lane.FailureLost, lane.FailureUnknown, lane.FailureUnsent:
		return true
	case lane.FailureTransient:
		return !HasPrefix(err, "TRYAGAIN", "MOVED ", "ASK ")
	case lane.FailureNoScript, lane.FailureOutOfMemory, lane.FailureRejected, lane.Failures:
	}
	return false
}
