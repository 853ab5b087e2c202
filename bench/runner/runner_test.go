package runner

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// scriptless is an engine with the answers of a test.
type scriptless struct {
	reserve func(cost budget.Microcents) (budget.Reservation, error)
	commit  func(actual budget.Microcents) (budget.Settlement, error)
}

func (s scriptless) TryReserve(_ context.Context, tenant budget.TenantID, cost budget.Microcents, _ ...budget.ReserveOption) (budget.Reservation, error) {
	if s.reserve != nil {
		return s.reserve(cost)
	}
	return budget.Reservation{Outcome: budget.Reserved, ID: budget.NewReservationID(tenant, 1, 1)}, nil
}

func (s scriptless) Commit(_ context.Context, _ budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	if s.commit != nil {
		return s.commit(actual)
	}
	return budget.Settlement{Outcome: budget.Committed, Actual: actual}, nil
}

func (s scriptless) Release(context.Context, budget.ReservationID) (budget.Settlement, error) {
	return budget.Settlement{Outcome: budget.Released}, nil
}

// plain is a runner configuration without a warm-up.
func plain(workers, tenants int) Config {
	c := Config{Spec: workload.Defaults(), Concurrency: workers, Tick: 20 * time.Millisecond}
	c.Tenants = tenants
	return c
}

func named(tenants int) []budget.TenantID {
	names := make([]budget.TenantID, tenants)
	for i := range names {
		names[i] = budget.TenantID(fmt.Sprint("tenant-", i))
	}
	return names
}

func smallRunner(d Engine) *Runner { return New([]Engine{d, d}, plain(3, 2), named(2)) }

// listed has requests that are sent once each, all due at once.
type listed struct {
	requests []workload.Request
	taken    atomic.Int64
}

func rows(requests ...workload.Request) *listed { return &listed{requests: requests} }

func (l *listed) Which() workload.RoundNo          { return workload.RoundNo{Of: 1} }
func (l *listed) Generator(int) workload.Generator { return l.next }

func (l *listed) Offset(number int) (time.Duration, bool) { return 0, number < len(l.requests) }

func (l *listed) next(_ uint64, r *workload.Request) bool {
	i := int(l.taken.Add(1)) - 1
	if i < len(l.requests) {
		*r = l.requests[i]
	}
	return i < len(l.requests)
}

func TestRunnerCountsAnswers(t *testing.T) {
	t.Parallel()
	f := smallRunner(scriptless{reserve: func(cost budget.Microcents) (budget.Reservation, error) {
		if cost > 100 {
			return budget.Reservation{Outcome: budget.Insufficient, Required: cost}, nil
		}
		return budget.Reservation{Outcome: budget.Reserved, ID: budget.NewReservationID("t", 1, 1)}, nil
	}})
	work := rows(
		workload.Request{Tenant: 0, Hold: 50, Cost: 20}, workload.Request{Tenant: 0, Hold: 60, Cost: 30},
		workload.Request{Tenant: 1, Hold: 70, Cost: 40, Failed: true}, workload.Request{Tenant: 1, Hold: 101, Cost: 1},
	)
	paced, err := f.Run(t.Context(), work, 0)
	if err != nil {
		t.Fatal(err)
	}
	if paced.Cycles != 3 || paced.Decisions != 7 {
		t.Errorf("%d cycles, %d decisions, want 3 and 7", paced.Cycles, paced.Decisions)
	}
	if got := f.Ledger.Totals(0); got != (metrics.Totals{Committed: 50}) {
		t.Errorf("tenant 0: %+v", got)
	}
	if got := f.Ledger.Totals(1); got != (metrics.Totals{Refused: 1}) {
		t.Errorf("tenant 1: %+v", got)
	}
	want := metrics.Counts{budget.Reserved: 3, budget.Insufficient: 1, budget.Committed: 2, budget.Released: 1}
	if f.Counts != want {
		t.Errorf("outcomes %v, want %v", f.Counts, want)
	}
}

// An overrun leaves the hold open, so the worker commits its amount.
func TestRunnerSettlesAnOverrun(t *testing.T) {
	t.Parallel()
	f := smallRunner(scriptless{commit: func(actual budget.Microcents) (budget.Settlement, error) {
		if actual > 50 {
			return budget.Settlement{Outcome: budget.Overrun}, nil
		}
		return budget.Settlement{Outcome: budget.Committed, Actual: actual}, nil
	}})
	if _, err := f.Run(t.Context(), rows(workload.Request{Hold: 50, Cost: 80}), 0); err != nil {
		t.Fatal(err)
	}
	if got := f.Ledger.Totals(0); got != (metrics.Totals{Committed: 50}) {
		t.Errorf("%+v, want the hold committed", got)
	}
	if f.Counts[budget.Overrun] != 1 || f.Counts[budget.Committed] != 1 {
		t.Errorf("outcomes %v", f.Counts)
	}
}

func TestRunnerStopsAtAFailure(t *testing.T) {
	t.Parallel()
	gone := errors.New("Redis is gone")
	reserve := func(answer budget.Outcome, err error) scriptless {
		return scriptless{reserve: func(budget.Microcents) (budget.Reservation, error) {
			return budget.Reservation{Outcome: answer}, err
		}}
	}
	commit := func(answer budget.Outcome, err error) scriptless {
		return scriptless{commit: func(budget.Microcents) (budget.Settlement, error) {
			return budget.Settlement{Outcome: answer}, err
		}}
	}
	for _, c := range []struct {
		name    string
		decider scriptless
		unknown int64
		code    int
	}{
		{"a reserve without an answer", reserve(budget.Unknown, gone), 1, exit.Unavailable},
		{"a commit without an answer", commit(budget.Unknown, gone), 1, exit.Unavailable},
		{"a tenant lost", reserve(budget.MissingTenant, nil), 0, exit.Refused},
		{"a hold lost", commit(budget.MissingReservation, nil), 0, exit.Refused},
	} {
		f := smallRunner(c.decider)
		f.nodes, f.concurrency = f.nodes[:1], 1
		_, err := f.Run(t.Context(), rows(workload.Request{Hold: 5, Cost: 8}, workload.Request{Tenant: 1, Hold: 5}), 0)
		if err == nil || exit.Code(err) != c.code {
			t.Errorf("%s: %v, code %d, want code %d", c.name, err, exit.Code(err), c.code)
		}
		if f.Counts[budget.Unknown] != c.unknown {
			t.Errorf("%s: %d unknown, want %d", c.name, f.Counts[budget.Unknown], c.unknown)
		}
		if got := f.Ledger.Totals(0); got != (metrics.Totals{Unknown: 8}) {
			t.Errorf("%s: %+v, want 8 in doubt", c.name, got)
		}
		if got := f.Ledger.Totals(1); got != (metrics.Totals{}) {
			t.Errorf("%s: the worker went on: %+v", c.name, got)
		}
	}
}

// endless repeats one request.
type endless struct{ workload.Request }

func (e endless) Which() workload.RoundNo                 { return workload.RoundNo{Of: 1} }
func (e endless) Generator(int) workload.Generator        { return e.next }
func (e endless) Offset(int) (time.Duration, bool)        { return 0, true }
func (e endless) next(_ uint64, r *workload.Request) bool { *r = e.Request; return true }

// A reserve that is answered after the end stays open, and is counted.
func TestRunnerLeavesHoldsOpenAtTheEnd(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	f := smallRunner(scriptless{})
	f.nodes, f.concurrency = f.nodes[:1], 1
	s := f.newPhase(false)
	s.workers[0].node = scriptless{reserve: func(budget.Microcents) (budget.Reservation, error) {
		s.stop()
		return budget.Reservation{Outcome: budget.Reserved}, nil
	}}
	s.runWorkers(endless{workload.Request{Hold: 9, Cost: 4}})
	if got := f.Ledger.Totals(0); got != (metrics.Totals{Open: 9}) || s.workers[0].cycles != 0 {
		t.Errorf("%+v after %d cycles, want one hold of 9", got, s.workers[0].cycles)
	}
	cancel()
	paced, err := f.Run(ctx, endless{workload.Request{Hold: 2, Cost: 1}}, 0)
	if err != nil || paced.Took > time.Minute {
		t.Errorf("a context that has ended: %v after %s", err, paced.Took)
	}
}

// The runner measures the engine, so its own cycle must cost little.
func TestCycleDoesNotAllocate(t *testing.T) {
	for _, name := range []string{workload.Uniform, workload.Zipf} {
		config := plain(1, 100)
		config.Workload = name
		c, next := newTestWorker(t, config)
		var r workload.Request
		if allocations := testing.AllocsPerRun(1000, func() {
			next(0, &r)
			c.cycle(&r, latencyTimer{on: true, began: time.Now()})
		}); allocations != 0 {
			t.Errorf("%s: %v allocations a cycle", name, allocations)
		}
	}
}

// newTestWorker returns a worker on an engine that costs nothing, and its requests.
func newTestWorker(tb testing.TB, c Config) (*worker, workload.Generator) {
	tb.Helper()
	work, err := workload.New(c.Spec)
	if err != nil {
		tb.Fatal(err)
	}
	s := New([]Engine{scriptless{}}, c, named(c.Tenants)).newPhase(false)
	return s.workers[0], work.Round(0, 1).Generator(0)
}

// The runner's own share of a cycle, on an engine that costs nothing.
func BenchmarkCycle(b *testing.B) {
	for timing, every := range map[string]uint64{"timed": 1, "local": timeEveryLocal} {
		for _, name := range []string{workload.Uniform, workload.Zipf} {
			b.Run(timing+"/"+name, func(b *testing.B) {
				config := plain(1, 100)
				config.Workload = name
				c, next := newTestWorker(b, config)
				b.ReportAllocs()
				var r workload.Request
				for turn := uint64(0); b.Loop(); turn++ {
					next(turn, &r)
					c.cycle(&r, latencyTimer{on: turn%every == 0})
				}
			})
		}
	}
}
