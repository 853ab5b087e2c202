package report

import (
	"fmt"
	"math"
	"strconv"
)

// swept is three plots over what a sweep is over: throughput, latency, cost.
func swept(s *Sweep) *figure {
	if s == nil || len(s.Points) == 0 {
		return nil
	}
	f := &figure{
		ID: "sweep", Title: "Over " + s.Over,
		Table: grid{Head: []string{s.Over, "decisions a second", "lowest", "highest", "p50", "p99", "p99.9", "Redis' CPU", "round trips", "books"}},
	}
	f.Note = s.Said
	places, ticks := spaced(s.Points)
	rate, slowest, fastest, cost := 0.0, 0.0, math.Inf(1), 0.0
	for _, p := range s.Points {
		rate, cost = max(rate, p.DecisionsPerSecond.Most, p.DecisionsPerSecond.Median), max(cost, p.RedisCPU)
		slowest, fastest = max(slowest, p.Decision.P99), min(fastest, p.Decision.P50)
		books := "kept"
		if !p.Conserved {
			books = "BROKEN"
		}
		f.Table.Rows = append(f.Table.Rows, []string{
			Count(p.Value), Count(p.DecisionsPerSecond.Median), Count(p.DecisionsPerSecond.Lowest), Count(p.DecisionsPerSecond.Most),
			Micros(p.Decision.P50), Micros(p.Decision.P99), Micros(p.Decision.P999), Micros(p.RedisCPU), significant(p.RoundTrips), books,
		})
	}
	same := scale{even, 0, 1}
	base := plot{XName: s.Over, X: ticks, Marks: s.knee(places), Columns: columns(places, f.Table.text)}
	add := func(label, name string, yTicks []tick, keys []key, curves ...curve) {
		p := base
		p.Label, p.YName, p.Y, p.Keys, p.Curves = label, name, yTicks, keys, curves
		f.Plots = append(f.Plots, p)
	}
	line := func(series int, y scale, value func(SweepPoint) float64) curve {
		var points []point
		for i, p := range s.Points {
			points = append(points, point{places[i], value(p)})
		}
		c := draw(series, points, same, y, 0)
		for _, p := range points {
			if at := y.at(p.y); !math.IsInf(at, 0) {
				c.Dots = append(c.Dots, dot{X: p.x, Y: at, Lowest: at, Most: at})
			}
		}
		return c
	}
	rates, rateTicks := linear(rate, Short)
	through := line(3, rates, func(p SweepPoint) float64 { return p.DecisionsPerSecond.Median })
	for i, p := range s.Points {
		through.Dots[i].Lowest, through.Dots[i].Most = rates.at(p.DecisionsPerSecond.Lowest), rates.at(p.DecisionsPerSecond.Most)
	}
	add("Decisions a second over "+s.Over, "decisions a second, lowest to highest", rateTicks, nil, through)
	latency, latencyTicks := logarithmic(fastest, slowest, Micros)
	add("Latency of a decision over "+s.Over+", on a logarithmic axis", "latency", latencyTicks, []key{{0, "p50"}, {1, "p99"}},
		line(1, latency, func(p SweepPoint) float64 { return p.Decision.P99 }),
		line(0, latency, func(p SweepPoint) float64 { return p.Decision.P50 }))
	if cost > 0 {
		costs, costTicks := linear(cost, Micros)
		add("Redis' CPU time a decision over "+s.Over, "Redis' CPU a decision", costTicks, nil,
			line(5, costs, func(p SweepPoint) float64 { return p.RedisCPU }))
	}
	return f
}

// spaced places the points evenly in their logarithm; 0, which has none, is one
// doubling before the first of the others.
func spaced(points []SweepPoint) (places []float64, ticks []tick) {
	const mostLabels = 8
	least := math.Inf(1)
	for _, p := range points {
		if p.Value > 0 {
			least = min(least, float64(p.Value))
		}
	}
	of := func(value int) float64 {
		if value <= 0 {
			return math.Log2(least) - 1
		}
		return math.Log2(float64(value))
	}
	s := scale{even, of(points[0].Value), of(points[len(points)-1].Value)}
	every := (len(points) + mostLabels - 1) / mostLabels
	for i, p := range points {
		at := s.at(of(p.Value))
		places = append(places, at)
		t := tick{At: at}
		if (len(points)-1-i)%every == 0 {
			t.Label = powers(p.Value)
		}
		ticks = append(ticks, t)
	}
	return places, ticks
}

// powers writes 65536 as 64Ki, to save room on an axis.
func powers(value int) string {
	const kibi = 1024
	if value >= 4*kibi && value%kibi == 0 {
		return strconv.Itoa(value/kibi) + "Ki"
	}
	return Short(float64(value))
}

func (s *Sweep) knee(places []float64) []mark {
	if s.Knee == nil {
		return nil
	}
	for i, p := range s.Points {
		if p.Value == s.Knee.Value {
			return []mark{{At: places[i], Label: fmt.Sprintf("knee: %s", Count(p.Value)), Left: places[i] > 0.5}}
		}
	}
	return nil
}
