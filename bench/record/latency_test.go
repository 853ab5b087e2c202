package record

import (
	"testing"
	"time"
)

// What is taken meanwhile and what is left add up.
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
	got := l.All().Percentiles()
	for _, c := range []struct {
		name      string
		got, want float64
	}{{"p50", got.P50, 500e3}, {"p99", got.P99, 991e3}, {"p99.9", got.P999, 1000e3}} {
		if c.got < 0.98*c.want || c.got > 1.02*c.want {
			t.Errorf("%s is %.0f µs, want %.0f", c.name, c.got, c.want)
		}
	}
}
