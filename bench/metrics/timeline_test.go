package metrics

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// sampled returns a sample of decisions with equal latencies.
func sampled(from, to time.Duration, decisions, refused int64, took time.Duration, remaining ...int64) Sample {
	s := Sample{From: from, To: to, Decisions: decisions, Refused: refused, Latency: NewHistogram(time.Microsecond), Remaining: remaining}
	_ = s.Latency.RecordValues(int64(took), decisions)
	return s
}

// There are at most 200 moments for any number of samples, and no count is lost.
func TestTimelineHalves(t *testing.T) {
	t.Parallel()
	line := NewTimeline(100 * time.Millisecond)
	for i := range 1000 {
		from := time.Duration(i) * 100 * time.Millisecond
		line.Add(sampled(from, from+100*time.Millisecond, 20, 5, time.Duration(1+i)*time.Millisecond))
	}
	moments := line.Moments()
	if len(moments) < maxMoments/2 || len(moments) > maxMoments {
		t.Fatalf("%d moments", len(moments))
	}
	last := 0.0
	for i, m := range moments {
		if !about(m.DecisionsPerSecond, 200) || !about(m.RefusedPerSecond, 50) || m.Seconds <= last || m.P50 > m.P99 || m.P99 > m.Longest {
			t.Errorf("moment %d: %+v after %f", i, m, last)
		}
		last = m.Seconds
	}
	if first := moments[0]; !about(first.Longest, 8000) || !about(moments[len(moments)-1].Longest, 1e6) {
		t.Errorf("the longest are %.0f and %.0f µs, want 8 ms at first and 1 s at last", first.Longest, moments[len(moments)-1].Longest)
	}
}

func about(got, want float64) bool { return got > 0.98*want && got < 1.02*want }

// Samples of several nodes add up; a round begins at the end of the last.
func TestTimelineAddsUp(t *testing.T) {
	t.Parallel()
	line := NewTimeline(time.Second)
	for range 3 {
		line.Add(sampled(0, time.Second, 100, 0, time.Millisecond))
	}
	line.EndRound(time.Second)
	line.Add(sampled(0, 500*time.Millisecond, 100, 50, time.Second))
	moments := line.Moments()
	if len(moments) != 2 || !about(moments[0].DecisionsPerSecond, 300) || !about(moments[1].DecisionsPerSecond, 200) {
		t.Fatalf("%+v, want 300 a second, then 200", moments)
	}
	if at := moments[1].Seconds; !about(at, 1.25) || !about(moments[1].Longest, 1e6) || moments[0].RefusedPerSecond != 0 || !about(moments[1].RefusedPerSecond, 100) {
		t.Errorf("%+v", moments)
	}
}

// The tenants that ran out are shown, those that ran out late among them. Moments without an
// answer have no point.
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
		if left[8] = noAnswer; second == 9 {
			left[8] = 3
		}
		from := time.Duration(second) * time.Second
		line.Add(sampled(from, from+time.Second, 1, 0, time.Millisecond, left...))
	}
	warm := sampled(0, time.Second, 1, 0, time.Millisecond, slices.Repeat([]int64{noAnswer}, count)...)
	warm.Warming, warm.Remaining[7] = true, 900
	line.Add(warm)
	shown := line.Drains(NewLastRemaining(count), led, tenants, budgets)
	if len(shown) != maxDrains || shown[0].Tenant != "tenant-8" {
		t.Fatalf("%+v, want %d drains, tenant-8 first", shown, maxDrains)
	}
	want := []DrainPoint{{Seconds: 0, Remaining: 1000}, {Seconds: 10, Remaining: 3}}
	if got := shown[0].Points; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("tenant-8: %+v, want %+v", got, want)
	}
	for _, d := range shown {
		begins := budget.Microcents(1000)
		if d.Tenant == "tenant-7" {
			begins = 900
		}
		if d.Tenant == "tenant-0" || d.Granted != 1000 || d.Points[0].Remaining != begins {
			t.Errorf("%+v: it did not run out, or begins with another balance", d)
		}
	}
}
