package bench

import (
	"time"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
)

// report returns the report without the check of balances.
func (m *benchRun) report() report.Report {
	c, ours := m.config, m.target.ours
	best := ours.best()
	r := report.Report{
		Engine: c.Engine, Nodes: c.Nodes, Processes: c.Processes, Tenants: c.Tenants, Concurrency: c.Concurrency,
		Seed: c.Seed, Trace: c.TraceName(), Workload: c.workload(len(ours.pools)), Rounds: len(best.rounds),
		Reserve: best.runner.Reserve.All().Percentiles(), Commit: best.runner.Commit.All().Percentiles(),
		Outcomes: make(map[string]int64),
		Machine:  report.DescribeMachine(), Server: m.target.server,
	}
	if m.target.space != nil {
		r.Redis, r.Partitions = m.target.name, m.target.partitions
	}
	var cycles []float64
	for _, p := range best.rounds {
		cycles = append(cycles, p.Rate(p.Cycles))
	}
	r.CyclesPerSecond, r.DecisionsPerSecond = metrics.Median(cycles), metrics.Median(best.rates())
	for _, p := range ours.pools {
		for _, paced := range p.rounds {
			r.Cycles += paced.Cycles
			r.Seconds += paced.Took.Seconds()
		}
		for _, outcome := range report.Played {
			r.Outcomes[outcome.String()] += p.runner.Counts[outcome]
		}
	}
	r.Workload.Unsent = best.runner.Unsent
	if trace, ok := workload.TraceOf(m.work); ok && c.Speed > 0 {
		r.Workload.Offered = offered(trace, c.Speed, best)
	}
	r.Timeline, r.Drains = best.runner.Story(m.target.budgets)
	for _, e := range m.candidates {
		result := e.result(best.rates())
		r.Contenders = append(r.Contenders, result)
		if e.name == baseline.Incr || e.name == baseline.Script {
			r.Baselines = append(r.Baselines, baselineOf(result, r.DecisionsPerSecond))
		}
	}
	return r
}

// offered is the rate of a trace, in requests a second, as far as it was played.
func offered(trace *workload.Trace, speed float64, p *pool) float64 {
	due := p.runner.Counts[budget.Reserved] + p.runner.Counts[budget.Insufficient] + p.runner.Unsent
	var took time.Duration
	for _, paced := range p.rounds {
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
	} else if c.Workload == workload.Zipf {
		said.ZipfExponent = c.Zipf
	}
	return said
}

func baselineOf(c report.Contender, ours float64) report.Baseline {
	b := report.Baseline{Name: c.Name, OpsPerSecond: c.DecisionsPerSecond.Median, PoolSize: c.PoolSize}
	if b.OpsPerSecond > 0 {
		b.Ratio = ours / b.OpsPerSecond
	}
	return b
}
