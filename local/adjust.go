package local

import (
	"context"
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/wording"
)

// Grant implements [budget.Engine].
func (e *Engine) Grant(_ context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	a, err := e.adjusted("grant", tenant, amount)
	if err != nil {
		return budget.Adjustment{}, err
	}
	if a == nil {
		return budget.Adjustment{Outcome: budget.MissingTenant}, nil
	}
	remaining := a.openCurrent()
	if remaining == missing {
		a.close(missing)
		return budget.Adjustment{Outcome: budget.MissingTenant}, nil
	}
	if a.settings().Closed {
		a.close(remaining)
		return budget.Adjustment{Outcome: budget.Closed}, nil
	}
	if room := a.grantable(); amount > room {
		a.close(remaining)
		_, err := (budget.MaxMicrocents - room).Add(amount)
		return budget.Adjustment{}, fmt.Errorf("grant to tenant %q, which has room for %s: %w", tenant, wording.Count(room, "microcent"), err)
	}
	// remaining is at most granted, so this sum doesn't overflow either.
	a.granted += amount
	remaining += amount
	a.close(remaining)
	return budget.Adjustment{Outcome: budget.Granted, Remaining: remaining}, nil
}

// Withdraw implements [budget.Engine].
func (e *Engine) Withdraw(_ context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	a, err := e.adjusted("withdraw", tenant, amount)
	if err != nil {
		return budget.Adjustment{}, err
	}
	if a == nil {
		return budget.Adjustment{Outcome: budget.MissingTenant}, nil
	}
	remaining := a.openCurrent()
	if remaining == missing {
		a.close(missing)
		return budget.Adjustment{Outcome: budget.MissingTenant}, nil
	}
	if remaining < amount {
		a.close(remaining)
		return budget.Adjustment{Outcome: budget.Insufficient, Remaining: max(remaining, 0), Required: amount}, nil
	}
	before := a.reached()
	a.granted -= amount
	remaining -= amount
	events := a.crossed(nil, before)
	a.close(remaining)
	e.report(events)
	return budget.Adjustment{Outcome: budget.Withdrawn, Remaining: remaining}, nil
}

func (e *Engine) adjusted(verb string, tenant budget.TenantID, amount budget.Microcents) (*account, error) {
	if err := budget.ValidateAdjustment(verb, tenant, amount); err != nil {
		return nil, err
	}
	return e.account(tenant)
}
