package metrics

import (
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Sample is what callers were told in a short time.
type Sample struct {
	From, To           time.Duration // since the stint began
	Warming            bool
	Decisions, Refused int64      // answers, and reserves refused
	Latency            *Histogram // of decisions
	Remaining          []int64    // microcents, as LastRemaining.Take has it
}

// Bounds of the time between two samples: often enough for a live view, seldom enough
// to cost the callers nothing.
const (
	maxSampleInterval = 250 * time.Millisecond
	minSampleInterval = 20 * time.Millisecond
)

// SampleInterval gives a run of that duration about 150 samples.
func SampleInterval(duration time.Duration) time.Duration {
	if duration == 0 {
		return maxSampleInterval / 5 // nobody knows how long a trace takes
	}
	return min(max(duration/150, minSampleInterval), maxSampleInterval)
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
		if left != unknown {
			s.Remaining[i] = left
		}
	}
}

// Timeline is the story of a run in moments: 100 to 200 of them, however long it takes,
// because when there would be more, each two become one.
type Timeline struct {
	tick    time.Duration // of a sample
	width   time.Duration // of a moment
	moments []Sample      // without a latency where there was none
	played  time.Duration // by the rounds before this one
	before  Sample        // the warm-up
}

const maxMoments = 200

// NewTimeline is of samples taken every tick.
func NewTimeline(tick time.Duration) *Timeline { return &Timeline{tick: tick, width: tick} }

// Add puts a sample where its middle is. Several nodes' samples of one time add up.
func (t *Timeline) Add(s Sample) {
	if s.Warming {
		t.before.Add(s)
		return
	}
	s.From += t.played
	s.To += t.played
	middle := (s.From + s.To) / 2
	if s.To-s.From < t.tick/2 {
		middle = max(0, s.From-t.tick/2) // the short rest at the end of a round belongs to what came before
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

// EndRound puts the samples to come after a round that took so long.
func (t *Timeline) EndRound(took time.Duration) { t.played += took }

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

// Report has the moments, for people and plots.
func (t *Timeline) Report() []Moment {
	var shown []Moment
	for _, m := range t.moments {
		took := (m.To - m.From).Seconds()
		if m.Latency == nil || took <= 0 {
			continue
		}
		at := m.Latency.Percentiles()
		shown = append(shown, Moment{
			Seconds:            (m.From + m.To).Seconds() / 2,
			DecisionsPerSecond: float64(m.Decisions) / took, RefusedPerSecond: float64(m.Refused) / took,
			P50: at.P50, P99: at.P99, Longest: micros(m.Latency.Max()),
		})
	}
	return shown
}

// maxDrains is how many budgets can be told apart in a plot.
const maxDrains = 6

// Drains are how the budgets went of some tenants that ran out, those that took long
// before those that had nothing from the start.
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
	var shown []Drain
	for i := range min(maxDrains, len(found)) {
		place := found[i*len(found)/min(maxDrains, len(found))].place
		tenant := place * r.every
		shown = append(shown, Drain{
			Tenant: tenants[tenant], Granted: budgets[tenant], Points: t.drain(place, budgets[tenant]),
		})
	}
	return shown
}

// ranOut is the first moment in which a tenant had less than a hundredth left.
func (t *Timeline) ranOut(place int, granted budget.Microcents) int {
	return max(0, slices.IndexFunc(t.moments, func(m Sample) bool {
		return m.Latency != nil && m.Remaining[place] != unknown && m.Remaining[place] <= int64(granted/100)
	}))
}

// drain begins with the whole budget, or with what the warm-up left of it.
func (t *Timeline) drain(place int, granted budget.Microcents) []DrainPoint {
	points := []DrainPoint{{Remaining: granted}}
	if t.before.Latency != nil && t.before.Remaining[place] != unknown {
		points[0].Remaining = budget.Microcents(t.before.Remaining[place])
	}
	for _, m := range t.moments {
		if m.Latency != nil && m.Remaining[place] != unknown {
			points = append(points, DrainPoint{Seconds: m.To.Seconds(), Remaining: budget.Microcents(m.Remaining[place])})
		}
	}
	return points
}

// Moment is a short stretch of a run.
type Moment struct {
	Seconds            float64 `json:"at"` // its middle, since the first round of ours began
	DecisionsPerSecond float64 `json:"decisions_per_second"`
	RefusedPerSecond   float64 `json:"refused_per_second"`
	P50                float64 `json:"p50_us"`
	P99                float64 `json:"p99_us"`
	Longest            float64 `json:"longest_us"`
}

// Drain is how one tenant's budget went down.
type Drain struct {
	Tenant  budget.TenantID   `json:"tenant"`
	Granted budget.Microcents `json:"granted_microcents"`
	Points  []DrainPoint      `json:"points"`
}

// DrainPoint is what a tenant had left, as callers were told.
type DrainPoint struct {
	Seconds   float64           `json:"at"`
	Remaining budget.Microcents `json:"remaining_microcents"`
}
