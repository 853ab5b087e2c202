package dispatch

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/luascripts"
)

// A source produces commands for a server, one at a time: a lane, or a read.
type source interface {
	// Next returns the next command, or nil.
	Next() []any
	// Abandoned is called before Handle if the command may still be in flight.
	Abandoned()
	// Handle processes the reply and returns the time to wait before the next command.
	Handle(r lane.Reply) time.Duration
	// Answering and Answer are those of a lane.
	Answering() bool
	Answer()
	// Continue reports whether there is a next command; if not, the source becomes idle.
	Continue() bool
}

// read is a script call that writes nothing and is repeated until it is answered.
type read struct {
	script  *luascripts.Script
	keys    []string
	args    []any
	source  bool // send the source, not the SHA
	backoff time.Duration
	unknown int         // number of replies that prove nothing
	left    atomic.Bool // its caller has given up
	settled bool
	done    chan lane.Reply
}

const (
	firstReadBackoff = 2 * time.Millisecond
	maxReadBackoff   = 400 * time.Millisecond
	maxUnknown       = 2
)

// Next implements source.
func (r *read) Next() []any {
	if r.left.Load() {
		r.settled = true
		return nil
	}
	words := []any{"evalsha", r.script.SHA, len(r.keys)}
	if r.source {
		words = []any{"eval", r.script.Source, len(r.keys)}
	}
	for _, key := range r.keys {
		words = append(words, key)
	}
	return append(words, r.args...)
}

// Abandoned implements source.
func (r *read) Abandoned() {}

// Answering implements source.
func (r *read) Answering() bool { return false }

// Answer implements source.
func (r *read) Answer() {}

// Continue implements source.
func (r *read) Continue() bool { return !r.settled }

// Handle implements source.
func (r *read) Handle(reply lane.Reply) time.Duration {
	if reply.Failure == lane.FailureUnknown && reply.Err != nil {
		r.unknown++
	}
	switch {
	case reply.Err == nil || r.unknown >= maxUnknown || reply.Failure == lane.FailureRejected || reply.Failure == lane.FailureOutOfMemory:
		r.settled = true
		r.done <- reply
		return 0
	case reply.Failure == lane.FailureNoScript && !r.source:
		r.source = true
		return 0
	}
	r.backoff = min(max(2*r.backoff, firstReadBackoff), maxReadBackoff)
	return r.backoff
}

// Read runs a script that writes nothing on a partition's server, with the server's
// pipelines and breaker and the caller's deadline. ctx must have a deadline.
func (d *Dispatcher) Read(ctx context.Context, l *lane.Lane, script *luascripts.Script, args []any) ([]any, error) {
	keys := l.Keys()
	r := &read{script: script, keys: []string{keys.Ledger, keys.Timers}, args: args, done: make(chan lane.Reply, 1)}
	d.carry(r, keys.Ledger, 0)
	select {
	case reply := <-r.done:
		if reply.Err != nil {
			return nil, &lane.Rejection{Err: reply.Err, Known: reply.Failure != lane.FailureUnknown}
		}
		words, ok := reply.Value.([]any)
		if !ok {
			return nil, &lane.Rejection{Err: lane.Unreadable(reply.Value)}
		}
		return words, nil
	case <-ctx.Done():
		r.left.Store(true)
		return nil, fmt.Errorf("%w in time: %w", lane.ErrUnavailable, lane.Interrupted(ctx))
	}
}
