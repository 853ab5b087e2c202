package budgettest

import (
	"context"

	"github.com/calybris/bursar/coordinator/budget"
)

// flat is the engine of the checks in which no tenant has an ancestor. It removes the Level
// of the results, which can only be the tenant, so that these checks don't depend on it.
type flat struct {
	budget.Engine
	x *fixture
}

func (e flat) check(tenant, level budget.TenantID, outcome budget.Outcome) {
	if level != "" && level != tenant {
		e.x.t.Errorf("a result for %q names the level %q, which it doesn't have: %s", tenant, level, outcome)
	}
}

// TryReserve calls the engine, and removes the level from the result.
func (e flat) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	res, err := e.Engine.TryReserve(ctx, tenant, cost, opts...)
	e.check(tenant, res.Level, res.Outcome)
	res.Level = ""
	return res, err
}

// Commit calls the engine, and removes the level from the result.
func (e flat) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	res, err := e.Engine.Commit(ctx, id, actual)
	return e.settled(id, res), err
}

// CommitAvailable calls the engine, and removes the level from the result.
func (e flat) CommitAvailable(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	res, err := e.Engine.CommitAvailable(ctx, id, actual)
	return e.settled(id, res), err
}

// Release calls the engine, and removes the level from the result.
func (e flat) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	res, err := e.Engine.Release(ctx, id)
	return e.settled(id, res), err
}

func (e flat) settled(id budget.ReservationID, res budget.Settlement) budget.Settlement {
	e.check(id.Tenant(), res.Level, res.Outcome)
	res.Level = ""
	return res
}

// Remaining calls the engine, and removes the level from the result.
func (e flat) Remaining(ctx context.Context, tenant budget.TenantID) (budget.Remainder, error) {
	res, err := e.Engine.Remaining(ctx, tenant)
	e.check(tenant, res.Level, res.Outcome)
	res.Level = ""
	return res, err
}
