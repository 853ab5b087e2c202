package bench

import (
	"fmt"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

const shownBroken = 10

func addToBooks(b *report.Books, account budget.HoldList, told told) {
	b.Granted += account.Balance.Granted
	b.Committed += account.Balance.Committed
	b.Reserved += account.Balance.Reserved
	b.Remaining += account.Balance.Remaining
	b.OpenHolds += len(account.Holds)
	b.InDoubt += told.doubt
	b.Refused += told.refused
	if told.refused > 0 {
		b.Exhausted++
	}
}

func breakBook(b *report.Books, tenant budget.TenantID, problem error) {
	b.BrokenAll++
	if len(b.Broken) < shownBroken {
		b.Broken = append(b.Broken, report.BrokenBook{Tenant: tenant, Problem: problem.Error()})
	}
}

// report is all but the books.
func (m *match) report() report.Report {
	c := m.config
	r := report.Report{
		Engine: c.Engine, Nodes: c.Nodes, Tenants: c.Tenants, Concurrency: c.Concurrency,
		Seed: c.Seed, Trace: c.Trace, Workload: c.workload(), Rounds: len(m.paces),
		Reserve: m.fleet.reserve.percentiles(), Commit: m.fleet.commit.percentiles(),
		Outcomes: make(map[string]int64),
		Machine:  machine(), Server: m.arena.server,
	}
	if m.arena.space != nil {
		r.Redis = m.arena.name
	}
	var cycles, decisions []float64
	for _, p := range m.paces {
		r.Cycles += p.cycles
		r.Seconds += p.took.Seconds()
		cycles = append(cycles, p.rate(p.cycles))
		decisions = append(decisions, p.rate(p.decisions))
	}
	r.CyclesPerSecond, r.DecisionsPerSecond = median(cycles), median(decisions)
	for _, outcome := range report.Played {
		r.Outcomes[outcome.String()] = m.fleet.counts[outcome]
	}
	for _, rival := range m.rivals {
		r.Baselines = append(r.Baselines, rival.result(r.DecisionsPerSecond))
	}
	return r
}

func audited(r *report.Report, found report.Books) {
	r.Books, r.Audited, r.Conserved = found, true, found.BrokenAll == 0
}

func brokenBooks(r report.Report) error {
	if r.BrokenAll == 0 {
		return nil
	}
	first := r.Broken[0]
	return exit.With(exit.Refused, fmt.Errorf("the books are broken for %d of %d tenants, first for tenant %q: %s",
		r.BrokenAll, r.Tenants, first.Tenant, first.Problem))
}
