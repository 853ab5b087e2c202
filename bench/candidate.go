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

// candidate is a contender in a run, at one or several pool sizes, of which the best
// one counts. They play for the same budgets and have one ledger.
type candidate struct {
	name      string
	tenantSet tenantSet
	pools     []*pool
	ledger    *metrics.Ledger
	race      *candidate // the same contender in the race; nil where it did not come to it

	// accounts reads an engine's accounts; nil for a store.
	accounts func(context.Context) (map[budget.TenantID]budget.HoldList, error)
	store    baseline.Store // over a connection of its own; nil of an engine
}

// pool is a candidate at one pool size.
type pool struct {
	size   int // connections a node; 0 without a Redis
	trips  *baseline.RoundTrips
	runner *runner.Runner

	rounds     []runner.RoundStats // a round each
	usage      baseline.Usage
	roundTrips int64 // in all rounds
}

func (e *candidate) addPool(size int, trips *baseline.RoundTrips, f *runner.Runner) {
	if e.ledger == nil {
		e.ledger = f.Ledger
	}
	f.Ledger = e.ledger
	e.pools = append(e.pools, &pool{size: size, trips: trips, runner: f})
}

// play gives each pool an equal share of a round's time, and the same requests.
func (e *candidate) play(ctx context.Context, stats *baseline.RedisStats, work workload.Workload, turn, turns int, limit time.Duration) error {
	if e.name == baseline.Local {
		stats = nil // it asks no Redis
	}
	for _, p := range e.pools {
		if ctx.Err() != nil {
			return nil
		}
		if err := p.play(ctx, stats, work, turn, turns, share(limit, len(e.pools))); err != nil {
			return e.named(err)
		}
	}
	return nil
}

// named says whose an error is, where it is not ours.
func (e *candidate) named(err error) error {
	if err == nil || e.name == baseline.Bursar {
		return err
	}
	return fmt.Errorf("%s: %w", e.name, err)
}

func (e *candidate) decides() bool { return baseline.Decides(e.name) }

func (p *pool) play(ctx context.Context, stats *baseline.RedisStats, work workload.Workload, turn, turns int, limit time.Duration) error {
	if err := p.runner.WarmUp(ctx, work.Round(turn, turns), limit); err != nil {
		p.rounds = append(p.rounds, runner.RoundStats{})
		return err
	}
	asking := context.WithoutCancel(ctx) // of a Redis that answers, for it is at work
	before, err := stats.Read(asking)
	if err != nil {
		return exit.With(exit.Unavailable, err)
	}
	trips := p.trips.Load()
	paced, err := p.runner.Play(ctx, work.Round(turn, turns), limit)
	p.rounds = append(p.rounds, paced)
	p.roundTrips += p.trips.Load() - trips
	if err != nil {
		return err
	}
	after, err := stats.Read(asking)
	p.usage = p.usage.Plus(after.Minus(before))
	return exit.With(exit.Unavailable, err)
}

func (p *pool) rates() []float64 {
	rates := make([]float64, len(p.rounds))
	for i, paced := range p.rounds {
		rates[i] = paced.Rate(paced.Decisions)
	}
	return rates
}

func (p *pool) decisions() (sum int64) {
	for _, paced := range p.rounds {
		sum += paced.Decisions
	}
	return sum
}

// best is the pool with the highest median rate. In an open loop all that keep up have
// the same, so there it is the one of those with the lowest p99.
func (e *candidate) best() *pool {
	rate := func(p *pool) float64 { return metrics.Median(p.rates()) }
	best := slices.MaxFunc(e.pools, func(a, b *pool) int { return cmp.Compare(rate(a), rate(b)) })
	if !best.runner.Open() {
		return best
	}
	const keepsUp = 0.99
	lowest, slowest := best, best.runner.Decisions().Percentiles().P99
	for _, p := range e.pools {
		if p99 := p.runner.Decisions().Percentiles().P99; rate(p) >= keepsUp*rate(best) && p99 < slowest {
			lowest, slowest = p, p99
		}
	}
	return lowest
}

// result is all but the money.
func (e *candidate) result(ours []float64) report.Contender {
	best := e.best()
	rates, latency := best.rates(), best.runner.Decisions()
	result := report.Contender{
		Name: e.name, Describe: baseline.Describe(e.name), Decides: e.decides(),
		DecisionsPerSecond: metrics.SpreadOf(rates), Rates: rates, Ratio: metrics.SpreadOf(ratios(ours, rates)),
		Decision: latency.Percentiles(), Quantiles: latency.Quantiles(),
		Mean: latency.Mean() / 1e3, Deviation: latency.StdDev() / 1e3, PoolSize: best.size,
	}
	if count := float64(best.decisions()); count > 0 {
		result.RedisCPU = best.usage.CPU * 1e6 / count
		result.Commands = float64(best.usage.Commands) / count
		result.RoundTrips = float64(best.roundTrips) / count
	}
	for _, p := range e.pools {
		result.GivenUp += p.runner.Counts[budget.Unknown]
		if p.size > 0 {
			result.Pools = append(result.Pools, report.Pool{Size: p.size, DecisionsPerSecond: metrics.SpreadOf(p.rates())})
		}
	}
	return result
}

// ratios are ours over theirs, round by round, as far as both were played.
func ratios(ours, theirs []float64) (all []float64) {
	for i := range min(len(ours), len(theirs)) {
		if theirs[i] > 0 {
			all = append(all, ours[i]/theirs[i])
		}
	}
	return all
}

// The race: after the rounds each contender has some tenants whose budgets cover few
// requests, and all callers ask for the same tenant at once, more than it can pay
// for; then for the next tenant. Nobody waits or is made to wait. Rates and latencies
// are not taken from it, only what was spent.
const (
	contentionTenantCount = 8
	contentionCovered     = 16 // requests that a budget covers
	contentionRequests    = 64 // at least so many are made of each
	contentionLimit       = 5 * time.Second
)

// contentionSuffix ends the prefix of what is played for in the race.
const contentionSuffix = ":race"

// contentionTenants is what is played for in the race.
func (a *target) contentionTenants(hold budget.Microcents) (tenantSet, error) {
	if hold > budget.MaxMicrocents/contentionCovered/contentionTenantCount {
		return tenantSet{}, exit.With(exit.Usage, fmt.Errorf("the budgets of a race of %s a request: %w; lower the prices", hold, budget.ErrOverflow))
	}
	return tenantSet{
		prefix: a.prefix + contentionSuffix, tenants: tenantNames(contentionTenantCount),
		budgets: slices.Repeat([]budget.Microcents{contentionCovered * hold}, contentionTenantCount),
	}, nil
}

// race plays it, of each contender at its largest pool: the more connections, the
// more that is under way at once.
func (m *benchRun) race(ctx context.Context) error {
	c := m.config
	c.Rate, c.Speed, c.HoldTime, c.Warmup, c.Processes = 0, 0, 0, 0, false
	game := workload.Burst{Tenants: contentionTenantCount, Callers: c.Nodes * c.Concurrency, Requests: contentionRequests, Hold: m.work.TypicalHold()}
	for _, e := range m.candidates {
		if !e.decides() || ctx.Err() != nil {
			continue
		}
		racer, err := m.target.enter(ctx, c, e.name, m.contended, []int{e.pools[len(e.pools)-1].size})
		if err != nil && ctx.Err() == nil {
			return e.named(err)
		}
		if e.race = racer; racer == nil {
			return nil
		}
		if err := racer.play(ctx, nil, game, 0, 1, cmp.Or(c.patience, contentionLimit)); err != nil {
			return err
		}
	}
	return nil
}
