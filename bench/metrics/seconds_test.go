package metrics

import (
	"slices"
	"testing"
	"time"
)

func TestSeconds(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	s := NewSeconds(start, 2500*time.Millisecond)
	add := func(at, took, latency time.Duration, warming bool) {
		h := NewHistogram(time.Microsecond)
		h.Record(latency)
		s.Add(Sample{To: took, Ended: start.Add(at + took).UnixMicro(), Warming: warming, Latency: h})
	}
	add(0, time.Second, time.Hour, true)                 // a warm-up
	for n, latency := range []int{1, 2, 9, 3, 4, 8, 5} { // boundaries at 2.5 s, 5 s
		at := time.Duration(n) * time.Second
		add(at, 400*time.Millisecond, time.Duration(latency)*time.Millisecond, false)
		add(at+400*time.Millisecond, 600*time.Millisecond, time.Millisecond, false)
	}
	add(7*time.Second, 100*time.Millisecond, time.Second, false) // in part
	renewing, others := s.P99s()
	about := func(got []float64, want ...float64) bool {
		return slices.EqualFunc(got, want, func(a, b float64) bool { return a >= b*990 && a <= b*1010 })
	}
	if !about(renewing, 8, 9) || !about(others, 1, 2, 3, 4, 5) {
		t.Errorf("with a boundary %v, without %v", renewing, others)
	}
	if renewing, others := NewSeconds(start, time.Second).P99s(); len(renewing)+len(others) > 0 {
		t.Errorf("of nothing: %v, %v", renewing, others)
	}
}
