package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/scratch"
)

func briefSweep() (Config, Sweep) {
	c := brief()
	c.Duration = 60 * time.Millisecond
	return c, Sweep{Over: report.OverConcurrency, Values: []int{1, 2, 8}, Rounds: 3}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	_, s := briefSweep()
	c := counted(1000) // at each value, in each round
	c.Redis = scratch.Spawn
	got, err := RunSweep(t.Context(), c, s)
	if err != nil || !got.Conserved || !got.Audited || got.Sweep.Runs != 9 || got.Refused != 0 || got.Cycles == 0 {
		t.Fatalf("%v: %+v", err, got)
	}
	for i, p := range got.Sweep.Points {
		if p.Value != s.Values[i] || len(p.Rates) != s.Rounds || p.DecisionsPerSecond.Median != metrics.Median(p.Rates) || !p.Conserved {
			t.Errorf("%+v", p)
		}
		if p.Decision.P50 <= 0 || p.Decision.P99 < p.Decision.P50 || p.RedisCPU <= 0 || p.RoundTrips <= 0 || p.RoundTrips > 1.5 {
			t.Errorf("%+v", p)
		}
	}
	if len(got.Sweep.Points) != 3 || got.Sweep.Said == "" || got.Server == nil || got.Machine != report.DescribeMachine() || got.Seconds <= 0 {
		t.Errorf("%+v", got)
	}
}

// Holds made before the measurement are open at the end, and are in the balances.
func TestHoldsBefore(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{report.EngineRedis, report.EngineLocal} {
		c := brief()
		c.Duration, c.HoldsBefore, c.Budget = 50*time.Millisecond, 1001, budget.Dollar
		if c.Engine = engine; engine == report.EngineLocal {
			c.Redis, c.Nodes = "", 1
		}
		result, err := Run(t.Context(), c)
		if err != nil || !result.Conserved || result.OpenHolds < 1001 || result.OpenHolds > 1001+2*c.Concurrency {
			t.Errorf("%s: %v: %d open holds, %+v", engine, err, result.OpenHolds, result.Books)
		}
	}
}

// Wrong balances end the sweep with an error that names the value; earlier points are
// reported.
func TestSweepOfWrongBalances(t *testing.T) {
	t.Parallel()
	c, s := briefSweep()
	s.Rounds = 2
	runs := 0
	c.tamper = func(a *target) error {
		if runs++; runs < 5 {
			return nil
		}
		return rewriteAccount(a, "tenant-7", func(terms []budget.Microcents) { terms[0]++ })
	}
	got, err := RunSweep(t.Context(), c, s)
	if exit.Code(err) != exit.Refused || !strings.HasPrefix(fmt.Sprint(err), "at concurrency ") || !strings.Contains(fmt.Sprint(err), "tenant-7") {
		t.Errorf("code %d, %v", exit.Code(err), err)
	}
	unkept := slices.DeleteFunc(slices.Clone(got.Sweep.Points), func(p report.SweepPoint) bool { return p.Conserved })
	if got.Conserved || got.Sweep.Runs != 5 || got.BrokenAll != 1 || len(got.Sweep.Points) != 3 || len(unkept) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestSweepInterrupted(t *testing.T) {
	t.Parallel()
	c, s := briefSweep()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	runs := 0
	c.tamper = func(*target) error {
		if runs++; runs == 4 {
			interrupt()
		}
		return nil
	}
	got, err := RunSweep(ctx, c, s)
	if err != nil || !got.Interrupted || !got.Conserved || runs != 4 || len(got.Sweep.Points) != 3 {
		t.Errorf("after %d runs, %v: %+v", runs, err, got)
	}
	if got, err := RunSweep(ctx, c, s); !errors.Is(err, exit.ErrInterrupted) || got.Rounds != 0 {
		t.Errorf("a context that has ended: %v, %+v", err, got)
	}
}

// The live view of a sweep shows the progress of all runs.
func TestSweepIsWatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testSweepIsWatched)
}

func testSweepIsWatched(t *testing.T) {
	c, s := inBubble(), Sweep{Over: report.OverTenants, Values: []int{1, 2}, Rounds: 1}
	c.Duration = 800 * time.Millisecond
	var seen []report.Progress
	c.Watch = func(p report.Progress) { seen = append(seen, p) }
	if _, err := RunSweep(t.Context(), c, s); err != nil || len(seen) == 0 {
		t.Fatalf("%v, seen %d times", err, len(seen))
	}
	first, last := seen[0], seen[len(seen)-1]
	if !strings.HasPrefix(first.Phase, "run 1 of 2, tenants ") || first.Left < c.Duration || !strings.HasPrefix(last.Phase, "run 2 of 2, ") || last.Left > c.Duration || last.Elapsed <= first.Elapsed {
		t.Errorf("first %+v, last %+v", first, last)
	}
}

func TestSweepValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		over, list, from, to string
		want                 []int
	}{
		{report.OverNodes, "", "", "", []int{1, 2, 4, 8, 16}},
		{report.OverHolds, "", "", "", []int{0, 1024, 2048, 4096, 8192, 16384, 32768, 65536}},
		{report.OverTenants, "3, 5,70", "", "", []int{3, 5, 70}},
		{report.OverTenants, "", "3", "20", []int{3, 6, 12, 20}},
		{report.OverHolds, "", "", "3", []int{0, 1, 2, 3}},
		{report.OverConcurrency, "", "128", "", []int{128, 256, 512}},
	} {
		if got, err := valuesOf(c.over, c.list, c.from, c.to); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, %v", c, got, err)
		}
	}
}

// The budgets of the largest sweep over tenants add up within 64 bits.
func TestSweepBudgets(t *testing.T) {
	t.Parallel()
	c, s := Defaults(), Sweep{Over: report.OverTenants, Values: []int{1, workload.MaxTenants}, Rounds: 1}
	c.Budget = s.budget(c)
	if err := s.validate(c); err != nil || c.Budget <= 0 {
		t.Errorf("%v, %s", err, c.Budget)
	}
	if _, err := budgetsOf(s.at(c, workload.MaxTenants), 1); err != nil {
		t.Error(err)
	}
	s.Values[1]++
	if err := s.validate(c); err == nil {
		t.Error("a value beyond the bound is accepted")
	}
	s.Values[1], c.Baselines = 2, []string{"incr"}
	if err := s.validate(c); err == nil || !strings.Contains(err.Error(), "--baselines") {
		t.Errorf("baselines in a sweep: %v", err)
	}
}
