package coordinator

import (
	"context"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/lane"
)

// EnsureTenant implements [budget.Engine].
func (c *Coordinator) EnsureTenant(ctx context.Context, tenant budget.TenantID, amount budget.Microcents, settings ...budget.Setting) (budget.Ensured, error) {
	if err := budget.ValidateBudget(tenant, amount); err != nil {
		return budget.Ensured{}, err
	}
	call := lane.NewCall(opEnsure.kind(), tenant, amount, budget.ReservationID{})
	if len(settings) > 0 {
		change, err := budget.NewChange(settings...)
		if err == nil {
			err = change.ValidateEnsure(tenant, amount)
		}
		if err != nil {
			return budget.Ensured{}, err
		}
		call.WithChange(&change)
	}
	a, _, err := c.do(ctx, opEnsure, call)
	if err != nil {
		return budget.Ensured{}, err
	}
	return budget.Ensured{Outcome: a.Outcome, Remaining: a.Remaining}, nil
}

// TryReserve implements [budget.Engine]. After an error that is not [ErrUnknownOutcome]
// nothing is held; after an [ErrUnknownOutcome] the coordinator releases the hold if
// there is one.
func (c *Coordinator) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	if cost <= 0 {
		c.refuse(ctx, opReserve, budget.Insufficient)
		return budget.Reservation{Outcome: budget.Insufficient, Required: cost}, nil
	}
	if err := tenant.Validate(); err != nil {
		return budget.Reservation{}, err
	}
	o, err := budget.Apply(opts)
	if err != nil {
		return budget.Reservation{}, err
	}
	call := lane.NewCall(opReserve.kind(), tenant, cost, budget.ReservationID{})
	if o.HasHoldTTL {
		call.WithTTL(o.HoldTTL)
	}
	a, id, err := c.do(ctx, opReserve, call)
	if err != nil {
		return budget.Reservation{}, err
	}
	r := budget.Reservation{
		Outcome: a.Outcome, Remaining: a.Remaining, Level: a.Level, Limit: a.Limit, Required: a.Required, Cap: a.Cap, CapLimit: a.CapLimit, Renews: a.Renews,
	}
	if a.Outcome == budget.Reserved {
		r.ID = id
	}
	return r, nil
}

// Commit implements [budget.Engine]. It may be repeated after any error: a hold
// settles once.
func (c *Coordinator) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	return c.commit(ctx, opCommit, id, actual)
}

// CommitAvailable implements [budget.Engine]. It may be repeated after any error: a hold
// settles once.
func (c *Coordinator) CommitAvailable(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	return c.commit(ctx, opCommitAvailable, id, actual)
}

func (c *Coordinator) commit(ctx context.Context, op operation, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	if actual < 0 {
		c.refuse(ctx, op, budget.InvalidAmount)
		return budget.Settlement{Outcome: budget.InvalidAmount}, nil
	}
	return c.settle(ctx, op, id, actual)
}

// Release implements [budget.Engine]. It may be repeated after any error: a hold
// settles once.
func (c *Coordinator) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	return c.settle(ctx, opRelease, id, 0)
}

func (c *Coordinator) settle(ctx context.Context, op operation, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	if err := id.Validate(); err != nil {
		return budget.Settlement{}, err
	}
	a, _, err := c.do(ctx, op, lane.NewCall(op.kind(), id.Tenant(), actual, id))
	if err != nil {
		return budget.Settlement{}, err
	}
	return settlement(a), nil
}

func settlement(a lane.Answer) budget.Settlement {
	return budget.Settlement{
		Outcome: a.Outcome, Remaining: a.Remaining, Level: a.Level, Limit: a.Limit,
		Actual: a.Actual, Shortfall: a.Shortfall, Returned: a.Returned, Prior: a.Prior,
	}
}

// Lookup implements [budget.Engine]. The end of a hold is known for the retention, see
// [WithRetention]. After an [ErrUnknownOutcome] its id may be looked up on the same node:
// Lookup waits until the outcome is known and an abandoned hold is released.
func (c *Coordinator) Lookup(ctx context.Context, id budget.ReservationID) (budget.Fate, error) {
	if err := id.Validate(); err != nil {
		return budget.Fate{}, err
	}
	a, _, err := c.do(ctx, opLookup, lane.NewCall(opLookup.kind(), id.Tenant(), 0, id))
	if err != nil {
		return budget.Fate{}, err
	}
	f := budget.Fate{Outcome: a.Outcome, Amount: a.Actual}
	if a.At != 0 {
		f.At = time.UnixMilli(a.At).UTC()
	}
	if a.Until != 0 {
		f.Deadline = time.UnixMilli(a.Until).UTC()
	}
	return f, nil
}

// DeleteTenant deletes a tenant's account with its record of spending. Its outcomes are
// MissingTenant; HoldsOpen with the balance, which changes nothing, if the account counts
// open holds, of the tenant or of one below it; Deleted with the final balance. The accounts
// below it stay, and are no longer limited by it. EnsureTenant can create it again.
func (c *Coordinator) DeleteTenant(ctx context.Context, tenant budget.TenantID) (budget.Balance, error) {
	a, err := c.read(ctx, opDelete, tenant)
	if err != nil {
		return budget.Balance{}, err
	}
	if a.Outcome == budget.MissingTenant {
		return budget.Balance{Outcome: a.Outcome}, nil
	}
	return *a.Balance, nil
}

// Remaining implements [budget.Engine].
func (c *Coordinator) Remaining(ctx context.Context, tenant budget.TenantID) (budget.Remainder, error) {
	a, err := c.read(ctx, opRemaining, tenant)
	if err != nil {
		return budget.Remainder{}, err
	}
	return budget.Remainder{Outcome: a.Outcome, Remaining: a.Remaining, Level: a.Level, Limit: a.Limit, Renews: a.Renews}, nil
}

// Balance implements [budget.Engine].
func (c *Coordinator) Balance(ctx context.Context, tenant budget.TenantID, opts ...budget.BalanceOption) (budget.Balance, error) {
	o, err := budget.ApplyBalance(opts)
	if err != nil {
		return budget.Balance{}, err
	}
	if err := tenant.Validate(); err != nil {
		return budget.Balance{}, err
	}
	call := lane.NewCall(opBalance.kind(), tenant, 0, budget.ReservationID{}).OfLimit(o.Limit)
	if o.At != 0 {
		call.AtEpoch(o.At)
	}
	a, _, err := c.do(ctx, opBalance, call)
	if err != nil {
		return budget.Balance{}, err
	}
	if a.Outcome != budget.Found {
		return budget.Balance{Outcome: a.Outcome}, nil
	}
	return *a.Balance, nil
}

// Limits implements [budget.Engine].
func (c *Coordinator) Limits(ctx context.Context, tenant budget.TenantID) (budget.LimitList, error) {
	a, err := c.read(ctx, opLimits, tenant)
	if err != nil {
		return budget.LimitList{}, err
	}
	if a.Outcome != budget.Found {
		return budget.LimitList{Outcome: a.Outcome}, nil
	}
	return *a.Limits, nil
}

func (c *Coordinator) read(ctx context.Context, op operation, tenant budget.TenantID) (lane.Answer, error) {
	if err := tenant.Validate(); err != nil {
		return lane.Answer{}, err
	}
	a, _, err := c.do(ctx, op, lane.NewCall(op.kind(), tenant, 0, budget.ReservationID{}))
	return a, err
}

// Grant implements [budget.Engine]. Do not repeat it after [ErrUnknownOutcome] without
// checking Balance: each grant that takes effect adds.
func (c *Coordinator) Grant(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	return c.adjust(ctx, opGrant, tenant, amount)
}

// Withdraw implements [budget.Engine]. Do not repeat it after [ErrUnknownOutcome] without
// checking Balance: each withdrawal that takes effect subtracts.
func (c *Coordinator) Withdraw(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	return c.adjust(ctx, opWithdraw, tenant, amount)
}

func (c *Coordinator) adjust(ctx context.Context, op operation, tenant budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	if err := budget.ValidateAdjustment(op.String(), tenant, amount); err != nil {
		return budget.Adjustment{}, err
	}
	a, _, err := c.do(ctx, op, lane.NewCall(op.kind(), tenant, amount, budget.ReservationID{}))
	if err != nil {
		return budget.Adjustment{}, err
	}
	return budget.Adjustment{Outcome: a.Outcome, Remaining: a.Remaining, Required: a.Required}, nil
}

// refuse counts an operation that is answered without Redis.
func (c *Coordinator) refuse(ctx context.Context, op operation, outcome budget.Outcome) {
	c.telemetry.end(ctx, c.telemetry.begin(ctx, op), lane.Answer{Outcome: outcome}, nil)
}
