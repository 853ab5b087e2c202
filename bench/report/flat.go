package report

import (
	"fmt"
	"math"
	"slices"
)

// flatBand is how far from the first point's cost another may be and still be called
// the same.
const flatBand = 0.25

// concludeCost names the value from which on all costs are outside the band: one
// outlier among others is the machine's mood.
func (s *Sweep) concludeCost() {
	rounds, of := costs(s.Points)
	leaves := spreadOver(rounds, leavesBand)
	cost := make([]float64, len(rounds))
	for i := range cost {
		cost[i] = Median(rounds[i])
	}
	first, last := s.Points[0], len(cost)-1
	switch at := leaves.ofMedians; {
	case at == noKnee:
		s.Said = fmt.Sprintf("Flat: with %s a decision costs %s %s, within %.0f %% of the %s with %d",
			s.count(s.Points[last].Value), latency(cost[last]), of, flatBand*100, latency(cost[0]), first.Value)
		if len(cost) > 2 {
			s.Said += fmt.Sprintf("; in between %s to %s", latency(slices.Min(cost)), latency(slices.Max(cost)))
		}
	case leaves.supported():
		p := s.Points[at]
		s.Knee = &Knee{Value: p.Value, Said: fmt.Sprintf("Not flat: with %s a decision costs %s %s, and leaves the band of %.0f %% around that with %d: there it costs %s, %s",
			s.count(first.Value), latency(cost[0]), of, flatBand*100, p.Value, latency(cost[at]), change(cost[0], cost[at]))}
	default:
		s.Noisy = true
		s.Said = fmt.Sprintf("Not flat: with %s a decision costs %s %s, and with %d %s; but the curve is too noisy to name a knee: ",
			s.count(first.Value), latency(cost[0]), of, s.Points[last].Value, latency(cost[last])) +
			s.anywhere(leaves, func(i int) string {
				r := SpreadOf(rounds[i])
				return fromTo(latency(r.Lowest), latency(r.Most))
			})
	}
}

// leavesBand returns the place from which on all costs are outside the band around the
// first one.
func leavesBand(cost []float64) int {
	left := len(cost)
	for left > 0 && math.Abs(cost[left-1]/cost[0]-1) > flatBand {
		left--
	}
	if left == len(cost) {
		return noKnee
	}
	return left
}

// costs of a decision in microseconds, by point and round: of Redis' CPU where every
// point has it, or else of the whole system's time.
func costs(points []SweepPoint) (rounds [][]float64, of string) {
	rounds, of = make([][]float64, len(points)), "of Redis' CPU"
	for i, p := range points {
		rounds[i] = p.RedisCPUs
	}
	if slices.ContainsFunc(points, func(p SweepPoint) bool { return len(p.RedisCPUs) == 0 || slices.Contains(p.RedisCPUs, 0) }) {
		of = "of time"
		for i, p := range points {
			rounds[i] = make([]float64, len(p.Rates))
			for n, rate := range p.Rates {
				rounds[i][n] = 1e6 / rate
			}
		}
	}
	return rounds, of
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
