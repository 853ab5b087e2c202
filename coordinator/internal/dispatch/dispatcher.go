package dispatch

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/redisclient"
)

// Config is the configuration of a dispatcher.
type Config struct {
	Client  redis.UniversalClient
	Prefix  string
	Breaker time.Duration // see breaker
	// MaxFlight bounds a pipeline's time in flight, whatever the client's timeouts are. A
	// batch can't take effect after it, so a repeat is harmless.
	MaxFlight     time.Duration
	ClusterRemedy string // for a client that can't follow a Cluster's redirections
	Logger        *slog.Logger
	Now           func() time.Time
}

// A Dispatcher sends the commands of a node's lanes. Use New, then Bind, then Wake.
type Dispatcher struct {
	config    Config
	client    redis.UniversalClient
	cluster   redisclient.Cluster // nil unless the client is a Cluster's
	single    string              // address of the only server, unless it is a Cluster
	deadlines bool                // commands have one, see sendContext
	node      *lane.Node
	ctx       context.Context //nolint:containedctx // the dispatcher's lifetime; no caller's context reaches Redis
	cancel    context.CancelFunc

	mu      sync.RWMutex
	servers map[string]*server
	open    atomic.Int64   // breakers that are not closed
	workers sync.WaitGroup // of servers; started only while a lane runs
}

// New returns a dispatcher for the node that Bind sets.
func New(config Config) *Dispatcher {
	config.MaxFlight = cmp.Or(config.MaxFlight, DefaultMaxFlight)
	d := &Dispatcher{
		config: config, servers: make(map[string]*server), client: bounded(config.Client, config.readLimit()),
		cluster: redisclient.ClusterOf(config.Client), deadlines: takesDeadlines(config.Client),
	}
	if o := redisclient.OptionsOf(config.Client); o != nil {
		d.single = o.Addr
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Bind sets the node whose commands are sent.
func (d *Dispatcher) Bind(node *lane.Node) { d.node = node }

// Wake sends the commands of a lane, from now on or after a delay, until the lane has
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

// Abandoned returns the number of abandoned pipelines that are still in flight.
func (d *Dispatcher) Abandoned() (n int) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, s := range d.servers {
		n += int(s.hung.Load())
	}
	return n
}

// Wait returns when no worker is running. No lane may be running by then.
func (d *Dispatcher) Wait() { d.workers.Wait() }

// Stop cancels the commands in flight.
func (d *Dispatcher) Stop() { d.cancel() }

// Breakers calls do with each server's address and the state of its breaker.
func (d *Dispatcher) Breakers(do func(address string, state BreakerState)) {
	d.dropReplaced()
	d.mu.RLock()
	defer d.mu.RUnlock()
	for address, s := range d.servers {
		do(address, s.breaker.state())
	}
}

// server returns the server of a key. A Cluster's client follows redirections by itself,
// so an outdated result only reduces grouping.
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

// address returns the address of a key's server, or "" if a Cluster has none.
func (d *Dispatcher) address(key string) string {
	if d.cluster == nil {
		return d.single
	}
	master, err := d.cluster.MasterForKey(d.ctx, key)
	if err != nil {
		return ""
	}
	return master.Options().Addr
}

// dropReplaced removes the servers that no longer have their keys, so that the breaker of
// a replaced server isn't reported forever.
func (d *Dispatcher) dropReplaced() {
	d.mu.RLock()
	known := slices.Collect(maps.Values(d.servers))
	d.mu.RUnlock()
	for _, s := range known {
		if d.address(s.key) == s.address || !s.retire() {
			continue // a server with work is checked again when it is idle
		}
		d.mu.Lock()
		if d.servers[s.address] == s {
			delete(d.servers, s.address)
		}
		d.mu.Unlock()
	}
}

// send runs commands; each carries its own error. Callers' contexts do not apply: one
// that ends must not cancel the other commands of its pipeline.
func (d *Dispatcher) send(cmds []redis.Cmder) {
	ctx, cancel := d.sendContext()
	defer cancel()
	switch len(cmds) {
	case 0:
	case 1:
		_ = d.client.Process(ctx, cmds[0]) // the command carries the error
	default:
		pipe := d.client.Pipeline()
		for _, cmd := range cmds {
			_ = pipe.Process(ctx, cmd) // only queues; cannot fail
		}
		if _, err := pipe.Exec(ctx); err != nil {
			stamp(cmds, err)
		}
	}
}

// reloadTopology makes go-redis look for the masters again after a failure: it learns of
// a promoted master by redirections, but a dead server sends none. go-redis runs at most
// one reload at a time.
func (d *Dispatcher) reloadTopology(cmds []redis.Cmder) {
	if d.cluster == nil {
		return
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			switch Classify(err) {
			case lane.FailureLost, lane.FailureUnsent, lane.FailureTransient:
				d.cluster.ReloadState(d.ctx)
				return
			case lane.FailureUnknown, lane.FailureNoScript, lane.FailureOutOfMemory, lane.FailureRejected, lane.Failures:
			}
		}
	}
}
