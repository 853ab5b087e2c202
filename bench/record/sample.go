package record

import (
	"time"
)

// Sample is what callers were told in a short time.
type Sample struct {
	From, To           time.Duration // since the stint began
	Warming            bool
	Decisions, Refused int64      // answers, and reserves refused
	Latency            *Histogram // of decisions
	Remaining          []int64    // microcents, as Remains.Take has it
}

// Bounds of the time between two samples: often enough for a live view, seldom enough
// to cost the callers nothing.
const (
	seldomest = 250 * time.Millisecond
	oftenest  = 20 * time.Millisecond
)

// SampleEvery gives a run of that duration about 150 samples.
func SampleEvery(duration time.Duration) time.Duration {
	if duration == 0 {
		return seldomest / 5 // nobody knows how long a trace takes
	}
	return min(max(duration/150, oftenest), seldomest)
}

// Add joins another sample to this one.
func (s *Sample) Add(other Sample) {
	switch {
	case other.Latency == nil:
		return
	case s.Latency == nil:
		*s = other
		return
	}
	s.From, s.To = min(s.From, other.From), max(s.To, other.To)
	s.Decisions += other.Decisions
	s.Refused += other.Refused
	s.Latency.Merge(other.Latency)
	for i, left := range other.Remaining {
		if left != untold {
			s.Remaining[i] = left
		}
	}
}
