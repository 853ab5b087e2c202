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
	alone    = 200 // turns of one caller
	together = 64  // callers of a crowd
	crowds   = 10  // of reserves, and as many of commits

	// So many calls are on the wire before others wait: a partition has one in flight, a
	// server two.
	aheadOfPartition = 1
	aheadOfServer    = 2

	hot          budget.TenantID = "acme"
	wealth                       = budget.Microcents(1) << 55 // no run changes its number of digits
	cost, actual                 = 100 * budget.Microcents(1), 90 * budget.Microcents(1)
	beyond                       = wealth * 2
)

// A load is played the same way each time. What comes before it is not measured.
type load struct {
	name      string
	decisions int
	before    func(ctx context.Context) error
	play      func(ctx context.Context) error
}

// A meter measures what is played between begin and end.
type meter interface {
	begin(ctx context.Context) error
	end(ctx context.Context, l load) ([]figure, error)
}

// measure plays each load twice: to warm up, and for the meter.
func (s *fixture) measure(ctx context.Context, m meter) ([]figure, error) {
	loads, err := s.loads(ctx)
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, metered := range []bool{false, true} {
		for _, l := range loads {
			more, err := measureLoad(ctx, l, m, metered)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", l.name, err)
			}
			figures = append(figures, more...)
		}
	}
	return figures, nil
}

func measureLoad(ctx context.Context, l load, m meter, metered bool) ([]figure, error) {
	if l.before != nil {
		if err := l.before(ctx); err != nil {
			return nil, err
		}
	}
	if !metered {
		return nil, l.play(ctx)
	}
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	if err := l.play(ctx); err != nil {
		return nil, err
	}
	return m.end(ctx, l)
}

// loads ensures the tenants, and returns what is to be played in this order.
func (s *fixture) loads(ctx context.Context) ([]load, error) {
	tenants := make([]budget.TenantID, together)
	for k := range tenants {
		tenants[k] = budget.TenantID(fmt.Sprintf("tenant-%02d", k))
	}
	for _, tenant := range append([]budget.TenantID{hot}, tenants...) {
		if _, err := s.node.EnsureTenant(ctx, tenant, wealth); err != nil {
			return nil, err
		}
	}
	ids := make([]budget.ReservationID, alone)
	reserve := func(ctx context.Context, i int) (err error) { ids[i], err = s.reserve(ctx, hot); return err }
	commit := func(ctx context.Context, i int) error { return s.settle(ctx, ids[i], budget.Committed) }
	release := func(ctx context.Context, i int) error { return s.settle(ctx, ids[i], budget.Released) }
	// The crowds leave few records with many tombstones in the ring of the partition; one
	// caller's settlements are to find many with one.
	settle := func(ctx context.Context, _ int) error {
		id, err := s.reserve(ctx, hot)
		if err != nil {
			return err
		}
		return s.settle(ctx, id, budget.Released)
	}
	reserveEach := func(ctx context.Context, k int) (err error) { ids[k], err = s.reserve(ctx, tenants[k]); return err }

	crowd := func(ahead int, reserve turn) func(context.Context) error {
		return func(ctx context.Context) error {
			for range crowds {
				if err := s.crowd(ctx, ahead, reserve); err != nil {
					return err
				}
				if err := s.crowd(ctx, ahead, commit); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return []load{
		{name: "one caller, reserve", decisions: alone, before: repeat(settle), play: repeat(reserve)},
		{name: "one caller, commit", decisions: alone, play: repeat(commit)},
		{name: "one caller, release", decisions: alone, before: repeat(reserve), play: repeat(release)},
		{name: "one caller, refusal", decisions: alone, play: repeat(func(ctx context.Context, _ int) error { return s.refused(ctx, hot) })},
		{name: fmt.Sprintf("%d callers of a tenant", together), decisions: 2 * crowds * together, play: crowd(aheadOfPartition, reserve)},
		{name: fmt.Sprintf("%d tenants", together), decisions: 2 * crowds * together, play: crowd(aheadOfServer, reserveEach)},
	}, nil
}

// repeat plays a turn of one caller again and again. The worker that brought its
// answer comes to its end first, or chance would decide which worker, the old one or
// a new one with what it allocates, takes the next call.
func repeat(t turn) func(context.Context) error {
	return func(ctx context.Context) error {
		for i := range alone {
			runtime.Gosched()
			if err := t(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}
}

func (s *fixture) reserve(ctx context.Context, tenant budget.TenantID) (budget.ReservationID, error) {
	r, err := s.node.TryReserve(ctx, tenant, cost)
	if err == nil && r.Outcome != budget.Reserved {
		err = fmt.Errorf("a reserve came to %+v", r)
	}
	return r.ID, err
}

func (s *fixture) refused(ctx context.Context, tenant budget.TenantID) error {
	r, err := s.node.TryReserve(ctx, tenant, beyond)
	if err == nil && r.Outcome != budget.Insufficient {
		err = fmt.Errorf("a reserve beyond the budget came to %+v", r)
	}
	return err
}

func (s *fixture) settle(ctx context.Context, id budget.ReservationID, want budget.Outcome) (err error) {
	var settled budget.Settlement
	if want == budget.Committed {
		settled, err = s.node.Commit(ctx, id, actual)
	} else {
		settled, err = s.node.Release(ctx, id)
	}
	if err == nil && settled.Outcome != want {
		err = fmt.Errorf("a settlement came to %+v", settled)
	}
	return err
}

// countOnRedis counts what a decision costs in commands, bytes and allocations.
func countOnRedis(ctx context.Context) (figures []figure, err error) {
	// On one processor, and without a collection in between, pools give back what was
	// put into them.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	s, err := newFixture(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.measure(ctx, &counter{fixture: s})
}

// counter is the meter of what can be counted from outside.
type counter struct {
	fixture  *fixture
	commands map[string]int64
	sent     int64
	received int64
	memory   runtime.MemStats
}

func (c *counter) begin(ctx context.Context) (err error) {
	if c.commands, err = c.readCommands(ctx); err != nil {
		return err
	}
	c.sent, c.received = c.fixture.wire.sent.Load(), c.fixture.wire.received.Load()
	runtime.ReadMemStats(&c.memory)
	return nil
}

func (c *counter) end(ctx context.Context, l load) ([]figure, error) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	sent, received := c.fixture.wire.sent.Load(), c.fixture.wire.received.Load()
	commands, err := c.readCommands(ctx)
	if err != nil {
		return nil, err
	}
	var figures []figure
	add := func(what string, total float64, r *rule) {
		figures = append(figures, newFigure(l.name+": "+what, total/float64(l.decisions), r))
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
	return figures, nil
}

var commandCalls = regexp.MustCompile(`(?m)^cmdstat_([^:]+):calls=(\d+)`)

// readCommands returns how often the server has run each command, beside this one.
func (c *counter) readCommands(ctx context.Context) (map[string]int64, error) {
	info, err := c.fixture.admin.Info(ctx, "commandstats").Result()
	if err != nil {
		return nil, err
	}
	commands := make(map[string]int64)
	for _, found := range commandCalls.FindAllStringSubmatch(info, -1) {
		calls, err := strconv.ParseInt(found[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("INFO commandstats: %w", err)
		}
		commands[found[1]] = calls
	}
	delete(commands, "info")
	return commands, nil
}
