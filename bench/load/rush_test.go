package load

import "testing"

// Each tenant is asked for at least so often, by all callers in the same order.
func TestRush(t *testing.T) {
	t.Parallel()
	rush := Rush{Tenants: 3, Callers: 5, Requests: 11, Hold: 7}
	var asked [3]int
	for caller := range rush.Callers {
		last := 0
		for from, r := rush.Part(0, 1).Source(caller), (Request{}); from.Next(0, &r); last = r.Tenant {
			if r.Tenant < last || r.Hold != 7 || r.Cost != r.Hold || r.Failed {
				t.Fatalf("caller %d: %+v after tenant %d", caller, r, last)
			}
			asked[r.Tenant]++
		}
	}
	if asked != [3]int{15, 15, 15} {
		t.Errorf("asked %v times, want each 15 times: three times a caller", asked)
	}
}
