package coordinator

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// readyScript writes nothing, and a replica refuses it like every script of a node.
const readyScript = "#!lua flags=allow-oom\nreturn 1"

// Ready is for health endpoints: nil where the node is open and each server that
// holds budgets runs a script now, else an ErrClosed or an ErrUnavailable that names
// the server. It waits until ctx ends, and for the node's call timeout at the most.
// A node that is not ready need not be restarted: it goes on by itself.
func (c *Coordinator) Ready(ctx context.Context) error {
	if c.closed.Load() {
		return ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.callTimeout)
	defer cancel()
	cluster, ok := c.client.(*redis.ClusterClient)
	if !ok {
		return c.runsScripts(ctx, c.client, "Redis")
	}
	return cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		return c.runsScripts(ctx, master, master.Options().Addr)
	})
}

func (c *Coordinator) runsScripts(ctx context.Context, server redis.UniversalClient, name string) error {
	script := readyScript
	if c.scripts.Bare {
		script = "return 1"
	}
	done := make(chan error, 1)
	go func() { done <- server.Eval(c.ctx, script, nil).Err() }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done(): // go-redis waits for its own timeouts
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, name, err)
	}
	return nil
}
