package record

import (
	"encoding/json"
	"testing"
	"time"
)

// The points of a distribution rise to the longest latency, which has them all.
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

// What travels arrives, and adds up with what is there.
func TestHistogramTravels(t *testing.T) {
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
	if got := there.TotalCount(); got != 1001 || arrived.Latency.Percentiles() != sent.Percentiles() {
		t.Errorf("%d latencies, %+v arrived of %+v", got, arrived.Latency.Percentiles(), sent.Percentiles())
	}
	if err := json.Unmarshal([]byte(`{"Latency": "a page of HTML"}`), &arrived); err == nil {
		t.Error("what is no histogram was read as one")
	}
}
