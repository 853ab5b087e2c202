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
		_, err := io.WriteString(w, t.String())
		return err
	}
	if r.Audited {
		t.budgets(r)
	}
	t.rates(r)
	t.outcomes(r.Outcomes)
	t.contenders(r.Contenders)
	t.verdict(r)
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
	how := "drawn from seed " + strconv.FormatUint(r.Seed, 10)
	if r.Trace != "" {
		how = "of " + r.Trace
	}
	t.line("%s engine, %s: %s × %s, %s, requests %s", r.Engine, where,
		r.swept(OverNodes, r.Nodes, "node"), r.swept(OverConcurrency, r.Concurrency, "caller"), r.swept(OverTenants, r.Tenants, "tenant"), how)
	if r.Sweep != nil && r.Sweep.Over == OverHolds {
		t.line("%s before each run", r.swept(OverHolds, 0, "open hold"))
	}
	ended := ""
	if r.Interrupted {
		ended = ", interrupted"
	}
	t.line("%.2f s measured in %s%s", r.Seconds, wording.Count(r.Rounds, "round"), ended)
	if r.Workload.Name != "" {
		t.line("workload: %s", r.Workload)
	}
	if r.Processes {
		t.line("each node is a process of its own")
	}
	t.line("machine: %s", r.Machine)
	if r.Server != nil {
		t.line("server: %s", r.Server)
	}
	if r.Partitions > 0 {
		t.line("keys: %s", wording.Count(r.Partitions, "partition"))
	}
}

func (t *table) budgets(r Report) {
	b, warmed := r.Books, ""
	if r.Workload.WarmupSeconds > 0 {
		warmed = ", with the warm-up"
	}
	t.line("")
	t.line("%-10s %24s", "budgets", "sum")
	for _, row := range []struct {
		name   string
		amount budget.Microcents
	}{{"granted", b.Granted}, {"committed", b.Committed}, {"reserved", b.Reserved}, {"remaining", b.Remaining}} {
		t.line("%-10s %24s", row.name, row.amount)
	}
	t.line("%-10s %24d  %s, by %d of the tenants%s", "refused", b.Refused, wording.Noun(b.Refused, "reserve"), b.Exhausted, warmed)
}

func (t *table) rates(r Report) {
	t.line("")
	t.line("%-10s %12s %12s %12s %12s", "", "a second", "p50", "p99", "p99.9")
	t.line("%-10s %12.0f", "cycles", r.CyclesPerSecond)
	t.line("%-10s %12.0f", "decisions", r.DecisionsPerSecond)
	if r.Workload.Offered > 0 {
		t.line("%-10s %12s  of %s offered", "requests", perSecondText(r.achieved()), perSecondText(r.Workload.Offered))
	}
	for _, row := range []struct {
		name string
		at   metrics.Percentiles
	}{{"reserve", r.Reserve}, {"commit", r.Commit}} {
		t.line("%-10s %12s %12s %12s %12s", row.name, "", latency(row.at.P50), latency(row.at.P99), latency(row.at.P999))
	}
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

func (t *table) verdict(r Report) {
	t.line("")
	switch {
	case !r.Audited:
		t.line("books: NOT CHECKED, they could not be read")
	case r.Conserved:
		source := "Redis' own state, over a connection of its own"
		if r.Redis == "" {
			source = "the engine"
		}
		t.line("books: read from %s", source)
		t.line("       law kept for each of %s; the open holds (%d) sum up to reserved; callers were told the same; overspent %s",
			wording.Count(r.Tenants, "tenant"), r.OpenHolds, r.Overspent)
	default:
		t.line("books: BROKEN for %d of %s; overspent %s", r.BrokenAll, wording.Count(r.Tenants, "tenant"), r.Overspent)
		for _, b := range r.Broken {
			t.line("       %s: %s", b.Tenant, b.Problem)
		}
	}
	if r.InDoubt > 0 {
		t.line("       in doubt: at most %s, of calls without an answer", r.InDoubt)
	}
}

// latency shows three digits and the unit that suits them; there is none where nothing
// was measured.
func latency(micros float64) string {
	if micros == 0 {
		return "-"
	}
	return time.Duration(micros * float64(time.Microsecond)).Round(time.Duration(precision(micros))).String()
}

func precision(micros float64) int64 {
	unit := int64(1)
	for nanos := micros * 1e3; nanos >= 1000; nanos /= 10 {
		unit *= 10
	}
	return unit
}

// contenders compares what was measured in turns; ours alone is compared with nothing.
func (t *table) contenders(all []Contender) {
	if len(all) < 2 {
		return
	}
	t.line("")
	t.line("%-9s %11s %-20s %11s %7s %7s %7s %9s %6s %4s %12s", "contender",
		"decisions/s", "(lowest to highest)", "ours/theirs", "p50", "p99", "p99.9", "Redis CPU", "trips", "pool", "overspent")
	for i, c := range all {
		rate := c.DecisionsPerSecond
		t.line("%-9s %11.0f %-20s %11s %7s %7s %7s %9s %6s %4s %12s", c.Name,
			rate.Median, fmt.Sprintf("(%.0f to %.0f)", rate.Lowest, rate.Most), orDash(i > 0, significant(c.Ratio.Median)),
			latency(c.Decision.P50), latency(c.Decision.P99), latency(c.Decision.P999),
			orDash(c.RedisCPU > 0, latency(c.RedisCPU)), orDash(c.RoundTrips > 0, fmt.Sprintf("%.3g", c.RoundTrips)),
			orDash(c.PoolSize > 0, fmt.Sprint(c.PoolSize)), c.overspent())
	}
	t.line("latency, CPU of Redis and round trips are a decision's, the pool is a node's connections, and overspent is what each")
	t.line("contender's own books have above the budgets, after the rounds and a race for the last of the money")
	for _, c := range all {
		if c.Money.Overspent > 0 {
			t.line("%s OVERSPENT the budgets of %s by %s: %s", c.Name, wording.Count(c.Money.Tenants, "tenant"), c.Money.Overspent, c.Describe)
		}
		if c.Money.Drift > 0 {
			t.line("%s: its books differ from what its callers were told by %s", c.Name, c.Money.Drift)
		}
		if c.GivenUp > 0 {
			t.line("%s: %s got no answer, and made no decision: %s", c.Name, wording.Count(c.GivenUp, "call"), c.Describe)
		}
	}
}

func (c Contender) overspent() string {
	switch {
	case !c.Decides:
		return "no books"
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

func (t *table) sweep(r Report) {
	s := r.Sweep
	t.line("")
	t.line("%-11s %35s %10s %10s %12s %12s", "", "decisions a second", "", "", "Redis' CPU", "round trips")
	t.line("%-11s %11s %11s %11s %10s %10s %12s %12s  books", s.Over, "median", "lowest", "highest", "p50", "p99", "a decision", "a decision")
	for _, p := range s.Points {
		cpu, trips, books := "-", "-", "kept"
		if p.RedisCPU > 0 {
			cpu = latency(p.RedisCPU)
		}
		if p.RoundTrips > 0 {
			trips = strconv.FormatFloat(p.RoundTrips, 'f', 3, 64)
		}
		if !p.Conserved {
			books = "NOT KEPT"
		}
		rate := p.DecisionsPerSecond
		t.line("%-11d %11.0f %11.0f %11.0f %10s %10s %12s %12s  %s", p.Value, rate.Median, rate.Lowest, rate.Most,
			latency(p.Decision.P50), latency(p.Decision.P99), cpu, trips, books)
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
		t.line("books: BROKEN for %s in %s; overspent %s", wording.Count(r.BrokenAll, "tenant"), runs, r.Overspent)
		for _, b := range r.Broken {
			t.line("       %s: %s", b.Tenant, b.Problem)
		}
	case !r.Audited:
		t.line("books: NOT CHECKED after one of %s: they could not be read", runs)
	default:
		t.line("books: read after each of %s; law kept for every tenant; overspent %s", runs, r.Overspent)
	}
	if r.InDoubt > 0 {
		t.line("       in doubt: at most %s, of calls without an answer", r.InDoubt)
	}
}

// swept is a count, or where it is swept over, the range of it.
func (r Report) swept(over string, count int, noun string) string {
	if r.Sweep == nil || r.Sweep.Over != over || len(r.Sweep.Points) == 0 {
		return wording.Count(count, noun)
	}
	points := r.Sweep.Points
	return fmt.Sprintf("%d to %s", points[0].Value, wording.Count(points[len(points)-1].Value, noun))
}
