package local

import (
	"context"
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
)

// managed is the part of an account that has settings, or epochs. Its word is managedWord, which
// covers no cost, so every operation on it takes the lock, and reads the settings under the lock.
// An account with a window is managed, because its amounts depend on the time.
//
// The remaining amount is here because it may be negative, which an amount in the word can't
// be. Nor can the word be remaining + overdraft, which is negative after an overdraft is
// lowered below the debt.
//
// settings.Limits are the periods of limits, so an account with a further limit is managed. That of
// a further limit is never nil, and has its remaining amount at any time.
type managed struct {
	period    budget.Period // of a further limit
	settings  budget.Settings
	remaining budget.Microcents // while the account isn't locked
	below     int64             // open holds of tenants below that the account counts, if CapHolds is set
	epochs    *epochs           // nil for a limit that has no window and keeps no ended epoch
	limits    []*limit          // the further limits, in the order of their periods; none of a further limit
}

// manage sets the account's settings at a time. An account without settings, debt and epochs
// needs no managed. The account must be locked.
func (a *account) manage(settings budget.Settings, remaining budget.Microcents, now int64) {
	m := a.managed
	if m == nil {
		m = new(managed)
	}
	if settings.CapHolds > 0 && m.settings.CapHolds == 0 {
		m.below = a.countBelow()
	}
	m.setWindow(settings.Window, a.committed, now)
	m.settings = settings
	if settings == (budget.Settings{}) && remaining >= 0 && m.epochs == nil {
		m = nil
	}
	a.managed = m
}

// countBelow returns the number of open holds of tenants below that the account counts. The
// account must be locked.
func (a *account) countBelow() (holds int64) {
	if a.reservedInAll() == 0 { // a hold's amount is never 0
		return 0
	}
	a.visitBelow(func(m *account, levels uint64) { holds += m.holds.countIn(levels) })
	return holds
}

// addBelow adds to the number of open holds of tenants below. The account must be locked.
func (a *account) addBelow(holds int64) {
	if a.managed != nil {
		a.managed.below += holds
	}
}

// settings returns the limit's settings.
func (l *ledger) settings() budget.Settings {
	if l.managed == nil {
		return budget.Settings{}
	}
	return l.managed.settings
}

// room returns the largest excess that a settlement of a hold that was made at a time can debit
// from the limit. It is negative if the debt exceeds the overdraft, and any amount if a rolling
// window doesn't contain the hold any more. roll must have begun the epoch of the family's time.
func (l *ledger) room(remaining budget.Microcents, made int64) budget.Microcents {
	if l.managed == nil {
		return remaining
	}
	overdraft := l.managed.settings.Overdraft
	if e := l.managed.epochs.endedAt(made); e != nil {
		return e.room(remaining, overdraft)
	}
	if r := l.rolling(); r != nil && r.at(made) == nil {
		return budget.MaxMicrocents
	}
	return remaining + overdraft // at most granted + overdraft, so it doesn't overflow
}

// grantable returns the largest amount that can be added to granted.
func (l *ledger) grantable() budget.Microcents {
	room := budget.MaxMicrocents - l.settings().Overdraft
	if l.granted >= room-budget.MaxMicrocents {
		return room - l.granted
	}
	return budget.MaxMicrocents // granted is that far below 0
}

// reached returns the thresholds that the limit has reached.
func (l *ledger) reached() budget.Thresholds {
	if l.managed == nil {
		return budget.Thresholds{}
	}
	return l.managed.settings.Thresholds.Reached(l.committed, l.granted)
}

// crossed appends an event for each threshold that the limit has reached, other than those
// reached before.
func (l *ledger) crossed(events []budget.Crossing, before budget.Thresholds) []budget.Crossing {
	now := l.reached()
	if now == before {
		return events
	}
	for _, percent := range now.Beyond(before) {
		events = append(events, budget.Crossing{Tenant: l.tenant, Limit: l.period(), Percent: percent, Committed: l.committed, Granted: l.granted})
	}
	return events
}

// report calls the callback of WithOnThreshold. The caller has locked no account.
func (e *Engine) report(events []budget.Crossing) {
	if e.onThreshold == nil {
		return
	}
	for _, event := range events {
		e.onThreshold(event)
	}
}

// Configure implements [budget.Engine].
func (e *Engine) Configure(_ context.Context, tenant budget.TenantID, settings ...budget.Setting) (budget.Configuration, error) {
	if err := tenant.Validate(); err != nil {
		return budget.Configuration{}, err
	}
	change, err := budget.NewChange(settings...)
	if err != nil {
		return budget.Configuration{}, err
	}
	return e.change(tenant, change)
}

// FreezeTenant implements [budget.Engine].
func (e *Engine) FreezeTenant(_ context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return e.change(tenant, budget.ChangeFrozen)
}

// UnfreezeTenant implements [budget.Engine].
func (e *Engine) UnfreezeTenant(_ context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return e.change(tenant, budget.ChangeUnfrozen)
}

// CloseTenant implements [budget.Engine].
func (e *Engine) CloseTenant(_ context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return e.change(tenant, budget.ChangeClosed)
}

func (e *Engine) change(tenant budget.TenantID, change budget.Change) (budget.Configuration, error) {
	a, err := e.account(tenant)
	if err != nil {
		return budget.Configuration{}, err
	}
	if a == nil {
		return budget.Configuration{Outcome: budget.MissingTenant}, nil
	}
	remaining := a.openCurrent()
	var res budget.Configuration
	var events []budget.Crossing
	settings := a.settings()
	switch {
	case remaining == missing:
		res.Outcome = budget.MissingTenant
	case settings.Closed && !change.SetClosed:
		res.Outcome = budget.Closed
	case settings.Closed:
		res.Outcome, res.Settings = budget.Configured, settings
	default:
		remaining, events, err = a.change(change, remaining)
		if err == nil {
			res.Outcome, res.Settings = budget.Configured, a.settings()
		}
	}
	a.close(remaining)
	e.report(events)
	return res, err
}

// change changes the settings of an account that is locked and not closed, and returns what then
// remains.
func (a *account) change(change budget.Change, remaining budget.Microcents) (budget.Microcents, []budget.Crossing, error) {
	settings := change.Apply(a.settings())
	if n := settings.Limits.Len(); n > budget.MaxLimits {
		return remaining, nil, fmt.Errorf("tenant %q: %w: %d beside its base limit; it can have %d", a.tenant, budget.ErrTooManyLimits, n, budget.MaxLimits)
	}
	granted, now := a.granted, a.time()
	if change.SetWindow && settings.Window.Period != budget.NoPeriod {
		var err error
		if granted, err = a.amountSet(change.Window.Amount, &settings.Window); err != nil {
			return remaining, nil, err
		}
	}
	if err := validateOverdraft(a.tenant, granted, settings); err != nil {
		return remaining, nil, err
	}
	if err := a.checkLimits(change.Limits, now); err != nil {
		return remaining, nil, err
	}
	before := a.reached()
	remaining += granted - a.granted
	a.granted = granted
	a.manage(settings, remaining, now)
	return remaining, a.changeLimits(change.Limits, now, a.crossed(nil, before)), nil
}

// validateOverdraft returns ErrOverflow if the overdraft doesn't fit 64 bits together with the
// budget, or with that of an epoch.
func validateOverdraft(tenant budget.TenantID, granted budget.Microcents, settings budget.Settings) error {
	return budget.ValidateOverdraft(tenant, max(granted, settings.Window.Amount), settings.Overdraft)
}
