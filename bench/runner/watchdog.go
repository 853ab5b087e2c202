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

// A Redis is gone if it has accepted no connection for a second: a supervisor may restart
// it, and a slow server isn't gone.
const (
	goneAfter = time.Second
	dialEvery = 100 * time.Millisecond
)

// Watchdog watches the Redis of a space. The returned context ends with ctx, or when Redis
// is gone or the space gives it up; then the nodes are closed, too, so that no call waits
// for an answer that cannot come. end ends the watch and returns the loss, or nil.
func Watchdog(ctx context.Context, space *scratch.Space, nodes func() []*coordinator.Coordinator) (watched context.Context, end func() error) {
	watched, cancel := context.WithCancel(ctx)
	var loss error
	var once sync.Once
	lose := func(err error) {
		once.Do(func() {
			loss = exit.With(exit.Unavailable, err)
			cancel()
			for _, node := range nodes() {
				_ = node.Close(watched) // has ended: calls in flight become unknown at once
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

// awaitLoss returns the last error once no connection has been accepted for goneAfter, or
// nil at the end of ctx. It holds a silent connection, which ends with the server.
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

// awaitEnd returns when the connection or ctx ends.
func awaitEnd(ctx context.Context, conn net.Conn) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close()
	var discarded [64]byte
	for {
		if _, err := conn.Read(discarded[:]); err != nil {
			return
		}
	}
}
