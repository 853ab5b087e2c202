package metrics

import (
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Sample has the answers that workers received in a short time.
type Sample struct {
	From, To           time.Duration // since the phase began
	Ended              int64         // Unix µs by the machine's clock
	Warming            bool
	Decisions, Refused int64      // answers, and refused reserves
	Latency            *Histogram // of decisions
	Remaining          []int64    // microcents, from LastRemaining.Take
}

// Bounds of the interval between samples: short enough for a live view, long enough not
// to slow the workers down.
const (
	maxSampleInterval = 250 * time.Millisecond
	minSampleInterval = 20 * time.Millisecond
)

// SampleInterval returns the interval that gives a run about 150 samples.
func SampleInterval(duration time.Duration) time.Duration {
	if duration == 0 {
		return maxSampleInterval / 5 // a trace, of unknown length
	}
	return min(max(duration/150, minSampleInterval), maxSampleInterval)
}

// Add merges a sample of the same time.
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
		if left != noAnswer {
			s.Remaining[i] = left
		}
	}
}

// Timeline is a run in 100 to 200 moments: when there would be more, each two are merged.
type Timeline struct {
	interval time.Duration // between samples
	width    time.Duration // of a moment
	moments  []Sample      // Latency is nil in moments without a sample
	elapsed  time.Duration // in earlier rounds
	warmUp   Sample
}

const maxMoments = 200

// NewTimeline returns an empty timeline for samples taken at an interval.
func NewTimeline(interval time.Duration) *Timeline {
	return &Timeline{interval: interval, width: interval}
}

// Add adds a sample to the moment of its middle. Samples of several nodes add up.
func (t *Timeline) Add(s Sample) {
	if s.Warming {
		t.warmUp.Add(s)
		return
	}
	s.From += t.elapsed
	s.To += t.elapsed
	middle := (s.From + s.To) / 2
	if s.To-s.From < t.interval/2 {
		middle = max(0, s.From-t.interval/2) // the rest of a round joins the moment before it
	}
	place := int(middle / t.width)
	for place >= maxMoments {
		t.halve()
		place /= 2
	}
	for len(t.moments) <= place {
		t.moments = append(t.moments, Sample{})
	}
	t.moments[place].Add(s)
}

// EndRound makes the following samples start after a round.
func (t *Timeline) EndRound(took time.Duration) { t.elapsed += took }

func (t *Timeline) halve() {
	t.width *= 2
	for i := range t.moments {
		if i%2 == 0 {
			t.moments[i/2] = t.moments[i]
		} else {
			t.moments[i/2].Add(t.moments[i])
		}
	}
	t.moments = t.moments[:(len(t.moments)+1)/2]
}

// Moment is a short stretch of a run.
type Moment struct {
	Seconds            float64 `json:"at"` // its middle, since the first round began
	DecisionsPerSecond float64 `json:"decisions_per_second"`
	RefusedPerSecond   float64 `json:"refused_per_second"`
	P50                float64 `json:"p50_us"`
	P99                float64 `json:"p99_us"`
	Longest            float64 `json:"longest_us"`
}

// Moments returns the timeline for a report.
func (t *Timeline) Moments() []Moment {
	var all []Moment
	for _, m := range t.moments {
		took := (m.To - m.From).Seconds()
		if m.Latency == nil || took <= 0 {
			continue
		}
		at := m.Latency.Latency()
		all = append(all, Moment{
			Seconds:            (m.From + m.To).Seconds() / 2,
			DecisionsPerSecond: float64(m.Decisions) / took, RefusedPerSecond: float64(m.Refused) / took,
			P50: at.P50, P99: at.P99, Longest: at.Max,
		})
	}
	return all
}

// Drain is the balance of one tenant over time.
type Drain struct {
	Tenant  budget.TenantID   `json:"tenant"`
	Granted budget.Microcents `json:"granted_microcents"`
	Points  []DrainPoint      `json:"points"`
}

// DrainPoint is a tenant's balance in an answer.
type DrainPoint struct {
	Seconds   float64           `json:"at"`
	Remaining budget.Microcents `json:"remaining_microcents"`
}

// maxDrains is the number of lines that are distinct in a plot.
const maxDrains = 6

// Drains returns the balances of some tenants that were refused, those that ran out late
// before those that ran out at once.
func (t *Timeline) Drains(r *LastRemaining, l *Ledger, tenants []budget.TenantID, budgets []budget.Microcents) []Drain {
	type candidate struct{ place, ranOut int }
	var found []candidate
	for place := range r.left {
		tenant := place * r.every
		if l.Totals(tenant).Refused > 0 {
			found = append(found, candidate{place, t.ranOut(place, budgets[tenant])})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return b.ranOut - a.ranOut })
	count := min(maxDrains, len(found))
	drains := make([]Drain, count)
	for i := range drains {
		place := found[i*len(found)/count].place
		tenant := place * r.every
		drains[i] = Drain{Tenant: tenants[tenant], Granted: budgets[tenant], Points: t.points(place, budgets[tenant])}
	}
	return drains
}

// ranOut returns the first moment in which a tenant had at most a hundredth left.
func (t *Timeline) ranOut(place int, granted budget.Microcents) int {
	return max(0, slices.IndexFunc(t.moments, func(m Sample) bool {
		left, known := m.remaining(place)
		return known && left <= granted/100
	}))
}

// points begin with the whole budget, or with its rest after the warm-up.
func (t *Timeline) points(place int, granted budget.Microcents) []DrainPoint {
	points := []DrainPoint{{Remaining: granted}}
	if left, known := t.warmUp.remaining(place); known {
		points[0].Remaining = left
	}
	for _, m := range t.moments {
		if left, known := m.remaining(place); known {
			points = append(points, DrainPoint{Seconds: m.To.Seconds(), Remaining: left})
		}
	}
	return points
}

func (s Sample) remaining(place int) (budget.Microcents, bool) {
	if s.Latency == nil || s.Remaining[place] == noAnswer {
		return 0, false
	}
	return budget.Microcents(s.Remaining[place]), true
}
