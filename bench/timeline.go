package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/calybris/bursar/bench/report"
)

// timeline is the story of a run in moments: 100 to 200 of them, however long it takes,
// because when there would be more, each two become one.
type timeline struct {
	tick    time.Duration // of a sample
	width   time.Duration // of a moment
	moments []moment
	played  time.Duration // the rounds before this one
	before  moment        // the warm-up
}

type moment struct {
	from, to           time.Duration
	decisions, refused int64
	latency            *hdrhistogram.Histogram // nil where there was no sample
	remaining          []int64                 // as remains has it
}

const mostMoments = 200

func newTimeline(tick time.Duration) *timeline { return &timeline{tick: tick, width: tick} }

// add puts a sample where its middle is. Several nodes' samples of one time add up.
func (t *timeline) add(s sample) {
	s.from += t.played
	s.to += t.played
	middle := (s.from + s.to) / 2
	if s.to-s.from < t.tick/2 {
		middle = max(0, s.from-t.tick/2) // the short rest at the end of a round belongs to what came before
	}
	place := int(middle / t.width)
	for place >= mostMoments {
		t.halve()
		place /= 2
	}
	for len(t.moments) <= place {
		t.moments = append(t.moments, moment{})
	}
	t.moments[place].add(moment{
		from: s.from, to: s.to, decisions: s.decisions, refused: s.refused, latency: s.latency, remaining: s.remaining,
	})
}

func (t *timeline) halve() {
	t.width *= 2
	for i := range t.moments {
		if i%2 == 0 {
			t.moments[i/2] = t.moments[i]
		} else {
			t.moments[i/2].add(t.moments[i])
		}
	}
	t.moments = t.moments[:(len(t.moments)+1)/2]
}

func (m *moment) add(other moment) {
	switch {
	case other.latency == nil:
		return
	case m.latency == nil:
		*m = other
		return
	}
	m.from, m.to = min(m.from, other.from), max(m.to, other.to)
	m.decisions += other.decisions
	m.refused += other.refused
	m.latency.Merge(other.latency)
	for i, left := range other.remaining {
		if left != untold {
			m.remaining[i] = left
		}
	}
}

// report is for people and plots.
func (t *timeline) report() []report.Moment {
	var shown []report.Moment
	for _, m := range t.moments {
		took := (m.to - m.from).Seconds()
		if m.latency == nil || took <= 0 {
			continue
		}
		at := percentilesOf(m.latency)
		shown = append(shown, report.Moment{
			Seconds:            (m.from + m.to).Seconds() / 2,
			DecisionsPerSecond: float64(m.decisions) / took, RefusedPerSecond: float64(m.refused) / took,
			P50: at.P50, P99: at.P99, Longest: micros(m.latency.Max()),
		})
	}
	return shown
}
