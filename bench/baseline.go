package bench

import (
	"context"
	"fmt"
	"slices"

	"github.com/calybris/bursar/bench/report"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

// The names of the baselines.
const (
	baselineIncr   = "incr"
	baselineScript = "script"
)

// rival is one thing to compare with, at several pool sizes, of which the best
// one counts.
type rival struct {
	name  string
	pools []*rivalPool
}

type rivalPool struct {
	size  int
	fleet *fleet
	rates []float64 // answers a second, a round each
}

const largestPool = 512

// poolSizes are connections a node, for so many callers.
func poolSizes(callers int) []int {
	sizes := []int{callers / 16, callers / 4, callers}
	for i := range sizes {
		sizes[i] = min(max(sizes[i], 1), largestPool)
	}
	return slices.Compact(sizes)
}

// rivals sets up the baselines on the arena's Redis, with as many nodes and
// callers as ours, and budgets alike.
func (a *arena) rivals(ctx context.Context, c Config) ([]*rival, error) {
	owner := newScripted(a.space.Client(), a.prefix)
	err := forEach(ctx, len(a.tenants), func(i int) error { return owner.create(ctx, a.tenants[i], a.budgets[i]) })
	if err != nil {
		return nil, exit.With(exit.Unavailable, fmt.Errorf("preparing the baseline %s: %w", baselineScript, err))
	}
	return []*rival{
		a.rival(c, baselineIncr, func(client *redis.Client) decider { return counting{client, a.prefix} }),
		a.rival(c, baselineScript, func(client *redis.Client) decider { return newScripted(client, a.prefix) }),
	}, nil
}

func (a *arena) rival(c Config, name string, node func(*redis.Client) decider) *rival {
	r := &rival{name: name}
	for _, size := range poolSizes(c.Concurrency) {
		nodes := make([]decider, c.Nodes)
		for i := range nodes {
			nodes[i] = node(a.space.ClientOf(size))
		}
		r.pools = append(r.pools, &rivalPool{size: size, fleet: newFleet(nodes, c, a.tenants)})
	}
	return r
}

// play gives each pool size an equal share of the round's time.
func (r *rival) play(ctx context.Context, c Config, round int, work workload) error {
	for _, pool := range r.pools {
		paced, err := pool.fleet.play(ctx, work.part(round, rounds), share(c.Duration, rounds*len(r.pools)))
		if err != nil {
			return fmt.Errorf("baseline %s: %w", r.name, err)
		}
		pool.rates = append(pool.rates, paced.rate(paced.decisions))
	}
	return nil
}

// result is the best pool size by the median of its rounds.
func (r *rival) result(ours float64) report.Baseline {
	best := report.Baseline{Name: r.name}
	for _, pool := range r.pools {
		if rate := median(pool.rates); rate >= best.OpsPerSecond {
			best.OpsPerSecond, best.PoolSize = rate, pool.size
		}
	}
	if best.OpsPerSecond > 0 {
		best.Ratio = ours / best.OpsPerSecond
	}
	return best
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
