package record

import (
	"time"

	"github.com/calybris/bursar/bench/report"
)

// Timeline is the story of a run in moments: 100 to 200 of them, however long it takes,
// because when there would be more, each two become one.
type Timeline struct {
	tick    time.Duration // of a sample
	width   time.Duration // of a moment
	moments []Sample      // without a latency where there was none
	played  time.Duration // by the rounds before this one
	before  Sample        // the warm-up
}

const mostMoments = 200

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
	for place >= mostMoments {
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
func (t *Timeline) Report() []report.Moment {
	var shown []report.Moment
	for _, m := range t.moments {
		took := (m.To - m.From).Seconds()
		if m.Latency == nil || took <= 0 {
			continue
		}
		at := m.Latency.Percentiles()
		shown = append(shown, report.Moment{
			Seconds:            (m.From + m.To).Seconds() / 2,
			DecisionsPerSecond: float64(m.Decisions) / took, RefusedPerSecond: float64(m.Refused) / took,
			P50: at.P50, P99: at.P99, Longest: micros(m.Latency.Max()),
		})
	}
	return shown
}
