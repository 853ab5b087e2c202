package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/wording"
)

// The parameters of a sweep.
const (
	OverConcurrency = "concurrency"
	OverNodes       = "nodes"
	OverTenants     = "tenants"
	OverHolds       = "holds"
)

// Conclude draws the conclusion from the points. Over concurrency and nodes it looks for
// the knee of throughput; over tenants and holds, which should not matter, for the value
// from which a decision's cost changes. It names either only if the spread of the rounds
// allows no other.
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
	// A knee within the spread of the first point is none: the curve is flat.
	rises := at < 2 || at == noKnee || s.Points[at].DecisionsPerSecond.Lowest > s.Points[0].DecisionsPerSecond.Most
	switch {
	case !bends.supported() || !rises:
		if !rises {
			bends.first = 0
		}
		s.Noisy = true
		s.Said = "The curve is too noisy to name a knee: " + s.anywhere(bends, func(i int) string {
			r := metrics.SpreadOf(rounds[i])
			return fromTo(fmt.Sprintf("%.0f", r.Lowest), fmt.Sprintf("%.0f", r.Most)) + " decisions per second"
		})
	case at == noKnee:
		s.Said = fmt.Sprintf("No knee up to %s: throughput still grows; try more", s.count(s.Points[len(s.Points)-1].Value))
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
		"The knee is at %s, with %.0f decisions per second: from there, %s brings %s throughput, and p50 goes from %s to %s, p99 from %s to %s",
		s.count(here.Value), here.DecisionsPerSecond.Median, step,
		change(here.DecisionsPerSecond.Median, next.DecisionsPerSecond.Median),
		latency(here.Decision.P50), latency(next.Decision.P50), latency(here.Decision.P99), latency(next.Decision.P99))
}

// sensitivity is Kneedle's S, the number of mean steps by which the curve has to flatten
// after a knee. Its authors advise 1 if the whole curve is known.
const sensitivity = 1

// kneeOf returns the place of the knee of throughput over load, or noKnee if the curve does
// not flatten enough. It is Kneedle (V. Satopaa, J. Albrecht, D. Irwin and B. Raghavan,
// "Finding a 'Kneedle' in a haystack", ICDCS Workshops 2011): with both axes normalised,
// the knee is the point highest above the diagonal, if the curve then falls back towards it
// by the sensitivity. The curve begins at the origin, without a measurement. The rates are
// medians and not smoothed again. A share of the highest rate would be a simpler rule, but
// no share finds the same knee in smooth curves and in sparse ones.
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

// anywhere names the range in which a knee may be, and the remedy.
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

// fromTo is a range, or its single value.
func fromTo(lowest, most string) string {
	if lowest == most {
		return lowest
	}
	return lowest + " to " + most
}

func (s *Sweep) count(n int) string {
	switch s.Over {
	case OverConcurrency:
		return wording.Count(n, "worker") + " per node"
	case OverHolds:
		return wording.Count(n, "open hold")
	default:
		return wording.Count(n, strings.TrimSuffix(s.Over, "s"))
	}
}

// flatBand is the relative difference from the first point's cost up to which a cost counts
// as the same.
const flatBand = 0.25

// concludeCost names the value from which all costs are outside the band: a single outlier
// is noise.
func (s *Sweep) concludeCost() {
	rounds, of := costs(s.Points)
	leaves := spreadOver(rounds, leavesBand)
	cost := make([]float64, len(rounds))
	for i := range cost {
		cost[i] = metrics.Median(rounds[i])
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
				r := metrics.SpreadOf(rounds[i])
				return fromTo(latency(r.Lowest), latency(r.Most))
			})
	}
}

// leavesBand returns the place from which all costs are outside the band around the first.
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

// costs returns the cost of a decision in microseconds by point and round: Redis CPU if every
// point has it, or elapsed time.
func costs(points []SweepPoint) (rounds [][]float64, of string) {
	rounds, of = make([][]float64, len(points)), "of Redis CPU"
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

// change is "12 % more", "3 % less", or neither below half a percent.
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

// noKnee is the place of a missing knee.
const noKnee = -1

// What supports a knee.
const (
	fewestRounds = 3   // that show the spread
	resamples    = 200 // of the rounds
	supporting   = 180 // resamples with the knee of the medians, or a neighbour of it
)

// bends has the places at which a curve may bend, given the spread of its rounds.
type bends struct {
	ofMedians   int // the place in the curve of medians
	support     int // resamples with the same place or a neighbour of it
	rounds      int // fewest rounds of a point
	first, last int // range of the middle 90 % of the resamples; no knee counts as the last place
}

// supported reports whether the rounds allow no other place. The absence of a knee needs no
// minimum of rounds.
func (b bends) supported() bool {
	return b.support >= supporting && (b.rounds >= fewestRounds || b.ofMedians == noKnee)
}

// spreadOver looks for a knee in resampled curves: each of their points is the median of as
// many rounds, drawn with replacement (the bootstrap: B. Efron, "Bootstrap Methods: Another
// Look at the Jackknife", Annals of Statistics 1979).
func spreadOver(rounds [][]float64, kneeOf func(medians []float64) int) bends {
	curve := make([]float64, len(rounds))
	b := bends{rounds: len(rounds[0])}
	for i, all := range rounds {
		curve[i], b.rounds = metrics.Median(all), min(b.rounds, len(all))
	}
	b.ofMedians = kneeOf(curve)
	rng := rand.New(rand.NewPCG(0, 0)) // equal points give equal results
	places := make([]int, resamples)
	var drawn []float64
	for n := range places {
		for i, all := range rounds {
			drawn = drawn[:0]
			for range all {
				drawn = append(drawn, all[rng.IntN(len(all))])
			}
			curve[i] = metrics.Median(drawn)
		}
		place := kneeOf(curve)
		if place == b.ofMedians || place != noKnee && b.ofMedians != noKnee && max(place-b.ofMedians, b.ofMedians-place) == 1 {
			b.support++
		}
		if places[n] = place; place == noKnee {
			places[n] = len(rounds) - 1
		}
	}
	slices.Sort(places)
	b.first, b.last = places[resamples/20], places[resamples-1-resamples/20]
	return b
}
