package report

import (
	"bufio"
	"cmp"
	_ "embed" // the page is made of files of their own
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

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
