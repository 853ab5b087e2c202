package metrics

import (
	"encoding/json"
	"testing"
	"time"
)

// The points of a distribution rise to the maximum, whose count is the total.
func TestQuantiles(t *testing.T) {
	t.Parallel()
	h := NewHistogram(time.Microsecond)
	const halvings = 22
	for k := range halvings { // half of all take 10 µs, half of the rest 20, and so on
		_ = h.RecordValues(10_000<<k, 1<<(halvings-1-k))
	}
	points := h.Quantiles()
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
	if got := NewHistogram(time.Microsecond).Quantiles(); len(got) != 0 {
		t.Errorf("of nothing: %+v", got)
	}
}

// A decoded histogram equals the encoded one, and merges with others.
func TestHistogramEncoding(t *testing.T) {
	t.Parallel()
	sent, there := NewHistogram(time.Microsecond), NewHistogram(time.Microsecond)
	for i := range 1000 {
		sent.Record(time.Duration(i) * time.Millisecond)
	}
	text, err := json.Marshal(Sample{Latency: sent})
	if err != nil {
		t.Fatal(err)
	}
	var arrived Sample
	if err := json.Unmarshal(text, &arrived); err != nil {
		t.Fatal(err)
	}
	there.Record(time.Minute)
	there.Merge(arrived.Latency)
	if got := there.TotalCount(); got != 1001 || arrived.Latency.Latency() != sent.Latency() {
		t.Errorf("%d latencies, %+v arrived of %+v", got, arrived.Latency.Latency(), sent.Latency())
	}
	if err := json.Unmarshal([]byte(`{"Latency": "a page of HTML"}`), &arrived); err == nil {
		t.Error("what is no histogram was read as one")
	}
}

// Latencies taken while others are recorded are counted once.
func TestLatenciesAreTakenOnce(t *testing.T) {
	t.Parallel()
	l := NewLatencies(100, time.Microsecond)
	into := NewHistogram(time.Microsecond)
	for i := range 100 {
		l.Of(i).Record(time.Millisecond)
		if i%10 == 0 {
			l.Take(into)
		}
	}
	if got := into.TotalCount(); got != 91 {
		t.Errorf("%d were taken, want 91", got)
	}
	if got := l.All().TotalCount(); got != 100 {
		t.Errorf("%d in all, want 100", got)
	}
}

func TestLatencies(t *testing.T) {
	t.Parallel()
	l := NewLatencies(3, time.Microsecond)
	for i := range 1000 {
		l.Of(i).Record(time.Duration(i+1) * time.Millisecond)
	}
	l.Of(0).Record(time.Hour) // beyond the histogram: kept as its longest
	l.Of(0).Record(-1)
	got := l.All().Latency()
	for _, c := range []struct {
		name      string
		got, want float64
	}{{"p50", got.P50, 500e3}, {"p99", got.P99, 991e3}, {"p99.9", got.P999, 1000e3}} {
		if c.got < 0.98*c.want || c.got > 1.02*c.want {
			t.Errorf("%s is %.0f µs, want %.0f", c.name, c.got, c.want)
		}
	}
}
