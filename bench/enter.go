package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/bench/fleet"
	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/scratch"
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
		return audit.Read(ctx, a.space.Client(), e.field.prefix)
	}
	if c.Processes {
		return a.enterCrews(ctx, c, e, sizes)
	}
	var nodes []budget.Engine
	for _, size := range sizes {
		trips := new(contender.Trips)
		var ours []fleet.Decider
		for range c.Nodes {
			client := a.space.ClientOf(size)
			client.AddHook(trips)
			node, err := a.coordinator(ctx, client, c, e.field.prefix)
			if err != nil {
				return err
			}
			nodes, ours = append(nodes, node), append(ours, node)
			size = scratch.PoolSize(client)
		}
		e.addPool(size, trips, fleet.New(ours, c.fleet(), e.field.tenants))
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
	address, secrets := a.space.Source()
	for _, size := range sizes {
		trips := new(contender.Trips)
		crew := fleet.NewCrew(a.space.Lifetime(), fleet.Assignment{
			Config: c.fleet(), Redis: address, Secrets: secrets, Prefix: e.field.prefix, Tenants: e.field.tenants, PoolSize: size, Nodes: c.Nodes,
		}, e.field.budgets, trips)
		a.closers = append(a.closers, crew.Close)
		size, err := crew.Muster(ctx)
		if err != nil {
			return err
		}
		e.addPool(size, trips, fleet.NewOfProcesses(crew, c.fleet(), e.field.tenants))
	}
	return e.holdBefore(ctx, c, node)
}

func (a *arena) coordinator(ctx context.Context, client redis.UniversalClient, c Config, prefix string) (*coordinator.Coordinator, error) {
	node, err := fleet.NewCoordinator(ctx, client, c.fleet(), prefix, a.logger)
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

// enterLocal makes one engine, which all nodes are.
func (a *arena) enterLocal(ctx context.Context, c Config, e *entrant) error {
	engine, err := local.New(local.WithHoldTTL(c.fleet().HoldTTL))
	if err != nil {
		return err
	}
	ofLocal := c.fleet()
	ofLocal.Local = true
	e.addPool(0, new(contender.Trips), fleet.New(slices.Repeat([]fleet.Decider{engine}, c.Nodes), ofLocal, e.field.tenants))
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
		nodes := make([]fleet.Decider, c.Nodes)
		for i := range nodes {
			client := a.space.ClientOf(size)
			client.AddHook(trips)
			if c.meet != nil {
				c.meet(e.name, client)
			}
			if err := openConnections(ctx, client); err != nil {
				return fmt.Errorf("preparing the contender %s: %w", e.name, err)
			}
			nodes[i] = contender.New(e.name, client, e.field.prefix)
		}
		e.addPool(size, trips, fleet.New(nodes, c.fleet(), e.field.tenants))
	}
	e.keeper = contender.New(e.name, a.space.Client(), e.field.prefix)
	err := fleet.ForEach(ctx, len(e.field.tenants), func(i int) error {
		return e.keeper.Create(ctx, e.field.tenants[i], e.field.budgets[i])
	})
	if err != nil {
		return fmt.Errorf("preparing the contender %s: %w", e.name, err)
	}
	return nil
}

// openConnections fills a client's pool, by holding all connections at once. Callers
// that have to wait for one to be made come one after the other, and do not meet.
func openConnections(ctx context.Context, universal redis.UniversalClient) error {
	client, single := universal.(*redis.Client)
	if !single {
		return nil // a Cluster's pools are its servers'
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var made, given sync.WaitGroup
	made.Add(client.Options().PoolSize)
	for range client.Options().PoolSize {
		given.Go(func() {
			err := client.Watch(ctx, func(tx *redis.Tx) error {
				defer made.Wait()
				defer made.Done()
				return tx.Ping(ctx).Err()
			})
			if err != nil {
				cancel(err)
			}
		})
	}
	given.Wait()
	return context.Cause(ctx)
}

// prepare creates the tenants, and lets every node ask for each once.
func prepare(ctx context.Context, f field, nodes []budget.Engine) error {
	return fleet.ForEach(ctx, len(f.tenants), func(i int) error {
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

// holdBefore makes the holds that are to be open while others are made and settled.
func (e *entrant) holdBefore(ctx context.Context, c Config, node budget.Engine) error {
	return fleet.ForEach(ctx, c.HoldsBefore, func(i int) error {
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
