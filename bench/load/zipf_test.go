package load

import (
	"math"
	"testing"
)

// Each tenant's share is what the law says, from the hottest to the coldest.
func TestZipfShares(t *testing.T) {
	t.Parallel()
	const draws = 200_000
	for _, exponent := range []float64{0.5, 1, 1.1, 2} {
		s := Defaults()
		s.Workload, s.Zipf, s.Tenants = Zipf, exponent, 50
		seen := make([]float64, s.Tenants)
		for _, r := range drawnFrom(t, s, 0, 0, draws) {
			seen[r.Tenant]++
		}
		sum := 0.0
		for k := range s.Tenants {
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
