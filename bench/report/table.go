package report

import (
	_ "embed" // the template of the table
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/wording"
)

//go:embed table.txt
var tableText string

var tableTemplate = template.Must(template.New("table").Funcs(template.FuncMap{
	"count":     func(n any, noun string) string { return wording.Count(reflect.ValueOf(n).Int(), noun) },
	"noun":      wording.Noun[int64],
	"swept":     Report.swept,
	"perSecond": perSecondText,
	"achieved":  Report.achieved,
	"figures":   func() []metrics.Figure { return metrics.Figures },
	"latencies": Report.latencies,
	"latency":   latency,
	"answers":   Report.answers,
	"candidate": Candidate.row,
	"point":     SweepPoint.row,
	"title":     Comparison.title,
	"change":    Change.row,
}).Parse(tableText))

// WriteTable prints the report in columns of fixed width.
func (r Report) WriteTable(w io.Writer) error {
	var text strings.Builder
	if err := tableTemplate.Execute(&text, r); err != nil {
		return err
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// swept is a count, or the range of the counts that a sweep is over.
func (r Report) swept(over string, count int, noun string) string {
	if r.Sweep == nil || r.Sweep.Over != over || len(r.Sweep.Points) == 0 {
		return wording.Count(count, noun)
	}
	points := r.Sweep.Points
	return fmt.Sprintf("%d to %s", points[0].Value, wording.Count(points[len(points)-1].Value, noun))
}

type latencyRow struct {
	Name string
	At   metrics.Latency
}

func (r Report) latencies() []latencyRow {
	rows := []latencyRow{{"reserve", r.Reserve}, {"commit", r.Commit}}
	if len(r.Candidates) > 0 {
		rows = append(rows, latencyRow{"both", r.Candidates[0].Decision})
	}
	return rows
}

// answers are the outcomes that the run had.
func (r Report) answers() []budget.Outcome {
	return slices.DeleteFunc(slices.Clone(Played), func(o budget.Outcome) bool { return r.Outcomes[o.String()] == 0 })
}

// row compares a candidate with Bursar, unless it is Bursar.
func (c Candidate) row(bursar bool) string {
	rate := c.DecisionsPerSecond
	return fmt.Sprintf("%-9s %11.0f %-20s %10s %7s %7s %7s %9s %6s %4s %12s", c.Name,
		rate.Median, fmt.Sprintf("(%.0f to %.0f)", rate.Lowest, rate.Most), orDash(!bursar, times(c.Ratio.Median)),
		latency(c.Decision.P50), latency(c.Decision.P99), latency(c.Decision.P999),
		latency(c.RedisCPU), orDash(c.RoundTrips > 0, fmt.Sprintf("%.3g", c.RoundTrips)),
		orDash(c.PoolSize > 0, strconv.Itoa(c.PoolSize)), c.overspent())
}

// times is a ratio of speeds: 2.15x, or 1/221 if it is below 1.
func times(ratio float64) string {
	if ratio > 0 && ratio < 1 {
		return "1/" + significant(1/ratio) + "x"
	}
	return significant(ratio) + "x"
}

func (c Candidate) overspent() string {
	switch {
	case !c.Decides:
		return "no records"
	case !c.Money.Kept:
		return "not read"
	default:
		return c.Money.Overspent.String()
	}
}

func orDash(known bool, text string) string {
	if !known {
		return "-"
	}
	return text
}

func (p SweepPoint) row() string {
	rate := p.DecisionsPerSecond
	return fmt.Sprintf("%-11d %11.0f %11.0f %11.0f %10s %10s %12s %12s  %s", p.Value, rate.Median, rate.Lowest, rate.Most,
		latency(p.Decision.P50), latency(p.Decision.P99), latency(p.RedisCPU),
		orDash(p.RoundTrips > 0, strconv.FormatFloat(p.RoundTrips, 'f', 3, 64)), p.balances())
}

func (p SweepPoint) balances() string {
	if p.Conserved {
		return "OK"
	}
	return "WRONG"
}

func (c Change) row() string {
	return fmt.Sprintf("%-26s %-34s %-34s %-26s %s", c.Metric, c.spread(c.Earlier), c.spread(c.Now), c.percentText(), c.verdict())
}

// latency writes microseconds as Micros does, but without a space, or a dash for 0.
func latency(micros float64) string {
	return orDash(micros != 0, strings.ReplaceAll(Micros(micros), " ", ""))
}
