package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/wording"
)

// figure is a card of the page: plots, and a table with their values.
type figure struct {
	ID    string
	Title string
	Note  string
	Plots []plot
	Table grid
}

// distribution plots latency over percentile, one line per candidate. The local engine as a
// baseline is in the table only: on its scale the other lines would coincide.
func distribution(all []Candidate) *figure {
	var measured, plotted []int
	lowest, highest, rarest := math.Inf(1), 0.0, 0.0
	for i, c := range all {
		if len(c.Quantiles) == 0 {
			continue
		}
		measured = append(measured, i)
		if i > 0 && c.Name == EngineLocal {
			continue
		}
		plotted = append(plotted, i)
		for _, q := range c.Quantiles {
			if q.Percentile < 100 && q.Micros > 0 {
				lowest, highest, rarest = min(lowest, q.Micros), max(highest, q.Micros), max(rarest, q.Percentile)
			}
		}
	}
	if len(plotted) == 0 || highest == 0 {
		return nil
	}
	f := &figure{
		ID: "distribution", Title: "Latency of a decision",
		Note:  "At 99%, one call in a hundred takes longer; at 99.9%, one in a thousand.",
		Table: grid{Head: []string{"percentile"}},
	}
	if len(plotted) < len(measured) {
		f.Note += " The local engine is a thousand times as fast as a network, and is in the table only."
	}
	x, xTicks := rarities(rarest)
	y, yTicks := logarithmic(lowest, highest, Micros)
	names := make([]string, len(plotted))
	p := plot{YName: "latency", XName: "percentile", X: xTicks, Y: yTicks}
	for n, i := range plotted {
		names[n] = all[i].Name
		p.Keys = append(p.Keys, key{i, all[i].Name})
		var points []point
		for _, q := range all[i].Quantiles {
			if q.Percentile < 100 && x.at(q.Percentile) <= 1 {
				points = append(points, point{q.Percentile, q.Micros})
			}
		}
		p.Curves = append(p.Curves, draw(i, points, x, y, 0))
	}
	p.Label = "Latency of a decision by percentile, on logarithmic axes; one line for " + strings.Join(names, ", ")
	for _, i := range measured {
		f.Table.Head = append(f.Table.Head, all[i].Name)
	}
	var places []float64
	for n, t := range xTicks {
		places = append(places, t.At)
		row := []string{percent(shown[n])}
		for _, i := range measured {
			row = append(row, quantileAt(all[i].Quantiles, shown[n]))
		}
		f.Table.add(row...)
	}
	p.Columns = columns(places, f.Table.text)
	f.Plots = []plot{p}
	return f
}

// quantileAt is the latency of a percentile, if so rare a one was measured.
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

// overTime plots latencies and rates over one time axis.
func (r Report) overTime() *figure {
	all := r.Timeline
	if len(all) < 2 {
		return nil
	}
	f := &figure{
		ID: "time", Title: "Over time",
		Table: grid{Head: []string{"at, s", "decisions per second", "refused per second", "p50", "p99", "longest"}},
	}
	if len(r.Candidates) > 0 && len(r.Candidates[0].Pools) > 1 {
		c := r.Candidates[0]
		f.Note = fmt.Sprintf("The rounds at the best of %s, %s per node.", wording.Count(len(c.Pools), "pool size"), wording.Count(c.PoolSize, "connection"))
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
		f.Table.add(significant(m.Seconds), Count(m.DecisionsPerSecond), Count(m.RefusedPerSecond), Micros(m.P50), Micros(m.P99), Micros(m.Longest))
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
		Label: "Decisions and refusals per second over time",
		YName: "per second", XName: "seconds", X: xTicks, Y: rateTicks, Columns: asked,
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

// draining plots the share of its budget that each tenant had left.
func draining(all []metrics.Drain) *figure {
	f := &figure{
		ID: "drains", Title: "Budgets of refused tenants",
		Note:  "The balance of some tenants in the answers of the run. A refused tenant may have money left: less than its next request may cost.",
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
	p := plot{Label: "Share of the budget that is left, over time, one line per tenant", YName: "of the budget is left", XName: "seconds", X: xTicks, Y: yTicks}
	for i, d := range all {
		if len(d.Points) == 0 || d.Granted <= 0 {
			continue
		}
		var points []point
		for _, at := range d.Points {
			points = append(points, point{at.Seconds, max(float64(at.Remaining)/float64(d.Granted), 0)})
		}
		last := d.Points[len(d.Points)-1]
		p.Keys = append(p.Keys, key{i, fmt.Sprintf("%s, %s", d.Tenant, money(d.Granted).Text)})
		f.Table.Rows = append(f.Table.Rows, []cell{{Text: string(d.Tenant)}, money(d.Granted), money(last.Remaining), {Text: significant(last.Seconds)}})
		p.Curves = append(p.Curves, draw(i, points, x, y, 0))
	}
	f.Plots = []plot{p}
	return f
}

// swept plots throughput, latency and cost over the parameter of a sweep.
func swept(s *Sweep) *figure {
	if s == nil || len(s.Points) == 0 {
		return nil
	}
	f := &figure{
		ID: "sweep", Title: "Over " + s.Over, Note: s.Said,
		Table: grid{Head: []string{s.Over, "decisions per second", "lowest", "highest", "p50", "p99", "p99.9", "Redis CPU", "round trips", "balances"}},
	}
	places, ticks := spaced(s.Points)
	rate, slowest, fastest, cost := 0.0, 0.0, math.Inf(1), 0.0
	for _, p := range s.Points {
		rate, cost = max(rate, p.DecisionsPerSecond.Most, p.DecisionsPerSecond.Median), max(cost, p.RedisCPU)
		slowest, fastest = max(slowest, p.Decision.P99), min(fastest, p.Decision.P50)
		f.Table.add(Count(p.Value), Count(p.DecisionsPerSecond.Median), Count(p.DecisionsPerSecond.Lowest), Count(p.DecisionsPerSecond.Most),
			Micros(p.Decision.P50), Micros(p.Decision.P99), Micros(p.Decision.P999), Micros(p.RedisCPU), significant(p.RoundTrips), p.balances())
	}
	same := scale{even, 0, 1}
	asked := columns(places, f.Table.text)
	add := func(label, name string, yTicks []tick, keys []key, curves ...curve) {
		f.Plots = append(f.Plots, plot{
			Label: label, YName: name, XName: s.Over, X: ticks, Y: yTicks, Marks: s.mark(places), Columns: asked, Keys: keys, Curves: curves,
		})
	}
	line := func(series int, y scale, value func(SweepPoint) metrics.Spread) curve {
		var points []point
		for i, p := range s.Points {
			points = append(points, point{places[i], value(p).Median})
		}
		c := draw(series, points, same, y, 0)
		for i, p := range s.Points {
			v := value(p)
			if at := y.at(v.Median); !math.IsInf(at, 0) {
				c.Dots = append(c.Dots, dot{X: places[i], Y: at, Lowest: y.at(v.Lowest), Most: y.at(v.Most)})
			}
		}
		return c
	}
	single := func(of func(SweepPoint) float64) func(SweepPoint) metrics.Spread {
		return func(p SweepPoint) metrics.Spread { return metrics.SpreadOf([]float64{of(p)}) }
	}
	rates, rateTicks := linear(rate, Short)
	add("Decisions per second over "+s.Over, "decisions per second, lowest to highest", rateTicks, nil,
		line(3, rates, func(p SweepPoint) metrics.Spread { return p.DecisionsPerSecond }))
	latency, latencyTicks := logarithmic(fastest, slowest, Micros)
	add("Latency of a decision over "+s.Over+", on a logarithmic axis", "latency", latencyTicks, []key{{0, "p50"}, {1, "p99"}},
		line(1, latency, single(func(p SweepPoint) float64 { return p.Decision.P99 })),
		line(0, latency, single(func(p SweepPoint) float64 { return p.Decision.P50 })))
	if cost > 0 {
		costs, costTicks := linear(cost, Micros)
		add("Redis CPU time per decision over "+s.Over, "Redis CPU per decision", costTicks, nil,
			line(5, costs, single(func(p SweepPoint) float64 { return p.RedisCPU })))
	}
	return f
}

// spaced places the points evenly in their logarithm; 0, which has none, is one doubling
// before the first of the others.
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

// mark shows the knee.
func (s *Sweep) mark(places []float64) []mark {
	if s.Knee == nil {
		return nil
	}
	for i, p := range s.Points {
		if p.Value == s.Knee.Value {
			return []mark{{At: places[i], Label: "knee: " + s.count(p.Value), Left: places[i] > 0.5}}
		}
	}
	return nil
}
