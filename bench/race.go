package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// The race: after the rounds each contender has some tenants whose budgets cover few
// requests, and all callers ask for the same tenant at once, more than it can pay
// for; then for the next tenant. Nobody waits or is made to wait. Rates and latencies
// are not taken from it, only what was spent.
const (
	raceTenants  = 8
	raceCovered  = 16 // requests that a budget covers
	raceRequests = 64 // at least so many are made of each
	raceLimit    = 5 * time.Second
)

// raceSuffix ends the prefix of what is played for in the race.
const raceSuffix = ":race"

// raceField is what is played for in the race.
func (a *arena) raceField(hold budget.Microcents) (field, error) {
	if hold > budget.MaxMicrocents/raceCovered/raceTenants {
		return field{}, exit.With(exit.Usage, fmt.Errorf("the budgets of a race of %s a request: %w; lower the prices", hold, budget.ErrOverflow))
	}
	return field{
		prefix: a.prefix + raceSuffix, tenants: tenantNames(raceTenants),
		budgets: slices.Repeat([]budget.Microcents{raceCovered * hold}, raceTenants),
	}, nil
}

// race plays it, of each contender at its largest pool: the more connections, the
// more that is under way at once.
func (m *match) race(ctx context.Context) error {
	c := m.config
	c.Rate, c.Speed, c.HoldTime, c.Warmup, c.Processes = 0, 0, 0, 0, false
	game := load.Rush{Tenants: raceTenants, Callers: c.Nodes * c.Concurrency, Requests: raceRequests, Hold: m.work.Typical()}
	for _, e := range m.entrants {
		if !e.decides() || ctx.Err() != nil {
			continue
		}
		racer, err := m.arena.enter(ctx, c, e.name, m.raced, []int{e.pools[len(e.pools)-1].size})
		if err != nil && ctx.Err() == nil {
			return e.named(err)
		}
		if e.race = racer; racer == nil {
			return nil
		}
		if err := racer.play(ctx, nil, game, 0, 1, cmp.Or(c.patience, raceLimit)); err != nil {
			return err
		}
	}
	return nil
}
