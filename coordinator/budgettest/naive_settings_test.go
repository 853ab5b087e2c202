package budgettest

import (
	"context"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
)

// The settings of accounts in the naive engine.

// finish reports the thresholds that the operation crossed, and releases the lock.
func (e *naive) finish() {
	defer e.mu.Unlock()
	for key, account := range e.accounts {
		tenant, limit := e.name(key, crossesUnnamed)
		reached := account.Crossed()
		if e.mistake == crossesAbove {
			reached = account.Settings.Thresholds.Reached(account.Committed-1, account.Granted)
		}
		before := e.reached[key]
		if e.mistake == crossesRepeatedly {
			before = budget.Thresholds{}
		}
		for _, percent := range reached.Beyond(before) {
			if e.mistake == crossesAtTenant && tenant.Parent() == "" || e.mistake == crossesBaseOnly && !isBase(key) {
				continue
			}
			e.events = append(e.events, budget.Crossing{
				Tenant: tenant, Limit: limit, Percent: percent, Committed: account.Committed, Granted: account.Granted,
			})
		}
		if e.mistake != crossesOnce && e.mistake != crossesFirstEpoch || len(reached.Beyond(before)) > 0 {
			e.reached[key] = reached
		}
	}
}

func (e *naive) crossings() []budget.Crossing {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.events)
}

func (e *naive) frozen(id budget.ReservationID) bool {
	account := e.accounts[id.Tenant()]
	return account != nil && account.Settings.Frozen
}

// payable returns the level with the least amount that a settle of a hold, or of one that
// would be made now, can spend, and the amount.
func (e *naive) payable(levels []budget.TenantID, id budget.ReservationID) (least budget.TenantID, amount budget.Microcents) {
	charged := e.charged(id, levels)
	if e.mistake == coversByBase {
		charged = bases(charged)
	}
	if len(charged) == 0 {
		return levels[0], budget.MaxMicrocents - e.holds[id].Held
	}
	return e.leastOf(charged, func(level budget.TenantID) budget.Microcents {
		b := e.accounts[level]
		if e.mistake == overdrawsAtTenant {
			return b.Remaining + e.accounts[levels[0]].Settings.Overdraft
		}
		if past := e.epochOf(id, level); past != nil {
			return e.payableLate(b, past)
		}
		switch tenant, limit := limitOf(level); {
		case limit != budget.NoPeriod && e.mistake == overdrawsOfBase:
			return sum(b.Remaining, e.accounts[tenant].Settings.Overdraft)
		case limit != budget.NoPeriod && e.mistake == overdrawsNoLimit:
			return b.Remaining
		}
		return b.Remaining + b.Settings.Overdraft
	})
}

// refuse returns the refusal of a reserve by the first check that fails at a level.
func (e *naive) refuse(tenant budget.TenantID, levels []budget.TenantID, cost budget.Microcents) (budget.Reservation, bool) {
	closed := func(level budget.TenantID) budget.Reservation {
		if !e.accounts[level].Settings.Closed || e.mistake == ignoresClosedAncestor && level != tenant {
			return budget.Reservation{}
		}
		return budget.Reservation{Outcome: budget.Closed, Level: level}
	}
	frozen := func(level budget.TenantID) budget.Reservation {
		if !e.accounts[level].Settings.Frozen || e.mistake == ignoresFrozenAncestor && level != tenant {
			return budget.Reservation{}
		}
		return budget.Reservation{Outcome: budget.Frozen, Level: level}
	}
	capped := func(level budget.TenantID) budget.Reservation {
		if e.mistake == ignoresCaps || e.mistake == ignoresAncestorCaps && level != tenant {
			return budget.Reservation{}
		}
		by, limit := e.cappedBy(level, cost)
		if by == budget.NoCap {
			return budget.Reservation{}
		}
		return budget.Reservation{Outcome: budget.Capped, Level: level, Cap: by, CapLimit: limit}
	}
	insufficient := func(budget.TenantID) budget.Reservation { return e.insufficient(levels, cost) }
	checks := []func(budget.TenantID) budget.Reservation{closed, frozen, capped, insufficient}
	if e.mistake == checksMoneyFirst {
		checks[2], checks[3] = checks[3], checks[2]
	}
	if e.mistake == freezesBeforeCloses {
		checks[0], checks[1] = checks[1], checks[0]
	}
	if e.mistake == checksLevelByLevel {
		for _, level := range levels {
			for _, check := range checks {
				if refusal := check(level); refusal.Outcome != budget.Unknown {
					return refusal, true
				}
			}
		}
	}
	if refusal := e.insufficient(levels, cost); e.mistake == checksLimitsFirst && refusal.Limit != budget.NoPeriod {
		return refusal, true
	}
	for _, check := range checks {
		for _, level := range levels {
			if refusal := check(level); refusal.Outcome != budget.Unknown {
				return refusal, true
			}
		}
	}
	return budget.Reservation{}, false
}

func (e *naive) cappedBy(level budget.TenantID, cost budget.Microcents) (budget.Cap, int64) {
	account, open := e.accounts[level], int64(0)
	for id := range e.holds {
		if slices.Contains(e.set(id), level) {
			open++
			if e.mistake == capsByLimits {
				open += int64(len(e.limitsOf(level)))
			}
		}
	}
	if e.mistake == capsByEnded {
		open = int64(len(e.holds) + len(e.ended))
	}
	if e.mistake == capsTheLast {
		cost, open = cost+1, open+1
	}
	reserved := account.Reserved + account.Ended
	if e.mistake == capsForgetEnded {
		reserved = account.Reserved
	}
	if e.mistake == capsForgetEndedHolds {
		open -= e.lateHolds(level)
	}
	return account.Settings.CappedBy(cost, reserved, open)
}

// pays returns the amount that CommitAvailable can charge beyond a hold.
func (e *naive) pays(id budget.ReservationID, payable budget.Microcents) budget.Microcents {
	if e.mistake == takesBackDebt {
		return payable
	}
	if e.mistake == chargesShortfall {
		return budget.MaxMicrocents - e.holds[id].Held
	}
	if e.mistake == availableOfTenant {
		_, payable = e.payable(e.set(id)[:1], id)
	}
	if e.mistake == availableOfBase {
		_, payable = e.payable(bases(e.set(id)), id)
	}
	if e.mistake == outsideLimits {
		_, payable = e.payable(e.set(id), budget.ReservationID{})
	}
	return max(payable, 0)
}

func (e *naive) capped(id budget.ReservationID, actual budget.Microcents) bool {
	limit := e.accounts[id.Tenant()].Settings.CapHold
	return limit > 0 && actual > limit
}

// fits returns ErrOverflow if a budget and an overdraft don't fit 64 bits together.
func (e *naive) fits(tenant budget.TenantID, granted, overdraft budget.Microcents) error {
	if e.mistake == configuresBeyondGranted {
		return nil
	}
	return budget.ValidateOverdraft(tenant, granted, overdraft)
}

func (e *naive) Configure(_ context.Context, tenant budget.TenantID, settings ...budget.Setting) (budget.Configuration, error) {
	change, err := budget.NewChange(settings...)
	if err != nil {
		return budget.Configuration{}, err
	}
	return e.change(tenant, change)
}

func (e *naive) FreezeTenant(_ context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return e.change(tenant, budget.ChangeFrozen)
}

func (e *naive) UnfreezeTenant(_ context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return e.change(tenant, budget.ChangeUnfrozen)
}

func (e *naive) CloseTenant(_ context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return e.change(tenant, budget.ChangeClosed)
}

func (e *naive) change(tenant budget.TenantID, change budget.Change) (budget.Configuration, error) {
	account, err := e.begin(tenant)
	defer e.finish()
	switch {
	case err != nil:
		return budget.Configuration{}, err
	case account == nil:
		return budget.Configuration{Outcome: budget.MissingTenant}, nil
	case e.mistake == reopens && change.SetFrozen && !change.Frozen:
		account.Settings.Closed = false
	case e.mistake == tooManyFirst && e.tooMany(account.Settings, change) != nil:
		return budget.Configuration{}, budget.ErrTooManyLimits
	case account.Settings.Closed && !change.SetClosed && (e.mistake != limitsOfClosed || len(change.Limits) == 0):
		return budget.Configuration{Outcome: budget.Closed}, nil
	case account.Settings.Frozen && e.mistake == limitsOfFrozen && len(change.Limits) > 0:
		return budget.Configuration{Outcome: budget.Frozen}, nil
	}
	if err := e.configure(tenant, account, change); err != nil {
		return budget.Configuration{}, err
	}
	return budget.Configuration{Outcome: budget.Configured, Settings: account.Settings}, nil
}

// configure changes an account and the limits of its tenant, or none of them.
func (e *naive) configure(tenant budget.TenantID, account *budget.Balance, change budget.Change) error {
	after := *account
	overflow := e.apply(tenant, &after, change, false)
	if e.mistake == overflowsFirst && overflow != nil {
		return overflow
	}
	if err := e.tooMany(account.Settings, change); err != nil {
		return err
	}
	if overflow != nil {
		return overflow
	}
	was := account.Settings.Window
	if e.mistake == configuresBaseFirst {
		*account = after
	}
	limits, err := e.drafts(tenant, change)
	if err != nil {
		return err
	}
	if err := e.removeLimits(tenant, change); err != nil {
		return err
	}
	*account = after
	e.rewind(tenant, account, was)
	e.setLimits(limits)
	return nil
}

// apply changes the settings of an account, which may be new, or returns ErrOverflow.
func (e *naive) apply(tenant budget.TenantID, account *budget.Balance, change budget.Change, isNew bool) error {
	after := *account
	after.Settings = change.Apply(account.Settings)
	if e.mistake == forgetsOtherSettings && !isNew {
		after.Settings = change.Settings
		after.Settings.Window, after.Settings.Limits = account.Settings.Window, change.Apply(account.Settings).Limits
	}
	if change.SetWindow {
		if err := e.setWindow(tenant, &after, account.Settings.Window, change.Window, isNew); err != nil {
			return err
		}
	}
	if err := e.fits(tenant, after.Granted, after.Settings.Overdraft); err != nil && (isBase(tenant) || e.mistake != configuresBeyondLimit) {
		return err
	}
	if e.mistake != configuresBeyondAmount {
		if err := e.fits(tenant, after.Settings.Window.Amount, after.Settings.Overdraft); err != nil {
			return err
		}
	}
	*account = after
	return nil
}
