package coordinator

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/dispatch"
	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/internal/preflight"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// A Coordinator is one node of a fleet that shares budgets through one Redis. It is a
// [budget.Engine], safe for concurrent use; a process needs one for each Redis. Close it
// before its client.
type Coordinator struct {
	client     redis.UniversalClient
	config     config
	partitions int
	scripts    luascripts.Scripts
	bare       bool // the server is miniredis
	node       *lane.Node
	dispatcher *dispatch.Dispatcher
	telemetry  *telemetry

	readyMu sync.Mutex
	check   *readiness // in progress, or nil

	policy  policyWatch
	closing closing
}

var _ budget.Engine = (*Coordinator)(nil)

// New returns a node of a fleet. It checks the Redis that the client is connected to, and
// returns an [ErrUnfit] or an [ErrUnavailable] that names the problem and the remedy. The
// client may be a single server's, Sentinel's or a Cluster's; the caller still owns it.
// [redis.Ring] is rejected: it has no failover, so a lost shard would lose money.
func New(ctx context.Context, client redis.UniversalClient, opts ...Option) (*Coordinator, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	checks := cfg.preflight(client)
	dialect, err := preflight.Start(ctx, client, checks)
	if err != nil {
		return nil, err
	}
	record, err := preflight.Adopt(ctx, client, checks)
	if err != nil {
		return nil, err
	}
	c := &Coordinator{
		client: client, config: cfg, partitions: record.Partitions,
		scripts: luascripts.Compose(dialect), bare: dialect == luascripts.Miniredis,
		closing: closing{done: make(chan struct{})},
	}
	c.dispatcher = dispatch.New(dispatch.Config{
		Client: client, Prefix: cfg.prefix, Breaker: cfg.breaker, MaxFlight: cfg.maxFlight,
		ClusterRemedy: preflight.ClusterRemedy(client), Logger: cfg.logger, Now: cfg.now,
	})
	t, err := newTelemetry(c)
	if err != nil {
		_ = t.stop()
		return nil, fmt.Errorf("making the instruments: %w", err)
	}
	c.telemetry = t
	c.node = lane.NewNode(lane.Config{
		Prefix: cfg.prefix, Partitions: record.Partitions, Scripts: c.scripts,
		Store: store.Config{
			HoldTTL: cfg.holdTTL.Milliseconds(), Retention: cfg.retention.Milliseconds(), Ring: cfg.retained, MaxHolds: cfg.maxHolds,
		},
		RepairWindow: cfg.repairWindow, RepairBytes: cfg.repairBytes,
		TenantQueue: cfg.perTenant, TotalQueue: cfg.total, CallTimeout: cfg.callTimeout,
		Clock: cfg.clock, Now: cfg.now, Entropy: cfg.entropy, Logger: cfg.logger, Observer: t, Wake: c.dispatcher.Wake,
	})
	c.dispatcher.Bind(c.node)
	if err := t.register(c); err != nil {
		_ = t.stop()
		return nil, fmt.Errorf("making the instruments: %w", err)
	}
	c.watchPolicy()
	cfg.logger.Info("bursar: node started", "node", store.HexID(c.node.ID()), "prefix", cfg.prefix, "partitions", record.Partitions, "hold_ttl", cfg.holdTTL)
	return c, nil
}

// do sends a call and waits for its answer.
func (c *Coordinator) do(ctx context.Context, op operation, call *lane.Call) (lane.Answer, budget.ReservationID, error) {
	o := c.telemetry.begin(ctx, op)
	a, id, err := c.send(ctx, call)
	c.telemetry.end(ctx, o, a, err)
	return a, id, err
}

func (c *Coordinator) send(ctx context.Context, call *lane.Call) (lane.Answer, budget.ReservationID, error) {
	if ctx.Err() != nil {
		return lane.Answer{}, budget.ReservationID{}, &lane.UnsentError{Ended: lane.Interrupted(ctx)}
	}
	if err := c.node.Admit(); err != nil {
		return lane.Answer{}, budget.ReservationID{}, err
	}
	if !call.Settles() && !c.dispatcher.Admits(c.node.LaneOf(call.Tenant())) {
		c.node.Done()
		return lane.Answer{}, budget.ReservationID{}, c.breakerOpen()
	}
	return c.node.Do(ctx, call)
}

func (c *Coordinator) breakerOpen() error {
	return fmt.Errorf("%w for %s or longer: the circuit breaker is open, and the operation was not sent", ErrUnavailable, c.config.breaker)
}

func randomBits() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, as documented
	return binary.LittleEndian.Uint64(b[:])
}
