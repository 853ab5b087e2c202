package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/runner"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/scratch"
	"github.com/calybris/bursar/coordinator/wording"
	"github.com/calybris/bursar/local"
)

// target is where a run takes place: the tenants with their budgets, ours on them,
// and the Redis behind, if any.
type target struct {
	tenantSet
	name string
	ours *candidate

	space      *scratch.Space       // nil with the local engine
	partitions int                  // of ours
	stats      *baseline.RedisStats // nil if Redis does not report it
	server     *report.Server
	logger     *slog.Logger
	closers    []func(context.Context) error

	meeting sync.Mutex // of a watchdog and who enters
	nodes   []*coordinator.Coordinator
}

// tenantSet is what is played for: tenants and their budgets, under a prefix of their own.
type tenantSet struct {
	prefix  string
	tenants []budget.TenantID
	budgets []budget.Microcents
}

// openTarget returns the target with every tenant created and every node of ours
// acquainted with it, in the time of opening; ctx is the whole run's. It must be closed,
// also beside an error.
func openTarget(ctx, opening context.Context, c Config, unit budget.Microcents) (*target, error) {
	a := new(target)
	var err error
	if a.budgets, err = budgetsOf(c, unit); err != nil {
		return a, err
	}
	name := baseline.Bursar
	if c.Engine == report.EngineLocal {
		a.name, name = "no Redis", baseline.Local
	} else {
		err = a.openRedis(ctx, opening, c)
	}
	if err == nil {
		a.tenants = tenantNames(c.Tenants)
		a.ours, err = a.enter(opening, c, name, a.tenantSet, a.poolSizes(c))
	}
	return a, err
}

func (a *target) openRedis(ctx, opening context.Context, c Config) error {
	space, err := scratch.Open(ctx, c.Redis, c.Secrets)
	if err != nil {
		return err
	}
	a.space, a.name = space, space.Name
	a.partitions = cmp.Or(c.Partitions, defaultPartitions(space.Client()))
	if c.Opened != nil {
		c.Opened(a.name)
	}
	if err := a.takeNamespace(opening, c); err != nil {
		return err
	}
	a.server = &report.Server{Mode: report.ModeEmbedded}
	if c.Redis != scratch.Embedded {
		a.server = report.DescribeServer(opening, space.Client())
	}
	a.stats = baseline.NewRedisStats(opening, space.ClientOf(1))
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

// watchdog watches over the target's Redis, if there is one.
func (a *target) watchdog(ctx context.Context) (watched context.Context, end func() error) {
	if a.space == nil {
		return ctx, func() error { return nil }
	}
	return runner.Watchdog(ctx, a.space, func() []*coordinator.Coordinator {
		a.meeting.Lock()
		defer a.meeting.Unlock()
		return slices.Clone(a.nodes)
	})
}

// stop ends the nodes, so that the check sees what they still resolve.
func (a *target) stop(ctx context.Context) error {
	var errs []error
	for _, closeNode := range a.closers {
		errs = append(errs, exit.With(exit.Unavailable, closeNode(ctx)))
	}
	a.closers = nil
	return errors.Join(errs...)
}

// close stops the nodes and gives back the Redis; ctx does not cut it short.
func (a *target) close(ctx context.Context) error {
	stopping, cancel := context.WithTimeout(a.lifetime(), runner.StopTimeout)
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

// lifetime is that of the target's Redis, if there is one.
func (a *target) lifetime() context.Context {
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
		case amount == 0 && c.Workload == workload.Storm && c.Trace == "":
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

// takeNamespace finds the target's place among the keys of its Redis: a prefix that nobody
// else has. Others may begin to use the user's prefix at any time, and a partition's
// keys have no mark of whose tenants are in it; so under the user's prefix, too, the
// target has a random one of its own.
func (a *target) takeNamespace(ctx context.Context, c Config) error {
	if c.Prefix == "" {
		a.prefix = a.space.Prefix("bench")
		return nil
	}
	switch key, err := a.space.KeyUnder(ctx, c.Prefix); {
	case err != nil:
		return err
	case key != "":
		return exit.With(exit.Usage, fmt.Errorf("--prefix %s: in use, for example by the key %q: choose another prefix", c.Prefix, key))
	}
	a.prefix = a.space.PrefixUnder(c.Prefix)
	return nil
}

func tenantNames(count int) []budget.TenantID {
	names := make([]budget.TenantID, count)
	width := len(fmt.Sprint(count - 1))
	for i := range names {
		digits := fmt.Sprint(i)
		names[i] = budget.TenantID("tenant-" + strings.Repeat("0", width-len(digits)) + digits)
	}
	return names
}

const largestPool = 512

// poolSizes are connections a node at which a contender is measured. Without others
// to compare with, ours has the pool that go-redis gives everybody: size 0.
func (a *target) poolSizes(c Config) []int {
	if a.space == nil || len(c.Baselines) == 0 {
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

// enter lets a contender onto a tenantSet: its tenants are created, and its nodes made
// for each pool size.
func (a *target) enter(ctx context.Context, c Config, name string, f tenantSet, sizes []int) (*candidate, error) {
	e := &candidate{name: name, tenantSet: f}
	var err error
	switch name {
	case baseline.Bursar:
		err = a.enterBursar(ctx, c, e, sizes)
	case baseline.Local:
		err = a.enterLocal(ctx, c, e)
	default:
		err = a.enterStore(ctx, c, e, sizes)
	}
	if err != nil {
		return nil, exit.With(exit.Unavailable, err)
	}
	return e, nil
}

// enterBursar makes coordinators. Every one asks for each tenant once: what only the
// first call does is done before the clock starts.
func (a *target) enterBursar(ctx context.Context, c Config, e *candidate, sizes []int) error {
	e.accounts = func(ctx context.Context) (map[budget.TenantID]budget.HoldList, error) {
		return audit.Read(ctx, a.space.Client(), e.tenantSet.prefix)
	}
	if c.Processes {
		return a.enterProcesses(ctx, c, e, sizes)
	}
	var nodes []budget.Engine
	for _, size := range sizes {
		trips := new(baseline.RoundTrips)
		var ours []runner.Engine
		for range c.Nodes {
			client := a.space.ClientOf(size)
			client.AddHook(trips)
			node, err := a.coordinator(ctx, client, c, e.tenantSet.prefix)
			if err != nil {
				return err
			}
			nodes, ours = append(nodes, node), append(ours, node)
			size = scratch.PoolSize(client)
		}
		e.addPool(size, trips, runner.New(ours, c.runner(), e.tenantSet.tenants))
	}
	return errors.Join(prepare(ctx, e.tenantSet, nodes), e.holdBefore(ctx, c, nodes[0]))
}

// enterProcesses starts processes, after a coordinator in this one has created the tenants.
func (a *target) enterProcesses(ctx context.Context, c Config, e *candidate, sizes []int) error {
	node, err := a.coordinator(ctx, a.space.Client(), c, e.tenantSet.prefix)
	if err != nil {
		return err
	}
	if err := prepare(ctx, e.tenantSet, []budget.Engine{node}); err != nil {
		return err
	}
	address, secrets := a.space.Source()
	for _, size := range sizes {
		trips := new(baseline.RoundTrips)
		processes := runner.NewProcesses(a.space.Lifetime(), runner.NodeConfig{
			Config: c.runner(), Redis: address, Secrets: secrets, Prefix: e.tenantSet.prefix, Tenants: e.tenantSet.tenants, PoolSize: size, Nodes: c.Nodes,
		}, e.tenantSet.budgets, trips)
		a.closers = append(a.closers, processes.Close)
		size, err := processes.Start(ctx)
		if err != nil {
			return err
		}
		e.addPool(size, trips, runner.NewOfProcesses(processes, c.runner(), e.tenantSet.tenants))
	}
	return e.holdBefore(ctx, c, node)
}

func (a *target) coordinator(ctx context.Context, client redis.UniversalClient, c Config, prefix string) (*coordinator.Coordinator, error) {
	node, err := runner.NewCoordinator(ctx, client, c.runner(), prefix, a.logger)
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
func (a *target) enterLocal(ctx context.Context, c Config, e *candidate) error {
	engine, err := local.New(local.WithHoldTTL(c.runner().HoldTTL))
	if err != nil {
		return err
	}
	ofLocal := c.runner()
	ofLocal.Local = true
	e.addPool(0, new(baseline.RoundTrips), runner.New(slices.Repeat([]runner.Engine{engine}, c.Nodes), ofLocal, e.tenantSet.tenants))
	e.accounts = func(ctx context.Context) (map[budget.TenantID]budget.HoldList, error) {
		all := make(map[budget.TenantID]budget.HoldList, len(e.tenantSet.tenants))
		for _, tenant := range e.tenantSet.tenants {
			account, err := engine.Holds(ctx, tenant)
			if err != nil {
				return nil, err
			}
			all[tenant] = account
		}
		return all, nil
	}
	return errors.Join(prepare(ctx, e.tenantSet, []budget.Engine{engine}), e.holdBefore(ctx, c, engine))
}

// enterStore makes what is written by hand.
func (a *target) enterStore(ctx context.Context, c Config, e *candidate, sizes []int) error {
	for _, size := range sizes {
		trips := new(baseline.RoundTrips)
		nodes := make([]runner.Engine, c.Nodes)
		for i := range nodes {
			client := a.space.ClientOf(size)
			client.AddHook(trips)
			if c.meet != nil {
				c.meet(e.name, client)
			}
			if err := openConnections(ctx, client); err != nil {
				return fmt.Errorf("preparing the contender %s: %w", e.name, err)
			}
			nodes[i] = baseline.New(e.name, client, e.tenantSet.prefix)
		}
		e.addPool(size, trips, runner.New(nodes, c.runner(), e.tenantSet.tenants))
	}
	e.store = baseline.New(e.name, a.space.Client(), e.tenantSet.prefix)
	err := runner.ForEach(ctx, len(e.tenantSet.tenants), func(i int) error {
		return e.store.Create(ctx, e.tenantSet.tenants[i], e.tenantSet.budgets[i])
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
func prepare(ctx context.Context, f tenantSet, nodes []budget.Engine) error {
	return runner.ForEach(ctx, len(f.tenants), func(i int) error {
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
func (e *candidate) holdBefore(ctx context.Context, c Config, node budget.Engine) error {
	return runner.ForEach(ctx, c.HoldsBefore, func(i int) error {
		tenant := i % len(e.tenantSet.tenants)
		held, err := node.TryReserve(ctx, e.tenantSet.tenants[tenant], 1)
		if err == nil && held.Outcome != budget.Reserved {
			err = fmt.Errorf("a hold of tenant %q before the measurement: the answer is %s; give more --budget", e.tenantSet.tenants[tenant], held.Outcome)
		}
		if err == nil {
			e.ledger.Of(0)[tenant].Open.Add(1)
		}
		return err
	})
}
