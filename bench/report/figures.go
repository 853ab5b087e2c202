package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
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
func quantileAt(all []Quantile, percentile float64) string {
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
func overTime(all []Moment) *figure {
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
func draining(all []Drain) *figure {
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
