package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/runner"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

// With --roll-every each account has an hourly window, and the nodes' clock skips to the next
// hour at each interval: no window of a calendar is as short as a run. All that remains of an
// epoch passes on. So what an account has spent in all epochs is the budgets of all epochs
// without the part that remains or is reserved, and can be compared with the workers' answers,
// although ended epochs are dropped.

const (
	minRollEvery = 2 * time.Second // so that some seconds have no boundary
	maxRollEvery = time.Hour
	maxRolls     = 1000                  // of a round's length
	maxRollTick  = 50 * time.Millisecond // between samples, which belong to one second each
)

var hourly = budget.Window{Period: budget.Hour, Carry: budget.CarryAll}

func (c Config) validateWindows() error {
	return errors.Join(
		workload.Require(c.RollEvery == 0 || c.RollEvery >= minRollEvery && c.RollEvery <= maxRollEvery,
			"--roll-every %s: give %s to %s", c.RollEvery, minRollEvery, maxRollEvery),
		workload.Require(c.RollEvery <= 0 || c.Duration/c.RollEvery <= maxRolls,
			"--roll-every %s: give at least a %dth of --duration %s", c.RollEvery, maxRolls, c.Duration))
}

// validateEpochs returns an error if the budgets of the epochs that may begin during a run
// don't fit 64 bits together.
func (c Config) validateEpochs(budgets []budget.Microcents) error {
	if c.RollEvery == 0 {
		return nil
	}
	sum := budget.Microcents(0)
	for _, amount := range budgets {
		sum += amount // budgetsOf has checked it
	}
	const preparing = time.Minute
	lasting := preparing + (c.Duration+c.warmup())*time.Duration(1+len(c.Baselines))
	epochs := max(int64(lasting/c.RollEvery), 1)
	return exit.With(exit.Usage, workload.Require(sum <= budget.MaxMicrocents/budget.Microcents(epochs),
		"--roll-every: the budgets of %s in %d epochs overflow 64 bits; lower the prices, --budget or --tenants", wording.Count(len(budgets), "tenant"), epochs))
}

// windowed returns the set with windows.
func (s tenantSet) windowed() tenantSet {
	s.first = make([]budget.Instant, len(s.tenants))
	s.above = slices.Clone(s.above) // they have first epochs of their own
	return s
}

// create creates an account, and with windows returns the start of its first epoch.
func (s tenantSet) create(ctx context.Context, node budget.Engine, tenant budget.TenantID, amount budget.Microcents) (first budget.Instant, err error) {
	var settings []budget.Setting
	for _, l := range s.limitsOf(amount) {
		settings = append(settings, budget.SetLimit(l))
	}
	if s.first != nil {
		settings = append(settings, budget.InWindow(hourly))
	}
	ensured, err := node.EnsureTenant(ctx, tenant, amount, settings...)
	if err == nil && ensured.Outcome != budget.Created {
		err = fmt.Errorf("creating tenant %q: the answer is %s", tenant, ensured.Outcome)
	}
	if err != nil || s.first == nil {
		return 0, err
	}
	b, err := node.Balance(ctx, tenant)
	for err == nil { // it may have renewed already
		first = b.Epoch.Start
		b, err = node.Balance(ctx, tenant, budget.AtEpoch(first.Time().Add(-time.Millisecond)))
	}
	if errors.Is(err, budget.ErrNoEpoch) {
		err = nil
	}
	return first, err
}

// overEpochs returns the set with the budgets of all epochs, the accounts with the terms of
// all epochs, and the number of epochs that began after the first ones. An account that doesn't
// add up stays as it is.
func (s tenantSet) overEpochs(stored map[budget.TenantID]budget.HoldList) (whole tenantSet, accounts map[budget.TenantID]budget.HoldList, epochs int64) {
	if s.first == nil {
		return s, stored, 0
	}
	whole, accounts = s, make(map[budget.TenantID]budget.HoldList, len(stored))
	whole.budgets, whole.above = slices.Clone(s.budgets), slices.Clone(s.above)
	for tenant, account := range stored {
		accounts[tenant] = account
	}
	add := func(tenant budget.TenantID, amount budget.Microcents, first budget.Instant) budget.Microcents {
		account := accounts[tenant]
		b := &account.Balance
		if account.Outcome != budget.Found || account.Audit() != nil {
			return amount
		}
		begun := int64(b.Epoch.Start.Time().Truncate(time.Hour).Sub(first.Time().Truncate(time.Hour)) / time.Hour)
		if amount > budget.MaxMicrocents/budget.Microcents(1+begun) {
			return amount
		}
		amount *= budget.Microcents(1 + begun)
		b.Reserved += b.Ended
		b.Granted, b.Committed, b.Ended = amount, amount-b.Remaining-b.Reserved, 0
		accounts[tenant] = account
		epochs += begun
		return amount
	}
	for i, tenant := range s.tenants {
		whole.budgets[i] = add(tenant, s.budgets[i], s.first[i])
	}
	for i, a := range s.above {
		whole.above[i].granted = add(a.tenant, a.granted, a.first)
	}
	return whole, accounts, epochs
}

// describeWindows returns nil without windows.
func (c Config) describeWindows(r *runner.Runner) *report.Windows {
	if c.RollEvery == 0 || r.Seconds() == nil {
		return nil
	}
	w := &report.Windows{EverySeconds: c.RollEvery.Seconds()}
	renewing, others := r.Seconds().P99s()
	w.Boundaries, w.P99, w.Others = len(renewing), metrics.Median(renewing), metrics.Median(others)
	if len(renewing) > 0 {
		w.Highest = renewing[len(renewing)-1]
	}
	return w
}
