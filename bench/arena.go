package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/scratch"
	"github.com/calybris/bursar/local"
)

// arena is where a run takes place: the engine's nodes, the tenants with their
// budgets, and the Redis behind, if any.
type arena struct {
	name    string
	nodes   []budget.Engine
	tenants []budget.TenantID
	budgets []budget.Microcents

	space   *scratch.Space // nil with the local engine
	prefix  string
	mark    string // in the name of every tenant, where others may use the prefix
	server  *report.Server
	closers []func(context.Context) error
}

// openArena returns the arena with every tenant created and every node
// acquainted with it, or nothing and no trace of it.
func openArena(ctx context.Context, c Config, unit budget.Microcents) (*arena, error) {
	a := new(arena)
	var err error
	if a.budgets, err = budgetsOf(c, unit); err != nil {
		return nil, err
	}
	if c.Engine == report.EngineLocal {
		err = a.openLocal()
	} else {
		err = a.openRedis(ctx, c)
	}
	if err == nil {
		a.tenants = tenantNames(c.Tenants, a.mark)
		err = a.prepare(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, a.close(ctx))
	}
	return a, nil
}

func (a *arena) openLocal() error {
	engine, err := local.New()
	if err != nil {
		return err
	}
	a.name, a.nodes = "no Redis", []budget.Engine{engine}
	return nil
}

func (a *arena) openRedis(ctx context.Context, c Config) error {
	space, err := scratch.Open(ctx, c.Redis)
	if err != nil {
		return err
	}
	a.space, a.name = space, space.Name
	if err := a.takePlace(ctx, c); err != nil {
		return err
	}
	a.server = &report.Server{Mode: report.ModeEmbedded}
	if c.Redis != scratch.Embedded {
		a.server = describeServer(ctx, space.Client())
	}
	logger := c.Logger
	if logger == nil || c.Redis == scratch.Embedded || c.Redis == scratch.Spawn {
		logger = slog.New(slog.DiscardHandler) // what would be warned of is our own choice
	}
	queue := c.Concurrency + prepareWidth // every caller may ask for the same tenant
	for range c.Nodes {
		node, err := coordinator.New(ctx, space.Client(),
			coordinator.WithKeyPrefix(a.prefix), coordinator.WithLogger(logger),
			coordinator.WithQueueLimits(queue, queue))
		if err != nil {
			return exit.With(exit.Unavailable, fmt.Errorf("%s: %w", a.name, err))
		}
		a.nodes, a.closers = append(a.nodes, node), append(a.closers, node.Close)
		logger = slog.New(slog.DiscardHandler) // one node has said it for all
	}
	return nil
}

// prepareWidth is how many tenants are prepared at once.
const prepareWidth = 64

// prepare creates the tenants, and lets every node ask for each once: what only
// the first call does is done before the clock starts.
func (a *arena) prepare(ctx context.Context) error {
	return forEach(ctx, len(a.tenants), func(i int) error {
		ensured, err := a.nodes[0].EnsureTenant(ctx, a.tenants[i], a.budgets[i])
		if err == nil && ensured.Outcome != budget.Created {
			err = fmt.Errorf("creating tenant %q: the answer is %s", a.tenants[i], ensured.Outcome)
		}
		for _, node := range a.nodes {
			if err == nil {
				_, err = node.Remaining(ctx, a.tenants[i])
			}
		}
		return exit.With(exit.Unavailable, err)
	})
}

// forEach calls do for 0 to count-1, some at a time, until one fails.
func forEach(ctx context.Context, count int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for first := range min(prepareWidth, count) {
		all.Go(func() {
			for i := first; i < count && ctx.Err() == nil; i += prepareWidth {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// stop ends the nodes, so that what they still resolve is in the books.
func (a *arena) stop(ctx context.Context) error {
	var errs []error
	for _, closeNode := range a.closers {
		errs = append(errs, exit.With(exit.Unavailable, closeNode(ctx)))
	}
	a.closers = nil
	return errors.Join(errs...)
}

// close stops the nodes and gives back the Redis; ctx does not cut it short.
func (a *arena) close(ctx context.Context) error {
	err := a.stop(context.WithoutCancel(ctx))
	if a.space != nil {
		err = errors.Join(err, a.space.Close(ctx))
	}
	return err
}

// readBooks asks Redis itself, over a connection of its own; without a Redis,
// the engine.
func (a *arena) readBooks(ctx context.Context) (map[budget.TenantID]budget.HoldList, error) {
	if a.space != nil {
		all, err := a.readRedis(ctx)
		return all, exit.With(exit.Unavailable, err)
	}
	all := make(map[budget.TenantID]budget.HoldList, len(a.tenants))
	for _, tenant := range a.tenants {
		account, err := a.nodes[0].Holds(ctx, tenant)
		if err != nil {
			return nil, err
		}
		all[tenant] = account
	}
	return all, nil
}

// The spread of budgets: the smallest tenant can pay for a few requests, the
// largest for 64 million times as many, in steps of two. So some run out on any
// machine, and some on none.
const (
	smallestBudget = 1  // typical holds; a request costs about a quarter of one
	budgetSteps    = 26 // doublings up to the largest
	stormBudget    = 4  // typical holds, of every tenant in a storm
)

func budgetsOf(c Config, unit budget.Microcents) ([]budget.Microcents, error) {
	budgets := make([]budget.Microcents, c.Tenants)
	var sum budget.Microcents
	for i := range budgets {
		amount, steps := c.Budget, 0
		switch {
		case amount == 0 && c.Workload == WorkloadStorm && c.Trace == "":
			amount = stormBudget * unit
		case amount == 0:
			amount, steps = smallestBudget*unit, budgetSteps
			if c.Tenants > 1 {
				steps = i * budgetSteps / (c.Tenants - 1)
			}
		}
		var err error
		if amount > budget.MaxMicrocents>>steps {
			err = budget.ErrOverflow
		} else {
			budgets[i] = amount << steps
			sum, err = sum.Add(budgets[i])
		}
		if err != nil {
			return nil, exit.With(exit.Usage, fmt.Errorf("the budgets of %d tenants: %w; lower the prices, --budget or --tenants", c.Tenants, err))
		}
	}
	return budgets, nil
}
