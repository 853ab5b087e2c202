package metrics

import (
	"slices"
	"time"
)

// Seconds has the latencies of each second of a run, to compare those in which budgets renew
// with the others. Budgets renew at each multiple of an interval after the start.
type Seconds struct {
	start time.Time
	every time.Duration
	all   map[int64]*second
}

type second struct {
	latency *Histogram
	covered time.Duration // by samples
}

// NewSeconds returns an empty Seconds of budgets that renew at an interval after start.
func NewSeconds(start time.Time, every time.Duration) *Seconds {
	return &Seconds{start: start, every: every, all: make(map[int64]*second)}
}

// Add adds a sample to the second of its middle. Warm-ups aren't counted.
func (s *Seconds) Add(sample Sample) {
	if sample.Warming {
		return
	}
	took := sample.To - sample.From
	at := int64(time.UnixMicro(sample.Ended).Add(-took/2).Sub(s.start) / time.Second)
	if s.all[at] == nil {
		s.all[at] = &second{sample.Latency.Clone(), took}
		return
	}
	s.all[at].latency.Merge(sample.Latency)
	s.all[at].covered += took
}

// hasBoundary reports whether budgets renew in a second.
func (s *Seconds) hasBoundary(at int64) bool {
	from, every := time.Duration(at)*time.Second, s.every
	next := (from + every - 1) / every * every
	return next > 0 && next < from+time.Second
}

// P99s returns the 99th percentiles, in microseconds and ascending, of the seconds with a
// boundary and of the others, without those that were measured only in part.
func (s *Seconds) P99s() (renewing, others []float64) {
	var covered []time.Duration
	for _, one := range s.all {
		covered = append(covered, one.covered)
	}
	slices.Sort(covered)
	for at, one := range s.all {
		switch {
		case one.covered < covered[len(covered)/2]*3/4:
		case s.hasBoundary(at):
			renewing = append(renewing, one.latency.Latency().P99)
		default:
			others = append(others, one.latency.Latency().P99)
		}
	}
	slices.Sort(renewing)
	slices.Sort(others)
	return renewing, others
}
