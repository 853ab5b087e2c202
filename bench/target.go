package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

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

// target is the system under test: the Redis, if any, and Bursar with its tenants.
type target struct {
	tenantSet
	name string
	ours *candidate

	space      *scratch.Space // nil with the local engine
	partitions int
	stats      *baseline.RedisStats // nil if Redis does not report it
	server     *report.Server
	logger     *slog.Logger
	closers    []func(context.Context) error

	mu    sync.Mutex // the watchdog reads nodes
	nodes []*coordinator.Coordinator
}

// tenantSet is a set of tenants and their budgets, under a prefix of its own.
type tenantSet struct {
	prefix  string
	tenants []budget.TenantID
	budgets []budget.Microcents
	above   []ancestor       // of the tenants, with --levels
	first   []budget.Instant // starts of the tenants' first epochs; nil without windows
	limits  []budget.Limit   // of each account, beside its base limit
	began   time.Time        // before the accounts were created
}

// openTarget returns a target whose tenants exist and are known to every node. opening
// bounds the preparation; ctx is the run's. The target has to be closed even after an error.
func openTarget(ctx, opening context.Context, c Config, unit budget.Microcents) (*target, error) {
	t := new(target)
	var err error
	if t.budgets, err = budgetsOf(c, unit); err == nil {
		err = c.validateEpochs(t.budgets)
	}
	if err != nil {
		return t, err
	}
	name := baseline.Bursar
	if c.Engine == report.EngineLocal {
		t.name, name = "no Redis", baseline.Local
	} else {
		err = t.openRedis(ctx, opening, c)
	}
	if err == nil {
		t.tenants = tenantNames(c.Tenants)
		t.tenantSet = t.levelled(c.Levels, c.FanOut)
		t.limits, t.began = c.limits(), time.Now()
		sizes := []int{0} // go-redis' default
		if t.space != nil && len(c.Baselines) > 0 {
			sizes = poolSizes(c.Concurrency)
		}
		t.ours, err = t.setUp(opening, c, name, t.tenantSet, sizes)
	}
	return t, err
}

func (t *target) openRedis(ctx, opening context.Context, c Config) error {
	space, err := scratch.Open(ctx, c.Redis, c.Secrets)
	if err != nil {
		return err
	}
	t.space, t.name = space, space.Name
	t.partitions = cmp.Or(c.Partitions, defaultPartitions(space.Client()))
	if c.Opened != nil {
		c.Opened(t.name)
	}
	if err := t.choosePrefix(opening, c); err != nil {
		return err
	}
	t.server = &report.Server{Mode: report.ModeEmbedded}
	if c.Redis != scratch.Embedded {
		t.server = report.DescribeServer(opening, space.Client())
	}
	t.stats = baseline.NewRedisStats(opening, space.ClientOf(1))
	t.logger = c.Logger
	if t.logger == nil || c.Redis == scratch.Embedded || c.Redis == scratch.Spawn {
		t.logger = slog.New(slog.DiscardHandler) // warnings would be of our own settings
	}
	return nil
}

// choosePrefix sets a random prefix, which begins with that of the user, if there is one.
// It is always random because others may begin to use the user's prefix at any time.
func (t *target) choosePrefix(ctx context.Context, c Config) error {
	if c.Prefix == "" {
		t.prefix = t.space.Prefix("bench")
		return nil
	}
	switch key, err := t.space.KeyUnder(ctx, c.Prefix); {
	case err != nil:
		return err
	case key != "":
		return exit.With(exit.Usage, fmt.Errorf("--prefix %s: in use, for example by the key %q: choose another prefix", c.Prefix, key))
	}
	t.prefix = t.space.PrefixUnder(c.Prefix)
	return nil
}

// defaultPartitions is the number that a coordinator chooses for a new prefix.
func defaultPartitions(client redis.UniversalClient) int {
	if _, cluster := client.(*redis.ClusterClient); cluster {
		return coordinator.DefaultClusterPartitions
	}
	return coordinator.DefaultPartitions
}

// watchdog watches the target's Redis, if there is one.
func (t *target) watchdog(ctx context.Context) (watched context.Context, end func() error) {
	if t.space == nil {
		return ctx, func() error { return nil }
	}
	return runner.Watchdog(ctx, t.space, func() []*coordinator.Coordinator {
		t.mu.Lock()
		defer t.mu.Unlock()
		return slices.Clone(t.nodes)
	})
}

// stop closes the nodes, which resolve their last calls before the check of balances.
func (t *target) stop(ctx context.Context) error {
	var errs []error
	for _, closeNode := range t.closers {
		errs = append(errs, exit.With(exit.Unavailable, closeNode(ctx)))
	}
	t.closers = nil
	return errors.Join(errs...)
}

// close closes the nodes and the Redis, even if ctx has ended.
func (t *target) close(ctx context.Context) error {
	stopping, cancel := context.WithTimeout(t.lifetime(), runner.StopTimeout)
	defer cancel()
	err := t.stop(stopping)
	if t.space == nil {
		return err
	}
	if t.lifetime().Err() != nil {
		err = nil // is due to the loss of Redis
	}
	return errors.Join(err, t.space.Close(ctx))
}

// lifetime is that of the target's Redis, if there is one.
func (t *target) lifetime() context.Context {
	if t.space == nil {
		return context.Background()
	}
	return t.space.Lifetime()
}

func tenantNames(count int) []budget.TenantID {
	names := make([]budget.TenantID, count)
	width := len(fmt.Sprint(count - 1))
	for i := range names {
		names[i] = budget.TenantID(fmt.Sprintf("tenant-%0*d", width, i))
	}
	return names
}

// The smallest budget covers a few requests, the largest 64 million times as many, in powers
// of two. So some run out on any machine, and some on none.
const (
	smallestBudget = 1  // typical holds; a request costs about a quarter of one
	budgetSteps    = 26 // doublings up to the largest
	stormBudget    = 4  // typical holds
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
		err := budget.ErrOverflow
		if amount <= budget.MaxMicrocents>>steps {
			budgets[i] = amount << steps
			sum, err = sum.Add(budgets[i])
		}
		if err != nil {
			return nil, exit.With(exit.Usage, fmt.Errorf("the budgets of %s: %w; lower the prices, --budget or --tenants", wording.Count(c.Tenants, "tenant"), err))
		}
	}
	return budgets, nil
}

const largestPool = 512

// poolSizes are the connections per node at which candidates are compared.
func poolSizes(workers int) []int {
	sizes := []int{workers / 16, workers / 4, workers}
	for i := range sizes {
		sizes[i] = min(max(sizes[i], 1), largestPool)
	}
	return slices.Compact(sizes)
}

// setUp makes a candidate: its nodes for each pool size, and its tenants.
func (t *target) setUp(ctx context.Context, c Config, name string, s tenantSet, sizes []int) (*candidate, error) {
	e := &candidate{name: name, tenantSet: s}
	var err error
	switch name {
	case baseline.Bursar:
		err = t.setUpBursar(ctx, c, e, sizes)
	case baseline.Local:
		err = t.setUpLocal(ctx, c, e)
	default:
		err = t.setUpStore(ctx, c, e, sizes)
	}
	if err != nil {
		return nil, exit.With(exit.Unavailable, err)
	}
	return e, nil
}

func (t *target) setUpBursar(ctx context.Context, c Config, e *candidate, sizes []int) error {
	e.accounts = func(ctx context.Context) (map[budget.TenantID]budget.HoldList, error) {
		return audit.Read(ctx, t.space.Client(), e.tenantSet.prefix)
	}
	e.limits = func(ctx context.Context, tenant budget.TenantID) (budget.LimitList, error) {
		return audit.Limits(ctx, t.space.Client(), e.tenantSet.prefix, tenant)
	}
	if c.RollEvery > 0 {
		e.tenantSet = e.tenantSet.windowed()
	}
	if c.Processes {
		return t.setUpProcesses(ctx, c, e, sizes)
	}
	var nodes []budget.Engine
	for _, size := range sizes {
		trips := new(baseline.RoundTrips)
		var ours []runner.Engine
		for range c.Nodes {
			client := t.space.ClientOf(size)
			client.AddHook(trips)
			node, err := t.coordinator(ctx, client, c, e.tenantSet.prefix)
			if err != nil {
				return err
			}
			nodes, ours = append(nodes, node), append(ours, node)
			size = scratch.PoolSize(client)
		}
		e.addPool(size, trips, runner.New(ours, c.runner(), e.tenantSet.tenants))
	}
	return errors.Join(createTenants(ctx, e.tenantSet, nodes), e.holdBefore(ctx, c, nodes[0]))
}

// setUpProcesses starts the node processes, after a coordinator in this one has created the
// tenants.
func (t *target) setUpProcesses(ctx context.Context, c Config, e *candidate, sizes []int) error {
	node, err := t.coordinator(ctx, t.space.Client(), c, e.tenantSet.prefix)
	if err != nil {
		return err
	}
	if err := createTenants(ctx, e.tenantSet, []budget.Engine{node}); err != nil {
		return err
	}
	address, secrets := t.space.Source()
	for _, size := range sizes {
		trips := new(baseline.RoundTrips)
		processes := runner.NewProcesses(t.space.Lifetime(), runner.NodeConfig{
			Config: c.runner(), Redis: address, Secrets: secrets, Prefix: e.tenantSet.prefix, Tenants: e.tenantSet.tenants, PoolSize: size, Nodes: c.Nodes,
		}, e.tenantSet.budgets, trips)
		t.closers = append(t.closers, processes.Close)
		size, err := processes.Start(ctx)
		if err != nil {
			return err
		}
		e.addPool(size, trips, runner.NewOfProcesses(processes, c.runner(), e.tenantSet.tenants))
	}
	return e.holdBefore(ctx, c, node)
}

func (t *target) coordinator(ctx context.Context, client redis.UniversalClient, c Config, prefix string) (*coordinator.Coordinator, error) {
	node, err := runner.NewCoordinator(ctx, client, c.runner(), prefix, t.logger)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	t.closers = append(t.closers, node.Close)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes = append(t.nodes, node)
	t.logger = slog.New(slog.DiscardHandler) // all nodes would log the same
	return node, nil
}

// setUpLocal makes one engine, which all nodes share.
func (t *target) setUpLocal(ctx context.Context, c Config, e *candidate) error {
	config := c.runner()
	engine, err := local.New(local.WithHoldTTL(config.HoldTTL))
	if err != nil {
		return err
	}
	config.Local, e.limits = true, engine.Limits
	e.addPool(0, new(baseline.RoundTrips), runner.New(slices.Repeat([]runner.Engine{engine}, c.Nodes), config, e.tenantSet.tenants))
	e.accounts = func(ctx context.Context) (map[budget.TenantID]budget.HoldList, error) {
		all := make(map[budget.TenantID]budget.HoldList, len(e.tenantSet.tenants))
		for _, tenant := range e.tenantSet.tenants {
			account, err := engine.Holds(ctx, tenant)
			if err != nil {
				return nil, err
			}
			all[tenant] = account
		}
		for _, a := range e.tenantSet.above {
			account, err := engine.Holds(ctx, a.tenant)
			if err != nil {
				return nil, err
			}
			all[a.tenant] = account
		}
		return all, nil
	}
	return errors.Join(createTenants(ctx, e.tenantSet, []budget.Engine{engine}), e.holdBefore(ctx, c, engine))
}

// setUpStore makes one of the other baselines.
func (t *target) setUpStore(ctx context.Context, c Config, e *candidate, sizes []int) error {
	for _, size := range sizes {
		trips := new(baseline.RoundTrips)
		nodes := make([]runner.Engine, c.Nodes)
		for i := range nodes {
			client := t.space.ClientOf(size)
			client.AddHook(trips)
			if c.meet != nil {
				c.meet(e.name, client)
			}
			if err := openConnections(ctx, client); err != nil {
				return fmt.Errorf("preparing the baseline %s: %w", e.name, err)
			}
			nodes[i] = baseline.New(e.name, client, e.tenantSet.prefix)
		}
		e.addPool(size, trips, runner.New(nodes, c.runner(), e.tenantSet.tenants))
	}
	e.store = baseline.New(e.name, t.space.Client(), e.tenantSet.prefix)
	err := runner.ForEach(ctx, len(e.tenantSet.tenants), func(i int) error {
		return e.store.Create(ctx, e.tenantSet.tenants[i], e.tenantSet.budgets[i])
	})
	if err != nil {
		return fmt.Errorf("preparing the baseline %s: %w", e.name, err)
	}
	return nil
}

// openConnections fills a client's pool by holding all connections at once. Otherwise workers
// would wait for connections one after the other, and never contend.
func openConnections(ctx context.Context, universal redis.UniversalClient) error {
	client, single := universal.(*redis.Client)
	if !single {
		return nil // a Cluster has a pool per server
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var opened, returned sync.WaitGroup
	opened.Add(client.Options().PoolSize)
	for range client.Options().PoolSize {
		returned.Go(func() {
			err := client.Watch(ctx, func(tx *redis.Tx) error {
				defer opened.Wait()
				defer opened.Done()
				return tx.Ping(ctx).Err()
			})
			if err != nil {
				cancel(err)
			}
		})
	}
	returned.Wait()
	return context.Cause(ctx)
}

// createTenants creates the tenants, and lets every node use each once: what only the first
// call does is not measured.
func createTenants(ctx context.Context, s tenantSet, nodes []budget.Engine) error {
	if err := createAncestors(ctx, s, nodes[0]); err != nil {
		return err
	}
	return runner.ForEach(ctx, len(s.tenants), func(i int) error {
		first, err := s.create(ctx, nodes[0], s.tenants[i], s.budgets[i])
		if s.first != nil {
			s.first[i] = first
		}
		for _, node := range nodes {
			if err == nil {
				_, err = node.Remaining(ctx, s.tenants[i])
			}
		}
		return exit.With(exit.Unavailable, err)
	})
}

// holdBefore makes the holds that stay open during the measurement.
func (c *candidate) holdBefore(ctx context.Context, config Config, node budget.Engine) error {
	return runner.ForEach(ctx, config.HoldsBefore, func(i int) error {
		tenant := i % len(c.tenantSet.tenants)
		held, err := node.TryReserve(ctx, c.tenantSet.tenants[tenant], 1)
		if err == nil && held.Outcome != budget.Reserved {
			err = fmt.Errorf("a hold of tenant %q before the measurement: the answer is %s; give more --budget", c.tenantSet.tenants[tenant], held.Outcome)
		}
		if err == nil {
			c.ledger.Of(0)[tenant].Open.Add(1)
		}
		return err
	})
}
