package coordinator

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/coordinator/redisclient"
	"github.com/calybris/bursar/luascripts"
)

// Coordinator is one node of a fleet that shares budgets in one Redis. It is a
// [budget.Engine], safe for any number of goroutines; a process needs one for
// each Redis. Close it to end cleanly.
type Coordinator struct {
	client  redis.UniversalClient
	cluster redisclient.Cluster // the client's, nil for one of another kind
	server  string              // address of the one server that there is beside a Cluster
	config  config
	scripts luascripts.Set
	// The scripts that carry batches.
	batchScript, shortScript, mergeScript scriptArguments
	// sharedCalls: one script call may carry several families, where there are no slots.
	sharedCalls bool
	deadlines   bool // commands are sent with one, see sendContext
	telemetry   *telemetry
	// ctx ends when Close gives up waiting; no caller's context reaches Redis.
	ctx    context.Context //nolint:containedctx // it is the coordinator's own life
	cancel context.CancelFunc

	node    atomic.Uint64 // 64 random bits: who this is in every family
	numbers atomic.Uint64 // of batches; one counter, never used twice

	secondMu sync.RWMutex
	seconds  []uint64 // the numbers that it has had in second lanes, the present one last

	lanesMu  sync.RWMutex
	lanes    map[budget.TenantID]*lane
	shardsMu sync.RWMutex
	shards   map[string]*shard
	broken   atomic.Int64   // shards whose breaker is not closed
	busy     sync.WaitGroup // lanes that run; each begins while a call is in flight
	workers  sync.WaitGroup // of shards; each begins while a lane runs

	inFlight  atomic.Int64 // calls that are not resolved
	unasked   atomic.Int64 // of them the node's own: probes, releases of what was abandoned
	failedAt  atomic.Int64 // when Redis last did not answer, in Unix milliseconds
	lossFound func()       // what follows a gap: suspect
	probing   atomic.Bool  // all lanes are being asked
	retained  atomic.Int64 // reservations that lanes retain for a repair
	forgotAt  atomic.Int64 // when room was last made among them, Unix milliseconds
	closed    atomic.Bool
	readyMu   sync.Mutex
	asked     *readiness // under way, or nil
	dead      atomic.Bool
	drained   chan struct{}
	closing   closing
}

var _ budget.Engine = (*Coordinator)(nil)

// New makes a node. It checks what the client is connected to, and returns an
// ErrUnfit, or else an ErrUnavailable, that says what is wrong and what to do. What
// passes by itself (a lost reply, a server that is loading) it asks again until ctx
// ends, each question for the call timeout at most. The client may be a single
// server's, Sentinel's or a Cluster's, or a struct that embeds one; it remains the
// caller's, who closes it after the Coordinator. A Ring is refused: it has no
// failover that money could survive.
func New(ctx context.Context, client redis.UniversalClient, opts ...Option) (*Coordinator, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	dialect, err := start(ctx, client, cfg)
	if err != nil {
		return nil, err
	}
	c := &Coordinator{
		client:  bounded(client, cfg.readLimit()),
		cluster: redisclient.ClusterOf(client),
		config:  cfg,
		scripts: luascripts.Compose(dialect, cfg.layouts),
		lanes:   make(map[budget.TenantID]*lane),
		shards:  make(map[string]*shard),
		drained: make(chan struct{}, 1),
		closing: closing{done: make(chan struct{})},
	}
	if o := redisclient.OptionsOf(client); o != nil {
		c.server, c.sharedCalls = o.Addr, true
	}
	c.deadlines = takesDeadlines(client)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.node.Store(cfg.entropy())
	c.lossFound = c.suspect
	if c.telemetry, err = newTelemetry(c); err != nil {
		_ = c.telemetry.stop()
		return nil, fmt.Errorf("making the instruments: %w", err)
	}
	cfg.logger.Info("bursar: node started", "node", layout.Incarnation(c.node.Load()), "prefix", cfg.prefix, "hold_ttl", cfg.holdTTL)
	return c, nil
}

// submit admits a call, puts it into its lane and waits for the answer.
func (c *Coordinator) submit(ctx context.Context, op *call) (answer, budget.ReservationID, error) {
	o := c.telemetry.begin(ctx, operationOf(op.kind))
	a, id, err := c.carry(ctx, op)
	c.telemetry.end(ctx, o, a, err)
	return a, id, err
}

func (c *Coordinator) carry(ctx context.Context, op *call) (answer, budget.ReservationID, error) {
	if ctx.Err() != nil {
		return answer{}, budget.ReservationID{}, &unsentError{contextError(ctx)}
	}
	if err := c.admit(); err != nil {
		return answer{}, budget.ReservationID{}, err
	}
	if c.broken.Load() > 0 && !op.settles() && !c.home(op.tenant.Root()).breaker.admits(now()) {
		c.leave()
		return answer{}, budget.ReservationID{}, fmt.Errorf("%w, since %s or longer, and the operation was not sent", ErrUnavailable, c.config.breaker)
	}
	return c.dispatch(ctx, op)
}

// admit counts a call as in flight, unless there are too many or none is taken.
func (c *Coordinator) admit() error {
	waiting := c.enter() - c.unasked.Load()
	switch {
	case c.closed.Load():
		c.leave()
		return ErrClosed
	case waiting > int64(c.config.total):
		c.leave()
		return fmt.Errorf("%w: %d in all", ErrOverloaded, c.config.total)
	}
	return nil
}

// dispatch takes over a call that is counted as in flight.
func (c *Coordinator) dispatch(ctx context.Context, op *call) (answer, budget.ReservationID, error) {
	for {
		l := c.laneOf(op)
		start, ok, err := l.enqueue(op)
		if err != nil {
			c.leave()
			return answer{}, budget.ReservationID{}, fmt.Errorf("%w: %d for family %q", err, c.config.perFamily, op.tenant.Root())
		}
		if start {
			c.shardOf(l).push(l)
		}
		if ok {
			a, id, left, err := op.wait(ctx, c.config.callTimeout)
			if left {
				c.leave() // else whoever resolves the call does
			}
			return a, id, err
		}
	}
}

func (c *Coordinator) lane(root budget.TenantID) *lane {
	c.lanesMu.RLock()
	l, ok := c.lanes[root]
	c.lanesMu.RUnlock()
	if ok {
		return l
	}
	c.lanesMu.Lock()
	defer c.lanesMu.Unlock()
	if l, ok = c.lanes[root]; !ok {
		l = newLane(c, root)
		c.lanes[root] = l
	}
	return l
}

func (c *Coordinator) drop(l *lane) {
	c.lanesMu.Lock()
	defer c.lanesMu.Unlock()
	if c.lanes[l.root] == l {
		delete(c.lanes, l.root)
	}
}

// home returns the shard of a family's server.
func (c *Coordinator) home(root budget.TenantID) *shard {
	return c.shard(layout.KeysOf(c.config.prefix, root).Books)
}

// shardOf returns the shard of the server that answers for the lane's keys now.
func (c *Coordinator) shardOf(l *lane) *shard { return c.shard(l.keys.Books) }

// shard returns that of a key. The cluster client follows redirections by itself, so
// an outdated answer costs only some grouping.
func (c *Coordinator) shard(key string) *shard {
	address := c.address(key)
	c.shardsMu.RLock()
	s, ok := c.shards[address]
	c.shardsMu.RUnlock()
	if ok {
		return s
	}
	c.shardsMu.Lock()
	if s, ok = c.shards[address]; !ok {
		s = &shard{c: c, address: address, key: key, breaker: breaker{after: c.config.breaker}}
		c.shards[address] = s
	}
	c.shardsMu.Unlock()
	if !ok {
		c.dropReplaced()
	}
	return s
}

// address is where the server of a key listens. Of a Cluster's servers it is empty
// while none is known.
func (c *Coordinator) address(key string) string {
	if c.cluster == nil {
		return c.server
	}
	master, err := c.cluster.MasterForKey(c.ctx, key)
	if err != nil {
		return ""
	}
	return master.Options().Addr
}

// dropReplaced forgets the shards of servers that no longer answer for what they
// answered for, so that no outage of theirs stays on show.
func (c *Coordinator) dropReplaced() {
	c.shardsMu.RLock()
	known := slices.Collect(maps.Values(c.shards))
	c.shardsMu.RUnlock()
	for _, s := range known {
		if c.address(s.key) == s.address || !s.end() {
			continue // one that is at work looks again when it ends
		}
		c.shardsMu.Lock()
		if c.shards[s.address] == s {
			delete(c.shards, s.address)
		}
		c.shardsMu.Unlock()
	}
}

func (c *Coordinator) enter() int64 { return c.inFlight.Add(1) }

// leave counts a call as resolved; the last one lets Close go on.
func (c *Coordinator) leave() {
	if c.inFlight.Add(-1) == 0 && c.closed.Load() {
		select {
		case c.drained <- struct{}{}:
		default:
		}
	}
}

func (c *Coordinator) nextNumber() uint64 { return c.numbers.Add(1) }

// renumber replaces a node number that somebody else uses, once.
func (c *Coordinator) renumber(cloned uint64) uint64 {
	c.node.CompareAndSwap(cloned, c.config.entropy())
	return c.node.Load()
}

func (c *Coordinator) clockText() string {
	if c.config.clock == nil {
		return ""
	}
	return strconv.FormatInt(max(c.config.clock().UnixMilli(), 1), 10) // times in Redis have no sign
}

func randomBits() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return binary.LittleEndian.Uint64(b[:])
}

// closeSessions ends what Redis keeps of this node (S9). No call is under way,
// so the lanes are this function's. What is not answered is sent again, for the call
// timeout at most: closing a session twice does nothing, and it goes by itself.
func (c *Coordinator) closeSessions(ctx context.Context) error {
	var open []*lane
	c.allLanes(func(l *lane) {
		if l.session.open {
			l.useSource = true
			open = append(open, l)
		}
	})
	var first error
	refused := 0
	ctx, cancel := context.WithTimeout(ctx, c.config.callTimeout)
	defer cancel()
	for wait := firstBackoff; len(open) > 0 && ctx.Err() == nil; wait = min(2*wait, maxBackoff) {
		var again []*lane
		for lanes := range slices.Chunk(open, lanesPerPipeline) {
			for i, err := range c.sendClose(lanes) {
				if err == nil {
					continue
				}
				if first = cmp.Or(first, err); err != errUnanswered && (passes(err) || classify(err) == failureTransient) { //nolint:errorlint // it is never wrapped
					again = append(again, lanes[i])
				} else {
					refused++
				}
			}
		}
		if open = again; len(open) > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	}
	if left := refused + len(open); left > 0 {
		return fmt.Errorf("closing %d of the node's sessions, which go by themselves after 7 days: %w", left, cmp.Or(first, contextError(ctx)))
	}
	return nil
}

// sendClose returns an error for each lane whose session it could not close.
func (c *Coordinator) sendClose(lanes []*lane) []error {
	cmds := make([]redis.Cmder, len(lanes))
	for i, l := range lanes {
		cmds[i] = newCommand(c.ctx, l.command(&c.scripts.Close, 2, l.session.family, l.session.nodeText, l.session.applied.number, c.clockText()))
	}
	errs := make([]error, len(lanes))
	if !c.within(func() { c.send(cmds) }) {
		for i := range errs {
			errs[i] = errUnanswered
		}
		return errs
	}
	c.reloadTopology(cmds)
	for i, cmd := range cmds {
		errs[i] = cmd.Err()
	}
	return errs
}
