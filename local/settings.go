package local

import (
	"context"

	"github.com/calybris/bursar/coordinator/budget"
)

// managed is the part of an account that has settings. Its word is managedWord, which covers
// no cost, so every operation on it takes the lock, and reads the settings under the lock.
//
// The remaining amount is here because it may be negative, which an amount in the word can't
// be. Nor can the word be remaining + overdraft, which is negative after an overdraft is
// lowered below the debt.
type managed struct {
	settings  budget.Settings
	remaining budget.Microcents // while the account isn't locked
	below     int64             // open holds of tenants below that the account counts, if CapHolds is set
}

// manage sets the account's settings. An account without settings and debt needs no managed.
// The account must be locked.
func (a *account) manage(settings budget.Settings, remaining budget.Microcents) {
	if settings == (budget.Settings{}) && remaining >= 0 {
		a.managed = nil
		return
	}
	if a.managed == nil {
		a.managed = new(managed)
	}
	if settings.CapHolds > 0 && a.managed.settings.CapHolds == 0 {
		a.managed.below = a.countBelow()
	}
	a.managed.settings = settings
}

// countBelow returns the number of open holds of tenants below that the account counts. The
// account must be locked, so none of them changes while they are counted.
func (a *account) countBelow() (holds int64) {
	if a.family == nil || a.reserved == 0 { // a hold's amount is never 0
		return 0
	}
	for _, m := range *a.family.members.Load() {
		if distance := m.below(a); distance > 0 {
			of := m.open()
			holds += m.holds.countIn(1 << distance)
			m.close(of)
		}
	}
	return holds
}

// addBelow adds to the number of open holds of tenants below. The account must be locked.
func (a *account) addBelow(holds int64) {
	if a.managed != nil {
		a.managed.below += holds
	}
}

// settings returns the account's settings. The account must be locked.
func (a *account) settings() budget.Settings {
	if a.managed == nil {
		return budget.Settings{}
	}
	return a.managed.settings
}

// room returns the largest excess that a settlement can debit from the account. It is
// negative if the debt exceeds the overdraft. The account must be locked.
func (a *account) room(remaining budget.Microcents) budget.Microcents {
	if a.managed == nil {
		return remaining
	}
	return remaining + a.managed.settings.Overdraft // at most granted + overdraft, so it doesn't overflow
}

// reached returns the thresholds that the account has reached. It must be locked.
func (a *account) reached() budget.Thresholds {
	if a.managed == nil {
		return budget.Thresholds{}
	}
	return a.managed.settings.Thresholds.Reached(a.committed, a.granted)
}

// crossed appends an event for each threshold that the account has reached, other than those
// reached before. The account must be locked.
func (a *account) crossed(events []budget.Crossing, before budget.Thresholds) []budget.Crossing {
	now := a.reached()
	if now == before {
		return events
	}
	for _, percent := range now.Beyond(before) {
		events = append(events, budget.Crossing{Tenant: a.tenant, Percent: percent, Committed: a.committed, Granted: a.granted})
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
	remaining := a.open()
	res, events, err := a.change(change, remaining)
	a.close(remaining)
	e.report(events)
	return res, err
}

func (a *account) change(change budget.Change, remaining budget.Microcents) (res budget.Configuration, events []budget.Crossing, err error) {
	if remaining == missing {
		return budget.Configuration{Outcome: budget.MissingTenant}, nil, nil
	}
	settings := a.settings()
	if settings.Closed {
		if !change.SetClosed {
			return budget.Configuration{Outcome: budget.Closed}, nil, nil
		}
		return budget.Configuration{Outcome: budget.Configured, Settings: settings}, nil, nil
	}
	settings = change.Apply(settings)
	if err := budget.ValidateOverdraft(a.tenant, a.granted, settings.Overdraft); err != nil {
		return budget.Configuration{}, nil, err
	}
	before := a.reached()
	a.manage(settings, remaining)
	return budget.Configuration{Outcome: budget.Configured, Settings: settings}, a.crossed(nil, before), nil
}
