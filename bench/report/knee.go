package report

import (
	"fmt"
	"math"
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
	at := kneeOf(s.Points)
	last := s.Points[len(s.Points)-1]
	if at == len(s.Points)-1 {
		s.Said = fmt.Sprintf("No knee up to %s: each step still brings more than it makes callers wait; try more", s.count(last.Value))
		return
	}
	here, next := s.Points[at], s.Points[at+1]
	step := fmt.Sprintf("going on to %d", next.Value)
	if next.Value == 2*here.Value {
		step = "doubling them"
	}
	s.Knee = &Knee{Value: here.Value, Said: fmt.Sprintf(
		"The knee is at %s, with %.0f decisions a second; beyond it, waiting grows faster than throughput: %s brings %s decisions a second, and p50 goes from %s to %s, p99 from %s to %s",
		s.count(here.Value), here.DecisionsPerSecond.Median, step,
		change(here.DecisionsPerSecond.Median, next.DecisionsPerSecond.Median),
		latency(here.Decision.P50), latency(next.Decision.P50), latency(here.Decision.P99), latency(next.Decision.P99))}
}

// kneeOf is the index of the point with the most power, which is throughput over
// response time: up to there more load brings more answers than waiting, and beyond it
// more waiting than answers (L. Kleinrock, "Power and deterministic rules of thumb for
// probabilistic problems in computer communications", ICC 1979). The response time is
// Little's: in a closed loop, callers over throughput. Unlike a knee that is read off
// the normalised curve (Kneedle), it does not move with the ends of the sweep.
func kneeOf(points []SweepPoint) int {
	best, most := 0, 0.0
	for i, p := range points {
		response := float64(p.Value) / p.DecisionsPerSecond.Median // times a constant number of callers
		if power := p.DecisionsPerSecond.Median / response; power > most {
			best, most = i, power
		}
	}
	return best
}

// flatBand is how far from the first point's cost another may be and still be called
// the same.
const flatBand = 0.25

func (s *Sweep) concludeCost() {
	cost, of := costs(s.Points)
	first, lowest, highest := s.Points[0], cost[0], cost[0]
	for i, p := range s.Points {
		lowest, highest = min(lowest, cost[i]), max(highest, cost[i])
		if math.Abs(cost[i]/cost[0]-1) > flatBand {
			s.Knee = &Knee{Value: p.Value, Said: fmt.Sprintf("Not flat: with %s a decision costs %s %s, with %d it costs %s, %s",
				s.count(first.Value), latency(cost[0]), of, p.Value, latency(cost[i]), change(cost[0], cost[i]))}
			return
		}
	}
	last := s.Points[len(s.Points)-1]
	s.Said = fmt.Sprintf("Flat: from %d to %s a decision costs %s to %s %s, within %.0f %% of the first",
		first.Value, s.count(last.Value), latency(lowest), latency(highest), of, flatBand*100)
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
