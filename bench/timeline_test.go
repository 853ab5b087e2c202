package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
)

// sampled is a sample in which so many decisions took as long each.
func sampled(from, to time.Duration, decisions, refused int64, took time.Duration, remaining ...int64) sample {
	s := sample{from: from, to: to, decisions: decisions, refused: refused, latency: newHistogram(time.Microsecond), remaining: remaining}
	_ = s.latency.RecordValues(int64(took), decisions)
	return s
}

// However many samples there are, there are at most 200 moments, and nothing is lost.
func TestTimelineHalves(t *testing.T) {
	t.Parallel()
	line := newTimeline(100 * time.Millisecond)
	for i := range 1000 {
		from := time.Duration(i) * 100 * time.Millisecond
		line.add(sampled(from, from+100*time.Millisecond, 20, 5, time.Duration(1+i)*time.Millisecond))
	}
	moments := line.report()
	if len(moments) < mostMoments/2 || len(moments) > mostMoments {
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

// Several nodes' samples of one time add up; a round begins where the one before ended.
func TestTimelineAddsUp(t *testing.T) {
	t.Parallel()
	line := newTimeline(time.Second)
	for range 3 {
		line.add(sampled(0, time.Second, 100, 0, time.Millisecond))
	}
	line.played = time.Second
	line.add(sampled(0, 500*time.Millisecond, 100, 50, time.Second))
	moments := line.report()
	if len(moments) != 2 || !about(moments[0].DecisionsPerSecond, 300) || !about(moments[1].DecisionsPerSecond, 200) {
		t.Fatalf("%+v, want 300 a second, then 200", moments)
	}
	if at := moments[1].Seconds; !about(at, 1.25) || !about(moments[1].Longest, 1e6) || moments[0].RefusedPerSecond != 0 || !about(moments[1].RefusedPerSecond, 100) {
		t.Errorf("%+v", moments)
	}
}

// The tenants that ran out are shown, those that took longest among them; of what nobody
// was told in a while there is no point.
func TestDrains(t *testing.T) {
	t.Parallel()
	c := Defaults()
	c.Tenants = 9
	f := newFleet([]decider{scriptless{}}, c, tenantNames(c.Tenants, ""))
	f.timeline = newTimeline(time.Second)
	budgets := make([]budget.Microcents, c.Tenants)
	for i := range budgets {
		budgets[i] = 1000
		if i > 0 {
			f.ledger.of(0)[i].refused.Add(1)
		}
	}
	for second := range 10 {
		left := make([]int64, c.Tenants)
		for i := range left {
			left[i] = max(0, 1000-int64(second*1000/(i+1)))
		}
		if left[8] = untold; second == 9 {
			left[8] = 3
		}
		from := time.Duration(second) * time.Second
		f.timeline.add(sampled(from, from+time.Second, 1, 0, time.Millisecond, left...))
	}
	warm := sampled(0, time.Second, 1, 0, time.Millisecond, slices.Repeat([]int64{untold}, c.Tenants)...)
	warm.warming, warm.remaining[7] = true, 900
	f.sampled(warm)
	shown := f.drains(budgets)
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

// Of a million tenants a sample has 256.
func TestRemainsAreBounded(t *testing.T) {
	t.Parallel()
	for _, tenants := range []int{1, 255, 256, 257, 1000, load.MaxTenants} {
		r := newRemains(tenants)
		for i := range tenants {
			r.tell(i, budget.Microcents(i))
		}
		left := r.take()
		if len(left) > mostRemains || len(left) < min(tenants, mostRemains/2) || left[len(left)-1] != int64(r.every*(len(left)-1)) {
			t.Errorf("%d tenants: %d are told of, the last has %d", tenants, len(left), left[len(left)-1])
		}
		if again := r.take(); again[0] != untold {
			t.Errorf("%d tenants: told twice", tenants)
		}
	}
}

// A run's story and its live view agree with its sums.
//
// It is not parallel: beside other tests at full speed a moment may see nothing at all.
func TestRunIsWatched(t *testing.T) {
	c := brief()
	c.Engine, c.Redis, c.Nodes = report.EngineLocal, "", 1
	c.Duration, c.Warmup = 700*time.Millisecond, 300*time.Millisecond
	var seen []Progress
	c.Watch = func(p Progress) { seen = append(seen, p) }
	result, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) < 2 || len(seen) > 5 || seen[0].Phase != "local, warm-up" || seen[len(seen)-1].Phase != "local" {
		t.Fatalf("%+v", seen)
	}
	for i, p := range seen {
		if p.Rate <= 0 || p.P99 <= 0 || p.Decisions <= 0 || p.Elapsed <= 0 || p.Left > time.Second || i > 0 && p.Decisions <= seen[i-1].Decisions {
			t.Errorf("%+v", p)
		}
	}
	var decisions, seconds float64
	for i, m := range result.Timeline {
		took := 2 * (m.Seconds - seconds) // its middle is half of it after the last one's end
		decisions += m.DecisionsPerSecond * took
		if seconds += took; m.Seconds > result.Seconds+0.1 || i > 0 && m.Seconds <= result.Timeline[i-1].Seconds {
			t.Errorf("moment %d: %+v", i, m)
		}
	}
	all := float64(0)
	for _, count := range result.Outcomes {
		all += float64(count)
	}
	if decisions < 0.98*all || decisions > 1.02*all {
		t.Errorf("the moments have %.0f decisions, the run %.0f", decisions, all)
	}
	if len(result.Drains) == 0 {
		t.Error("no drain, though tenants ran out")
	}
}
