package coordinator

import (
	"context"
	"fmt"
	"sync"

	"github.com/calybris/bursar/coordinator/internal/lane"
)

// closing is the end of a Coordinator, which several calls of Close share.
type closing struct {
	once   *sync.Once
	ended  chan struct{} // everything is closed
	err    error         // by then
	cancel chan struct{} // the earliest deadline has passed
	cut    *sync.Once
}

func newClosing() closing {
	return closing{once: new(sync.Once), ended: make(chan struct{}), cancel: make(chan struct{}), cut: new(sync.Once)}
}

// Close closes the node: later calls get [ErrClosed], calls under way are answered (a
// Do after its work is settled), holds of abandoned reserves are released, and the
// node's sessions in Redis are closed. If ctx ends before that, Close returns an error
// with the number of unresolved operations, gives up on them, and their holds end at
// their deadlines. Give ctx a deadline: without Redis, Close waits for it. Concurrent
// calls share the work; the earliest deadline ends it for all.
func (c *Coordinator) Close(ctx context.Context) error {
	c.closing.once.Do(func() { go c.close() })
	select {
	case <-c.closing.ended:
		return c.closing.err
	case <-ctx.Done():
		unresolved := c.node.InFlight()
		c.closing.cut.Do(func() { close(c.closing.cancel) })
		return fmt.Errorf("%w: %d operations are unresolved: %w", ErrUnavailable, unresolved, lane.Interrupted(ctx))
	}
}

func (c *Coordinator) close() {
	defer close(c.closing.ended)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		select {
		case <-c.closing.cancel:
			cancel(fmt.Errorf("%w: an earlier Close ran into its deadline", ErrUnavailable))
		case <-ctx.Done():
		}
	}()
	defer c.dispatcher.Stop()
	c.closing.err = c.shutdown(ctx)
}

func (c *Coordinator) shutdown(ctx context.Context) error {
	if err := c.node.Drain(ctx); err != nil {
		c.node.Die()
		go func() { _ = c.telemetry.stop() }()
		return context.Cause(ctx)
	}
	done := make(chan error, 1)
	go func() {
		if err := c.telemetry.stop(); err != nil { // it waits for a collection that is under way
			c.config.logger.Warn("bursar: could not unregister metrics", "error", err)
		}
		c.node.WaitIdle()
		done <- c.node.CloseSessions(ctx)
		c.dispatcher.Wait()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		c.node.Die()
		return context.Cause(ctx)
	}
}
