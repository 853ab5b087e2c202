package dispatch

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/lane"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Err: io.ErrUnexpectedEOF}
	tried := func(written bool, err error) error { return &attemptError{err, written} }
	reply := func(text string) error { return scriptless(text) }
	const raisedAt = " script: 0123456789012345678901234567890123456789, on @user_script:12."
	for _, c := range []struct {
		err  error
		want lane.Failure
	}{
		{io.EOF, lane.FailureLost},
		{tried(true, io.EOF), lane.FailureLost},
		{tried(false, io.EOF), lane.FailureUnsent},
		{errors.New("a limiter's"), lane.FailureLost},
		{tried(false, errors.New("a limiter's")), lane.FailureUnsent},
		{dial, lane.FailureUnsent},
		{tried(true, dial), lane.FailureLost}, // of a second attempt, as a hook may make one
		{redis.ErrPoolTimeout, lane.FailureUnsent},
		{redis.ErrPoolExhausted, lane.FailureUnsent},
		{tried(true, redis.ErrPoolTimeout), lane.FailureLost},
		{redis.ErrClosed, lane.FailureUnsent},
		{reply("upstream failure"), lane.FailureUnknown},
		{reply("ERR upstream failure"), lane.FailureUnknown},
		{reply("ERR"), lane.FailureUnknown},
		{reply(""), lane.FailureUnknown},
		{reply("LOADINGS"), lane.FailureUnknown},
		{reply("OOMS of it"), lane.FailureUnknown},
		{reply("redis: nil"), lane.FailureUnknown},
		{tried(true, reply("upstream failure")), lane.FailureUnknown},
		{tried(false, reply("ERR AUTH called without any password configured")), lane.FailureRejected},
		{tried(false, reply("ERR max number of clients reached")), lane.FailureTransient},
		{reply("LOADING Redis is loading the dataset in memory"), lane.FailureTransient},
		{reply("MOVED 1 127.0.0.1:7000"), lane.FailureTransient},
		{fmt.Errorf("a hook's: %w", reply("BUSY Redis is busy")), lane.FailureTransient},
		{reply("NOSCRIPT No matching script."), lane.FailureNoScript},
		{reply("OOM command not allowed"), lane.FailureOutOfMemory},
		{reply("NOPERM User x has no permissions"), lane.FailureRejected},
		{reply("NOAUTH Authentication required."), lane.FailureRejected},
		{reply("WRONGPASS invalid username-password pair"), lane.FailureRejected},
		{reply("WRONGTYPE Operation against a key"), lane.FailureRejected},
		{reply("ERR unknown command 'evalsha', with args beginning with: "), lane.FailureRejected},
		{reply("ERR ACL failure in script: User x has no permissions" + raisedAt), lane.FailureRejected},
		{reply("ERR BURSAR malformed amount: x" + raisedAt), lane.FailureRejected},
		{reply("READONLY You can't write against a read only replica." + raisedAt), lane.FailureTransient},
	} {
		if got := Classify(c.err); got != c.want {
			t.Errorf("%v (%T): %s, want %s", c.err, c.err, got, c.want)
		}
	}
}

// scriptless is an error reply that no script raised.
type scriptless string

func (e scriptless) Error() string { return string(e) }
func (scriptless) RedisError()     {}
