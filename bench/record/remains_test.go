package record

import (
	"testing"

	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/coordinator/budget"
)

// Of a million tenants a sample has 256.
func TestRemainsAreBounded(t *testing.T) {
	t.Parallel()
	for _, tenants := range []int{1, 255, 256, 257, 1000, load.MaxTenants} {
		r := NewRemains(tenants)
		for i := range tenants {
			r.Tell(i, budget.Microcents(i))
		}
		left := r.Take()
		if len(left) > mostRemains || len(left) < min(tenants, mostRemains/2) || left[len(left)-1] != int64(r.every*(len(left)-1)) {
			t.Errorf("%d tenants: %d are told of, the last has %d", tenants, len(left), left[len(left)-1])
		}
		if again := r.Take(); again[0] != untold {
			t.Errorf("%d tenants: told twice", tenants)
		}
	}
}
