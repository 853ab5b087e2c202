package report

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

func contenderGrid(all []Contender) grid {
	g := grid{Head: []string{"contender", "decisions a second", "ours / theirs", "p50", "p99", "p99.9", "Redis' CPU", "round trips", "commands", "connections", "overspent", "drift"}}
	for i, c := range all {
		ratio, overspent, drift := significant(c.Ratio.Median), c.Money.Overspent.String(), c.Money.Drift.String()
		if i == 0 {
			ratio = "1"
		}
		if !c.Money.Kept {
			overspent, drift = "–", "–"
		}
		g.Rows = append(g.Rows, []string{
			c.Name, Count(c.DecisionsPerSecond.Median), ratio,
			Micros(c.Decision.P50), Micros(c.Decision.P99), Micros(c.Decision.P999),
			measured(c.RedisCPU, Micros), measured(c.RoundTrips, significant), measured(c.Commands, significant),
			measured(float64(c.PoolSize), Count[float64]), overspent, drift,
		})
	}
	return g
}

// measured says of 0 that there is no figure.
func measured(value float64, say func(float64) string) string {
	if value == 0 {
		return "–"
	}
	return say(value)
}

func (b Books) grid() grid {
	return grid{
		Head: []string{"granted", "committed", "reserved", "remaining", "refused reserves"},
		Rows: [][]string{{b.Granted.String(), b.Committed.String(), b.Reserved.String(), b.Remaining.String(), Count(b.Refused)}},
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
		{"command", r.Command},
		{"requests", w.RequestsSaid},
		{"arrivals", w.Arrivals}, {"latency from", w.LatencyFrom},
		{"offered", perSecond(w.Offered, "requests")},
		{"unsent", measured(float64(w.Unsent), func(n float64) string { return Count(n) + " requests that the end came before" })},
		{"seed", strconv.FormatUint(r.Seed, 10)},
		{"measured", significant(r.Seconds) + " s in " + plural(r.Rounds, "round") + warmedUp(w)},
		{"machine", m.CPU}, {"cores", measured(float64(m.Cores), Count[float64])},
		{"system", m.OS}, {"Go", m.Go}, {"GOMAXPROCS", measured(float64(m.GOMAXPROCS), Count[float64])},
		{"GOGC", m.GOGC}, {"GOMEMLIMIT", m.GOMEMLIMIT}, {"bursar", m.Version},
	}
	if s := r.Server; s != nil {
		pairs = append(pairs, [2]string{"Redis", s.Version + " " + s.Mode})
		for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
			pairs = append(pairs, [2]string{name, s.Settings[name]})
		}
	}
	return slices.DeleteFunc(pairs, func(p [2]string) bool { return p[1] == "" || p[1] == "–" })
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
