package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/runner"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

const (
	prepareTimeout = 10 * time.Minute
	giveUpAfter    = 3 * time.Second // to close nodes after a failure
	checkTimeout   = 10 * time.Minute
	defaultRounds  = 5 // with baselines
)

// Run runs a Config. Even with an error it returns a Report, if anything was measured, since
// the balances are always checked. It leaves nothing behind. An error
// has an exit code: Usage for a bad Config, Refused for wrong balances, Unavailable if
// Redis did not answer.
//
// When ctx ends, the workers end their calls and the balances are checked as usual; that is
// not an error.
func Run(ctx context.Context, c Config) (result report.Report, err error) {
	if err := c.Validate(); err != nil {
		return report.Report{}, err
	}
	if c.Spec, err = c.Read(ctx, c.Input); err != nil {
		return report.Report{}, err
	}
	work, err := c.work()
	if err != nil {
		return report.Report{}, err
	}
	c.rollFrom = time.Now()
	opening, opened := context.WithTimeout(ctx, cmp.Or(c.patience, prepareTimeout))
	defer opened()
	t, err := openTarget(ctx, opening, c, work.TypicalHold())
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	if err != nil {
		return report.Report{}, exit.OrInterrupted(ctx, prepared(opening, c, err))
	}
	b := &benchRun{config: c, work: work, target: t}
	if err := b.setUp(opening); err != nil {
		return report.Report{}, exit.OrInterrupted(ctx, prepared(opening, c, err))
	}
	opened()
	b.measure(ctx)
	return b.finish(ctx)
}

func (c Config) work() (workload.Workload, error) {
	work, err := workload.New(c.Spec)
	if err != nil {
		return nil, err
	}
	if trace, ok := workload.TraceOf(work); ok && c.Duration == 0 && trace.Lasting(c.Speed) > maxDuration {
		return nil, exit.With(exit.Usage, fmt.Errorf("--trace %s lasts %s at --speed %g: give more speed, or --duration", c.TraceName(), trace.Lasting(c.Speed), c.Speed))
	}
	return work, nil
}

// prepared explains an error that is due to prepareTimeout.
func prepared(opening context.Context, c Config, err error) error {
	if opening.Err() != context.DeadlineExceeded {
		return err
	}
	return exit.With(exit.Unavailable, fmt.Errorf("%s and %s were not prepared within %s: give fewer, or a faster Redis",
		wording.Count(c.Tenants, "tenant"), wording.Count(c.HoldsBefore, "hold"), cmp.Or(c.patience, prepareTimeout)))
}

func (c Config) rounds() int {
	switch {
	case c.Rounds > 0:
		return c.Rounds
	case len(c.Baselines) > 0:
		return defaultRounds
	default:
		return 1
	}
}

// share divides a duration. 0 stays 0, which is unlimited, and nothing else becomes 0.
func share(whole time.Duration, parts int) time.Duration {
	if whole == 0 {
		return 0
	}
	return max(whole/time.Duration(parts), 1)
}

// benchRun is a run in progress.
type benchRun struct {
	config     Config
	work       workload.Workload
	target     *target
	candidates []*candidate    // Bursar first
	contended  tenantSet       // of the contention test
	tracker    *report.Tracker // nil without a live view
	failure    error
	lost       bool // whether the failure is the loss of Redis
}

// setUp makes the baselines, with as many nodes and workers and equal budgets.
func (b *benchRun) setUp(ctx context.Context) (err error) {
	b.candidates = []*candidate{b.target.ours}
	if len(b.config.Baselines) > 0 {
		if b.contended, err = b.target.contentionTenants(b.work.TypicalHold()); err != nil {
			return err
		}
	}
	for _, name := range b.config.Baselines {
		c, err := b.target.setUp(ctx, b.config, name, b.target.tenantSet, poolSizes(b.config.Concurrency))
		if err != nil {
			return err
		}
		b.candidates = append(b.candidates, c)
	}
	for _, p := range b.target.ours.pools {
		p.runner.KeepTimeline()
		if b.config.RollEvery > 0 {
			p.runner.KeepSeconds(b.config.runner())
		}
	}
	if b.config.Watch == nil {
		return nil
	}
	b.tracker = report.NewTracker(b.config.Watch, b.lasting())
	for _, c := range b.candidates {
		for _, p := range c.pools {
			p.runner.OnSample = b.tracker.Sampled
		}
	}
	return nil
}

// lasting is the expected time of all rounds and warm-ups, or 0 if unknown.
func (b *benchRun) lasting() time.Duration {
	c := b.config
	if trace, ok := workload.TraceOf(b.work); ok && c.Duration == 0 {
		return trace.Lasting(c.Speed) * time.Duration(len(b.candidates))
	}
	whole := c.Duration * time.Duration(len(b.candidates))
	for _, e := range b.candidates {
		whole += c.warmupOf(len(e.pools)) * time.Duration(len(e.pools))
	}
	return whole
}

// measure runs the rounds and the contention test, unless Redis is lost.
func (b *benchRun) measure(ctx context.Context) {
	watched, end := b.target.watchdog(ctx)
	if b.failure = b.runRounds(watched); b.failure == nil && len(b.candidates) > 1 {
		b.failure = b.contend(watched)
	}
	if loss := end(); loss != nil {
		b.failure, b.lost = loss, true // causes any other failure
	}
}

// runRounds interleaves the candidates' rounds; each round begins with another one.
func (b *benchRun) runRounds(ctx context.Context) error {
	rounds := b.config.rounds()
	limit := share(b.config.Duration, rounds)
	for round := range rounds {
		for i := range b.candidates {
			c := b.candidates[(round+i)%len(b.candidates)]
			if ctx.Err() != nil {
				return nil
			}
			b.tracker.Announce(round, rounds, c.name)
			if err := c.run(ctx, b.target.stats, b.work, round, rounds, limit); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish stops the nodes and checks the balances.
func (b *benchRun) finish(ctx context.Context) (report.Report, error) {
	result := b.report()
	result.Interrupted = ctx.Err() != nil
	ctx, cancel := context.WithTimeout(b.target.lifetime(), checkTimeout)
	defer cancel()
	failure := b.failure
	if err := b.stopNodes(ctx); failure == nil {
		failure = err // after a failure it only repeats it
	}
	if b.config.tamper != nil {
		failure = errors.Join(failure, b.config.tamper(b.target))
	}
	if err := b.checkBalances(ctx, &result); err != nil {
		if b.lost {
			return result, errors.Join(failure, errors.New("the balances could not be checked"))
		}
		return result, errors.Join(failure, fmt.Errorf("the balances could not be checked: %w", err))
	}
	return result, errors.Join(wrongBalances(result), failure)
}

func (b *benchRun) stopNodes(ctx context.Context) error {
	timeout := runner.StopTimeout
	if b.failure != nil {
		timeout = giveUpAfter
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return b.target.stop(ctx)
}

// report returns the report without the balances.
func (b *benchRun) report() report.Report {
	c, ours := b.config, b.target.ours
	best := ours.best()
	r := report.Report{
		Engine: c.Engine, Nodes: c.Nodes, Processes: c.Processes, Tenants: c.Tenants, Concurrency: c.Concurrency, Levels: c.Levels, Limits: c.Limits,
		Seed: c.Seed, Trace: c.TraceName(), Workload: c.describeWorkload(len(ours.pools)), Rounds: len(best.rounds),
		Reserve: best.runner.Reserve.Latency(), Commit: best.runner.Commit.Latency(),
		CyclesPerSecond:    metrics.Median(metrics.Each(best.rounds, func(s runner.RoundStats) float64 { return s.Rate(s.Cycles) })),
		DecisionsPerSecond: metrics.Median(best.rates()),
		Outcomes:           make(map[string]int64),
		Machine:            report.DescribeMachine(), Server: b.target.server,
	}
	if b.target.space != nil {
		r.Redis, r.Partitions = b.target.name, b.target.partitions
	}
	for _, p := range ours.pools {
		for _, round := range p.rounds {
			r.Cycles += round.Cycles
			r.Seconds += round.Took.Seconds()
		}
		for _, outcome := range report.Played {
			r.Outcomes[outcome.String()] += p.runner.Counts[outcome]
		}
	}
	r.Windows = c.describeWindows(best.runner)
	r.Workload.Unsent = best.runner.Unsent
	if trace, ok := workload.TraceOf(b.work); ok && c.Speed > 0 {
		r.Workload.Offered = offered(trace, c.Speed, best)
	}
	r.Timeline, r.Drains = best.runner.Timeline(b.target.budgets)
	for _, e := range b.candidates {
		result := e.result(best.rates())
		r.Candidates = append(r.Candidates, result)
		if e.name == baseline.Incr || e.name == baseline.Script {
			r.Baselines = append(r.Baselines, baselineOf(result, r.DecisionsPerSecond))
		}
	}
	return r
}

// offered is the rate of a trace, in requests per second, as far as it was replayed.
func offered(trace *workload.Trace, speed float64, p *pool) float64 {
	due := p.runner.Counts[budget.Reserved] + p.runner.Counts[budget.Insufficient] + p.runner.Unsent
	var took time.Duration
	for _, round := range p.rounds {
		took += round.Took
	}
	if took == 0 || took >= trace.Lasting(speed) {
		return trace.Offered(speed)
	}
	return float64(due) / took.Seconds()
}

func (c Config) describeWorkload(pools int) report.Workload {
	w := report.Workload{
		Name: c.Workload, Arrivals: "closed", LatencyFrom: "call", AbovePermille: c.Above, Speed: c.Speed,
		Offered: c.Rate, HoldMillis: float64(c.HoldTime.Microseconds()) / 1e3, WarmupSeconds: c.warmupOf(pools).Seconds(),
	}
	if c.Arrivals().Open() {
		w.Arrivals, w.LatencyFrom = "open", "intended start"
	}
	if c.Trace != "" {
		w.Name, w.AbovePermille = "trace", 0
	} else if c.Workload == workload.Zipf {
		w.ZipfExponent = c.Zipf
	}
	return w
}

func baselineOf(c report.Candidate, ours float64) report.Baseline {
	b := report.Baseline{Name: c.Name, OpsPerSecond: c.DecisionsPerSecond.Median, PoolSize: c.PoolSize}
	if b.OpsPerSecond > 0 {
		b.Ratio = ours / b.OpsPerSecond
	}
	return b
}
