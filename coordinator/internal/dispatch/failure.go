package dispatch

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/lane"
)

// transientErrors begin the error replies that pass by themselves.
var transientErrors = []string{
	"LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "MOVED ", "ASK ",
	"BUSY ", "NOREPLICAS", "UNBLOCKED", "MISCONF", "ERR max number of clients",
}

// Classify returns what an error says about its command.
func Classify(err error) lane.Failure {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" || errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrClosed) {
		return lane.FailureUnsent
	}
	var reply redis.Error
	if !errors.As(err, &reply) {
		return lane.FailureLost
	}
	text := reply.Error()
	switch {
	case strings.HasPrefix(text, "NOSCRIPT"):
		return lane.FailureNoScript
	case strings.HasPrefix(text, "OOM"):
		return lane.FailureOutOfMemory
	}
	for _, prefix := range transientErrors {
		if strings.HasPrefix(text, prefix) {
			return lane.FailureTransient
		}
	}
	return lane.FailureRejected
}

// explain adds the remedy to an error reply.
func (d *Dispatcher) explain(err error) error {
	switch text := err.Error(); {
	case strings.HasPrefix(text, "WRONGTYPE"):
		return fmt.Errorf("%w: a key of a partition has something that Bursar did not write; use another prefix with WithKeyPrefix: %w", lane.ErrCorrupt, err)
	case strings.HasPrefix(text, "NOPERM"), strings.Contains(text, "can't run this command"), strings.Contains(text, "can't access"):
		return fmt.Errorf("the Redis user lacks a right on keys %s:*; grant it with ACL SETUSER: %w", d.config.Prefix, err)
	default:
		return err
	}
}

// isDown reports whether an error means that the server does no work for any client
// now. Redirections concern one slot only.
func isDown(err error) bool {
	switch Classify(err) {
	case lane.FailureLost, lane.FailureUnsent:
		return true
	case lane.FailureTransient:
		text := err.Error()
		return !strings.HasPrefix(text, "TRYAGAIN") && !strings.HasPrefix(text, "MOVED ") && !strings.HasPrefix(text, "ASK ")
	case lane.FailureNoScript, lane.FailureOutOfMemory, lane.FailureRejected, lane.Failures:
	}
	return false
}
