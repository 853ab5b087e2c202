package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

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

// race is a workload of one part.
type race struct {
	callers int
	hold    budget.Microcents
}

func (r race) part(int, int) part { return r }

func (r race) typical() budget.Microcents { return r.hold }

func (r race) which() turn { return turn{0, 1} }

func (r race) source(int) source { return &raceSource{race: r} }

// offset is of an open loop, which the race is not.
func (r race) offset(int) (time.Duration, bool) { return 0, true }

type raceSource struct {
	race
	played int
}

// next has everybody ask for the tenants in the same order. Costs are what was held,
// so that nothing comes back.
func (s *raceSource) next(_ uint64, r *request) bool {
	each := (raceRequests + s.callers - 1) / s.callers
	tenant := s.played / each
	s.played++
	*r = request{tenant: tenant, hold: s.hold, cost: s.hold}
	return tenant < raceTenants
}

// raceField is what is played for in the race.
func (a *arena) raceField(hold budget.Microcents) (field, error) {
	if hold > budget.MaxMicrocents/raceCovered/raceTenants {
		return field{}, exit.With(exit.Usage, fmt.Errorf("the budgets of a race of %s a request: %w; lower the prices", hold, budget.ErrOverflow))
	}
	return field{
		prefix: a.prefix + raceSuffix, tenants: tenantNames(raceTenants, a.mark),
		budgets: slices.Repeat([]budget.Microcents{raceCovered * hold}, raceTenants),
	}, nil
}

// race plays it, of each contender at its largest pool: the more connections, the
// more that is under way at once.
func (m *match) race(ctx context.Context) error {
	c := m.config
	c.Rate, c.Speed, c.HoldTime, c.Warmup, c.Processes = 0, 0, 0, 0, false
	game := race{callers: c.Nodes * c.Concurrency, hold: m.work.typical()}
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
		if err := racer.play(ctx, nil, game, 0, 1, raceLimit); err != nil {
			return err
		}
	}
	return nil
}
