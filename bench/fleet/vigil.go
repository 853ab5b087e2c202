package fleet

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// How a Redis is found to be gone: it accepts no connection. A supervisor may start
// it again at once, and one that answers slowly is not gone.
const (
	goneAfter = time.Second
	dialEvery = 100 * time.Millisecond
)

// Vigil watches over a Redis. The context that it returns ends with ctx, or when Redis
// is gone; then nodes are closed as well, so that nobody waits longer for an answer
// that cannot come. end ends the vigil, and returns the loss, or nil.
func Vigil(ctx context.Context, name string, options *redis.Options, nodes func() []*coordinator.Coordinator) (watched context.Context, end func() error) {
	watched, cancel := context.WithCancel(ctx)
	var loss error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := awaitLoss(watched, options); err != nil {
			loss = exit.With(exit.Unavailable, fmt.Errorf("%s is gone in the middle of the run: %w", name, err))
			cancel()
			for _, node := range nodes() {
				_ = node.Close(watched) // which has ended: what they cannot finish is in doubt
			}
		}
	}()
	return watched, func() error {
		cancel()
		<-done
		return loss
	}
}

// awaitLoss returns what was wrong when nobody accepted a connection for a while, or
// the last time before ctx ended; else nil. It holds a connection on which nothing is
// ever said, so that the end of the process at the other side is its end.
func awaitLoss(ctx context.Context, options *redis.Options) error {
	var refused error
	for accepted := time.Now(); ctx.Err() == nil && time.Since(accepted) < goneAfter; {
		conn, err := options.Dialer(ctx, options.Network, options.Addr)
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
