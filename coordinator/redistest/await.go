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

// await calls check until it returns nil, for at most 30 s. It waits for states of a
// server that send no notification, such as a replica's link or a Cluster's state.
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
