package bench

import (
	"math"
	"slices"
	"testing"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
)

// drawnFrom is what one caller is asked for.
func drawnFrom(t *testing.T, c Config, round, caller, count int) []request {
	t.Helper()
	work, err := newWorkload(c)
	if err != nil {
		t.Fatal(err)
	}
	from := work.part(round, defaultRounds).source(caller)
	requests := make([]request, count)
	for i := range requests {
		from.next(uint64(i), &requests[i])
	}
	return requests
}

// Whatever the workload, a seed gives each caller of each round its own requests,
// always the same.
func TestWorkloadsAreRepeatable(t *testing.T) {
	t.Parallel()
	for _, name := range []string{WorkloadUniform, WorkloadHot, WorkloadZipf, WorkloadStorm} {
		c := Defaults()
		c.Workload = name
		if name == WorkloadHot {
			c.Tenants = 1
		}
		first := drawnFrom(t, c, 1, 5, 100)
		if !slices.Equal(first, drawnFrom(t, c, 1, 5, 100)) {
			t.Errorf("%s: the same caller of the same round drew two sequences", name)
		}
		if slices.Equal(first, drawnFrom(t, c, 2, 5, 100)) || slices.Equal(first, drawnFrom(t, c, 1, 6, 100)) {
			t.Errorf("%s: another round or caller drew the same sequence", name)
		}
		c.Seed++
		if slices.Equal(first, drawnFrom(t, c, 1, 5, 100)) {
			t.Errorf("%s: another seed drew the same sequence", name)
		}
	}
}

// Each tenant's share is what the law says, from the hottest to the coldest.
func TestZipfShares(t *testing.T) {
	t.Parallel()
	const draws = 200_000
	for _, exponent := range []float64{0.5, 1, 1.1, 2} {
		c := Defaults()
		c.Workload, c.Zipf, c.Tenants = WorkloadZipf, exponent, 50
		seen := make([]float64, c.Tenants)
		for _, r := range drawnFrom(t, c, 0, 0, draws) {
			seen[r.tenant]++
		}
		sum := 0.0
		for k := range c.Tenants {
			sum += math.Pow(float64(k+1), -exponent)
		}
		for k, got := range seen {
			want := draws * math.Pow(float64(k+1), -exponent) / sum
			if spread := 5 * math.Sqrt(want); math.Abs(got-want) > spread+1 {
				t.Errorf("exponent %g: tenant %d was drawn %.0f times, want %.0f ± %.0f", exponent, k, got, want, spread)
			}
		}
	}
}

func TestZipfReachesEveryBit(t *testing.T) {
	t.Parallel()
	z := newZipf(3, 1)
	if z.tenant(0) != 0 || z.tenant(math.MaxUint32) != 2 {
		t.Errorf("the lowest bits give tenant %d, the highest %d; want 0 and 2", z.tenant(0), z.tenant(math.MaxUint32))
	}
}

func TestAbove(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ permille, lowest, highest int }{
		{0, 0, 0}, {10, 20, 200}, {500, 3900, 4300}, {1000, deckSize, deckSize},
	} {
		deck, err := newDeck(1, Defaults().tariff(), c.permille)
		if err != nil {
			t.Fatal(err)
		}
		above := 0
		for _, r := range deck {
			if r.cost > r.hold {
				above++
			}
		}
		if above < c.lowest || above > c.highest {
			t.Errorf("--above %d: %d of %d requests cost more than they hold, want %d to %d", c.permille, above, deckSize, c.lowest, c.highest)
		}
	}
}

func TestRunStorm(t *testing.T) {
	t.Parallel()
	c := brief()
	c.Engine, c.Redis, c.Nodes, c.Workload = report.EngineLocal, "", 1, WorkloadStorm
	result, err := Run(t.Context(), c)
	if err != nil || !result.Conserved || result.Overspent != 0 {
		t.Fatalf("%v: %+v", err, result)
	}
	if reserved := result.Outcomes[budget.Reserved.String()]; result.Refused < reserved || result.Exhausted != c.Tenants {
		t.Errorf("%d reserved, %d refused, %d of %d tenants exhausted: no storm", reserved, result.Refused, result.Exhausted, c.Tenants)
	}
	if result.Workload.Name != WorkloadStorm || result.Workload.AbovePermille != c.Above {
		t.Errorf("workload %+v", result.Workload)
	}
}
