package bench

import (
	"time"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/bench/host"
	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
)

// report returns the report without the check of balances.
func (m *match) report() report.Report {
	c, ours := m.config, m.arena.ours
	best := ours.best()
	r := report.Report{
		Engine: c.Engine, Nodes: c.Nodes, Processes: c.Processes, Tenants: c.Tenants, Concurrency: c.Concurrency,
		Seed: c.Seed, Trace: c.TraceName(), Workload: c.workload(len(ours.pools)), Rounds: len(best.paces),
		Reserve: best.fleet.Reserve.All().Percentiles(), Commit: best.fleet.Commit.All().Percentiles(),
		Outcomes: make(map[string]int64),
		Machine:  host.Machine(), Server: m.arena.server,
	}
	if m.arena.space != nil {
		r.Redis, r.Partitions = m.arena.name, m.arena.partitions
	}
	var cycles []float64
	for _, p := range best.paces {
		cycles = append(cycles, p.Rate(p.Cycles))
	}
	r.CyclesPerSecond, r.DecisionsPerSecond = report.Median(cycles), report.Median(best.rates())
	for _, p := range ours.pools {
		for _, paced := range p.paces {
			r.Cycles += paced.Cycles
			r.Seconds += paced.Took.Seconds()
		}
		for _, outcome := range report.Played {
			r.Outcomes[outcome.String()] += p.fleet.Counts[outcome]
		}
	}
	r.Workload.Unsent = best.fleet.Unsent
	if trace, ok := load.TraceOf(m.work); ok && c.Speed > 0 {
		r.Workload.Offered = offered(trace, c.Speed, best)
	}
	r.Timeline, r.Drains = best.fleet.Story(m.arena.budgets)
	for _, e := range m.entrants {
		result := e.result(best.rates())
		r.Contenders = append(r.Contenders, result)
		if e.name == contender.Incr || e.name == contender.Script {
			r.Baselines = append(r.Baselines, baseline(result, r.DecisionsPerSecond))
		}
	}
	return r
}

// offered is the rate of a trace, in requests a second, as far as it was played.
func offered(trace *load.Trace, speed float64, p *pool) float64 {
	due := p.fleet.Counts[budget.Reserved] + p.fleet.Counts[budget.Insufficient] + p.fleet.Unsent
	var took time.Duration
	for _, paced := range p.paces {
		took += paced.Took
	}
	if took == 0 || took >= trace.Lasting(speed) {
		return trace.Offered(speed)
	}
	return float64(due) / took.Seconds()
}

// workload says what is played with so many pools, for the report.
func (c Config) workload(pools int) report.Workload {
	said := report.Workload{
		Name: c.Workload, Arrivals: "closed", LatencyFrom: "call", AbovePermille: c.Above, Speed: c.Speed,
		Offered: c.Rate, HoldMillis: float64(c.HoldTime.Microseconds()) / 1e3, WarmupSeconds: c.warmupOf(pools).Seconds(),
	}
	if c.Arrivals().Open() {
		said.Arrivals, said.LatencyFrom = "open", "intended start"
	}
	if c.Trace != "" {
		said.Name, said.AbovePermille = "trace", 0
	} else if c.Workload == load.Zipf {
		said.ZipfExponent = c.Zipf
	}
	return said
}

func baseline(c report.Contender, ours float64) report.Baseline {
	b := report.Baseline{Name: c.Name, OpsPerSecond: c.DecisionsPerSecond.Median, PoolSize: c.PoolSize}
	if b.OpsPerSecond > 0 {
		b.Ratio = ours / b.OpsPerSecond
	}
	return b
}
