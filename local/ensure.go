package local

import (
	"context"

	"github.com/calybris/bursar/coordinator/budget"
)

// EnsureTenant implements [budget.Engine].
func (e *Engine) EnsureTenant(_ context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Ensured, error) {
	if err := budget.ValidateBudget(tenant, amount); err != nil {
		return budget.Ensured{}, err
	}
	a, created := e.accounts.create(tenant, amount)
	if created {
		return budget.Ensured{Outcome: budget.Created, Remaining: amount}, nil
	}
	a.advance(e.clock.now())
	return budget.Ensured{Outcome: budget.Exists, Remaining: a.look()}, nil
}
