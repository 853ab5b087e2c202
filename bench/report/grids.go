package report

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/calybris/bursar/coordinator/wording"
)

func contenderGrid(all []Contender) grid {
	g := grid{Head: []string{
		"contender", "decisions a second", "ours / theirs", "p50", "p99", "p99.9", "Redis' CPU", "round trips", "commands",
		"connections", "given up", "overspent", "drift",
	}}
	for i, c := range all {
		ratio, overspent := significant(c.Ratio.Median), c.Money.Overspent.String()
		if i == 0 {
			ratio = "1"
		}
		if !c.Money.Kept {
			overspent = none
		}
		drift := none
		if c.Money.Drift != 0 {
			drift = c.Money.Drift.String()
		}
		g.Rows = append(g.Rows, []string{
			c.Name, Count(c.DecisionsPerSecond.Median), ratio,
			Micros(c.Decision.P50), Micros(c.Decision.P99), Micros(c.Decision.P999),
			measured(c.RedisCPU, Micros), measured(c.RoundTrips, significant), measured(c.Commands, significant),
			measured(float64(c.PoolSize), Count[float64]), measured(float64(c.GivenUp), Count[float64]), overspent, drift,
		})
	}
	return g.filled()
}

// none is in the place of a figure that there is not.
const none = "–"

// filled leaves out the columns that say nothing.
func (g grid) filled() grid {
	kept := grid{Rows: make([][]string, len(g.Rows))}
	for i, head := range g.Head {
		if !slices.ContainsFunc(g.Rows, func(row []string) bool { return row[i] != none }) {
			continue
		}
		kept.Head = append(kept.Head, head)
		for n, row := range g.Rows {
			kept.Rows[n] = append(kept.Rows[n], row[i])
		}
	}
	return kept
}

// measured says of 0 that there is no figure.
func measured(value float64, say func(float64) string) string {
	if value == 0 {
		return none
	}
	return say(value)
}

// sums are those of all budgets.
func (b Books) sums() grid {
	return grid{
		Head: []string{"budgets of all tenants", "sum"},
		Rows: [][]string{
			{"granted", b.Granted.String()}, {"committed", b.Committed.String()}, {"reserved", b.Reserved.String()},
			{"remaining", b.Remaining.String()}, {"overspent", b.Overspent.String()},
		},
	}
}

func outcomeGrid(counts map[string]int64) grid {
	g := grid{Head: []string{"outcome", "answers"}}
	for _, outcome := range Played {
		if n := counts[outcome.String()]; n > 0 {
			g.Rows = append(g.Rows, []string{strings.ReplaceAll(outcome.String(), "_", " "), Count(n)})
		}
	}
	return g
}

// how says what to do to see the same again, in pairs of a name and a value.
func (r Report) how() [][2]string {
	w, m := r.Workload, r.Machine
	pairs := [][2]string{
		{"requests", w.RequestsSaid},
		{"arrivals", w.Arrivals}, {"latency from", w.LatencyFrom},
		{"offered", perSecond(w.Offered, "requests")},
		{"unsent", measured(float64(w.Unsent), func(n float64) string {
			return Count(n) + " " + wording.Noun(w.Unsent, "request") + " that the end came before"
		})},
		{"seed", strconv.FormatUint(r.Seed, 10)},
		{"measured", significant(r.Seconds) + " s in " + wording.Count(r.Rounds, "round") + warmedUp(w)},
		{"machine", m.CPU}, {"cores", measured(float64(m.Cores), Count[float64])},
		{"system", m.OS}, {"Go", m.Go}, {"GOMAXPROCS", measured(float64(m.GOMAXPROCS), Count[float64])},
		{"GOGC", m.GOGC}, {"GOMEMLIMIT", m.GOMEMLIMIT}, {"bursar", m.Version},
	}
	if s := r.Server; s != nil {
		pairs = append(pairs, [2]string{s.name(), s.Version + " " + s.Mode})
		for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
			pairs = append(pairs, [2]string{name, s.Settings[name]})
		}
	}
	return slices.DeleteFunc(pairs, func(p [2]string) bool { return p[1] == "" || p[1] == none })
}

func perSecond(rate float64, what string) string {
	if rate == 0 {
		return ""
	}
	return Count(rate) + " " + what + " a second"
}

func warmedUp(w Workload) string {
	if w.WarmupSeconds == 0 {
		return ""
	}
	return ", after " + significant(w.WarmupSeconds) + " s of warm-up"
}
