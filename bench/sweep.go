package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

// Sweep says how a Config is varied: it runs at each value of one parameter, in random order
// in each of several rounds, so that disturbances of the machine favour none.
type Sweep struct {
	Over   string // one of report's constants
	Values []int  // growing
	Rounds int
}

// RunSweep runs c at every value, for its Duration over all rounds, and returns the results
// together. The balances are checked after each run. The first run that fails ends the sweep
// with an error that names the value. As with [Run], the points so far are returned with an
// error, and when ctx ends.
//
// Unless c has a budget or is a storm, budgets are so large that no tenant runs out, so that
// all points do the same work.
func RunSweep(ctx context.Context, c Config, s Sweep) (report.Report, error) {
	if c.Budget == 0 && c.Workload != workload.Storm {
		c.Budget = s.budget(c)
	}
	if err := s.validate(c); err != nil {
		return report.Report{}, exit.With(exit.Usage, err)
	}
	var err error
	if c.Spec, err = c.Read(ctx, c.Input); err != nil {
		return report.Report{}, err
	}
	c.Duration, c.Rounds = share(c.Duration, s.Rounds), 1
	p := &sweeping{config: c, sweep: s, points: make([][]report.Report, len(s.Values)), broken: make([]bool, len(s.Values)), began: time.Now()}
	for round := range s.Rounds {
		order := rand.New(rand.NewPCG(c.Seed, uint64(round))).Perm(len(s.Values))
		for _, i := range order {
			if err := p.run(ctx, i); err != nil || p.total.Interrupted {
				return p.report(), err
			}
		}
	}
	return p.report(), nil
}

// sweepBudget is more than a tenant spends in a day.
const sweepBudget = 10_000_000 * budget.Dollar

// budget returns a budget for every value, whose sum fits 64 bits at the largest.
func (s Sweep) budget(c Config) budget.Microcents {
	tenants := max(c.Tenants, 1)
	if s.Over == report.OverTenants && len(s.Values) > 0 {
		tenants = max(s.Values[len(s.Values)-1], 1)
	}
	return min(sweepBudget, budget.MaxMicrocents/2/budget.Microcents(tenants))
}

// at returns the Config for a value.
func (s Sweep) at(c Config, value int) Config {
	switch s.Over {
	case report.OverConcurrency:
		c.Concurrency = value
	case report.OverNodes:
		c.Nodes = value
	case report.OverTenants:
		c.Tenants = value
	case report.OverHolds:
		c.HoldsBefore = value
	}
	return c
}

// sweeping is a sweep in progress.
type sweeping struct {
	config Config
	sweep  Sweep
	points [][]report.Report // by value, one per finished round
	broken []bool            // by value, whether balances were wrong or unread
	total  report.Report
	runs   int
	began  time.Time
}

// run runs one value once.
func (p *sweeping) run(ctx context.Context, i int) error {
	value := p.sweep.Values[i]
	c := p.sweep.at(p.config, value)
	if c.Watch != nil {
		c.Watch = p.watch(value)
	}
	result, err := Run(ctx, c)
	if result.Rounds > 0 {
		p.add(i, result, err)
	}
	switch {
	case errors.Is(err, exit.ErrInterrupted) && p.runs > 0:
		p.total.Interrupted = true
		return nil
	case errors.Is(err, exit.ErrInterrupted), err == nil:
		return err
	default:
		return fmt.Errorf("at %s %d: %w", p.sweep.Over, value, err)
	}
}

// watch adds the number of the run, and the time that all runs take.
func (p *sweeping) watch(value int) func(report.Progress) {
	all := p.sweep.Rounds * len(p.sweep.Values)
	left := time.Duration(all - p.runs - 1)
	return func(seen report.Progress) {
		seen.Phase = fmt.Sprintf("run %d of %d, %s %d: %s", p.runs+1, all, p.sweep.Over, value, seen.Phase)
		if seen.Left > 0 {
			seen.Left += left * (seen.Elapsed + seen.Left)
		}
		seen.Elapsed = time.Since(p.began)
		p.config.Watch(seen)
	}
}

// add adds the result of one run.
func (p *sweeping) add(i int, r report.Report, err error) {
	t := &p.total
	if p.runs == 0 {
		*t = report.Report{
			Engine: r.Engine, Redis: r.Redis, Partitions: r.Partitions, Nodes: p.config.Nodes, Processes: r.Processes, Tenants: p.config.Tenants,
			Concurrency: p.config.Concurrency, Seed: r.Seed, Trace: r.Trace, Workload: r.Workload, Machine: r.Machine,
			Server: r.Server, Rounds: p.sweep.Rounds, Outcomes: make(map[string]int64), Audited: true, Conserved: true,
		}
	}
	p.runs++
	t.Cycles += r.Cycles
	t.Seconds += r.Seconds
	t.Refused += r.Refused
	t.OpenHolds += r.OpenHolds
	t.InDoubt += r.InDoubt
	t.Overspent += r.Overspent
	t.BrokenAll += r.BrokenAll
	t.Broken = append(t.Broken, r.Broken...)
	for outcome, count := range r.Outcomes {
		t.Outcomes[outcome] += count
	}
	t.Audited, t.Conserved, t.Interrupted = t.Audited && r.Audited, t.Conserved && r.Conserved, r.Interrupted
	p.broken[i] = p.broken[i] || !r.Conserved
	if err == nil && !r.Interrupted {
		p.points[i] = append(p.points[i], r)
	}
}

func (p *sweeping) report() report.Report {
	if p.runs == 0 {
		return report.Report{}
	}
	swept := &report.Sweep{Over: p.sweep.Over, Runs: p.runs}
	for i, value := range p.sweep.Values {
		if len(p.points[i]) > 0 {
			swept.Points = append(swept.Points, pointOf(value, p.points[i], !p.broken[i]))
		}
	}
	swept.Conclude()
	p.total.Sweep = swept
	return p.total
}

func pointOf(value int, rounds []report.Report, conserved bool) report.SweepPoint {
	over := func(of func(report.Candidate) float64) []float64 {
		return metrics.Each(rounds, func(r report.Report) float64 { return of(r.Candidates[0]) })
	}
	latencies := make([]metrics.Latency, len(rounds))
	for i, r := range rounds {
		latencies[i] = r.Candidates[0].Decision
	}
	rates := over(func(c report.Candidate) float64 { return c.DecisionsPerSecond.Median })
	cpu := over(func(c report.Candidate) float64 { return c.RedisCPU })
	return report.SweepPoint{
		Value: value, DecisionsPerSecond: metrics.SpreadOf(rates), Rates: rates, Conserved: conserved,
		Decision: metrics.MedianLatency(latencies),
		RedisCPU: metrics.Median(cpu), RedisCPUs: cpu,
		RoundTrips: metrics.Median(over(func(c report.Candidate) float64 { return c.RoundTrips })),
	}
}

// Bounds of a Sweep.
const (
	maxSweepValues = 64
	maxSweepRounds = 100
)

var sweepable = []string{report.OverConcurrency, report.OverNodes, report.OverTenants, report.OverHolds}

// validate checks the sweep, whether it would measure anything, and the Config at each of its
// values.
func (s Sweep) validate(c Config) error {
	require, parameters := workload.Require, strings.Join(sweepable, ", ")
	load := s.Over == report.OverConcurrency || s.Over == report.OverNodes
	err := cmp.Or(
		require(s.Over != "", "--over is missing: give %s", parameters),
		require(slices.Contains(sweepable, s.Over), "--over %q: give %s", s.Over, parameters),
		require(s.Rounds >= 1 && s.Rounds <= maxSweepRounds, "--rounds %d: give 1 to %d", s.Rounds, maxSweepRounds),
		require(len(s.Values) >= 2 && len(s.Values) <= maxSweepValues,
			"%s: give 2 to %d", wording.Count(len(s.Values), "value"), maxSweepValues),
		require(len(c.Baselines) == 0, "--baselines: a sweep measures Bursar only; leave it out"),
		require(s.Over != report.OverNodes || c.Engine != report.EngineLocal,
			"--over nodes: the local engine has a single node; give --engine redis"),
		require(s.Over != report.OverTenants || c.Workload != workload.Hot,
			"--over tenants: --workload hot has one tenant; give another workload"),
		require(!load || c.Rate <= 0, "--over %s finds the rate that workers reach: leave out --rate", s.Over),
		require(!load || c.Speed <= 0, "--over %s finds the rate that workers reach: leave out --speed", s.Over))
	for i, value := range s.Values {
		if i > 0 && value <= s.Values[i-1] {
			err = cmp.Or(err, fmt.Errorf("--values: %d comes after %d; give values that grow", value, s.Values[i-1]))
		}
		if invalid := s.at(c, value).Validate(); invalid != nil {
			err = cmp.Or(err, fmt.Errorf("at %s %d: %w", s.Over, value, invalid))
		}
	}
	return err
}
