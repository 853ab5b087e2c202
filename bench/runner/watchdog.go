package runner

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/scratch"
)

// How a Redis is found to be gone: it accepts no connection. A supervisor may start
// it again at once, and one that answers slowly is not gone.
const (
	goneAfter = time.Second
	dialEvery = 100 * time.Millisecond
)

// Watchdog watches over the Redis of a space. The context that it returns ends with ctx, or
// when Redis is gone; then nodes are closed as well, so that nobody waits longer for an
// answer that cannot come. A Redis that the space gives up after an interruption is gone
// too. end ends the vigil, and returns the loss, or nil.
func Watchdog(ctx context.Context, space *scratch.Space, nodes func() []*coordinator.Coordinator) (watched context.Context, end func() error) {
	watched, cancel := context.WithCancel(ctx)
	var loss error
	var once sync.Once
	lose := func(err error) {
		once.Do(func() {
			loss = exit.With(exit.Unavailable, err)
			cancel()
			for _, node := range nodes() {
				_ = node.Close(watched) // which has ended: what they cannot finish is in doubt
			}
		})
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := awaitLoss(watched, space.Dialer()); err != nil {
			lose(fmt.Errorf("%s is gone in the middle of the run: %w", space.Name, err))
		}
	})
	over := make(chan struct{})
	watching.Go(func() {
		select {
		case <-space.Lifetime().Done():
			lose(fmt.Errorf("interrupted, and %s does not answer", space.Name))
		case <-over:
		}
	})
	return watched, func() error {
		cancel()
		close(over)
		watching.Wait()
		return loss
	}
}

// awaitLoss returns what was wrong when nobody accepted a connection for a while, or
// the last time before ctx ended; else nil. It holds a connection on which nothing is
// ever said, so that the end of the process at the other side is its end.
func awaitLoss(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
	var refused error
	for accepted := time.Now(); ctx.Err() == nil && time.Since(accepted) < goneAfter; {
		conn, err := dial(ctx)
		switch {
		case err == nil:
			awaitEnd(ctx, conn)
			accepted, refused = time.Now(), nil
		case ctx.Err() == nil:
			refused = err
		}
		select {
		case <-ctx.Done():
		case <-time.After(dialEvery):
		}
	}
	return refused
}

// awaitEnd returns when the connection, or ctx, has ended.
func awaitEnd(ctx context.Context, conn net.Conn) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close()
	var said [64]byte
	for {
		if _, err := conn.Read(said[:]); err != nil {
			return
		}
	}
}
