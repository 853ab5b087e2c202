package coordinator

import (
	"context"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/lane"
)

// Configure implements [budget.Engine]. It may be repeated after any error. If a failover
// loses it, the loss is logged, and it has to be repeated.
func (c *Coordinator) Configure(ctx context.Context, tenant budget.TenantID, settings ...budget.Setting) (budget.Configuration, error) {
	if err := tenant.Validate(); err != nil {
		return budget.Configuration{}, err
	}
	change, err := budget.NewChange(settings...)
	if err != nil {
		return budget.Configuration{}, err
	}
	return c.configure(ctx, opConfigure, tenant, change)
}

// FreezeTenant implements [budget.Engine]. It may be repeated after any error. Once it has
// returned, every node rejects reserves of the tenant and of those below it. If a failover
// loses the freeze, this node repeats it (see [WithRepair]).
func (c *Coordinator) FreezeTenant(ctx context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return c.configure(ctx, opFreeze, tenant, budget.ChangeFrozen)
}

// UnfreezeTenant implements [budget.Engine]. It may be repeated after any error. If a
// failover loses it, the account is frozen again, the loss is logged, and it has to be
// repeated.
func (c *Coordinator) UnfreezeTenant(ctx context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return c.configure(ctx, opUnfreeze, tenant, budget.ChangeUnfrozen)
}

// CloseTenant implements [budget.Engine]. It may be repeated after any error, and after a
// failover it is repeated as a freeze is.
func (c *Coordinator) CloseTenant(ctx context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return c.configure(ctx, opClose, tenant, budget.ChangeClosed)
}

func (c *Coordinator) configure(ctx context.Context, op operation, tenant budget.TenantID, change budget.Change) (budget.Configuration, error) {
	if err := tenant.Validate(); err != nil {
		return budget.Configuration{}, err
	}
	call := lane.NewCall(op.kind(), tenant, change.Overdraft, budget.ReservationID{}).WithChange(&change)
	a, _, err := c.do(ctx, op, call)
	if err != nil {
		return budget.Configuration{}, err
	}
	if a.Outcome != budget.Configured {
		return budget.Configuration{Outcome: a.Outcome}, nil
	}
	return budget.Configuration{Outcome: a.Outcome, Settings: *a.Settings}, nil
}
