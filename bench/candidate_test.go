package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/runner"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
)

// refusing is an engine that refuses, and reports each call.
type refusing func(cost budget.Microcents)

func (r refusing) TryReserve(_ context.Context, _ budget.TenantID, cost budget.Microcents, _ ...budget.ReserveOption) (budget.Reservation, error) {
	r(cost)
	return budget.Reservation{Outcome: budget.Insufficient}, nil
}

func (refusing) Commit(context.Context, budget.ReservationID, budget.Microcents) (budget.Settlement, error) {
	panic("nothing was reserved")
}

func (refusing) Release(context.Context, budget.ReservationID) (budget.Settlement, error) {
	panic("nothing was reserved")
}

// onOneNode is a runner with one worker.
func onOneNode(node runner.Engine, rate float64) *runner.Runner {
	c := runner.Config{Spec: workload.Spec{Rate: rate}, Concurrency: 1, Tick: time.Second}
	return runner.New([]runner.Engine{node}, c, tenantNames(1))
}

// pooled is a pool with rounds of one second.
func pooled(size int, decisions ...int64) *pool { return pooledAt(0, size, decisions...) }

// pooledAt is the same in an open loop, if the rate is above 0.
func pooledAt(rate float64, size int, decisions ...int64) *pool {
	p := &pool{size: size, trips: new(baseline.RoundTrips), runner: onOneNode(nil, rate)}
	for _, n := range decisions {
		p.rounds = append(p.rounds, runner.RoundStats{Decisions: n, Took: time.Second})
	}
	return p
}

func TestBestPool(t *testing.T) {
	t.Parallel()
	best := pooled(2, 30, 31, 29, 1, 32)
	best.usage, best.roundTrips = baseline.Usage{CPU: 0.00123, Commands: 492}, 246
	e := &candidate{name: baseline.Script, pools: []*pool{pooled(1, 10, 1000, 20, 15, 12), best, pooled(3, 5, 5, 5, 5, 5)}}
	e.pools[0].runner.Counts[budget.Unknown] = 7
	got := e.result([]float64{60, 62, 58, 4, 64})
	want := report.Candidate{
		Name: "script", Describe: baseline.Describe("script"), Decides: true,
		DecisionsPerSecond: metrics.Spread{Median: 30, Lowest: 1, Most: 32}, Rates: []float64{30, 31, 29, 1, 32},
		Ratio: metrics.Spread{Median: 2, Lowest: 2, Most: 4}, PoolSize: 2,
		RedisCPU: 10, Commands: 4, RoundTrips: 2, GivenUp: 7, DecisionRounds: make([]metrics.Latency, 5),
		Pools: []report.Pool{
			{Size: 1, DecisionsPerSecond: metrics.Spread{Median: 15, Lowest: 10, Most: 1000}},
			{Size: 2, DecisionsPerSecond: metrics.Spread{Median: 30, Lowest: 1, Most: 32}},
			{Size: 3, DecisionsPerSecond: metrics.Spread{Median: 5, Lowest: 5, Most: 5}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("- want, + got:\n%s", diff)
	}
	if got := baselineOf(got, 90); got != (report.Baseline{Name: "script", OpsPerSecond: 30, Ratio: 3, PoolSize: 2}) {
		t.Errorf("as a baseline: %+v", got)
	}
}

// At a constant rate the best pool is the fastest that keeps up; in a closed loop, the one
// with the highest rate.
func TestBestPoolInAnOpenLoop(t *testing.T) {
	t.Parallel()
	for rate, want := range map[float64]int{1000: 2, 0: 1} {
		e := &candidate{pools: []*pool{pooledAt(rate, 1, 1000), pooledAt(rate, 2, 995), pooledAt(rate, 3, 996), pooledAt(rate, 4, 900)}}
		for i, p99 := range []time.Duration{9, 4, 5, 1} {
			e.pools[i].runner.Reserve.Record(p99 * time.Millisecond)
		}
		if got := e.best().size; got != want {
			t.Errorf("at a rate of %g the best is that of %d connections, want %d", rate, got, want)
		}
	}
}

func TestCandidateWithoutARound(t *testing.T) {
	t.Parallel()
	e := &candidate{name: baseline.Incr, pools: []*pool{pooled(1)}}
	got := e.result([]float64{60})
	if got.Ratio != (metrics.Spread{}) || got.DecisionsPerSecond.Median != 0 || got.RoundTrips != 0 || baselineOf(got, 60).Ratio != 0 {
		t.Errorf("%+v", got)
	}
}

func TestPoolSizes(t *testing.T) {
	t.Parallel()
	for callers, want := range map[int][]int{1: {1}, 64: {4, 16, 64}, 256: {16, 64, 256}, 100_000: {largestPool}} {
		if got := poolSizes(callers); !slices.Equal(got, want) {
			t.Errorf("%d callers: %v, want %v", callers, got, want)
		}
	}
}

// numbered is a workload of one request per round, whose hold is the number of the round.
type numbered struct{}

func (numbered) Round(round, _ int) workload.Round {
	return workload.Burst{Tenants: 1, Workers: 1, Requests: 1, Hold: budget.Microcents(round + 1)}
}

func (numbered) TypicalHold() budget.Microcents { return 1 }

// Every candidate runs every round at each pool size, and each round begins with another
// candidate.
func TestRoundsAreInterleaved(t *testing.T) {
	t.Parallel()
	var played []string
	m := &benchRun{config: Config{Rounds: 3}, work: numbered{}, target: &target{}}
	for _, name := range []string{"a", "b", "c"} {
		e := &candidate{name: name}
		for size := range 2 {
			p := pooled(size + 1)
			p.runner = onOneNode(refusing(func(hold budget.Microcents) {
				played = append(played, fmt.Sprint(name, int64(hold), "/", size))
			}), 0)
			e.pools = append(e.pools, p)
		}
		m.candidates = append(m.candidates, e)
	}
	if err := m.runRounds(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(`
		a1/0 a1/1 b1/0 b1/1 c1/0 c1/1
		b2/0 b2/1 c2/0 c2/1 a2/0 a2/1
		c3/0 c3/1 a3/0 a3/1 b3/0 b3/1`)
	if diff := cmp.Diff(want, played); diff != "" {
		t.Errorf("- want, + got:\n%s", diff)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.runRounds(ended); err != nil || len(played) != len(want) {
		t.Errorf("a run that was ended went on: %v, %v", err, played)
	}
}
