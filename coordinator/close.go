package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/wording"
)

// closing is the state of a node's end, shared by all calls of Close.
type closing struct {
	begin, end sync.Once
	done       chan struct{}
	// The result, valid once done is closed.
	err error
	cut bool // a context ended before the work was done
}

// Close closes the node: later calls get [ErrClosed], calls under way are answered (a Do
// after its work is settled), holds of abandoned reserves are released, and the node's
// sessions in Redis are closed. If ctx ends first, Close returns an error with the number
// of unresolved operations and gives up on them; their holds end at their deadlines. Give
// ctx a deadline: without Redis, Close waits for it.
//
// Close may be called again. Each call obeys its own context, the first that ends closes
// the node for all of them, and all return the result.
func (c *Coordinator) Close(ctx context.Context) error {
	e := &c.closing
	e.begin.Do(func() {
		c.node.Close()
		c.policy.stop()
		go c.close()
	})
	select {
	case <-e.done:
	default:
		select {
		case <-e.done:
		case <-ctx.Done():
			c.node.Die() // lanes answer their calls and end
			c.endClose(c.unresolved(ctx), true)
		}
	}
	if e.cut && ctx.Err() != nil && !errors.Is(e.err, ctx.Err()) {
		return c.unresolved(ctx) // another context ended first
	}
	return e.err
}

func (c *Coordinator) unresolved(ctx context.Context) error {
	return fmt.Errorf("%w: %s unresolved: %w", ErrUnavailable, wording.Count(c.node.InFlight(), "operation"), lane.Interrupted(ctx))
}

// close does the work of Close. If a server hangs, it may still run after endClose, until
// go-redis gives up.
func (c *Coordinator) close() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-c.closing.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	drained := c.node.Drain(ctx)
	if err := c.telemetry.stop(); err != nil { // it waits for a collection that is under way
		c.config.logger.Warn("bursar: could not unregister metrics", "error", err)
	}
	if drained != nil {
		return // lanes may still run and use their sessions
	}
	c.node.WaitIdle() // a lane may still back off for calls that have been abandoned
	err := c.node.CloseSessions(ctx)
	if err == nil {
		c.dispatcher.Wait()
	}
	c.endClose(err, false)
}

// endClose sets the result, once.
func (c *Coordinator) endClose(err error, cut bool) {
	c.closing.end.Do(func() {
		c.closing.err, c.closing.cut = err, cut
		c.dispatcher.Stop()
		close(c.closing.done)
	})
}
