package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"

	"github.com/calybris/bursar/coordinator/budget"
)

const (
	alone    = 200 // calls of one caller
	together = 64  // callers of a crowd
	crowds   = 10  // of reserves, and as many of commits

	// Calls sent before the others queue: a partition has one in flight, a server two.
	aheadOfPartition = 1
	aheadOfServer    = 2

	hot          budget.TenantID = "acme"
	wealth                       = budget.Microcents(1) << 55 // keeps its number of digits
	cost, actual                 = 100 * budget.Microcents(1), 90 * budget.Microcents(1)
	beyond                       = wealth * 2
)

// load is a sequence of calls. before is not measured.
type load struct {
	name      string
	decisions int
	before    func(ctx context.Context) error
	run       func(ctx context.Context) error
}

// meter measures between begin and end.
type meter interface {
	begin(ctx context.Context) error
	end(ctx context.Context, l load) ([]metric, error)
}

// measure runs each load twice: to warm up, and for the meter.
func (f *fixture) measure(ctx context.Context, m meter) ([]metric, error) {
	loads, err := f.loads(ctx)
	if err != nil {
		return nil, err
	}
	var all []metric
	for _, metered := range []bool{false, true} {
		for _, l := range loads {
			more, err := measureLoad(ctx, l, m, metered)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", l.name, err)
			}
			all = append(all, more...)
		}
	}
	return all, nil
}

func measureLoad(ctx context.Context, l load, m meter, metered bool) ([]metric, error) {
	if l.before != nil {
		if err := l.before(ctx); err != nil {
			return nil, err
		}
	}
	if !metered {
		return nil, l.run(ctx)
	}
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	if err := l.run(ctx); err != nil {
		return nil, err
	}
	return m.end(ctx, l)
}

// loads creates the tenants, and returns the loads in their order.
func (f *fixture) loads(ctx context.Context) ([]load, error) {
	tenants := make([]budget.TenantID, together)
	for k := range tenants {
		tenants[k] = budget.TenantID(fmt.Sprintf("tenant-%02d", k))
	}
	for _, tenant := range append([]budget.TenantID{hot}, tenants...) {
		if _, err := f.node.EnsureTenant(ctx, tenant, wealth); err != nil {
			return nil, err
		}
	}
	limited := make([]budget.TenantID, together)
	for k := range limited {
		limited[k] = budget.TenantID(fmt.Sprintf("daily-%02d", k))
	}
	limit := func(ctx context.Context) error {
		for _, tenant := range limited {
			day := budget.SetLimit(budget.Limit{Window: budget.Window{Period: budget.Day, Amount: wealth}})
			if _, err := f.node.EnsureTenant(ctx, tenant, wealth, day); err != nil {
				return err
			}
			if _, err := f.node.Remaining(ctx, tenant); err != nil { // the node learns its limits and boundaries
				return err
			}
		}
		return nil
	}
	ids := make([]budget.ReservationID, alone)
	reserve := func(ctx context.Context, i int) (err error) { ids[i], err = f.reserve(ctx, hot); return err }
	reserveEach := func(ctx context.Context, k int) (err error) { ids[k], err = f.reserve(ctx, tenants[k]); return err }
	reserveLimited := func(ctx context.Context, k int) (err error) { ids[k], err = f.reserve(ctx, limited[k]); return err }
	commit := func(ctx context.Context, i int) error { return f.commit(ctx, ids[i]) }
	release := func(ctx context.Context, i int) error { return f.release(ctx, ids[i]) }
	refused := func(ctx context.Context, _ int) error { return f.refused(ctx, hot) }
	// Crowds leave few records with many tombstones each in a partition's ring. A single
	// caller's settlements are to find many records with one.
	settle := func(ctx context.Context, _ int) error {
		id, err := f.reserve(ctx, hot)
		if err != nil {
			return err
		}
		return f.release(ctx, id)
	}
	crowd := func(ahead int, reserve call) func(context.Context) error {
		return func(ctx context.Context) error {
			for range crowds {
				if err := f.crowd(ctx, ahead, reserve); err != nil {
					return err
				}
				if err := f.crowd(ctx, ahead, commit); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return []load{
		{name: "one caller, reserve", decisions: alone, before: repeat(settle), run: repeat(reserve)},
		{name: "one caller, commit", decisions: alone, run: repeat(commit)},
		{name: "one caller, release", decisions: alone, before: repeat(reserve), run: repeat(release)},
		{name: "one caller, refusal", decisions: alone, run: repeat(refused)},
		{name: fmt.Sprintf("%d callers of a tenant", together), decisions: 2 * crowds * together, run: crowd(aheadOfPartition, reserve)},
		{name: fmt.Sprintf("%d tenants", together), decisions: 2 * crowds * together, run: crowd(aheadOfServer, reserveEach)},
		{
			name: fmt.Sprintf("%d tenants with two limits", together), decisions: 2 * crowds * together,
			before: limit, run: crowd(aheadOfServer, reserveLimited),
		},
	}, nil
}

// repeat repeats a call. It yields before each, so that the worker goroutine of the last one
// has ended: otherwise chance would decide whether it or a new one, which allocates, takes the
// next call.
func repeat(do call) func(context.Context) error {
	return func(ctx context.Context) error {
		for i := range alone {
			runtime.Gosched()
			if err := do(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}
}

// countOnRedis counts commands, bytes and allocations per decision.
func countOnRedis(ctx context.Context) (all []metric, err error) {
	// With one processor and no garbage collection, pools return the objects put into them.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	f, err := newFixture(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	return f.measure(ctx, &counter{fixture: f})
}

// counter is the meter of countOnRedis.
type counter struct {
	fixture        *fixture
	commands       map[string]int64
	sent, received int64
	memory         runtime.MemStats
}

func (c *counter) begin(ctx context.Context) (err error) {
	if c.commands, err = c.readCommands(ctx); err != nil {
		return err
	}
	c.sent, c.received = c.fixture.conns.sent.Load(), c.fixture.conns.received.Load()
	runtime.ReadMemStats(&c.memory)
	return nil
}

func (c *counter) end(ctx context.Context, l load) ([]metric, error) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	sent, received := c.fixture.conns.sent.Load(), c.fixture.conns.received.Load()
	commands, err := c.readCommands(ctx)
	if err != nil {
		return nil, err
	}
	var all []metric
	add := func(name string, total float64, t *tolerance) {
		all = append(all, newMetric(l.name+": "+name, total/float64(l.decisions), t))
	}
	total := int64(0)
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		if calls := commands[name] - c.commands[name]; calls > 0 {
			total += calls
			add(name, float64(calls), exact)
		}
	}
	add("all commands", float64(total), exact)
	add("bytes sent", float64(sent-c.sent), exact)
	add("bytes received", float64(received-c.received), exact)
	add("allocations", float64(memory.Mallocs-c.memory.Mallocs), allocations)
	add("bytes allocated", float64(memory.TotalAlloc-c.memory.TotalAlloc), allocated)
	return all, nil
}

var commandCalls = regexp.MustCompile(`(?m)^cmdstat_([^:]+):calls=(\d+)`)

// readCommands returns how often the server has run each command, without INFO itself.
func (c *counter) readCommands(ctx context.Context) (map[string]int64, error) {
	info, err := c.fixture.admin.Info(ctx, "commandstats").Result()
	if err != nil {
		return nil, err
	}
	commands := make(map[string]int64)
	for _, found := range commandCalls.FindAllStringSubmatch(info, -1) {
		if commands[found[1]], err = strconv.ParseInt(found[2], 10, 64); err != nil {
			return nil, fmt.Errorf("INFO commandstats: %w", err)
		}
	}
	delete(commands, "info")
	return commands, nil
}
