package report

import (
	"fmt"
	"strconv"

	"github.com/calybris/bursar/coordinator/wording"
)

func (t *table) sweep(r Report) {
	s := r.Sweep
	t.line("")
	t.line("%-11s %35s %10s %10s %12s %12s", "", "decisions a second", "", "", "Redis' CPU", "round trips")
	t.line("%-11s %11s %11s %11s %10s %10s %12s %12s  books", s.Over, "median", "lowest", "highest", "p50", "p99", "a decision", "a decision")
	for _, p := range s.Points {
		cpu, trips, books := "-", "-", "kept"
		if p.RedisCPU > 0 {
			cpu = latency(p.RedisCPU)
		}
		if p.RoundTrips > 0 {
			trips = strconv.FormatFloat(p.RoundTrips, 'f', 3, 64)
		}
		if !p.Conserved {
			books = "NOT KEPT"
		}
		rate := p.DecisionsPerSecond
		t.line("%-11d %11.0f %11.0f %11.0f %10s %10s %12s %12s  %s", p.Value, rate.Median, rate.Lowest, rate.Most,
			latency(p.Decision.P50), latency(p.Decision.P99), cpu, trips, books)
	}
	if s.Said != "" {
		t.line("")
		t.line("%s", s.Said)
	}
}

func (t *table) sweepVerdict(r Report) {
	runs := wording.Count(r.Sweep.Runs, "run")
	t.line("")
	switch {
	case r.BrokenAll > 0:
		t.line("books: BROKEN for %s in %s; overspent %s", wording.Count(r.BrokenAll, "tenant"), runs, r.Overspent)
		for _, b := range r.Broken {
			t.line("       %s: %s", b.Tenant, b.Problem)
		}
	case !r.Audited:
		t.line("books: NOT CHECKED after one of %s: they could not be read", runs)
	default:
		t.line("books: read after each of %s; law kept for every tenant; overspent %s", runs, r.Overspent)
	}
	if r.InDoubt > 0 {
		t.line("       in doubt: at most %s, of calls without an answer", r.InDoubt)
	}
}

// swept is a count, or where it is swept over, the range of it.
func (r Report) swept(over string, count int, noun string) string {
	if r.Sweep == nil || r.Sweep.Over != over || len(r.Sweep.Points) == 0 {
		return wording.Count(count, noun)
	}
	points := r.Sweep.Points
	return fmt.Sprintf("%d to %s", points[0].Value, wording.Count(points[len(points)-1].Value, noun))
}
