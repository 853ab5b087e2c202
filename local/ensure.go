package local

import (
	"context"

	"github.com/calybris/bursar/coordinator/budget"
)

// EnsureTenant implements [budget.Engine].
func (e *Engine) EnsureTenant(_ context.Context, tenant budget.TenantID, amount budget.Microcents, settings ...budget.Setting) (budget.Ensured, error) {
	if err := budget.ValidateBudget(tenant, amount); err != nil {
		return budget.Ensured{}, err
	}
	change, err := budget.NewChange(settings...)
	if err != nil {
		return budget.Ensured{}, err
	}
	initial := change.Apply(budget.Settings{})
	if initial.Window.Period != budget.NoPeriod && initial.Window.Amount == 0 {
		initial.Window.Amount = amount
	}
	if err := change.ValidateEnsure(tenant, amount); err != nil {
		return budget.Ensured{}, err
	}
	for {
		if a := e.accounts.find(tenant); a != nil {
			a.advance(e.clock.now())
			remaining, ok := a.look()
			if !ok {
				remaining = a.openCurrent()
				a.close(remaining)
			}
			if remaining != missing {
				return budget.Ensured{Outcome: budget.Exists, Remaining: remaining}, nil
			}
		}
		if _, created := e.accounts.create(tenant, amount, initial, change.Limits, e.clock.now()); created {
			return budget.Ensured{Outcome: budget.Created, Remaining: amount}, nil
		}
	}
}

// DeleteTenant deletes a tenant's account with its record of spending: MissingTenant;
// HoldsOpen with the balance, which changes nothing, if the account counts open holds, of
// the tenant or of one below it; Deleted with the balance. The accounts below it stay. The
// memory of a deleted account is not freed, but used again if the tenant is created again.
func (e *Engine) DeleteTenant(_ context.Context, tenant budget.TenantID) (budget.Balance, error) {
	a, err := e.account(tenant)
	if err != nil {
		return budget.Balance{}, err
	}
	if a == nil {
		return budget.Balance{Outcome: budget.MissingTenant}, nil
	}
	return e.accounts.delete(a), nil
}
