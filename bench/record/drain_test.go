package record

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
)

// The tenants that ran out are shown, those that took longest among them; of what nobody
// was told in a while there is no point.
func TestDrains(t *testing.T) {
	t.Parallel()
	const count = 9
	line, led := NewTimeline(time.Second), NewLedger(count, 1)
	tenants := make([]budget.TenantID, count)
	budgets := make([]budget.Microcents, count)
	for i := range budgets {
		tenants[i], budgets[i] = budget.TenantID(fmt.Sprint("tenant-", i)), 1000
		if i > 0 {
			led.Of(0)[i].Refused.Add(1)
		}
	}
	for second := range 10 {
		left := make([]int64, count)
		for i := range left {
			left[i] = max(0, 1000-int64(second*1000/(i+1)))
		}
		if left[8] = untold; second == 9 {
			left[8] = 3
		}
		from := time.Duration(second) * time.Second
		line.Add(sampled(from, from+time.Second, 1, 0, time.Millisecond, left...))
	}
	warm := sampled(0, time.Second, 1, 0, time.Millisecond, slices.Repeat([]int64{untold}, count)...)
	warm.Warming, warm.Remaining[7] = true, 900
	line.Add(warm)
	shown := line.Drains(NewRemains(count), led, tenants, budgets)
	if len(shown) != shownDrains || shown[0].Tenant != "tenant-8" {
		t.Fatalf("%+v, want %d drains, tenant-8 first", shown, shownDrains)
	}
	want := []report.DrainPoint{{Seconds: 0, Remaining: 1000}, {Seconds: 10, Remaining: 3}}
	if got := shown[0].Points; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("tenant-8: %+v, want %+v", got, want)
	}
	for _, d := range shown {
		begins := budget.Microcents(1000)
		if d.Tenant == "tenant-7" {
			begins = 900
		}
		if d.Tenant == "tenant-0" || d.Granted != 1000 || d.Points[0].Remaining != begins {
			t.Errorf("%+v: it did not run out, or does not begin with what it had", d)
		}
	}
}
