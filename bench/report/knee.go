package report

import (
	"fmt"
	"strings"

	"github.com/calybris/bursar/coordinator/wording"
)

// What a sweep can be over.
const (
	OverConcurrency = "concurrency"
	OverNodes       = "nodes"
	OverTenants     = "tenants"
	OverHolds       = "holds"
)

// Conclude says what the points mean. Where more callers are meant to bring more
// decisions it looks for the knee, and where a decision is meant to cost the same
// whatever there is, for the value at which it does not. It names either only if the
// spread of the rounds allows no other.
func (s *Sweep) Conclude() {
	s.Knee, s.Noisy, s.Said = nil, false, ""
	if len(s.Points) < 2 {
		return
	}
	if s.Over == OverConcurrency || s.Over == OverNodes {
		s.concludeLoad()
	} else {
		s.concludeCost()
	}
	if s.Knee != nil {
		s.Said = s.Knee.Said
	}
}

func (s *Sweep) concludeLoad() {
	rounds := make([][]float64, len(s.Points))
	for i, p := range s.Points {
		rounds[i] = p.Rates
	}
	bends := spreadOver(rounds, func(rates []float64) int { return kneeOf(s.Points, rates) })
	at := bends.ofMedians
	// A knee that is not above where the curve begins is none: all of it is the same.
	rises := at < 2 || at == noKnee || s.Points[at].DecisionsPerSecond.Lowest > s.Points[0].DecisionsPerSecond.Most
	switch {
	case !bends.supported() || !rises:
		if !rises {
			bends.first = 0
		}
		s.Noisy = true
		s.Said = "The curve is too noisy to name a knee: " + s.anywhere(bends, func(i int) string {
			r := SpreadOf(rounds[i])
			return fromTo(fmt.Sprintf("%.0f", r.Lowest), fmt.Sprintf("%.0f", r.Most)) + " decisions a second"
		})
	case at == noKnee:
		s.Said = fmt.Sprintf("No knee up to %s: throughput grows with them; try more", s.count(s.Points[len(s.Points)-1].Value))
	default:
		s.Knee = &Knee{Value: s.Points[at].Value, Said: s.kneeText(s.Points[at], s.Points[at+1])}
	}
}

func (s *Sweep) kneeText(here, next SweepPoint) string {
	step := fmt.Sprintf("going on to %d", next.Value)
	if next.Value == 2*here.Value {
		step = "doubling them"
	}
	return fmt.Sprintf(
		"The knee is at %s, with %.0f decisions a second: from there, %s brings %s throughput, and p50 goes from %s to %s, p99 from %s to %s",
		s.count(here.Value), here.DecisionsPerSecond.Median, step,
		change(here.DecisionsPerSecond.Median, next.DecisionsPerSecond.Median),
		latency(here.Decision.P50), latency(next.Decision.P50), latency(here.Decision.P99), latency(next.Decision.P99))
}

// sensitivity is Kneedle's S, by how many mean steps the curve must have flattened
// after a knee; 1 is its authors' advice for curves that are known as a whole.
const sensitivity = 1

// kneeOf returns the place of the knee of throughput over load, and noKnee if the
// curve does not flatten enough to have one. It is Kneedle (V. Satopaa, J. Albrecht,
// D. Irwin and B. Raghavan, "Finding a 'Kneedle' in a haystack", ICDCS Workshops 2011):
// both axes are normalised, and the knee is where the curve is highest above the
// diagonal, if it comes back to it by the sensitivity. The curve begins at the origin,
// which needs no measuring: no callers make no decisions. The rates are medians, and
// are not smoothed again.
func kneeOf(points []SweepPoint, rates []float64) int {
	most := 0.0
	for _, rate := range rates {
		most = max(most, rate)
	}
	last, at := len(points)-1, 0
	above := func(i int) float64 {
		return rates[i]/most - float64(points[i].Value)/float64(points[last].Value)
	}
	for i := range points {
		if above(i) > above(at) {
			at = i
		}
	}
	meanStep := 1 / float64(len(points))
	if at == last || above(last) >= above(at)-sensitivity*meanStep {
		return noKnee
	}
	return at
}

// anywhere says where a knee may be, with the range of what was measured there, and
// what helps.
func (s *Sweep) anywhere(b bends, measured func(i int) string) string {
	said := fmt.Sprintf("at %s (%s)", s.count(s.Points[b.first].Value), measured(b.first))
	if b.last > b.first {
		said = fmt.Sprintf("anywhere from %s (%s) to %d (%s)", s.count(s.Points[b.first].Value), measured(b.first), s.Points[b.last].Value, measured(b.last))
	}
	if b.rounds < fewestRounds {
		return fmt.Sprintf("of %s it may be %s; give at least %d --rounds", wording.Count(b.rounds, "round"), said, fewestRounds)
	}
	return "it may be " + said + "; give more --rounds, a longer --duration, or a quieter machine"
}

// fromTo is a range, or the one value that it is.
func fromTo(lowest, most string) string {
	if lowest == most {
		return lowest
	}
	return lowest + " to " + most
}

func (s *Sweep) count(n int) string {
	switch s.Over {
	case OverConcurrency:
		return wording.Count(n, "caller") + " a node"
	case OverHolds:
		return wording.Count(n, "open hold")
	default:
		return wording.Count(n, strings.TrimSuffix(s.Over, "s"))
	}
}
