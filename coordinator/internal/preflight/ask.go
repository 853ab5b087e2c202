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

// An asker puts questions that change nothing, so that each may be repeated until it
// is answered: a lost reply or a server that is loading must not end a start.
type asker struct {
	*progress
	patience time.Duration // for one question, besides the context's
	replica  bool          // it was found to be one, so what it refuses is refused anyway
	silent   error         // of a question without an answer; none is put after it
}

// progress is how far the questions to all servers have come.
type progress struct {
	last  atomic.Pointer[error] // why a question is being repeated
	until atomic.Int64          // end of the patience for the present question, Unix ns
}

func newAsker(patience time.Duration) asker {
	return asker{patience: patience, progress: new(progress)}
}

// ask repeats a question until it is answered, refused for good, or out of time.
func (a *asker) ask(ctx context.Context, question func() error) error {
	if a.silent != nil {
		return a.silent
	}
	until := time.Now().Add(a.patience)
	a.until.Store(until.UnixNano())
	for wait := firstBackoff; ; wait = min(2*wait, maxBackoff) {
		err := question()
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

// late returns the error of a question that was not answered in time.
func (p *progress) late(cause error) error {
	err := fmt.Errorf("no answer in time: %w", cause)
	if last := p.last.Load(); last != nil {
		return fmt.Errorf("%w; the last error was: %v", err, *last) //nolint:errorlint // its text alone
	}
	return err
}

// errPatience is why a question is late if its context has no end.
var errPatience = errors.New("the call timeout has passed")

// hangs reports whether go-redis is still waiting for a reply after the patience.
func (p *progress) hangs() bool {
	until := p.until.Load()
	return until > 0 && time.Now().UnixNano() > until+hangsAfter.Nanoseconds()
}

// hangsAfter is the time for an attempt that began within the patience.
const hangsAfter = time.Second

// isReply reports whether a server said an error. go-redis also returns redis.Nil for
// a Sentinel's master that is not known.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && !errors.Is(err, redis.Nil)
}

// Passes reports whether the same question may be answered if it is repeated. What a
// replica or a Cluster's node says to a client of the wrong kind stays.
func Passes(err error) bool {
	var dial *net.OpError
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	switch {
	case err == nil, errors.Is(err, redis.ErrClosed):
		return false
	case errors.Is(err, redis.Nil):
		return true // the Sentinels may not know the master yet
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

// isWithheld reports whether a command is refused to this user, or to all.
func isWithheld(err error) bool {
	if isUnknownCommand(err) || dispatch.HasPrefix(err, "NOPERM") {
		return true
	}
	text := strings.ToLower(err.Error())
	return isReply(err) && slices.ContainsFunc([]string{"not allowed", "not supported", "unsupported", "disabled", "not permitted"},
		func(words string) bool { return strings.Contains(text, words) })
}
