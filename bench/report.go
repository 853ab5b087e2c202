package bench

import (
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// Report is what a run came to. Its JSON form is the output of `bench --json`;
// fields are added to it, none is taken away.
type Report struct {
	Engine      string `json:"engine"`
	Redis       string `json:"redis,omitempty"` // what it ran on, without a password
	Nodes       int    `json:"nodes"`
	Tenants     int    `json:"tenants"`
	Concurrency int    `json:"concurrency"` // callers a node
	Seed        uint64 `json:"seed"`
	Trace       string `json:"trace,omitempty"`
	Interrupted bool   `json:"interrupted"` // by the user, before its time

	Cycles  int64   `json:"cycles"`  // reserves that were settled
	Seconds float64 `json:"seconds"` // of all rounds of ours
	// Rates are medians over the rounds; without a baseline there is one round.
	Rounds             int              `json:"rounds"`
	CyclesPerSecond    float64          `json:"cycles_per_second"`
	DecisionsPerSecond float64          `json:"decisions_per_second"` // answers, refusals included
	Reserve            Percentiles      `json:"reserve"`
	Commit             Percentiles      `json:"commit"`
	Outcomes           map[string]int64 `json:"outcomes"` // answers by outcome; "unknown" counts calls without one

	Books
	Audited   bool       `json:"audited"`   // the books could be read
	Conserved bool       `json:"conserved"` // and nothing is wrong with them
	Baselines []Baseline `json:"baselines,omitempty"`
}

// Percentiles are latencies in microseconds, to 1 %.
type Percentiles struct {
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
}

// Baseline is a rival's best pool size, by the median of its rounds.
type Baseline struct {
	Name         string  `json:"name"`
	OpsPerSecond float64 `json:"ops_per_second"`
	Ratio        float64 `json:"ratio"`     // our decisions a second over its operations a second
	PoolSize     int     `json:"pool_size"` // connections a node
}

// Books are the sums over all tenants of what is stored, in microcents.
type Books struct {
	Granted   budget.Microcents `json:"granted_microcents"`
	Committed budget.Microcents `json:"committed_microcents"`
	Reserved  budget.Microcents `json:"reserved_microcents"`
	Remaining budget.Microcents `json:"remaining_microcents"`
	OpenHolds int               `json:"open_holds"`
	Refused   int64             `json:"refused"`              // reserves refused for lack of money, as the callers were told
	Exhausted int               `json:"exhausted_tenants"`    // that refused at least one
	InDoubt   budget.Microcents `json:"in_doubt_microcents"`  // at most, of operations whose outcome is unknown
	Overspent budget.Microcents `json:"overspent_microcents"` // committed and reserved above the budget, over all tenants
	Broken    []BrokenBook      `json:"broken,omitempty"`     // the first ones
	BrokenAll int               `json:"broken_tenants"`
}

// BrokenBook says what is wrong with a tenant.
type BrokenBook struct {
	Tenant  budget.TenantID `json:"tenant"`
	Problem string          `json:"problem"`
}

const shownBroken = 10

func (b *Books) add(account budget.HoldList, told told) {
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

func (b *Books) report(tenant budget.TenantID, problem error) {
	b.BrokenAll++
	if len(b.Broken) < shownBroken {
		b.Broken = append(b.Broken, BrokenBook{tenant, problem.Error()})
	}
}

// report is all but the books.
func (m *match) report() Report {
	c := m.config
	r := Report{
		Engine: c.Engine, Nodes: c.Nodes, Tenants: c.Tenants, Concurrency: c.Concurrency,
		Seed: c.Seed, Trace: c.Trace, Rounds: len(m.paces),
		Reserve: m.fleet.reserve.percentiles(), Commit: m.fleet.commit.percentiles(),
		Outcomes: make(map[string]int64),
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
	for _, outcome := range played {
		r.Outcomes[outcome.String()] = m.fleet.counts[outcome]
	}
	for _, rival := range m.rivals {
		r.Baselines = append(r.Baselines, rival.result(r.DecisionsPerSecond))
	}
	return r
}

// played are the outcomes that a run can have; what never came is shown as 0.
var played = []budget.Outcome{
	budget.Reserved, budget.Insufficient, budget.Committed, budget.Released,
	budget.Overrun, budget.MissingTenant, budget.MissingReservation, budget.InvalidAmount, budget.Unknown,
}

func (r *Report) audited(found Books) {
	r.Books, r.Audited, r.Conserved = found, true, found.BrokenAll == 0
}

func (r *Report) brokenBooks() error {
	if r.BrokenAll == 0 {
		return nil
	}
	first := r.Broken[0]
	return exit.With(exit.Refused, fmt.Errorf("the books are broken for %d of %d tenants, first for tenant %q: %s",
		r.BrokenAll, r.Tenants, first.Tenant, first.Problem))
}
