package coordinator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// readyScript writes nothing, and a replica refuses it like every script of a node.
const readyScript = "#!lua flags=allow-oom\nreturn 1"

// Ready is for health endpoints: nil where the node is open and each server that
// holds budgets runs a script now, else an ErrClosed or an ErrUnavailable that names
// the server. It waits until ctx ends, and for the node's call timeout at the most.
// Callers at one time share the question.
// A node that is not ready need not be restarted: it goes on by itself.
func (c *Coordinator) Ready(ctx context.Context) error {
	if c.node.Closed() {
		return ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.callTimeout)
	defer cancel()
	asked := c.ready()
	select {
	case <-asked.done:
		return asked.err
	case <-ctx.Done(): // go-redis waits for its own timeouts
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, asked.silent(), context.Cause(ctx))
	}
}

// readiness is a question to all servers, of which one is under way at a time: a
// server that hangs is not asked again by every health check.
type readiness struct {
	done chan struct{}
	err  error // once it is done

	mu      sync.Mutex
	waiting map[string]bool // servers
}

// ready returns the question that is under way, or asks.
func (c *Coordinator) ready() *readiness {
	c.readyMu.Lock()
	defer c.readyMu.Unlock()
	if c.check != nil {
		return c.check
	}
	r := &readiness{done: make(chan struct{}), waiting: make(map[string]bool)}
	c.check = r
	go func() {
		r.err = c.askServers(r)
		c.readyMu.Lock()
		c.check = nil
		c.readyMu.Unlock()
		close(r.done)
	}()
	return r
}

func (c *Coordinator) askServers(r *readiness) error {
	ctx := context.Background() // callers share the check; go-redis' timeouts end it
	cluster, ok := c.client.(*redis.ClusterClient)
	if !ok {
		return c.runsScripts(ctx, r, c.client, "Redis")
	}
	err := cluster.ForEachMaster(ctx, func(_ context.Context, master *redis.Client) error {
		return c.runsScripts(ctx, r, master, master.Options().Addr)
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

func (c *Coordinator) runsScripts(ctx context.Context, r *readiness, server redis.UniversalClient, name string) error {
	script := readyScript
	if c.bare {
		script = "return 1"
	}
	r.await(name, true)
	defer r.await(name, false)
	cmd := redis.NewCmd(ctx, "eval", script, "0")
	if err := server.Process(ctx, cmd); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, name, err)
	}
	return nil
}

func (r *readiness) await(name string, waiting bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if waiting {
		r.waiting[name] = true
	} else {
		delete(r.waiting, name)
	}
}

// silent names the servers that have not answered.
func (r *readiness) silent() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		return "the Cluster's masters are not found"
	}
	return strings.Join(slices.Sorted(maps.Keys(r.waiting)), ", ")
}
