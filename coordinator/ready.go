package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/dispatch"
	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/internal/preflight"
	"github.com/calybris/bursar/coordinator/redisclient"
)

// readyScript writes nothing, yet a replica rejects it like every script of a node.
const readyScript = "#!lua flags=allow-oom\nreturn 1"

// Ready is for health endpoints. It returns nil if the node is open and each server with
// budgets runs a script now, ErrClosed if the node is closed, or an ErrUnavailable that
// names the server. It repeats after a transient failure, such as a lost reply or a
// server that is loading, until ctx ends, and no longer than the node's call timeout.
// Concurrent calls share one check.
//
// A node that isn't ready recovers on its own and need not be restarted.
func (c *Coordinator) Ready(ctx context.Context) error {
	if c.node.Closed() {
		return ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.callTimeout)
	defer cancel()
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 400*time.Millisecond) {
		asked := c.ready()
		select {
		case <-asked.done:
		case <-ctx.Done(): // go-redis waits for its own timeouts
			return fmt.Errorf("%w: %s: %w", ErrUnavailable, asked.silent(), lane.Interrupted(ctx))
		}
		if asked.stuck || !preflight.Passes(asked.err) || c.node.Closed() {
			return asked.err
		}
		select {
		case <-ctx.Done():
			return asked.err
		case <-time.After(wait):
		}
	}
}

// readiness is a check of all servers. Only one runs at a time, so that health checks do
// not pile up at a server that hangs.
type readiness struct {
	done  chan struct{}
	err   error // set before done is closed
	stuck bool  // a command of the node is unanswered, so checking again is useless

	mu      sync.Mutex
	waiting map[string]bool // servers that have not answered
}

// ready returns the check in progress, or starts one.
func (c *Coordinator) ready() *readiness {
	c.readyMu.Lock()
	defer c.readyMu.Unlock()
	if c.check != nil {
		return c.check
	}
	r := &readiness{done: make(chan struct{}), waiting: make(map[string]bool)}
	c.check = r
	go func() {
		var err error
		if c.dispatcher.Within(func() { err = c.askServers(r) }) {
			r.err = err
		} else {
			r.err = fmt.Errorf("%w: %s: %w", ErrUnavailable, r.silent(), dispatch.ErrUnanswered)
		}
		if r.err == nil {
			r.err = c.dispatcher.LongUnanswered()
			r.stuck = r.err != nil
		}
		if r.err != nil && c.node.Dead() {
			r.err = ErrClosed
		}
		c.readyMu.Lock()
		c.check = nil
		c.readyMu.Unlock()
		close(r.done)
	}()
	return r
}

func (c *Coordinator) askServers(r *readiness) error {
	cluster := redisclient.ClusterOf(c.client)
	if cluster == nil {
		return c.runsScripts(r, c.client, "Redis")
	}
	err := cluster.ForEachMaster(context.Background(), func(_ context.Context, master *redis.Client) error {
		return c.runsScripts(r, master, master.Options().Addr)
	})
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

func (c *Coordinator) runsScripts(r *readiness, server redis.UniversalClient, name string) error {
	script := readyScript
	if c.bare {
		script = "return 1"
	}
	r.await(name, true)
	defer r.await(name, false)
	_, err := c.dispatcher.Ask(server, "eval", script, "0")
	if err == nil {
		return nil
	}
	if reply := redis.Error(nil); errors.As(err, &reply) {
		known := dispatch.ClassifyReply(reply) != lane.FailureUnknown
		return &lane.Rejection{Err: fmt.Errorf("%s: %w", name, c.dispatcher.Explain(err)), Known: known}
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, name, err)
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

// silent returns the names of the servers that have not answered.
func (r *readiness) silent() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		return "the Cluster's masters are not found"
	}
	return strings.Join(slices.Sorted(maps.Keys(r.waiting)), ", ")
}
