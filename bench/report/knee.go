package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
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
// whatever there is, for the value at which it does not.
func (s *Sweep) Conclude() {
	s.Knee, s.Said = nil, ""
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
	at, found := kneeOf(s.Points)
	if !found {
		s.Said = fmt.Sprintf("No knee up to %s: throughput grows with them; try more", s.count(s.Points[len(s.Points)-1].Value))
		return
	}
	here, next := s.Points[at], s.Points[at+1]
	step := fmt.Sprintf("going on to %d", next.Value)
	if next.Value == 2*here.Value {
		step = "doubling them"
	}
	s.Knee = &Knee{Value: here.Value, Said: fmt.Sprintf(
		"The knee is at %s, with %.0f decisions a second: from there, %s brings %s throughput, and p50 goes from %s to %s, p99 from %s to %s",
		s.count(here.Value), here.DecisionsPerSecond.Median, step,
		change(here.DecisionsPerSecond.Median, next.DecisionsPerSecond.Median),
		latency(here.Decision.P50), latency(next.Decision.P50), latency(here.Decision.P99), latency(next.Decision.P99))}
}

// sensitivity is Kneedle's S, by how many mean steps the curve must have flattened
// after a knee; 1 is its authors' advice for curves that are known as a whole.
const sensitivity = 1

// kneeOf finds the index of the knee of throughput over load, and false where the
// curve does not flatten enough to have one. It is Kneedle (V. Satopaa, J. Albrecht,
// D. Irwin and B. Raghavan, "Finding a 'Kneedle' in a haystack", ICDCS Workshops 2011):
// both axes are normalised, and the knee is where the curve is highest above the
// diagonal, if it comes back to it by the sensitivity. The curve begins at the origin,
// which needs no measuring: no callers make no decisions. The points are medians, and
// are not smoothed again.
func kneeOf(points []SweepPoint) (at int, found bool) {
	most := 0.0
	for _, p := range points {
		most = max(most, p.DecisionsPerSecond.Median)
	}
	last := len(points) - 1
	above := func(i int) float64 {
		return points[i].DecisionsPerSecond.Median/most - float64(points[i].Value)/float64(points[last].Value)
	}
	for i := range points {
		if above(i) > above(at) {
			at = i
		}
	}
	meanStep := 1 / float64(len(points))
	return at, at < last && above(last) < above(at)-sensitivity*meanStep
}

// flatBand is how far from the first point's cost another may be and still be called
// the same.
const flatBand = 0.25

// concludeCost names the value from which on all costs are outside the band: one
// outlier among others is the machine's mood.
func (s *Sweep) concludeCost() {
	cost, of := costs(s.Points)
	last := len(cost) - 1
	left := last + 1
	for left > 0 && math.Abs(cost[left-1]/cost[0]-1) > flatBand {
		left--
	}
	first := s.Points[0]
	if left <= last {
		p := s.Points[left]
		s.Knee = &Knee{Value: p.Value, Said: fmt.Sprintf("Not flat: with %s a decision costs %s %s, and leaves the band of %.0f %% around that with %d: there it costs %s, %s",
			s.count(first.Value), latency(cost[0]), of, flatBand*100, p.Value, latency(cost[left]), change(cost[0], cost[left]))}
		return
	}
	s.Said = fmt.Sprintf("Flat: with %s a decision costs %s %s, within %.0f %% of the %s with %d",
		s.count(s.Points[last].Value), latency(cost[last]), of, flatBand*100, latency(cost[0]), first.Value)
	if len(cost) > 2 {
		s.Said += fmt.Sprintf("; in between %s to %s", latency(slices.Min(cost)), latency(slices.Max(cost)))
	}
}

// costs of a decision in microseconds: of Redis' CPU where every point has it, or else
// of the whole system's time.
func costs(points []SweepPoint) (cost []float64, of string) {
	cost, of = make([]float64, len(points)), "of Redis' CPU"
	for i, p := range points {
		cost[i] = p.RedisCPU
	}
	for _, p := range points {
		if p.RedisCPU > 0 {
			continue
		}
		for i, p := range points {
			cost[i] = 1e6 / p.DecisionsPerSecond.Median
		}
		return cost, "of time"
	}
	return cost, of
}

// change is "12 % more", "3 % less", or "as many" below half a percent.
func change(from, to float64) string {
	percent := (to/from - 1) * 100
	switch {
	case percent >= 0.5:
		return fmt.Sprintf("%.0f %% more", percent)
	case percent <= -0.5:
		return fmt.Sprintf("%.0f %% less", -percent)
	default:
		return "no more and no less"
	}
}

func (s *Sweep) count(n int) string {
	switch s.Over {
	case OverConcurrency:
		return plural(n, "caller") + " a node"
	case OverHolds:
		return plural(n, "open hold")
	default:
		return plural(n, strings.TrimSuffix(s.Over, "s"))
	}
}
