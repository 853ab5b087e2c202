package redistest

import (
	"context"
	"fmt"
	"time"
)

const (
	startTimeout = 30 * time.Second
	pollInterval = 3 * time.Millisecond
)

// await repeats a question until its answer is nil. What has no notification of
// its own (a replica's link, a Cluster's state) is waited for in this way, for
// 30 s at most.
func await(ctx context.Context, what string, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redistest: waiting for %s: %w; last: %w", what, ctx.Err(), err)
		case <-tick.C:
		}
	}
}
