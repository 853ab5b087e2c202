package preflight

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/dispatch"
	"github.com/calybris/bursar/coordinator/internal/lane"
)

const (
	firstBackoff = 2 * time.Millisecond
	maxBackoff   = 400 * time.Millisecond
)

// An asker sends requests that change nothing, and so may repeat each until it is
// answered: a lost reply or a server that is loading must not fail a start.
type asker struct {
	*progress
	timeout time.Duration // for one request, in addition to the context's
	replica bool          // the server is a replica, so its refusals are final
	silent  error         // error of an unanswered request; none is sent after it
}

// progress is the state of the requests to all servers.
type progress struct {
	last  atomic.Pointer[error] // reason for the current retry
	until atomic.Int64          // end of the current request's timeout, Unix ns
}

func newAsker(timeout time.Duration) asker {
	return asker{timeout: timeout, progress: new(progress)}
}

// ask repeats a request until it is answered, refused for good, or out of time.
func (a *asker) ask(ctx context.Context, request func() error) error {
	if a.silent != nil {
		return a.silent
	}
	until := time.Now().Add(a.timeout)
	a.until.Store(until.UnixNano())
	for wait := firstBackoff; ; wait = min(2*wait, maxBackoff) {
		err := request()
		switch {
		case err == nil || isReply(err) && (a.replica || !Passes(err)):
			return err
		case ctx.Err() != nil:
			a.silent = a.late(lane.Interrupted(ctx))
			return a.silent
		case !Passes(err) || time.Now().After(until):
			if !isReply(err) {
				a.silent = err
			}
			return err
		}
		a.last.Store(&err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// late returns the error of a request that was not answered in time.
func (p *progress) late(cause error) error {
	err := fmt.Errorf("no answer in time: %w", cause)
	if last := p.last.Load(); last != nil {
		return fmt.Errorf("%w; the last error was: %v", err, *last) //nolint:errorlint // only its text
	}
	return err
}

// errCallTimeout is the cause of a late request if its context has no deadline.
var errCallTimeout = errors.New("the call timeout has passed")

// hangs reports whether go-redis is still waiting for a reply long after the timeout.
func (p *progress) hangs() bool {
	until := p.until.Load()
	return until > 0 && time.Now().UnixNano() > until+hangsAfter.Nanoseconds()
}

// hangsAfter is the time that an attempt may take if it began within the timeout.
const hangsAfter = time.Second

// isReply reports whether an error is a server's reply. go-redis also returns redis.Nil
// if a Sentinel does not know the master.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && !errors.Is(err, redis.Nil)
}

// Passes reports whether a repeat of the request may succeed. Replies of a replica or a
// Cluster's node to a client of the wrong kind are final.
func Passes(err error) bool {
	var dial *net.OpError
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	switch {
	case err == nil, errors.Is(err, redis.ErrClosed):
		return false
	case errors.Is(err, redis.Nil):
		return true // the Sentinels may find the master later
	case isReply(err):
		return dispatch.Classify(err) == lane.FailureTransient && !dispatch.HasPrefix(err, "READONLY", "MOVED ", "ASK ", "NOREPLICAS")
	case errors.As(err, &dial) && dial.Op == "dial":
		return dial.Timeout()
	default:
		return !errors.As(err, &certificate) && !errors.As(err, &alert) && !errors.As(err, &record)
	}
}

// isUnknownCommand reports whether the server has no command of that name.
func isUnknownCommand(err error) bool {
	return dispatch.HasPrefix(err, "ERR unknown command", "ERR Unknown command", "unknown command")
}

// isWithheld reports whether a command is refused to this user, or to all users.
func isWithheld(err error) bool {
	if isUnknownCommand(err) || dispatch.HasPrefix(err, "NOPERM") {
		return true
	}
	text := strings.ToLower(err.Error())
	return isReply(err) && slices.ContainsFunc([]string{"not allowed", "not supported", "unsupported", "disabled", "not permitted"},
		func(words string) bool { return strings.Contains(text, words) })
}
