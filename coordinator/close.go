package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/calybris/bursar/coordinator/wording"
)

// closing is the end of a node, which all calls of Close share.
type closing struct {
	begin, end sync.Once
	done       chan struct{}
	// The result, once it is done.
	err error
	cut bool // a context ended before the work
}

// Close ends the node: calls that come later get ErrClosed, those under way are
// answered (a Do until its work is settled), holds of abandoned reserves are
// released, and the node's sessions are closed. If ctx ends before that is done, the
// node ends with it: Close returns an error that says how many operations remain
// unresolved, and their holds end at their deadlines. Without a deadline it waits for
// as long as Redis does not answer.
//
// Close may be called again. Each call obeys its own context, the first that ends
// ends the node for all of them, and all return the result.
func (c *Coordinator) Close(ctx context.Context) error {
	e := &c.closing
	e.begin.Do(c.beginClose)
	select {
	case <-e.done:
	default:
		select {
		case <-e.done:
		case <-ctx.Done():
			c.dead.Store(true) // lanes answer what they have, and end
			c.endClose(c.unresolved(ctx), true)
		}
	}
	if e.cut && ctx.Err() != nil && !errors.Is(e.err, ctx.Err()) {
		return c.unresolved(ctx) // another context ended first
	}
	return e.err
}

func (c *Coordinator) unresolved(ctx context.Context) error {
	return fmt.Errorf("%w: %s unresolved: %w", ErrUnavailable, wording.Count(c.inFlight.Load(), "operation"), contextError(ctx))
}

func (c *Coordinator) beginClose() {
	if c.config.now().UnixMilli()-c.failedAt.Load() < c.config.repairWindow.Milliseconds() {
		c.suspect() // what nobody restores now, nobody will
	}
	c.closed.Store(true)
	go c.close()
}

// close does the work of Close. What a server that hangs keeps it from ends after
// endClose, when go-redis gives up.
func (c *Coordinator) close() {
	cut := false
	for c.inFlight.Load() > 0 && !cut {
		select {
		case <-c.drained:
		case <-c.closing.done:
			cut = true
		}
	}
	if err := c.telemetry.stop(); err != nil { // it waits for a collection that is under way
		c.config.logger.Warn("bursar: the node's metrics are still registered", "error", err)
	}
	if cut {
		return // lanes may be at work yet, and their sessions are theirs
	}
	c.busy.Wait() // a lane may wait to be tried again for calls whose callers have left
	c.workers.Wait()
	c.endClose(c.closeSessions(c.ctx), false)
}

// endClose sets the result, once.
func (c *Coordinator) endClose(err error, cut bool) {
	c.closing.end.Do(func() {
		c.closing.err, c.closing.cut = err, cut
		c.cancel()
		close(c.closing.done)
	})
}
