package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

// Sweep says how a Config is varied: it is run at each of the values of one thing, one
// after the other, in a random order in each of several rounds, so that the machine's
// mood favours none.
type Sweep struct {
	Over   string // one of report's constants
	Values []int  // growing
	Rounds int
}

// RunSweep runs c at every value, its Duration being each value's over all rounds, and
// returns the results together. The balances are checked after each run, and the first
// run that fails or is wrong ends the sweep; its error names the value. Otherwise it
// behaves as [Run] does: the points measured so far are returned with an error, and when ctx
// ends.
//
// Unless c has a budget, or is a storm, no tenant runs out: then all points would not be
// of the same work.
func RunSweep(ctx context.Context, c Config, s Sweep) (report.Report, error) {
	if c.Budget == 0 && c.Workload != workload.Storm {
		c.Budget = s.budget(c)
	}
	if err := s.validate(c); err != nil {
		return report.Report{}, exit.With(exit.Usage, err)
	}
	var err error
	if c.Spec, err = c.Read(ctx, c.input()); err != nil {
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

// budget is the same at every value, and fits 64 bits at the largest.
func (s Sweep) budget(c Config) budget.Microcents {
	tenants := max(c.Tenants, 1)
	if s.Over == report.OverTenants && len(s.Values) > 0 {
		tenants = max(s.Values[len(s.Values)-1], 1)
	}
	return min(sweepBudget, budget.MaxMicrocents/2/budget.Microcents(tenants))
}

// at is the Config of one value.
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
	points [][]report.Report // of each value, those of the rounds that were finished
	broken []bool            // of each value, whether balances were wrong, or could not be read
	total  report.Report
	runs   int
	began  time.Time
}

// run plays one value once.
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

// watch says which run of the sweep a view sees, and how long all will take.
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

// add takes over what one run came to.
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
	over := func(of func(report.Contender) float64) []float64 {
		values := make([]float64, len(rounds))
		for i, r := range rounds {
			values[i] = of(r.Contenders[0])
		}
		return values
	}
	rates := over(func(c report.Contender) float64 { return c.DecisionsPerSecond.Median })
	cpu := over(func(c report.Contender) float64 { return c.RedisCPU })
	return report.SweepPoint{
		Value: value, DecisionsPerSecond: metrics.SpreadOf(rates), Rates: rates, Conserved: conserved,
		Decision: metrics.Percentiles{
			P50:  metrics.Median(over(func(c report.Contender) float64 { return c.Decision.P50 })),
			P99:  metrics.Median(over(func(c report.Contender) float64 { return c.Decision.P99 })),
			P999: metrics.Median(over(func(c report.Contender) float64 { return c.Decision.P999 })),
		},
		RedisCPU: metrics.Median(cpu), RedisCPUs: cpu,
		RoundTrips: metrics.Median(over(func(c report.Contender) float64 { return c.RoundTrips })),
	}
}

// Bounds of a Sweep.
const (
	MaxSweepValues = 64
	MaxSweepRounds = 100
)

var sweepable = []string{report.OverConcurrency, report.OverNodes, report.OverTenants, report.OverHolds}

// DefaultValues are doublings over a range in which something is to be seen.
func DefaultValues(over string) []int {
	switch over {
	case report.OverConcurrency:
		return doublings(1, 512)
	case report.OverNodes:
		return doublings(1, 16)
	case report.OverTenants:
		return doublings(1, 4096)
	default:
		return append([]int{0}, doublings(1024, 65536)...)
	}
}

// doublings go from the first to the last, which is one of them in any case; after 0
// comes 1.
func doublings(first, last int) []int {
	var values []int
	for v := first; v < last; v = max(1, 2*v) {
		values = append(values, v)
	}
	return append(values, last)
}

// valuesOf reads --values, or --from and --to; those that are not set are "".
func valuesOf(over, list, from, to string) ([]int, error) {
	defaults := DefaultValues(over)
	if list == "" && from == "" && to == "" {
		return defaults, nil
	}
	if list != "" && (from != "" || to != "") {
		return nil, errors.New("--values and --from, --to: give the values or the range, not both")
	}
	if list != "" {
		return parseValues(list)
	}
	first, last := defaults[0], defaults[len(defaults)-1]
	for _, end := range []struct {
		flag, text string
		value      *int
	}{{"from", from, &first}, {"to", to, &last}} {
		if end.text == "" {
			continue
		}
		value, err := strconv.Atoi(end.text)
		if err != nil || value < 0 {
			return nil, fmt.Errorf("--%s %q: give a whole number", end.flag, end.text)
		}
		*end.value = value
	}
	if first >= last {
		return nil, fmt.Errorf("--from %d --to %d: give a range that grows", first, last)
	}
	return doublings(first, last), nil
}

func parseValues(list string) ([]int, error) {
	var values []int
	for text := range strings.SplitSeq(list, ",") {
		value, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("--values %q: %q is no whole number; give some, as in 1,2,4,8", list, text)
		}
		values = append(values, value)
	}
	return values, nil
}

// validate checks the sweep, and the Config at each of its values, before anything
// is started.
func (s Sweep) validate(c Config) error {
	switch {
	case s.Over == "":
		return fmt.Errorf("--over is missing: give %s", strings.Join(sweepable, ", "))
	case !slices.Contains(sweepable, s.Over):
		return fmt.Errorf("--over %q: give %s", s.Over, strings.Join(sweepable, ", "))
	case s.Rounds < 1 || s.Rounds > MaxSweepRounds:
		return fmt.Errorf("--rounds %d: give 1 to %d", s.Rounds, MaxSweepRounds)
	case len(s.Values) < 2 || len(s.Values) > MaxSweepValues:
		return fmt.Errorf("%s: give 2 to %d", wording.Count(len(s.Values), "value"), MaxSweepValues)
	case len(c.Baselines) > 0:
		return errors.New("--baselines: a sweep measures Bursar only; leave it out")
	}
	for i := range s.Values[1:] {
		if s.Values[i] >= s.Values[i+1] {
			return fmt.Errorf("--values: %d comes after %d; give values that grow", s.Values[i+1], s.Values[i])
		}
	}
	if err := s.validateWith(c); err != nil {
		return err
	}
	for _, value := range s.Values {
		if err := s.at(c, value).Validate(); err != nil {
			return fmt.Errorf("at %s %d: %w", s.Over, value, err)
		}
	}
	return nil
}

// validateWith finds what would have the sweep measure nothing.
func (s Sweep) validateWith(c Config) error {
	callers := s.Over == report.OverConcurrency || s.Over == report.OverNodes
	switch {
	case s.Over == report.OverNodes && c.Engine == report.EngineLocal:
		return errors.New("--over nodes: the local engine is a single node; give --engine redis")
	case s.Over == report.OverTenants && c.Workload == workload.Hot:
		return errors.New("--over tenants: --workload hot is one tenant; give another workload")
	case callers && c.Rate > 0:
		return fmt.Errorf("--over %s finds the rate that callers reach: leave out --rate", s.Over)
	case callers && c.Speed > 0:
		return fmt.Errorf("--over %s finds the rate that callers reach: leave out --speed", s.Over)
	default:
		return nil
	}
}
