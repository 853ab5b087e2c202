package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/runner"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// candidate is Bursar or a baseline, at one or several pool sizes, of which the best counts.
// They share budgets and a ledger.
type candidate struct {
	name      string
	tenantSet tenantSet
	pools     []*pool
	ledger    *metrics.Ledger
	contended *candidate // the same in the contention test; nil without one
	epochs    int64      // that its accounts have begun after their first, by their balances

	accounts func(context.Context) (map[budget.TenantID]budget.HoldList, error) // of an engine
	limits   limitReader                                                        // of an engine
	store    baseline.Store                                                     // of a baseline, over a separate connection
}

// pool is a candidate at one pool size.
type pool struct {
	size   int // connections per node; 0 without a Redis
	trips  *baseline.RoundTrips
	runner *runner.Runner

	rounds     []runner.RoundStats
	usage      baseline.Usage
	roundTrips int64 // in all rounds
}

func (c *candidate) addPool(size int, trips *baseline.RoundTrips, r *runner.Runner) {
	if c.ledger == nil {
		c.ledger = r.Ledger
	}
	r.Ledger = c.ledger
	c.pools = append(c.pools, &pool{size: size, trips: trips, runner: r})
}

// run gives each pool an equal share of a round's time, and the same requests.
func (c *candidate) run(ctx context.Context, stats *baseline.RedisStats, work workload.Workload, round, rounds int, limit time.Duration) error {
	if c.name == baseline.Local {
		stats = nil // uses no Redis
	}
	for _, p := range c.pools {
		if ctx.Err() != nil {
			return nil
		}
		if err := p.run(ctx, stats, work, round, rounds, share(limit, len(c.pools))); err != nil {
			return c.named(err)
		}
	}
	return nil
}

// named adds the name of a baseline to its error.
func (c *candidate) named(err error) error {
	if err == nil || c.name == baseline.Bursar {
		return err
	}
	return fmt.Errorf("%s: %w", c.name, err)
}

func (c *candidate) decides() bool { return baseline.Decides(c.name) }

func (p *pool) run(ctx context.Context, stats *baseline.RedisStats, work workload.Workload, round, rounds int, limit time.Duration) error {
	if err := p.runner.WarmUp(ctx, work.Round(round, rounds), limit); err != nil {
		p.rounds = append(p.rounds, runner.RoundStats{})
		return err
	}
	reading := context.WithoutCancel(ctx) // Redis answers, so this takes no time
	before, err := stats.Read(reading)
	if err != nil {
		return exit.With(exit.Unavailable, err)
	}
	trips := p.trips.Load()
	result, err := p.runner.Run(ctx, work.Round(round, rounds), limit)
	p.rounds = append(p.rounds, result)
	p.roundTrips += p.trips.Load() - trips
	if err != nil {
		return err
	}
	after, err := stats.Read(reading)
	p.usage = p.usage.Plus(after.Minus(before))
	return exit.With(exit.Unavailable, err)
}

func (p *pool) rates() []float64 {
	return metrics.Each(p.rounds, func(s runner.RoundStats) float64 { return s.Rate(s.Decisions) })
}

// best returns the pool with the highest median rate. In an open loop all that keep up have
// the same rate, and of those the one with the lowest p99 is the best.
func (c *candidate) best() *pool {
	rate := func(p *pool) float64 { return metrics.Median(p.rates()) }
	best := slices.MaxFunc(c.pools, func(a, b *pool) int { return cmp.Compare(rate(a), rate(b)) })
	if !best.runner.Open() {
		return best
	}
	const keepsUp = 0.99
	lowest, slowest := best, best.runner.Decisions().Latency().P99
	for _, p := range c.pools {
		if p99 := p.runner.Decisions().Latency().P99; rate(p) >= keepsUp*rate(best) && p99 < slowest {
			lowest, slowest = p, p99
		}
	}
	return lowest
}

// result returns everything but the money.
func (c *candidate) result(ours []float64) report.Candidate {
	best := c.best()
	rates, latency := best.rates(), best.runner.Decisions()
	result := report.Candidate{
		Name: c.name, Describe: baseline.Describe(c.name), Decides: c.decides(),
		DecisionsPerSecond: metrics.SpreadOf(rates), Rates: rates, Ratio: metrics.SpreadOf(ratios(ours, rates)),
		Decision: latency.Latency(), Quantiles: latency.Quantiles(),
		Mean: latency.Mean() / 1e3, Deviation: latency.StdDev() / 1e3, PoolSize: best.size,
	}
	decisions := 0.0
	for _, round := range best.rounds {
		result.DecisionRounds = append(result.DecisionRounds, round.Latency)
		decisions += float64(round.Decisions)
	}
	if decisions > 0 {
		result.RedisCPU = best.usage.CPU * 1e6 / decisions
		result.Commands = float64(best.usage.Commands) / decisions
		result.RoundTrips = float64(best.roundTrips) / decisions
	}
	for _, p := range c.pools {
		result.GivenUp += p.runner.Counts[budget.Unknown]
		if p.size > 0 {
			result.Pools = append(result.Pools, report.Pool{Size: p.size, DecisionsPerSecond: metrics.SpreadOf(p.rates())})
		}
	}
	return result
}

// ratios returns ours over theirs for each round that both have.
func ratios(ours, theirs []float64) (all []float64) {
	for i := range min(len(ours), len(theirs)) {
		if theirs[i] > 0 {
			all = append(all, ours[i]/theirs[i])
		}
	}
	return all
}

// In the contention test all workers at once request more than a tenant's budget covers,
// for one tenant after the other. Only the amounts spent are taken from it.
const (
	contentionTenantCount = 8
	contentionCovered     = 16 // requests that a budget covers
	contentionRequests    = 64 // at least, per tenant
	contentionLimit       = 5 * time.Second
	contentionSuffix      = ":race" // of the prefix
)

func (t *target) contentionTenants(hold budget.Microcents) (tenantSet, error) {
	if hold > budget.MaxMicrocents/contentionCovered/contentionTenantCount {
		return tenantSet{}, exit.With(exit.Usage, fmt.Errorf("the budgets of a contention test of %s per request: %w; lower the prices", hold, budget.ErrOverflow))
	}
	return tenantSet{
		prefix: t.prefix + contentionSuffix, tenants: tenantNames(contentionTenantCount),
		budgets: slices.Repeat([]budget.Microcents{contentionCovered * hold}, contentionTenantCount),
	}, nil
}

// contend runs the contention test for each candidate at its largest pool, which has the
// most calls in flight.
func (b *benchRun) contend(ctx context.Context) error {
	config := b.config
	config.Rate, config.Speed, config.HoldTime, config.Warmup, config.Processes, config.RollEvery = 0, 0, 0, 0, false, 0
	burst := workload.Burst{Tenants: contentionTenantCount, Workers: config.Nodes * config.Concurrency, Requests: contentionRequests, Hold: b.work.TypicalHold()}
	for _, c := range b.candidates {
		if !c.decides() || ctx.Err() != nil {
			continue
		}
		contended, err := b.target.setUp(ctx, config, c.name, b.contended, []int{c.pools[len(c.pools)-1].size})
		if err != nil && ctx.Err() == nil {
			return c.named(err)
		}
		if c.contended = contended; contended == nil {
			return nil
		}
		if err := contended.run(ctx, nil, burst, 0, 1, cmp.Or(config.patience, contentionLimit)); err != nil {
			return err
		}
	}
	return nil
}
