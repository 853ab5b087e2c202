package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/bench/fleet"
	"github.com/calybris/bursar/bench/host"
	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/scratch"
	"github.com/calybris/bursar/coordinator/wording"
)

// arena is where a run takes place: the tenants with their budgets, ours on them,
// and the Redis behind, if any.
type arena struct {
	field
	name string
	ours *entrant

	space      *scratch.Space   // nil with the local engine
	partitions int              // of ours
	meter      *contender.Meter // nil if Redis does not report it
	server     *report.Server
	logger     *slog.Logger
	closers    []func(context.Context) error

	meeting sync.Mutex // of a vigil and who enters
	nodes   []*coordinator.Coordinator
}

// field is what is played for: tenants and their budgets, under a prefix of their own.
type field struct {
	prefix  string
	tenants []budget.TenantID
	budgets []budget.Microcents
}

// openArena returns the arena with every tenant created and every node of ours
// acquainted with it, in the time of opening; ctx is the whole run's. It must be closed,
// also beside an error.
func openArena(ctx, opening context.Context, c Config, unit budget.Microcents) (*arena, error) {
	a := new(arena)
	var err error
	if a.budgets, err = budgetsOf(c, unit); err != nil {
		return a, err
	}
	name := contender.Bursar
	if c.Engine == report.EngineLocal {
		a.name, name = "no Redis", contender.Local
	} else {
		err = a.openRedis(ctx, opening, c)
	}
	if err == nil {
		a.tenants = tenantNames(c.Tenants)
		a.ours, err = a.enter(opening, c, name, a.field, a.poolSizes(c))
	}
	return a, err
}

func (a *arena) openRedis(ctx, opening context.Context, c Config) error {
	space, err := scratch.Open(ctx, c.Redis, c.Secrets)
	if err != nil {
		return err
	}
	a.space, a.name = space, space.Name
	a.partitions = cmp.Or(c.Partitions, defaultPartitions(space.Client()))
	if c.Opened != nil {
		c.Opened(a.name)
	}
	if err := a.takePlace(opening, c); err != nil {
		return err
	}
	a.server = &report.Server{Mode: report.ModeEmbedded}
	if c.Redis != scratch.Embedded {
		a.server = host.Server(opening, space.Client())
	}
	a.meter = contender.NewMeter(opening, space.ClientOf(1))
	a.logger = c.Logger
	if a.logger == nil || c.Redis == scratch.Embedded || c.Redis == scratch.Spawn {
		a.logger = slog.New(slog.DiscardHandler) // what would be warned of is our own choice
	}
	return nil
}

// defaultPartitions is the number that a coordinator chooses for a new prefix.
func defaultPartitions(client redis.UniversalClient) int {
	if _, cluster := client.(*redis.ClusterClient); cluster {
		return coordinator.DefaultClusterPartitions
	}
	return coordinator.DefaultPartitions
}

// vigil watches over the arena's Redis, if there is one.
func (a *arena) vigil(ctx context.Context) (watched context.Context, end func() error) {
	if a.space == nil {
		return ctx, func() error { return nil }
	}
	return fleet.Vigil(ctx, a.space, func() []*coordinator.Coordinator {
		a.meeting.Lock()
		defer a.meeting.Unlock()
		return slices.Clone(a.nodes)
	})
}

// stop ends the nodes, so that the check sees what they still resolve.
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
	stopping, cancel := context.WithTimeout(a.lifetime(), fleet.StopTimeout)
	defer cancel()
	err := a.stop(stopping)
	if a.space == nil {
		return err
	}
	if a.lifetime().Err() != nil {
		err = nil // what nodes say follows from it
	}
	return errors.Join(err, a.space.Close(ctx))
}

// lifetime is that of the arena's Redis, if there is one.
func (a *arena) lifetime() context.Context {
	if a.space == nil {
		return context.Background()
	}
	return a.space.Lifetime()
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
		case amount == 0 && c.Workload == load.Storm && c.Trace == "":
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
			return nil, exit.With(exit.Usage, fmt.Errorf("the budgets of %s: %w; lower the prices, --budget or --tenants", wording.Count(c.Tenants, "tenant"), err))
		}
	}
	return budgets, nil
}
