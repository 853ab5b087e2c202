package metrics

import (
	"testing"

	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
)

func TestLedgerIsBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ tenants, callers, stripes int }{
		{100, 192, 192}, {1, 100_000, 100_000}, {100_000, 192, 10}, {workload.MaxTenants, 192, 1},
	} {
		if got := len(NewLedger(c.tenants, c.callers).stripes); got != c.stripes {
			t.Errorf("%d tenants, %d callers: %d stripes, want %d", c.tenants, c.callers, got, c.stripes)
		}
	}
}

// A sample has at most 256 of a million tenants.
func TestLastRemainingIsBounded(t *testing.T) {
	t.Parallel()
	for _, tenants := range []int{1, 255, 256, 257, 1000, workload.MaxTenants} {
		r := NewLastRemaining(tenants)
		for i := range tenants {
			r.Set(i, budget.Microcents(i))
		}
		left := r.Take()
		if len(left) > maxSampledTenants || len(left) < min(tenants, maxSampledTenants/2) || left[len(left)-1] != int64(r.every*(len(left)-1)) {
			t.Errorf("%d tenants: Take returned %d, and the last has %d", tenants, len(left), left[len(left)-1])
		}
		if again := r.Take(); again[0] != noAnswer {
			t.Errorf("%d tenants: Take returned a value twice", tenants)
		}
	}
}
