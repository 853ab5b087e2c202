package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/runner"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// With --limits each account has limits beside its base limit. Unless --limit-amount is given,
// they have twice its budget, so that only their cost is measured: the answers are those of base
// limits alone. With --roll-every budgets carry over, and the limits have the largest amount.

// limitPeriods are the periods of the limits beside the base limit, in the order in which --limits adds them.
var limitPeriods = [budget.MaxLimits]budget.Period{budget.Day, budget.Month, budget.Week, budget.Hour}

// maxClockSkew is the difference between this clock and that of Redis that the check of limits tolerates.
const maxClockSkew = time.Minute

func (c Config) validateLimits() error {
	return errors.Join(
		workload.Within("limits", int64(c.Limits), 1, budget.MaxLimits+1),
		workload.Require(c.LimitAmount >= 0, "--limit-amount %s: give more than $0.00", c.LimitAmount))
}

// limits returns the limits of each account beside its base limit. Those without an amount have
// twice the account's budget.
func (c Config) limits() []budget.Limit {
	amount := c.LimitAmount
	if amount == 0 && c.RollEvery > 0 {
		amount = budget.MaxMicrocents
	}
	limits := make([]budget.Limit, max(c.Limits-1, 0))
	for i := range limits {
		limits[i].Window = budget.Window{Period: limitPeriods[i], Amount: amount}
	}
	return limits
}

// limitsOf returns the limits of an account with this budget.
func (s tenantSet) limitsOf(granted budget.Microcents) []budget.Limit {
	limits := slices.Clone(s.limits)
	for i := range limits {
		if amount := &limits[i].Window.Amount; *amount == 0 {
			*amount = min(granted, budget.MaxMicrocents/2) * 2
		}
	}
	return limits
}

// limitReader returns the limits of a tenant as its engine keeps them, the base limit first.
type limitReader = func(ctx context.Context, tenant budget.TenantID) (budget.LimitList, error)

// verifyLimits adds the accounts whose limits are wrong to the books. stored are the base limits.
func (s tenantSet) verifyLimits(ctx context.Context, found *report.Books, read limitReader, stored map[budget.TenantID]budget.HoldList) error {
	if len(s.limits) == 0 {
		return nil
	}
	tenants := slices.Clone(s.tenants)
	for _, a := range s.above {
		tenants = append(tenants, a.tenant)
	}
	granted := slices.Clone(s.budgets)
	for _, a := range s.above {
		granted = append(granted, a.granted)
	}
	var mu sync.Mutex
	now := time.Now()
	err := runner.ForEach(ctx, len(tenants), func(i int) error {
		list, err := read(ctx, tenants[i])
		if err != nil {
			return err
		}
		if err := s.verifyLimitsOf(list, stored[tenants[i]].Balance, granted[i], now); err != nil {
			mu.Lock()
			defer mu.Unlock()
			addProblem(found, tenants[i], err)
		}
		return nil
	})
	return exit.With(exit.Unavailable, err)
}

// verifyLimitsOf compares the limits of an account with its base limit. Each operation changes
// both in the same way, until the limit's next epoch.
func (s tenantSet) verifyLimitsOf(list budget.LimitList, base budget.Balance, granted budget.Microcents, now time.Time) error {
	if list.Outcome == budget.Found && len(list.Limits) != 1+len(s.limits) {
		return fmt.Errorf("it has %d limits beside the base limit, but %d were set", len(list.Limits)-1, len(s.limits))
	}
	for _, limit := range s.limitsOf(granted) {
		for _, b := range list.Limits {
			if b.Limit != limit.Window.Period {
				continue
			}
			boundaries, err := limit.Window.Boundaries(s.began.Add(-maxClockSkew), 1)
			switch {
			case err != nil:
				return err
			case !b.Conserved():
				return fmt.Errorf("the limit %s doesn't add up: remaining %d + reserved %d + committed %d is not granted %d", b.Limit, b.Remaining, b.Reserved, b.Committed, b.Granted)
			case s.first != nil || boundaries[0].Before(now.Add(maxClockSkew)): // the clock skips, or an epoch may have ended
			case b.Committed != base.Committed || b.Reserved != base.Reserved || b.Granted != limit.Window.Amount:
				return fmt.Errorf("the limit %s has committed %d and reserved %d of %d, but the base limit has %d and %d",
					b.Limit, b.Committed, b.Reserved, b.Granted, base.Committed, base.Reserved)
			}
		}
	}
	return nil
}
