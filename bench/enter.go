package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/local"
)

const largestPool = 512

// poolSizes are connections a node at which a contender is measured. Without others
// to compare with, ours has the pool that go-redis gives everybody: size 0.
func (a *arena) poolSizes(c Config) []int {
	if a.space == nil || len(c.Against) == 0 {
		return []int{0}
	}
	return poolSizes(c.Concurrency)
}

func poolSizes(callers int) []int {
	sizes := []int{callers / 16, callers / 4, callers}
	for i := range sizes {
		sizes[i] = min(max(sizes[i], 1), largestPool)
	}
	return slices.Compact(sizes)
}

// enter lets a contender onto a field: its tenants are created, and its nodes made
// for each pool size.
func (a *arena) enter(ctx context.Context, c Config, name string, f field, sizes []int) (*entrant, error) {
	e := &entrant{name: name, field: f}
	var err error
	switch name {
	case contender.Bursar:
		err = a.enterBursar(ctx, c, e, sizes)
	case contender.Local:
		err = a.enterLocal(ctx, c, e)
	default:
		err = a.enterKeeper(ctx, c, e, sizes)
	}
	if err != nil {
		return nil, exit.With(exit.Unavailable, err)
	}
	return e, nil
}

// enterBursar makes coordinators. Every one asks for each tenant once: what only the
// first call does is done before the clock starts.
func (a *arena) enterBursar(ctx context.Context, c Config, e *entrant, sizes []int) error {
	e.accounts = func(ctx context.Context) (map[budget.TenantID]budget.HoldList, error) {
		return a.readRedis(ctx, e.field)
	}
	if c.Processes {
		return a.enterCrews(ctx, c, e, sizes)
	}
	var nodes []budget.Engine
	for _, size := range sizes {
		trips := new(contender.Trips)
		var ours []decider
		for range c.Nodes {
			client := a.space.ClientOf(size)
			client.AddHook(trips)
			node, err := a.coordinator(ctx, client, c, e.field.prefix)
			if err != nil {
				return err
			}
			nodes, ours = append(nodes, node), append(ours, node)
			size = client.Options().PoolSize
		}
		e.addPool(c, size, trips, ours)
	}
	return errors.Join(prepare(ctx, e.field, nodes), e.holdBefore(ctx, c, nodes[0]))
}

// enterCrews starts processes, after a coordinator in this one has created the tenants.
func (a *arena) enterCrews(ctx context.Context, c Config, e *entrant, sizes []int) error {
	node, err := a.coordinator(ctx, a.space.Client(), c, e.field.prefix)
	if err != nil {
		return err
	}
	if err := prepare(ctx, e.field, []budget.Engine{node}); err != nil {
		return err
	}
	for _, size := range sizes {
		trips := new(contender.Trips)
		crew, size, err := a.muster(ctx, c, e.field, size, trips)
		if err != nil {
			return err
		}
		e.addPool(c, size, trips, nil)
		e.pools[len(e.pools)-1].fleet.crew = crew
	}
	return e.holdBefore(ctx, c, node)
}

func (a *arena) coordinator(ctx context.Context, client *redis.Client, c Config, prefix string) (*coordinator.Coordinator, error) {
	node, err := newCoordinator(ctx, client, c, prefix, a.logger)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.name, err)
	}
	a.closers = append(a.closers, node.Close)
	a.meeting.Lock()
	defer a.meeting.Unlock()
	a.nodes = append(a.nodes, node)
	a.logger = slog.New(slog.DiscardHandler) // one node has said it for all
	return node, nil
}

func newCoordinator(ctx context.Context, client *redis.Client, c Config, prefix string, logger *slog.Logger) (*coordinator.Coordinator, error) {
	queue := c.Concurrency + prepareWidth // every caller may ask for the same tenant
	node, err := coordinator.New(ctx, client,
		coordinator.WithKeyPrefix(prefix), coordinator.WithLogger(logger), coordinator.WithQueueLimits(queue, queue),
		coordinator.WithHoldTTL(c.holdTTL()), coordinator.WithMaxHolds(coordinator.DefaultMaxHolds+c.HoldsBefore))
	return node, exit.With(exit.Unavailable, err)
}

// enterLocal makes one engine, which all nodes are.
func (a *arena) enterLocal(ctx context.Context, c Config, e *entrant) error {
	engine, err := local.New(local.WithHoldTTL(c.holdTTL()))
	if err != nil {
		return err
	}
	c.Engine = report.EngineLocal
	e.addPool(c, 0, new(contender.Trips), slices.Repeat([]decider{engine}, c.Nodes))
	e.accounts = func(ctx context.Context) (map[budget.TenantID]budget.HoldList, error) {
		all := make(map[budget.TenantID]budget.HoldList, len(e.field.tenants))
		for _, tenant := range e.field.tenants {
			account, err := engine.Holds(ctx, tenant)
			if err != nil {
				return nil, err
			}
			all[tenant] = account
		}
		return all, nil
	}
	return errors.Join(prepare(ctx, e.field, []budget.Engine{engine}), e.holdBefore(ctx, c, engine))
}

// enterKeeper makes what is written by hand.
func (a *arena) enterKeeper(ctx context.Context, c Config, e *entrant, sizes []int) error {
	for _, size := range sizes {
		trips := new(contender.Trips)
		nodes := make([]decider, c.Nodes)
		for i := range nodes {
			client := a.space.ClientOf(size)
			client.AddHook(trips)
			nodes[i] = contender.New(e.name, client, e.field.prefix)
		}
		e.addPool(c, size, trips, nodes)
	}
	e.keeper = contender.New(e.name, a.space.Client(), e.field.prefix)
	err := forEach(ctx, len(e.field.tenants), func(i int) error {
		return e.keeper.Create(ctx, e.field.tenants[i], e.field.budgets[i])
	})
	if err != nil {
		return fmt.Errorf("preparing the contender %s: %w", e.name, err)
	}
	return nil
}

// prepare creates the tenants, and lets every node ask for each once.
func prepare(ctx context.Context, f field, nodes []budget.Engine) error {
	return forEach(ctx, len(f.tenants), func(i int) error {
		ensured, err := nodes[0].EnsureTenant(ctx, f.tenants[i], f.budgets[i])
		if err == nil && ensured.Outcome != budget.Created {
			err = fmt.Errorf("creating tenant %q: the answer is %s", f.tenants[i], ensured.Outcome)
		}
		for _, node := range nodes {
			if err == nil {
				_, err = node.Remaining(ctx, f.tenants[i])
			}
		}
		return exit.With(exit.Unavailable, err)
	})
}

// holdTTL has the holds of before the measurement outlive it.
func (c Config) holdTTL() time.Duration {
	if c.HoldsBefore == 0 {
		return budget.DefaultHoldTTL
	}
	return 2 * MaxDuration
}

// holdBefore makes the holds that are to be open while others are made and settled.
func (e *entrant) holdBefore(ctx context.Context, c Config, node budget.Engine) error {
	return forEach(ctx, c.HoldsBefore, func(i int) error {
		tenant := i % len(e.field.tenants)
		held, err := node.TryReserve(ctx, e.field.tenants[tenant], 1)
		if err == nil && held.Outcome != budget.Reserved {
			err = fmt.Errorf("a hold of tenant %q before the measurement: the answer is %s; give more --budget", e.field.tenants[tenant], held.Outcome)
		}
		if err == nil {
			e.ledger.Of(0)[tenant].Open.Add(1)
		}
		return err
	})
}
