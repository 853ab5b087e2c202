package report

import (
	"fmt"
	"math"
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
	f := &figure{
		ID: "distribution", Title: "Latency of a decision",
		Note:  "At 99%, one call in a hundred takes longer; at 99.9%, one in a thousand.",
		Table: grid{Head: []string{"percentile"}},
	}
	var measured [][]metrics.Quantile
	var lines []line
	var names []string
	rarest := -1.0
	for i, c := range all {
		if len(c.Quantiles) == 0 {
			continue
		}
		measured = append(measured, c.Quantiles)
		f.Table.Head = append(f.Table.Head, c.Name)
		if i > 0 && c.Name == EngineLocal {
			f.Note += " The local engine is a thousand times as fast as a network, and is in the table only."
			continue
		}
		l := line{series: i, name: c.Name}
		for _, q := range c.Quantiles {
			if q.Percentile < 100 && q.Micros > 0 {
				l.points = append(l.points, point{q.Percentile, q.Micros})
				rarest = max(rarest, q.Percentile)
			}
		}
		lines, names = append(lines, l), append(names, c.Name)
	}
	if rarest < 0 {
		return nil
	}
	x, ticks := rarities(rarest)
	places := make([]float64, len(ticks))
	for n := range ticks {
		places[n] = ticks[n].At
		row := []string{percent(shown[n])}
		for _, quantiles := range measured {
			row = append(row, quantileAt(quantiles, shown[n]))
		}
		f.Table.add(row...)
	}
	f.Plots = []plot{plot{
		Label: "Latency of a decision by percentile, on logarithmic axes; one line for " + strings.Join(names, ", "),
		YName: "latency", XName: "percentile", X: ticks, Columns: columns(places, f.Table.text),
	}.with(x, latencyAxis, lines...)}
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
	places := make([]float64, len(all))
	steps := make([]float64, len(all)-1)
	x, ticks := timeline(all[len(all)-1].Seconds)
	for i, m := range all {
		if places[i] = x.at(m.Seconds); i > 0 {
			steps[i-1] = m.Seconds - all[i-1].Seconds
		}
		f.Table.add(significant(m.Seconds), Count(m.DecisionsPerSecond), Count(m.RefusedPerSecond), Micros(m.P50), Micros(m.P99), Micros(m.Longest))
	}
	over := func(series int, name string, value func(metrics.Moment) float64) line {
		l := line{series: series, name: name, gap: 3 * metrics.Median(steps)}
		for _, m := range all {
			l.points = append(l.points, point{m.Seconds, value(m)})
		}
		return l
	}
	asked := columns(places, f.Table.text)
	f.Plots = []plot{
		plot{
			Label: "Latency over time on a logarithmic axis: median, 99th percentile, longest",
			YName: "latency", XName: "seconds", X: ticks, Columns: asked,
		}.with(x, latencyAxis,
			over(2, "longest", func(m metrics.Moment) float64 { return m.Longest }),
			over(1, "p99", func(m metrics.Moment) float64 { return m.P99 }),
			over(0, "p50", func(m metrics.Moment) float64 { return m.P50 })),
		plot{
			Label: "Decisions and refusals per second over time",
			YName: "per second", XName: "seconds", X: ticks, Columns: asked,
		}.with(x, rateAxis,
			over(3, "decisions", func(m metrics.Moment) float64 { return m.DecisionsPerSecond }),
			over(4, "refused", func(m metrics.Moment) float64 { return m.RefusedPerSecond })),
	}
	return f
}

// draining plots the share of its budget that each tenant had left.
func draining(all []metrics.Drain) *figure {
	f := &figure{
		ID: "drains", Title: "Budgets of refused tenants",
		Note:  "The balance of some tenants in the answers of the run. A refused tenant may have money left: less than its next request may cost.",
		Table: grid{Head: []string{"tenant", "budget", "left at the end", "at, s"}},
	}
	latest := 0.0
	var lines []line
	for i, d := range all {
		if len(d.Points) == 0 || d.Granted <= 0 {
			continue
		}
		l := line{series: i, name: fmt.Sprintf("%s, %s", d.Tenant, money(d.Granted).Text)}
		for _, at := range d.Points {
			latest = max(latest, at.Seconds)
			l.points = append(l.points, point{at.Seconds, max(float64(at.Remaining)/float64(d.Granted), 0)})
		}
		lines = append(lines, l)
		last := d.Points[len(d.Points)-1]
		f.Table.Rows = append(f.Table.Rows, []cell{{Text: string(d.Tenant)}, money(d.Granted), money(last.Remaining), {Text: significant(last.Seconds)}})
	}
	if latest == 0 {
		return nil
	}
	x, ticks := timeline(latest)
	f.Plots = []plot{plot{
		Label: "Share of the budget that is left, over time, one line per tenant",
		YName: "of the budget is left", XName: "seconds", X: ticks,
	}.with(x, shareAxis, lines...)}
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
	costs := false
	for _, p := range s.Points {
		costs = costs || p.RedisCPU > 0
		f.Table.add(Count(p.Value), Count(p.DecisionsPerSecond.Median), Count(p.DecisionsPerSecond.Lowest), Count(p.DecisionsPerSecond.Most),
			Micros(p.Decision.P50), Micros(p.Decision.P99), Micros(p.Decision.P999), Micros(p.RedisCPU), significant(p.RoundTrips), p.balances())
	}
	over := func(series int, name string, value func(SweepPoint) metrics.Spread) line {
		l := line{series: series, name: name}
		for i, p := range s.Points {
			spread := value(p)
			l.points = append(l.points, point{places[i], spread.Median})
			l.spreads = append(l.spreads, spread)
		}
		return l
	}
	single := func(series int, name string, value func(SweepPoint) float64) line {
		return over(series, name, func(p SweepPoint) metrics.Spread { return metrics.SpreadOf([]float64{value(p)}) })
	}
	asked := columns(places, f.Table.text)
	add := func(label, name string, y axis, lines ...line) {
		p := plot{Label: label, YName: name, XName: s.Over, X: ticks, Marks: s.mark(places), Columns: asked}
		f.Plots = append(f.Plots, p.with(scale{even, 0, 1}, y, lines...))
	}
	add("Decisions per second over "+s.Over, "decisions per second, lowest to highest", rateAxis,
		over(3, "", func(p SweepPoint) metrics.Spread { return p.DecisionsPerSecond }))
	add("Latency of a decision over "+s.Over+", on a logarithmic axis", "latency", latencyAxis,
		single(1, "p99", func(p SweepPoint) float64 { return p.Decision.P99 }),
		single(0, "p50", func(p SweepPoint) float64 { return p.Decision.P50 }))
	if costs {
		add("Redis CPU time per decision over "+s.Over, "Redis CPU per decision", costAxis,
			single(5, "", func(p SweepPoint) float64 { return p.RedisCPU }))
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
