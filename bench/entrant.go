package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/bench/fleet"
	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/record"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// entrant is a contender in a run, at one or several pool sizes, of which the best
// one counts. They play for the same budgets and have one ledger.
type entrant struct {
	name   string
	field  field
	pools  []*pool
	ledger *record.Ledger
	race   *entrant // the same contender in the race; nil where it did not come to it

	// accounts reads an engine's accounts; nil for a keeper.
	accounts func(context.Context) (map[budget.TenantID]budget.HoldList, error)
	keeper   contender.Keeper // over a connection of its own; nil of an engine
}

// pool is an entrant at one pool size.
type pool struct {
	size  int // connections a node; 0 without a Redis
	trips *contender.Trips
	fleet *fleet.Fleet

	paces  []fleet.Pace // a round each
	usage  contender.Usage
	rounds int64 // trips in all rounds
}

func (e *entrant) addPool(size int, trips *contender.Trips, f *fleet.Fleet) {
	if e.ledger == nil {
		e.ledger = f.Ledger
	}
	f.Ledger = e.ledger
	e.pools = append(e.pools, &pool{size: size, trips: trips, fleet: f})
}

// play gives each pool an equal share of a round's time, and the same requests.
func (e *entrant) play(ctx context.Context, meter *contender.Meter, work load.Workload, turn, turns int, limit time.Duration) error {
	if e.name == contender.Local {
		meter = nil // it asks no Redis
	}
	for _, p := range e.pools {
		if ctx.Err() != nil {
			return nil
		}
		if err := p.play(ctx, meter, work, turn, turns, share(limit, len(e.pools))); err != nil {
			return e.named(err)
		}
	}
	return nil
}

// named says whose an error is, where it is not ours.
func (e *entrant) named(err error) error {
	if err == nil || e.name == contender.Bursar {
		return err
	}
	return fmt.Errorf("%s: %w", e.name, err)
}

func (e *entrant) decides() bool { return contender.Decides(e.name) }

func (p *pool) play(ctx context.Context, meter *contender.Meter, work load.Workload, turn, turns int, limit time.Duration) error {
	if err := p.fleet.WarmUp(ctx, work.Part(turn, turns), limit); err != nil {
		p.paces = append(p.paces, fleet.Pace{})
		return err
	}
	asking := context.WithoutCancel(ctx) // of a Redis that answers, for it is at work
	before, err := meter.Read(asking)
	if err != nil {
		return exit.With(exit.Unavailable, err)
	}
	trips := p.trips.Load()
	paced, err := p.fleet.Play(ctx, work.Part(turn, turns), limit)
	p.paces = append(p.paces, paced)
	p.rounds += p.trips.Load() - trips
	if err != nil {
		return err
	}
	after, err := meter.Read(asking)
	p.usage = p.usage.Plus(after.Minus(before))
	return exit.With(exit.Unavailable, err)
}

func (p *pool) rates() []float64 {
	rates := make([]float64, len(p.paces))
	for i, paced := range p.paces {
		rates[i] = paced.Rate(paced.Decisions)
	}
	return rates
}

func (p *pool) decisions() (sum int64) {
	for _, paced := range p.paces {
		sum += paced.Decisions
	}
	return sum
}

// best is the pool with the highest median rate. In an open loop all that keep up have
// the same, so there it is the one of those with the lowest p99.
func (e *entrant) best() *pool {
	rate := func(p *pool) float64 { return report.Median(p.rates()) }
	best := slices.MaxFunc(e.pools, func(a, b *pool) int { return cmp.Compare(rate(a), rate(b)) })
	if !best.fleet.Open() {
		return best
	}
	const keepsUp = 0.99
	lowest, slowest := best, best.fleet.Decisions().Percentiles().P99
	for _, p := range e.pools {
		if p99 := p.fleet.Decisions().Percentiles().P99; rate(p) >= keepsUp*rate(best) && p99 < slowest {
			lowest, slowest = p, p99
		}
	}
	return lowest
}

// result is all but the money.
func (e *entrant) result(ours []float64) report.Contender {
	best := e.best()
	rates, latency := best.rates(), best.fleet.Decisions()
	result := report.Contender{
		Name: e.name, Describe: contender.Describe(e.name), Decides: e.decides(),
		DecisionsPerSecond: report.SpreadOf(rates), Rates: rates, Ratio: report.SpreadOf(ratios(ours, rates)),
		Decision: latency.Percentiles(), Quantiles: latency.Quantiles(),
		Mean: latency.Mean() / 1e3, Deviation: latency.StdDev() / 1e3, PoolSize: best.size,
	}
	if count := float64(best.decisions()); count > 0 {
		result.RedisCPU = best.usage.CPU * 1e6 / count
		result.Commands = float64(best.usage.Commands) / count
		result.RoundTrips = float64(best.rounds) / count
	}
	for _, p := range e.pools {
		result.GivenUp += p.fleet.Counts[budget.Unknown]
		if p.size > 0 {
			result.Pools = append(result.Pools, report.Pool{Size: p.size, DecisionsPerSecond: report.SpreadOf(p.rates())})
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
