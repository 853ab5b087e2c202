package report

import (
	"bufio"
	"cmp"
	_ "embed" // the page is made of files of their own
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/wording"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle template.CSS

	pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
		"left":  share,
		"below": func(at float64) string { return share(1 - at) },
		"style": func() template.CSS { return pageStyle },
	}).Parse(pageText))
)

// share writes a place in a plot as the percentage that SVG takes.
func share(at float64) string { return strconv.FormatFloat(100*at, 'f', 2, 64) + "%" }

// WriteHTML writes one page with plots that loads nothing, not even an icon: it can
// be kept, mailed and read anywhere, printed too, and needs no script.
func (r Report) WriteHTML(w io.Writer) error {
	out := bufio.NewWriter(w)
	if err := pageTemplate.Execute(out, r.page()); err != nil {
		return err
	}
	return out.Flush()
}

// page is the report in the words of the page.
type page struct {
	Title      string
	Lead       string
	Began      string
	Books      verdict
	Tiles      []tile
	Rounds     string
	Rivals     []bar
	Figures    []*figure
	Contenders grid
	Sums       []grid
	Command    string
	How        [][2]string
}

type verdict struct {
	State string // kept, broken, unread: a class of the style sheet too
	Said  string
	More  []string
}

type tile struct{ Name, Value, Unit string }

func (r Report) page() page {
	p := page{
		Title: "bursar bench", Lead: r.lead(), Books: r.judged(), Tiles: r.tiles(),
		Rounds: wording.Count(r.Rounds, "round"), Rivals: bars(r.Contenders), Command: r.Command, How: r.how(),
	}
	if r.Sweep != nil {
		p.Title = "bursar bench sweep"
	}
	if !r.Began.IsZero() {
		p.Began = r.Began.Format(time.RFC1123)
	}
	for _, f := range []*figure{swept(r.Sweep), distribution(r.Contenders), overTime(r.Timeline), draining(r.Drains)} {
		if f != nil {
			p.Figures = append(p.Figures, f)
		}
	}
	if len(r.Contenders) > 0 {
		p.Contenders = contenderGrid(r.Contenders)
	}
	if r.Audited && r.Sweep == nil { // each run of a sweep has accounts of its own
		p.Sums = append(p.Sums, r.sums())
	}
	if answers := outcomeGrid(r.Outcomes); len(answers.Rows) > 0 {
		p.Sums = append(p.Sums, answers)
	}
	return p
}

func (r Report) lead() string {
	where := "in this process"
	if r.Redis != "" {
		where = "on " + r.Redis
	}
	load := []string{wording.Count(r.Nodes, "node") + " × " + wording.Count(r.Concurrency, "caller"), wording.Count(r.Tenants, "tenant")}
	if r.Sweep != nil {
		load = []string{"over " + r.Sweep.Over}
	}
	if r.Partitions > 0 {
		load = append(load, wording.Count(r.Partitions, "partition"))
	}
	said := fmt.Sprintf("%s engine %s: %s", r.Engine, where, strings.Join(load, ", "))
	if r.Workload.Name != "" {
		said += ", workload " + r.Workload.Name
	}
	if r.Interrupted {
		said += "; interrupted"
	}
	return said
}

func (r Report) judged() verdict {
	switch {
	case !r.Audited:
		return verdict{"unread", "The books could not be checked", nil}
	case r.Conserved && r.Sweep != nil:
		return verdict{"kept", "The books are kept", []string{
			"After each run, for every tenant: remaining + reserved + committed = granted. The open holds sum up to what is reserved, and callers were told the same. Overspent: " + r.Overspent.String() + "."}}
	case r.Conserved:
		return verdict{"kept", "The books are kept", []string{
			fmt.Sprintf("For each of %s: remaining + reserved + committed = granted. The open holds (%s) sum up to what is reserved, and callers were told the same. Overspent: %s.",
				wording.Count(r.Tenants, "tenant"), Count(r.OpenHolds), r.Overspent)}}
	default:
		more := []string{fmt.Sprintf("Broken for %d of %s; overspent %s.", r.BrokenAll, wording.Count(r.Tenants, "tenant"), r.Overspent)}
		for _, b := range r.Broken {
			more = append(more, fmt.Sprintf("%s: %s", b.Tenant, b.Problem))
		}
		return verdict{"broken", "The books are BROKEN", more}
	}
}

// tiles are the figures that come first.
func (r Report) tiles() []tile {
	if r.Sweep != nil {
		return sweepTiles(r.Sweep)
	}
	at, of := r.Reserve, "of a reserve"
	if len(r.Contenders) > 0 {
		at, of = r.Contenders[0].Decision, "of a decision"
	}
	first := tile{"decisions a second", Count(r.DecisionsPerSecond), spreadOf(r.Contenders)}
	if r.Workload.Offered > 0 {
		first = tile{"requests a second", perSecondText(r.achieved()), "of " + perSecondText(r.Workload.Offered) + " offered"}
	}
	return []tile{
		first,
		{"p50 " + of, Micros(at.P50), ""},
		{"p99 " + of, Micros(at.P99), ""},
		{"p99.9 " + of, Micros(at.P999), ""},
		{"reserves refused", Count(r.Refused), "by " + wording.Count(r.Exhausted, "tenant")},
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
		knee = tile{"knee", "none", "too noisy to name one"}
	case s.Knee != nil:
		knee = tile{"knee", Count(s.Knee.Value), s.Over}
	}
	return []tile{
		{"most decisions a second", Count(best.DecisionsPerSecond.Median), "at " + s.Over + " " + Count(best.Value)},
		{"p99 there", Micros(best.Decision.P99), ""}, knee,
	}
}

func spreadOf(all []Contender) string {
	if len(all) == 0 || len(all[0].Rates) < 2 {
		return ""
	}
	s := all[0].DecisionsPerSecond
	return Count(s.Lowest) + " to " + Count(s.Most)
}

// bar is one contender's row: its rate, against ours, and what money it lost.
type bar struct {
	Series       int
	Name         string
	Describe     string
	Rate         string
	Spread       string
	Width        float64 // shares of the widest
	Lowest, Most float64
	Cut          bool   // it is longer than there is room for
	Ratio        string // ours to theirs; "" of ours
	RatioSpread  string
	Money        string
	By           string // how many tenants
	Overspent    bool
}

// bars are all contenders' rows, if there is anything to compare. The one that is many times as fast as all others,
// an engine in this process, is cut, so that the others can be told apart.
func bars(all []Contender) []bar {
	if len(all) < 2 {
		return nil
	}
	const room = 1.02 // of the longest, so that its spread ends within
	longest := room * longestShown(all)
	share := func(rate float64) float64 { return min(rate/longest, 1) }
	rows := make([]bar, len(all))
	for i, c := range all {
		rate := c.DecisionsPerSecond
		rows[i] = bar{
			Series: i, Name: c.Name, Describe: c.Describe, Rate: Count(rate.Median), Spread: between(rate, Short),
			Width: share(rate.Median), Lowest: share(rate.Lowest), Most: share(rate.Most),
			Cut: rate.Median > longest, Overspent: c.Money.Overspent > 0,
		}
		if i > 0 {
			rows[i].Ratio, rows[i].RatioSpread = significant(c.Ratio.Median), between(c.Ratio, significant)
		}
		switch {
		case c.Money.Overspent > 0:
			rows[i].Money, rows[i].By = "overspent "+c.Money.Overspent.String(), "by "+wording.Count(c.Money.Tenants, "tenant")
		case c.Money.Kept:
			rows[i].Money = "overspent nothing"
		default:
			rows[i].Money = "keeps no books"
		}
	}
	return rows
}

// between is "" where there is but one round.
func between(s metrics.Spread, say func(float64) string) string {
	if s.Lowest == s.Most {
		return ""
	}
	return say(s.Lowest) + " to " + say(s.Most)
}

func longestShown(all []Contender) float64 {
	const tooMany = 3
	var rates []float64
	for _, c := range all {
		rates = append(rates, max(c.DecisionsPerSecond.Median, c.DecisionsPerSecond.Most))
	}
	slices.Sort(rates)
	last := len(rates) - 1
	if last > 0 && rates[last-1] > 0 && rates[last] > tooMany*rates[last-1] {
		return rates[last-1]
	}
	return max(rates[last], 1)
}

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
