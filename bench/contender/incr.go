package contender

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
)

// counting answers every question with one INCR of the tenant's key: what Redis
// and go-redis can do at most, one call each. It decides nothing.
type counting struct {
	client redis.UniversalClient
	prefix string
}

// Create makes nothing: a counter begins where it is first counted.
func (n counting) Create(context.Context, budget.TenantID, budget.Microcents) error { return nil }

// Spent returns 0: a counter keeps no accounts.
func (n counting) Spent(context.Context, budget.TenantID, budget.Microcents) (budget.Microcents, error) {
	return 0, nil
}

func (n counting) incr(ctx context.Context, tenant budget.TenantID) (uint64, error) {
	count, err := n.client.Incr(ctx, n.prefix+":incr:"+string(tenant)).Uint64()
	return count, err
}

// TryReserve counts one, and always says yes.
func (n counting) TryReserve(ctx context.Context, tenant budget.TenantID, _ budget.Microcents, _ ...budget.ReserveOption) (budget.Reservation, error) {
	count, err := n.incr(ctx, tenant)
	if err != nil {
		return budget.Reservation{}, err
	}
	return budget.Reservation{Outcome: budget.Reserved, ID: budget.NewReservationID(tenant, 0, count)}, nil
}

// Commit counts one.
func (n counting) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	if _, err := n.incr(ctx, id.Tenant()); err != nil {
		return budget.Settlement{}, err
	}
	return budget.Settlement{Outcome: budget.Committed, Actual: actual}, nil
}

// Release counts one.
func (n counting) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	if _, err := n.incr(ctx, id.Tenant()); err != nil {
		return budget.Settlement{}, err
	}
	return budget.Settlement{Outcome: budget.Released}, nil
}
