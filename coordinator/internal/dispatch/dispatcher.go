package dispatch

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/lane"
)

// Config is what a dispatcher needs to know.
type Config struct {
	Client  redis.UniversalClient
	Prefix  string
	Breaker time.Duration // see breaker
	Logger  *slog.Logger
	Now     func() time.Time
}

// A Dispatcher carries the commands of a node's lanes. Use New, then Bind, then Wake.
type Dispatcher struct {
	config Config
	node   *lane.Node
	ctx    context.Context //nolint:containedctx // the dispatcher's own life; no caller's context reaches Redis
	cancel context.CancelFunc

	mu      sync.RWMutex
	servers map[string]*server
	open    atomic.Int64   // breakers that are not closed
	workers sync.WaitGroup // of servers; each begins while a lane runs
}

// New returns a dispatcher for a node that Bind names.
func New(config Config) *Dispatcher {
	d := &Dispatcher{config: config, servers: make(map[string]*server)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Bind names the node whose lanes are carried.
func (d *Dispatcher) Bind(node *lane.Node) { d.node = node }

// Wake carries the commands of a lane from now on, or after a delay, until the lane has
// none.
func (d *Dispatcher) Wake(l *lane.Lane, delay time.Duration) { d.carry(l, l.Keys().Ledger, delay) }

func (d *Dispatcher) carry(s source, key string, delay time.Duration) {
	if delay == 0 {
		d.server(key).push(job{s, key})
		return
	}
	time.AfterFunc(delay, func() { d.server(key).push(job{s, key}) })
}

// Admits reports whether the breaker of a lane's server lets a call through.
func (d *Dispatcher) Admits(l *lane.Lane) bool {
	return d.open.Load() == 0 || d.server(l.Keys().Ledger).breaker.admits(d.config.Now())
}

// Wait returns when no worker runs; no lane may be running by then.
func (d *Dispatcher) Wait() { d.workers.Wait() }

// Stop ends what is under way.
func (d *Dispatcher) Stop() { d.cancel() }

// Breakers calls do with the address and the breaker's state of each server.
func (d *Dispatcher) Breakers(do func(address string, state BreakerState)) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for address, s := range d.servers {
		do(address, s.breaker.state())
	}
}

// server returns that of a key. A cluster client follows redirections by itself, so an
// outdated answer costs only some grouping.
func (d *Dispatcher) server(key string) *server {
	address := d.address(key)
	d.mu.RLock()
	s, ok := d.servers[address]
	d.mu.RUnlock()
	if ok {
		return s
	}
	d.mu.Lock()
	if s, ok = d.servers[address]; !ok {
		s = &server{d: d, address: address, key: key, breaker: breaker{after: d.config.Breaker}}
		d.servers[address] = s
	}
	d.mu.Unlock()
	if !ok {
		d.dropReplaced()
	}
	return s
}

// address is that of the server of a key, or empty while a Cluster has none.
func (d *Dispatcher) address(key string) string {
	switch client := d.config.Client.(type) {
	case *redis.ClusterClient:
		master, err := client.MasterForKey(d.ctx, key)
		if err != nil {
			return ""
		}
		return master.Options().Addr
	case *redis.Client:
		return client.Options().Addr
	default:
		return ""
	}
}

// dropReplaced removes the servers that no longer have their keys, so that the breaker
// of a server that was replaced isn't reported for ever.
func (d *Dispatcher) dropReplaced() {
	d.mu.RLock()
	known := slices.Collect(maps.Values(d.servers))
	d.mu.RUnlock()
	for _, s := range known {
		if d.address(s.key) == s.address || !s.retire() {
			continue // one that has work is looked at again when it rests
		}
		d.mu.Lock()
		if d.servers[s.address] == s {
			delete(d.servers, s.address)
		}
		d.mu.Unlock()
	}
}

// send runs commands; each carries its own error. Callers' contexts have no part in
// it: a call that ends must not cut off the others in its pipeline.
func (d *Dispatcher) send(cmds []redis.Cmder) {
	switch len(cmds) {
	case 0:
	case 1:
		_ = d.config.Client.Process(d.ctx, cmds[0]) // the command carries the error
	default:
		pipe := d.config.Client.Pipeline()
		for _, cmd := range cmds {
			_ = pipe.Process(d.ctx, cmd) // queues; cannot fail
		}
		_, _ = pipe.Exec(d.ctx) // the commands carry the errors
	}
}

// reloadTopology: go-redis learns of a promoted master by redirections, and a dead one
// redirects no client. go-redis runs at most one reload at a time.
func (d *Dispatcher) reloadTopology(cmds []redis.Cmder) {
	cluster, ok := d.config.Client.(*redis.ClusterClient)
	if !ok {
		return
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			switch Classify(err) {
			case lane.FailureLost, lane.FailureUnsent, lane.FailureTransient:
				cluster.ReloadState(d.ctx)
				return
			case lane.FailureNoScript, lane.FailureOutOfMemory, lane.FailureRejected, lane.Failures:
			}
		}
	}
}
