package coordinator

import (
	"context"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// EnsureTenant implements [budget.Engine]. From a node that knew the tenant's
// family before Redis lost it, it is ErrRecreated.
func (c *Coordinator) EnsureTenant(ctx context.Context, tenant budget.TenantID, amount budget.Microcents, opts ...budget.Option) (budget.Ensured, error) {
	if err := budget.ValidateBudget(tenant, amount); err != nil {
		return budget.Ensured{}, err
	}
	if err := validateOptions(opts); err != nil {
		return budget.Ensured{}, err
	}
	a, _, err := c.submit(ctx, newCall(luascripts.KindEnsure, tenant, amount, budget.ReservationID{}))
	if err != nil {
		return budget.Ensured{}, err
	}
	return budget.Ensured{Outcome: a.outcome, Remaining: a.remaining}, nil
}

// TryReserve implements [budget.Engine]. After an error that is not
// ErrUnknownOutcome nothing is held; after one that is, the coordinator releases
// what it finds held.
func (c *Coordinator) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.Option) (budget.Reservation, error) {
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
	op := newCall(luascripts.KindReserve, tenant, cost, budget.ReservationID{})
	if o.HasHoldTTL {
		op.kind, op.holdTTL = luascripts.KindReserveTTL, o.HoldTTL
	}
	a, id, err := c.submit(ctx, op)
	if err != nil {
		return budget.Reservation{}, err
	}
	r := budget.Reservation{Outcome: a.outcome, Remaining: a.remaining, Required: a.required}
	if a.outcome == budget.Reserved {
		r.ID = id
	}
	return r, nil
}

// Commit implements [budget.Engine]. It may be repeated after any error: a hold
// settles once.
func (c *Coordinator) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents, opts ...budget.Option) (budget.Settlement, error) {
	if actual < 0 {
		c.refuse(ctx, opCommit, budget.InvalidAmount)
		return budget.Settlement{Outcome: budget.InvalidAmount}, nil
	}
	return c.settle(ctx, luascripts.KindCommit, id, actual, opts)
}

// Release implements [budget.Engine]. It may be repeated after any error: a hold
// settles once.
func (c *Coordinator) Release(ctx context.Context, id budget.ReservationID, opts ...budget.Option) (budget.Settlement, error) {
	return c.settle(ctx, luascripts.KindRelease, id, 0, opts)
}

func (c *Coordinator) settle(ctx context.Context, kind byte, id budget.ReservationID, actual budget.Microcents, opts []budget.Option) (budget.Settlement, error) {
	if err := id.Validate(); err != nil {
		return budget.Settlement{}, err
	}
	if err := validateOptions(opts); err != nil {
		return budget.Settlement{}, err
	}
	a, _, err := c.submit(ctx, newCall(kind, id.Tenant(), actual, id))
	if err != nil {
		return budget.Settlement{}, err
	}
	return a.settlement(), nil
}

// Lookup implements [budget.Engine]. How a hold ended is told within the
// retention, see WithRetention. After an ErrUnknownOutcome its id may be looked up
// on the same node: the answer waits until the outcome is known, and until what
// nobody was told of is released.
func (c *Coordinator) Lookup(ctx context.Context, id budget.ReservationID, opts ...budget.Option) (budget.Fate, error) {
	if err := id.Validate(); err != nil {
		return budget.Fate{}, err
	}
	if err := validateOptions(opts); err != nil {
		return budget.Fate{}, err
	}
	a, _, err := c.submit(ctx, newCall(luascripts.KindLookup, id.Tenant(), 0, id))
	if err != nil {
		return budget.Fate{}, err
	}
	return a.fate(), nil
}

// DeleteTenant ends a tenant's account, with the books of what it has spent, and
// answers MissingTenant; HoldsOpen, with the terms as they are, where holds are open,
// and nothing is changed; or Deleted with the terms as they were. Levels below the
// tenant are accounts of their own, and stay. EnsureTenant makes it anew.
func (c *Coordinator) DeleteTenant(ctx context.Context, tenant budget.TenantID, opts ...budget.Option) (budget.Balance, error) {
	a, err := c.read(ctx, luascripts.KindDelete, tenant, opts)
	if err != nil {
		return budget.Balance{}, err
	}
	if a.outcome == budget.MissingTenant {
		return budget.Balance{Outcome: a.outcome}, nil
	}
	return a.balance, nil
}

// Remaining implements [budget.Engine].
func (c *Coordinator) Remaining(ctx context.Context, tenant budget.TenantID, opts ...budget.Option) (budget.Remainder, error) {
	a, err := c.read(ctx, luascripts.KindRemaining, tenant, opts)
	if err != nil {
		return budget.Remainder{}, err
	}
	return budget.Remainder{Outcome: a.outcome, Remaining: a.remaining}, nil
}

// Balance implements [budget.Engine].
func (c *Coordinator) Balance(ctx context.Context, tenant budget.TenantID, opts ...budget.Option) (budget.Balance, error) {
	a, err := c.read(ctx, luascripts.KindBalance, tenant, opts)
	if err != nil {
		return budget.Balance{}, err
	}
	if a.outcome != budget.Found {
		return budget.Balance{Outcome: a.outcome}, nil
	}
	return a.balance, nil
}

func (c *Coordinator) read(ctx context.Context, kind byte, tenant budget.TenantID, opts []budget.Option) (answer, error) {
	if err := tenant.Validate(); err != nil {
		return answer{}, err
	}
	if err := validateOptions(opts); err != nil {
		return answer{}, err
	}
	a, _, err := c.submit(ctx, newCall(kind, tenant, 0, budget.ReservationID{}))
	return a, err
}

// Grant implements [budget.Engine]. Do not repeat it after ErrUnknownOutcome
// without a look at Balance: each one that takes effect adds.
func (c *Coordinator) Grant(ctx context.Context, tenant budget.TenantID, amount budget.Microcents, opts ...budget.Option) (budget.Adjustment, error) {
	return c.adjust(ctx, luascripts.KindGrant, "grant", tenant, amount, opts)
}

// Withdraw implements [budget.Engine]. Do not repeat it after ErrUnknownOutcome
// without a look at Balance: each one that takes effect takes.
func (c *Coordinator) Withdraw(ctx context.Context, tenant budget.TenantID, amount budget.Microcents, opts ...budget.Option) (budget.Adjustment, error) {
	return c.adjust(ctx, luascripts.KindWithdraw, "withdraw", tenant, amount, opts)
}

func (c *Coordinator) adjust(ctx context.Context, kind byte, verb string, tenant budget.TenantID, amount budget.Microcents, opts []budget.Option) (budget.Adjustment, error) {
	if err := budget.ValidateAdjustment(verb, tenant, amount); err != nil {
		return budget.Adjustment{}, err
	}
	if err := validateOptions(opts); err != nil {
		return budget.Adjustment{}, err
	}
	a, _, err := c.submit(ctx, newCall(kind, tenant, amount, budget.ReservationID{}))
	if err != nil {
		return budget.Adjustment{}, err
	}
	return budget.Adjustment{Outcome: a.outcome, Remaining: a.remaining, Required: a.required}, nil
}

// refuse counts an operation that is answered without Redis.
func (c *Coordinator) refuse(ctx context.Context, op operation, outcome budget.Outcome) {
	c.telemetry.end(ctx, c.telemetry.begin(ctx, op), answer{outcome: outcome}, nil)
}

// validateOptions is for operations that take no option: a bad one is an error all
// the same.
func validateOptions(opts []budget.Option) error {
	_, err := budget.Apply(opts)
	return err
}
