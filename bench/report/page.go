package report

import (
	"bufio"
	"cmp"
	_ "embed" // the template and the style of the page
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/wording"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle template.CSS

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
		"style":     func() template.CSS { return pageStyle },
		"left":      share,
		"below":     func(at float64) string { return share(1 - at) },
		"count":     wording.Count[int],
		"thousands": Count[int],
		"money":     money,
		"rate":      Count[float64],
		"rates":     func(s metrics.Spread) string { return between(s, Count[float64]) },
		"times":     times,
		"ratios":    func(s metrics.Spread) string { return between(s, times) },
		"tiles":     Report.tiles,
		"bars":      bars,
		"heading":   Comparison.heading,
		"changes":   Comparison.grid,
		"plots":     Report.figures,
		"latencies": Report.latencyGrid,
		"costs":     candidateGrid,
		"sums":      Report.sums,
		"how":       Report.how,
	}).Parse(pageText))
)

// share writes a position in a plot as a percentage, as SVG takes it.
func share(at float64) string { return strconv.FormatFloat(100*at, 'f', 2, 64) + "%" }

// WriteHTML writes one page with plots that loads nothing and needs no script, so that it
// can be kept, mailed and printed.
func (r Report) WriteHTML(w io.Writer) error {
	out := bufio.NewWriter(w)
	if err := pageTemplate.Execute(out, r); err != nil {
		return err
	}
	return out.Flush()
}

// grid is a table of cells.
type grid struct {
	Head []string
	Rows [][]cell
}

// cell is a text, with the exact value behind a rounded one.
type cell struct{ Text, Exact string }

func (g *grid) add(texts ...string) {
	row := make([]cell, len(texts))
	for i, text := range texts {
		row[i].Text = text
	}
	g.Rows = append(g.Rows, row)
}

// none stands for a missing figure.
const none = "–"

// filled leaves out the columns without figures.
func (g grid) filled() grid {
	kept := grid{Rows: make([][]cell, len(g.Rows))}
	for i, head := range g.Head {
		if !slices.ContainsFunc(g.Rows, func(row []cell) bool { return row[i].Text != none }) {
			continue
		}
		kept.Head = append(kept.Head, head)
		for n, row := range g.Rows {
			kept.Rows[n] = append(kept.Rows[n], row[i])
		}
	}
	return kept
}

// text is a row for a pointer: one line per cell, with the name of its column.
func (g grid) text(row int) string {
	lines := make([]string, len(g.Head))
	for i, name := range g.Head {
		lines[i] = name + ": " + g.Rows[row][i].Text
	}
	return strings.Join(lines, "\n")
}

// money is an amount in dollars and cents, with the exact one behind it. A positive amount
// below a cent is exact.
func money(m budget.Microcents) cell {
	cents := (m + budget.Cent/2) / budget.Cent
	if m < 0 || m > 0 && cents == 0 {
		return cell{Text: m.String()}
	}
	c := cell{Text: fmt.Sprintf("$%s.%02d", Count(int64(cents/100)), cents%100)}
	if cents*budget.Cent != m {
		c.Exact = m.String()
	}
	return c
}

// figures leaves out those without values.
func (r Report) figures() []*figure {
	all := []*figure{swept(r.Sweep), distribution(r.Candidates), r.overTime(), draining(r.Drains)}
	return slices.DeleteFunc(all, func(f *figure) bool { return f == nil })
}

type tile struct{ Name, Value, Unit string }

// tiles are the headline figures.
func (r Report) tiles() []tile {
	if r.Sweep != nil {
		return sweepTiles(r.Sweep)
	}
	at, of := r.Reserve, "of a reserve"
	if len(r.Candidates) > 0 {
		at, of = r.Candidates[0].Decision, "of a decision"
	}
	first := tile{"decisions per second", Count(r.DecisionsPerSecond), ""}
	if len(r.Candidates) > 0 {
		first.Unit = between(r.Candidates[0].DecisionsPerSecond, Count[float64])
	}
	if r.Workload.Offered > 0 {
		first = tile{"requests per second", perSecondText(r.achieved()), "of " + perSecondText(r.Workload.Offered) + " offered"}
	}
	failed, all := r.Outcomes[budget.Unknown.String()], int64(0)
	for _, n := range r.Outcomes {
		all += n
	}
	return []tile{
		first,
		{"p50 " + of, Micros(at.P50), ""},
		{"p99 " + of, Micros(at.P99), ""},
		{"p99.9 " + of, Micros(at.P999), ""},
		{"reserves refused", Count(r.Refused), "of " + wording.Count(r.Exhausted, "tenant")},
		{"errors", significant(100*float64(failed)/float64(max(all, 1))) + "%", wording.Count(failed, "call") + " without an answer"},
	}
}

func sweepTiles(s *Sweep) []tile {
	if len(s.Points) == 0 {
		return nil
	}
	best := slices.MaxFunc(s.Points, func(a, b SweepPoint) int {
		return cmp.Compare(a.DecisionsPerSecond.Median, b.DecisionsPerSecond.Median)
	})
	knee := tile{"knee", "none", "was found"}
	switch {
	case s.Noisy:
		knee.Unit = "too noisy to name one"
	case s.Knee != nil:
		knee.Value, knee.Unit = Count(s.Knee.Value), strings.TrimPrefix(s.count(s.Knee.Value), strconv.Itoa(s.Knee.Value)+" ")
	}
	return []tile{
		{"most decisions per second", Count(best.DecisionsPerSecond.Median), "with " + s.count(best.Value)},
		{"p99 there", Micros(best.Decision.P99), ""}, knee,
	}
}

// bar is a candidate's row in the comparison with the baselines. Its lengths are shares of
// the widest.
type bar struct {
	Candidate
	Series              int
	Width, Lowest, Most float64
	Cut                 bool // it is too long to be shown whole
}

// bars returns a row for each candidate, if there are baselines. A candidate that is many
// times as fast as all others is cut, so that the others keep a visible length.
func bars(all []Candidate) []bar {
	if len(all) < 2 {
		return nil
	}
	const room = 1.02 // of the longest, so that its spread fits
	longest := room * longestShown(all)
	share := func(rate float64) float64 { return min(rate/longest, 1) }
	rows := make([]bar, len(all))
	for i, c := range all {
		rate := c.DecisionsPerSecond
		rows[i] = bar{
			Candidate: c, Series: i, Cut: rate.Median > longest,
			Width: share(rate.Median), Lowest: share(rate.Lowest), Most: share(rate.Most),
		}
	}
	return rows
}

// between is "" for a single round.
func between(s metrics.Spread, say func(float64) string) string {
	if s.Lowest == s.Most {
		return ""
	}
	return say(s.Lowest) + " to " + say(s.Most)
}

func longestShown(all []Candidate) float64 {
	const tooMany = 3
	rates := metrics.Each(all, func(c Candidate) float64 { return max(c.DecisionsPerSecond.Median, c.DecisionsPerSecond.Most) })
	slices.Sort(rates)
	last := len(rates) - 1
	if last > 0 && rates[last-1] > 0 && rates[last] > tooMany*rates[last-1] {
		return rates[last-1]
	}
	return max(rates[last], 1)
}

func (r Report) latencyGrid() grid {
	g := grid{Head: []string{"latency"}}
	for _, f := range metrics.Figures {
		g.Head = append(g.Head, f.Name)
	}
	for _, row := range r.latencies() {
		texts := []string{row.Name}
		for _, f := range metrics.Figures {
			texts = append(texts, measured(f.Of(row.At), Micros))
		}
		g.add(texts...)
	}
	return g
}

func candidateGrid(all []Candidate) grid {
	g := grid{Head: []string{
		"name", "p50", "p99", "p99.9", "max", "Redis CPU", "round trips", "commands", "connections per node", "without an answer", "overspent", "records off by",
	}}
	for i, c := range all {
		g.add(c.Name, Micros(c.Decision.P50), Micros(c.Decision.P99), Micros(c.Decision.P999), measured(c.Decision.Max, Micros),
			measured(c.RedisCPU, Micros), measured(c.RoundTrips, significant), measured(c.Commands, significant),
			measured(float64(c.PoolSize), Count[float64]), measured(float64(c.GivenUp), Count[float64]), none, none)
		row := g.Rows[i]
		if c.Money.Kept {
			row[len(row)-2] = money(c.Money.Overspent)
		}
		if c.Money.Drift != 0 {
			row[len(row)-1] = money(c.Money.Drift)
		}
	}
	return g.filled()
}

// measured writes 0 as a missing figure.
func measured(value float64, say func(float64) string) string {
	if value == 0 {
		return none
	}
	return say(value)
}

// sums has no budgets of a sweep, each run of which has balances of its own.
func (r Report) sums() (all []grid) {
	if r.Audited && r.Sweep == nil {
		budgets := grid{Head: []string{"budgets of all tenants", "sum"}}
		for _, row := range []struct {
			name   string
			amount budget.Microcents
		}{{"granted", r.Granted}, {"committed", r.Committed}, {"reserved", r.Reserved}, {"remaining", r.Remaining}, {"overspent", r.Overspent}} {
			budgets.Rows = append(budgets.Rows, []cell{{Text: row.name}, money(row.amount)})
		}
		all = append(all, budgets)
	}
	outcomes := grid{Head: []string{"outcome", "answers"}}
	for _, outcome := range r.answers() {
		outcomes.add(strings.ReplaceAll(outcome.String(), "_", " "), Count(r.Outcomes[outcome.String()]))
	}
	if len(outcomes.Rows) > 0 {
		all = append(all, outcomes)
	}
	return all
}

func (c Comparison) heading() string { return strings.ToUpper(c.title()[:1]) + c.title()[1:] }

func (c Comparison) grid() grid {
	g := grid{Head: []string{"metric", "earlier", "now", "change", "verdict"}}
	for _, change := range c.Changes {
		g.add(change.Metric, change.spread(change.Earlier), change.spread(change.Now), change.percentText(), change.verdict())
	}
	return g
}

// how lists the settings that repeat the run.
func (r Report) how() [][2]string {
	w, m := r.Workload, r.Machine
	counted := "the call"
	if w.LatencyFrom == "intended start" {
		counted = "the time at which a call was due"
	}
	pairs := [][2]string{
		{"loop", w.Arrivals}, {"latency counts from", counted},
		{"offered", measured(w.Offered, func(rate float64) string { return Count(rate) + " requests per second" })},
		{"unsent", measured(float64(w.Unsent), func(n float64) string {
			return Count(n) + " " + wording.Noun(w.Unsent, "request") + " due and not sent by the end"
		})},
		{"random seed", strconv.FormatUint(r.Seed, 10)},
		{"measured", significant(r.Seconds) + " s in " + wording.Count(r.Rounds, "round")},
		{"warm-up", measured(w.WarmupSeconds, func(s float64) string { return significant(s) + " s" })},
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
