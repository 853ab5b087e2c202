package lane

import (
	"math"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// The further limits of tenants in a simulation. In the model a limit is one more account in the
// chain of those that an operation walks, after that of its tenant's base limit.

// newSimAccount returns an account that a batch creates. No hold has debited it: its serial is
// larger than all before.
func newSimAccount(amount budget.Microcents) *simAccount {
	return &simAccount{Account: store.Account{Granted: amount, Remaining: amount, Serial: 1 << 62}}
}

// changeOfLimit returns the change of settings that a change of a limit makes in its account.
func changeOfLimit(l *budget.LimitChange) *budget.Change {
	return &budget.Change{
		Settings:     budget.Settings{Overdraft: l.Overdraft, Thresholds: l.Thresholds, Window: l.Window},
		SetOverdraft: true, SetThresholds: true, SetWindow: true,
	}
}

// setLimits makes an operation's changes of limits.
func (model *simModel) setLimits(c simCall) {
	for i := range c.change.Limits {
		limit := &c.change.Limits[i]
		id := store.AccountID{Tenant: c.tenant, Limit: limit.Window.Period}
		a := model.accounts[id]
		switch {
		case limit.Remove:
			delete(model.accounts, id)
		case a != nil:
			a.configure(changeOfLimit(limit), model.now, false)
		default:
			a = newSimAccount(limit.Window.Amount)
			a.configure(changeOfLimit(limit), model.now, true)
			model.accounts[id] = a
		}
	}
}

// addsLimit reports whether an operation would create a limit.
func (model *simModel) addsLimit(c simCall) bool {
	return c.change != nil && slices.ContainsFunc(c.change.Limits, func(l budget.LimitChange) bool {
		return !l.Remove && model.accounts[store.AccountID{Tenant: c.tenant, Limit: l.Window.Period}] == nil
	})
}

// decideConfigure is decide for a change of settings.
func (model *simModel) decideConfigure(c simCall, own *simAccount, a *Answer) (code byte) {
	others := *c.change
	others.SetClosed = false
	if own.Settings.Closed && !(c.change.SetClosed && others.IsZero()) {
		a.Outcome = budget.Closed
		return luascripts.CodeClosed
	}
	limits, fits := own.Settings.Limits, true
	for i := range c.change.Limits {
		limit := &c.change.Limits[i]
		period := limit.Window.Period
		is := model.accounts[store.AccountID{Tenant: c.tenant, Limit: period}]
		if is != nil && is.waits {
			return luascripts.CodeWindow
		}
		if limits = limits.With(period); limit.Remove {
			limits = limits.Without(period)
		} else if is != nil {
			fits = is.accepts(changeOfLimit(limit), model.now) && fits
		}
	}
	switch {
	case limits.Len() > budget.MaxLimits:
		return luascripts.CodeLimitsFull
	case !fits || !own.accepts(c.change, model.now):
		return luascripts.CodeOverflow
	}
	return luascripts.CodeConfigured
}

// accepts reports whether all sums of a change fit 64 bits.
func (a *simAccount) accepts(c *budget.Change, now int64) bool {
	copied := *a
	if a.Epochs != nil {
		epochs := *a.Epochs
		copied.Epochs = &epochs
	}
	return copied.configure(c, now, false)
}

// list returns the balances of a tenant's limits.
func (model *simModel) list(tenant budget.TenantID) *budget.LimitList {
	list := &budget.LimitList{Outcome: budget.Found}
	for _, level := range model.levels(tenant, store.OwnLevel) {
		balance := level.Balance()
		balance.Limit = level.id.Limit
		list.Limits = append(list.Limits, balance)
	}
	return list
}

// beganBy returns the accounts that a hold which is restored counts in: those older than the
// first limit that began after the hold was made and is younger than each base limit. When a limit
// began is unknown once it has dropped an epoch.
func beganBy(accounts []simLevel, made int64) []simLevel {
	newest, base := uint64(math.MaxUint64), uint64(0)
	for _, a := range accounts {
		if a.id.Limit == budget.NoPeriod {
			base = max(base, a.Serial)
		}
	}
	for _, a := range accounts {
		if a.id.Limit == budget.NoPeriod || len(a.ended) > 2 || a.Serial < base {
			continue
		}
		began := a.Epochs.Start
		if len(a.ended) > 0 {
			began = a.ended[0].start
		}
		if began > made {
			newest = min(newest, a.Serial)
		}
	}
	return slices.DeleteFunc(accounts, func(a simLevel) bool { return a.Serial >= newest })
}

// merges reports whether a batch may have merges.
func (s *simulation) merges(m *message) bool {
	return m.script() == s.scripts.Merge.SHA || m.script() == s.scripts.Merge.Source
}

// addLimits adds changes of limits to settings. Most are of the same few periods, so that limits
// are often changed and removed.
func (s *simulation) addLimits(tenant budget.TenantID, settings []budget.Setting) []budget.Setting {
	periods := []budget.Period{budget.Hour, budget.Last24Hours, budget.Day}
	if s.random.IntN(6) == 0 {
		periods = (budget.Periods(1<<luascripts.MaxPeriod - 1)).All()
	}
	s.random.Shuffle(len(periods), func(i, j int) { periods[i], periods[j] = periods[j], periods[i] })
	for _, period := range periods[:1+s.random.IntN(min(len(periods), budget.MaxLimits))] {
		if s.random.IntN(4) == 0 {
			settings = append(settings, budget.RemoveLimit(period))
		} else {
			settings = append(settings, budget.SetLimit(s.someLimit(tenant, period)))
		}
	}
	return settings
}

// someLimit returns a limit that the tenant's holds reach.
func (s *simulation) someLimit(tenant budget.TenantID, period budget.Period) budget.Limit {
	unit := simBudget(tenant) / 500
	w := budget.Window{Period: period, Amount: unit * budget.Microcents(1+s.random.IntN([]int{200, 900}[s.random.IntN(2)]))}
	if s.random.IntN(12) == 0 {
		w.Amount = budget.MaxMicrocents - simBudget(tenant)*budget.Microcents(s.random.IntN(3))
	}
	if !period.Rolling() {
		if w.Zone = "UTC"; s.random.IntN(6) == 0 {
			w.Zone = "Asia/Kolkata"
		}
		w.Carry = []budget.Microcents{0, unit * budget.Microcents(1+s.random.IntN(300)), budget.CarryAll}[s.random.IntN(3)]
		if period == budget.Month {
			w.Day = 15
		}
	}
	limit := budget.Limit{Window: w}
	if s.random.IntN(2) == 0 {
		limit.Overdraft = min(unit*budget.Microcents(s.random.IntN(300)), budget.MaxMicrocents-w.Amount)
	}
	if s.random.IntN(3) == 0 {
		limit.Thresholds, _ = budget.NewThresholds([]int{25, 50, 100}[s.random.IntN(3):]...)
	}
	return limit
}
