package report

import (
	"fmt"

	"github.com/calybris/bursar/coordinator/wording"
)

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
