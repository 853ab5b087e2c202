package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/calybris/bursar/bench/metrics"
)

// figure is a part of the page: plots that belong together, and a table of what
// they show, for whoever cannot see them.
type figure struct {
	ID    string
	Title string
	Note  string
	Plots []plot
	Table grid
}

type grid struct {
	Head []string
	Rows [][]string
}

// distribution is one line a contender over how rare a latency is.
func distribution(all []Contender) *figure {
	var measured []int
	lowest, highest, rarest := math.Inf(1), 0.0, 0.0
	for i, c := range all {
		if len(c.Quantiles) == 0 {
			continue
		}
		measured = append(measured, i)
		for _, q := range c.Quantiles {
			if q.Percentile < 100 && q.Micros > 0 {
				lowest, highest, rarest = min(lowest, q.Micros), max(highest, q.Micros), max(rarest, q.Percentile)
			}
		}
	}
	if len(measured) == 0 || highest == 0 {
		return nil
	}
	f := &figure{
		ID: "distribution", Title: "Latency of a decision",
		Note:  "How long the slowest take: at 99% one of a hundred takes longer, at 99.9% one of a thousand.",
		Table: grid{Head: []string{"percentile"}},
	}
	x, xTicks := rarities(rarest)
	y, yTicks := logarithmic(lowest, highest, Micros)
	p := plot{
		Label: "Latency of a decision by percentile, on logarithmic axes; one line for " + nameList(all, measured),
		YName: "latency", XName: "percentile", X: xTicks, Y: yTicks,
	}
	for _, i := range measured {
		p.Keys = append(p.Keys, key{i, all[i].Name})
		f.Table.Head = append(f.Table.Head, all[i].Name)
		var points []point
		for _, q := range all[i].Quantiles {
			if q.Percentile < 100 && x.at(q.Percentile) <= 1 {
				points = append(points, point{q.Percentile, q.Micros})
			}
		}
		p.Curves = append(p.Curves, draw(i, points, x, y, 0))
	}
	var places []float64
	for _, t := range xTicks {
		places = append(places, t.At)
	}
	for _, percentile := range shown[:len(xTicks)] {
		row := []string{percent(percentile)}
		for _, i := range measured {
			row = append(row, quantileAt(all[i].Quantiles, percentile))
		}
		f.Table.Rows = append(f.Table.Rows, row)
	}
	p.Columns = columns(places, f.Table.text)
	f.Plots = []plot{p}
	return f
}

// quantileAt is the latency that so many are not slower than; of what is rarer than
// what was measured there is none.
func quantileAt(all []metrics.Quantile, percentile float64) string {
	for _, q := range all {
		if q.Percentile >= percentile-1e-9 {
			if q.Percentile >= 100 && percentile < 100 {
				break
			}
			return Micros(q.Micros)
		}
	}
	return none
}

func nameList(all []Contender, which []int) string {
	names := make([]string, len(which))
	for n, i := range which {
		names[n] = all[i].Name
	}
	return strings.Join(names, ", ")
}

// text is a row for a pointer: a line a cell, with the name of its column.
func (g grid) text(row int) string {
	lines := make([]string, len(g.Head))
	for i, name := range g.Head {
		lines[i] = name + ": " + g.Rows[row][i]
	}
	return strings.Join(lines, "\n")
}

// overTime is two plots of one time axis: latencies, and rates.
func overTime(all []metrics.Moment) *figure {
	if len(all) < 2 {
		return nil
	}
	f := &figure{
		ID: "time", Title: "Over time",
		Table: grid{Head: []string{"at, s", "decisions a second", "refused a second", "p50", "p99", "longest"}},
	}
	fastest, slowest, rate := math.Inf(1), 0.0, 0.0
	var p50, p99, longest, decisions, refused []point
	for _, m := range all {
		if m.P50 > 0 {
			fastest = min(fastest, m.P50)
		}
		slowest, rate = max(slowest, m.Longest, m.P99), max(rate, m.DecisionsPerSecond, m.RefusedPerSecond)
		p50 = append(p50, point{m.Seconds, m.P50})
		p99 = append(p99, point{m.Seconds, m.P99})
		longest = append(longest, point{m.Seconds, m.Longest})
		decisions = append(decisions, point{m.Seconds, m.DecisionsPerSecond})
		refused = append(refused, point{m.Seconds, m.RefusedPerSecond})
		f.Table.Rows = append(f.Table.Rows, []string{
			significant(m.Seconds), Count(m.DecisionsPerSecond), Count(m.RefusedPerSecond),
			Micros(m.P50), Micros(m.P99), Micros(m.Longest),
		})
	}
	x, xTicks := timeline(all[len(all)-1].Seconds)
	latency, latencyTicks := logarithmic(fastest, slowest, Micros)
	rates, rateTicks := linear(rate, Short)
	gap := 3 * usualStep(decisions)
	places := make([]float64, len(all))
	for i, m := range all {
		places[i] = x.at(m.Seconds)
	}
	asked := columns(places, f.Table.text)
	f.Plots = []plot{{
		Label: "Latency over time on a logarithmic axis: median, 99th percentile, longest",
		YName: "latency", XName: "seconds", X: xTicks, Y: latencyTicks, Columns: asked,
		Keys:   []key{{0, "p50"}, {1, "p99"}, {2, "longest"}},
		Curves: []curve{draw(2, longest, x, latency, gap), draw(1, p99, x, latency, gap), draw(0, p50, x, latency, gap)},
	}, {
		Label: "Decisions and refusals a second over time",
		YName: "a second", XName: "seconds", X: xTicks, Y: rateTicks, Columns: asked,
		Keys:   []key{{3, "decisions"}, {4, "refused"}},
		Curves: []curve{draw(3, decisions, x, rates, gap), draw(4, refused, x, rates, gap)},
	}}
	return f
}

// usualStep is the median distance in x.
func usualStep(points []point) float64 {
	var steps []float64
	for i := 1; i < len(points); i++ {
		steps = append(steps, points[i].x-points[i-1].x)
	}
	if len(steps) == 0 {
		return 0
	}
	slices.Sort(steps)
	return steps[len(steps)/2]
}

// draining is how much of its budget each tenant had left. A share is enough for a
// picture; the table has the amounts.
func draining(all []metrics.Drain) *figure {
	f := &figure{
		ID: "drains", Title: "Budgets that run out",
		Note:  "What was left of some tenants' budgets, as callers were told.",
		Table: grid{Head: []string{"tenant", "budget", "left at the end", "at, s"}},
	}
	latest := 0.0
	for _, d := range all {
		for _, p := range d.Points {
			latest = max(latest, p.Seconds)
		}
	}
	if latest == 0 {
		return nil
	}
	x, xTicks := timeline(latest)
	y, yTicks := linear(1, func(share float64) string { return percent(math.Round(100 * share)) })
	p := plot{Label: "Share of the budget that is left, over time, one line a tenant", YName: "of the budget is left", XName: "seconds", X: xTicks, Y: yTicks}
	for i, d := range all {
		if len(d.Points) == 0 || d.Granted <= 0 {
			continue
		}
		var points []point
		for _, at := range d.Points {
			points = append(points, point{at.Seconds, max(float64(at.Remaining)/float64(d.Granted), 0)})
		}
		last := d.Points[len(d.Points)-1]
		p.Keys = append(p.Keys, key{i, fmt.Sprintf("%s, %s", d.Tenant, d.Granted)})
		f.Table.Rows = append(f.Table.Rows, []string{string(d.Tenant), d.Granted.String(), last.Remaining.String(), significant(last.Seconds)})
		p.Curves = append(p.Curves, draw(i, points, x, y, 0))
	}
	f.Plots = []plot{p}
	return f
}

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
