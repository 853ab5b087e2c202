package bench

import (
	"slices"
	"strconv"
	"testing"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/scratch"
)

// The rival is only worth comparing with where it decides as ours does.
func TestScriptedDecides(t *testing.T) {
	t.Parallel()
	space, err := scratch.Open(t.Context(), scratch.Embedded)
	if err != nil {
		t.Fatal(err)
	}
	defer space.Close(t.Context())
	s, ctx := newScripted(space.Client(), "p"), t.Context()
	if err := s.create(ctx, "a", 100); err != nil {
		t.Fatal(err)
	}
	reserve := func(tenant budget.TenantID, cost budget.Microcents, want budget.Reservation) budget.ReservationID {
		t.Helper()
		got, err := s.TryReserve(ctx, tenant, cost)
		id := got.ID
		got.ID = budget.ReservationID{}
		if err != nil || got != want {
			t.Errorf("reserve %d: %+v, %v; want %+v", cost, got, err, want)
		}
		return id
	}
	settled := func(got budget.Settlement, err error) func(budget.Settlement) {
		return func(want budget.Settlement) {
			t.Helper()
			if err != nil || got != want {
				t.Errorf("settle: %+v, %v; want %+v", got, err, want)
			}
		}
	}
	reserve("nobody", 1, budget.Reservation{Outcome: budget.MissingTenant})
	reserve("a", 101, budget.Reservation{Outcome: budget.Insufficient, Remaining: 100, Required: 101})
	first := reserve("a", 60, budget.Reservation{Outcome: budget.Reserved, Remaining: 40})
	second := reserve("a", 30, budget.Reservation{Outcome: budget.Reserved, Remaining: 10})
	settled(s.Commit(ctx, first, 71))(budget.Settlement{Outcome: budget.Overrun, Remaining: 10})
	settled(s.Commit(ctx, first, 65))(budget.Settlement{Outcome: budget.Committed, Remaining: 5, Actual: 65})
	settled(s.Commit(ctx, first, 1))(budget.Settlement{Outcome: budget.MissingReservation})
	settled(s.Release(ctx, second))(budget.Settlement{Outcome: budget.Released, Remaining: 35})
	third := reserve("a", 35, budget.Reservation{Outcome: budget.Reserved})
	row, err := space.Client().HGetAll(ctx, s.key("a")).Result()
	if err != nil || len(row) != 5 || row[holdField(third)] != "35" || row["granted"] != "100" ||
		row["remaining"] != "0" || row["reserved"] != "35" || row["committed"] != "65" {
		t.Errorf("books %v, %v", row, err)
	}
}

func TestCountingCounts(t *testing.T) {
	t.Parallel()
	space, err := scratch.Open(t.Context(), scratch.Embedded)
	if err != nil {
		t.Fatal(err)
	}
	defer space.Close(t.Context())
	n := counting{space.Client(), "p"}
	res, err := n.TryReserve(t.Context(), "a", 5)
	if err != nil || res.Outcome != budget.Reserved {
		t.Fatal(res, err)
	}
	if got, err := n.Commit(t.Context(), res.ID, 3); err != nil || got.Actual != 3 {
		t.Error(got, err)
	}
	if got, err := n.Release(t.Context(), res.ID); err != nil || got.Outcome != budget.Released {
		t.Error(got, err)
	}
	if got, err := n.client.Get(t.Context(), "p:incr:a").Result(); err != nil || got != strconv.Itoa(3) {
		t.Errorf("%s calls, %v; want 3", got, err)
	}
}

func TestRivalTakesItsBestPool(t *testing.T) {
	t.Parallel()
	r := &rival{name: "x", pools: []*rivalPool{
		{size: 1, rates: []float64{10, 1000, 20, 15, 12}},
		{size: 2, rates: []float64{30, 31, 29, 1, 32}},
		{size: 3, rates: []float64{5, 5, 5, 5, 5}},
	}}
	if got, want := r.result(60), (report.Baseline{Name: "x", OpsPerSecond: 30, Ratio: 2, PoolSize: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := (&rival{name: "x", pools: []*rivalPool{{}}}).result(60); got.Ratio != 0 || got.OpsPerSecond != 0 {
		t.Errorf("without a round: %+v", got)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for want, values := range map[float64][]float64{0: nil, 4: {4}, 3: {2, 4}, 5: {9, 5, 1}} {
		if got := median(values); got != want {
			t.Errorf("median of %v is %f, want %f", values, got, want)
		}
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
