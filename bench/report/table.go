package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/wording"
)

// WriteTable prints the report in columns of fixed width.
func (r Report) WriteTable(w io.Writer) error {
	var t table
	t.heading(r)
	if r.Sweep != nil {
		t.sweep(r)
		t.sweepVerdict(r)
	} else {
		if r.Audited {
			t.budgets(r)
		}
		t.rates(r)
		t.outcomes(r.Outcomes)
		t.candidates(r.Candidates)
		t.verdict(r)
	}
	t.comparison(r.Comparison)
	t.conditions(r.Conditions)
	_, err := io.WriteString(w, t.String())
	return err
}

type table struct{ strings.Builder }

func (t *table) line(format string, args ...any) { fmt.Fprintf(&t.Builder, format+"\n", args...) }

func (t *table) heading(r Report) {
	where := "in this process"
	if r.Redis != "" {
		where = r.Redis
	}
	if r.Variable != "" {
		where += " (" + r.Variable + ")"
	}
	requests := "drawn from seed " + strconv.FormatUint(r.Seed, 10)
	if r.Trace != "" {
		requests = "of " + r.Trace
	}
	t.line("%s engine, %s: %s × %s, %s, requests %s", r.Engine, where,
		r.swept(OverNodes, r.Nodes, "node"), r.swept(OverConcurrency, r.Concurrency, "worker"), r.swept(OverTenants, r.Tenants, "tenant"), requests)
	if r.Sweep != nil && r.Sweep.Over == OverHolds {
		t.line("%s before each run", r.swept(OverHolds, 0, "open hold"))
	}
	interrupted := ""
	if r.Interrupted {
		interrupted = ", interrupted"
	}
	t.line("%.2f s measured in %s%s", r.Seconds, wording.Count(r.Rounds, "round"), interrupted)
	if r.Workload.Name != "" {
		t.line("workload: %s", r.Workload)
	}
	if r.Processes {
		t.line("each node is a separate process")
	}
	t.line("machine: %s", r.Machine)
	if r.Server != nil {
		t.line("server: %s", r.Server)
	}
	if r.Partitions > 0 {
		t.line("keys: %s", wording.Count(r.Partitions, "partition"))
	}
}

// swept is a count, or the range of the counts that a sweep is over.
func (r Report) swept(over string, count int, noun string) string {
	if r.Sweep == nil || r.Sweep.Over != over || len(r.Sweep.Points) == 0 {
		return wording.Count(count, noun)
	}
	points := r.Sweep.Points
	return fmt.Sprintf("%d to %s", points[0].Value, wording.Count(points[len(points)-1].Value, noun))
}

func (t *table) budgets(r Report) {
	b, warmUp := r.Books, ""
	if r.Workload.WarmupSeconds > 0 {
		warmUp = ", including the warm-up"
	}
	t.line("")
	t.line("%-10s %24s", "budgets", "sum")
	for _, row := range []struct {
		name   string
		amount budget.Microcents
	}{{"granted", b.Granted}, {"committed", b.Committed}, {"reserved", b.Reserved}, {"remaining", b.Remaining}} {
		t.line("%-10s %24s", row.name, row.amount)
	}
	t.line("%-10s %24d  %s, of %s%s", "refused", b.Refused, wording.Noun(b.Refused, "reserve"), wording.Count(b.Exhausted, "tenant"), warmUp)
}

func (t *table) rates(r Report) {
	t.line("")
	t.line("%-10s %10s", "", "per second")
	t.line("%-10s %10.0f", "cycles", r.CyclesPerSecond)
	t.line("%-10s %10.0f", "decisions", r.DecisionsPerSecond)
	if r.Workload.Offered > 0 {
		t.line("%-10s %10s  of %s offered", "requests", perSecondText(r.achieved()), perSecondText(r.Workload.Offered))
	}
	t.line("")
	t.line("%-10s %9s %9s %9s %9s %9s %9s %9s", "latency", "mean", "p50", "p90", "p95", "p99", "p99.9", "max")
	for _, row := range r.latencies() {
		t.line("%-10s %9s %9s %9s %9s %9s %9s %9s", row.name, latency(row.at.Mean), latency(row.at.P50), latency(row.at.P90),
			latency(row.at.P95), latency(row.at.P99), latency(row.at.P999), latency(row.at.Max))
	}
}

type latencyRow struct {
	name string
	at   metrics.Latency
}

func (r Report) latencies() []latencyRow {
	rows := []latencyRow{{"reserve", r.Reserve}, {"commit", r.Commit}}
	if len(r.Candidates) > 0 {
		rows = append(rows, latencyRow{"both", r.Candidates[0].Decision})
	}
	return rows
}

func (t *table) outcomes(counts map[string]int64) {
	t.line("")
	t.line("%-20s %14s", "outcome", "answers")
	for _, outcome := range Played {
		if count := counts[outcome.String()]; count > 0 {
			t.line("%-20s %14d", outcome, count)
		}
	}
}

// candidates compares Bursar with the baselines, if there are any.
func (t *table) candidates(all []Candidate) {
	if len(all) < 2 {
		return
	}
	t.line("")
	t.line("%-9s %11s %-20s %10s %7s %7s %7s %9s %6s %4s %12s", "name",
		"decisions/s", "(lowest to highest)", "bursar is", "p50", "p99", "p99.9", "Redis CPU", "trips", "pool", "overspent")
	for i, c := range all {
		rate := c.DecisionsPerSecond
		t.line("%-9s %11.0f %-20s %10s %7s %7s %7s %9s %6s %4s %12s", c.Name,
			rate.Median, fmt.Sprintf("(%.0f to %.0f)", rate.Lowest, rate.Most), orDash(i > 0, times(c.Ratio.Median)),
			latency(c.Decision.P50), latency(c.Decision.P99), latency(c.Decision.P999),
			orDash(c.RedisCPU > 0, latency(c.RedisCPU)), orDash(c.RoundTrips > 0, fmt.Sprintf("%.3g", c.RoundTrips)),
			orDash(c.PoolSize > 0, fmt.Sprint(c.PoolSize)), c.overspent())
	}
	t.line("latency, Redis CPU and round trips are per decision, the pool is connections per node; overspent is the amount above")
	t.line("the budgets by the candidate's own records, in the rounds and in a contention test after them")
	for _, c := range all {
		if c.Money.Overspent > 0 {
			t.line("%s OVERSPENT the budgets of %s by %s: %s", c.Name, wording.Count(c.Money.Tenants, "tenant"), c.Money.Overspent, c.Describe)
		}
		if c.Money.Drift > 0 {
			t.line("%s: its records differ from its answers by %s", c.Name, c.Money.Drift)
		}
		if c.GivenUp > 0 {
			t.line("%s: %s without an answer: %s", c.Name, wording.Count(c.GivenUp, "call"), c.Describe)
		}
	}
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

func (t *table) verdict(r Report) {
	t.line("")
	switch {
	case !r.Audited:
		t.line("balances: NOT CHECKED, they could not be read")
	case r.Conserved:
		source := "Redis, over a separate connection"
		if r.Redis == "" {
			source = "the engine"
		}
		t.line("balances: read from %s", source)
		t.line("          OK: %s; remaining + reserved + committed = granted; the open holds (%d) add up to reserved;", wording.Count(r.Tenants, "tenant"), r.OpenHolds)
		t.line("          all match the workers' answers; overspent %s", r.Overspent)
	default:
		t.line("balances: WRONG for %d of %s; overspent %s", r.BrokenAll, wording.Count(r.Tenants, "tenant"), r.Overspent)
		t.broken(r)
	}
	t.inDoubt(r)
}

func (t *table) broken(r Report) {
	for _, b := range r.Broken {
		t.line("          %s: %s", b.Tenant, b.Problem)
	}
}

func (t *table) inDoubt(r Report) {
	if r.InDoubt > 0 {
		t.line("          in doubt: at most %s, of calls without an answer", r.InDoubt)
	}
}

func (t *table) sweep(r Report) {
	s := r.Sweep
	t.line("")
	t.line("%-11s %35s %10s %10s %12s %12s", "", "decisions per second", "", "", "Redis CPU", "round trips")
	t.line("%-11s %11s %11s %11s %10s %10s %12s %12s  balances", s.Over, "median", "lowest", "highest", "p50", "p99", "per decision", "per decision")
	for _, p := range s.Points {
		balances := "OK"
		if !p.Conserved {
			balances = "WRONG"
		}
		rate := p.DecisionsPerSecond
		t.line("%-11d %11.0f %11.0f %11.0f %10s %10s %12s %12s  %s", p.Value, rate.Median, rate.Lowest, rate.Most,
			latency(p.Decision.P50), latency(p.Decision.P99), latency(p.RedisCPU),
			orDash(p.RoundTrips > 0, strconv.FormatFloat(p.RoundTrips, 'f', 3, 64)), balances)
	}
	if s.Said != "" {
		t.line("")
		t.line("%s", s.Said)
	}
}

func (t *table) sweepVerdict(r Report) {
	runs := wording.Count(r.Sweep.Runs, "run")
	t.line("")
	switch {
	case r.BrokenAll > 0:
		t.line("balances: WRONG for %s in %s; overspent %s", wording.Count(r.BrokenAll, "tenant"), runs, r.Overspent)
		t.broken(r)
	case !r.Audited:
		t.line("balances: NOT CHECKED after one of %s, they could not be read", runs)
	default:
		t.line("balances: OK for every tenant after each of %s; overspent %s", runs, r.Overspent)
	}
	t.inDoubt(r)
}

func (t *table) comparison(c *Comparison) {
	if c == nil {
		return
	}
	t.line("")
	t.line("%s", c.title())
	for _, setting := range c.Settings {
		t.line("different setting: %s", setting)
	}
	if len(c.Changes) == 0 {
		t.line("nothing to compare")
		return
	}
	t.line("%-26s %-34s %-34s %-26s", "", "earlier", "now", "change")
	for _, change := range c.Changes {
		t.line("%-26s %-34s %-34s %-26s %s", change.Metric, change.spread(change.Earlier), change.spread(change.Now), change.percentText(), change.verdict())
	}
}

func (t *table) conditions(all []Condition) {
	if len(all) == 0 {
		return
	}
	t.line("")
	for _, c := range all {
		verdict := "passed"
		if c.Broken {
			verdict = "FAILED"
		}
		t.line("fail if %s  (%s)", c, verdict)
	}
}

// latency writes microseconds with three digits, or a dash for 0.
func latency(micros float64) string {
	if micros == 0 {
		return "-"
	}
	unit := int64(1)
	for nanos := micros * 1e3; nanos >= 1000; nanos /= 10 {
		unit *= 10
	}
	return time.Duration(micros * float64(time.Microsecond)).Round(time.Duration(unit)).String()
}
