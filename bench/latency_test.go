package bench

import (
	"testing"
	"time"
)

// The points of a distribution rise to the longest latency, which has them all.
func TestQuantiles(t *testing.T) {
	t.Parallel()
	h := newHistogram(time.Microsecond)
	const halvings = 22
	for k := range halvings { // half of all take 10 µs, half of the rest 20, and so on
		_ = h.RecordValues(10_000<<k, 1<<(halvings-1-k))
	}
	points := quantilesOf(h)
	last := points[len(points)-1]
	if last.Percentile != 100 || last.Count != h.TotalCount() || !about(last.Micros, 10<<(halvings-1)) {
		t.Fatalf("the last is %+v", last)
	}
	for i, p := range points[1:] {
		if before := points[i]; p.Percentile < before.Percentile || p.Micros < before.Micros || p.Count < before.Count {
			t.Errorf("%+v after %+v", p, before)
		}
	}
	if next := points[len(points)-2].Percentile; next > finestPercentile || next < 99.998 {
		t.Errorf("the point before the longest is at %f", next)
	}
	if got := quantilesOf(newHistogram(time.Microsecond)); len(got) != 0 {
		t.Errorf("of nothing: %+v", got)
	}
}

// What is taken meanwhile and what is left add up.
func TestLatenciesAreTakenOnce(t *testing.T) {
	t.Parallel()
	l := newLatencies(100, time.Microsecond)
	into := newHistogram(time.Microsecond)
	for i := range 100 {
		l.of(i).record(time.Millisecond)
		if i%10 == 0 {
			l.take(into)
		}
	}
	if got := into.TotalCount(); got != 91 {
		t.Errorf("%d were taken, want 91", got)
	}
	if got := l.all().TotalCount(); got != 100 {
		t.Errorf("%d in all, want 100", got)
	}
}
