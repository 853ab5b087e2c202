package baseline

import (
	"context"
	"errors"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
)

// checking is a budget as most gateways keep it: one key a tenant with what
// remains; a request reads it, compares in the program, and takes its cost with
// DECRBY; when it has ended, INCRBY gives back what it did not need. Each command
// is exact, and what a hold is worth is known to the node that made it, which
// settles it once. But others come between the look and the taking: where a budget
// runs out, several see the same money, and all of them spend it.
type checking struct {
	client redis.UniversalClient
	prefix string
	ids    *ids
	held   sync.Map // budget.ReservationID → budget.Microcents
}

func (c *checking) key(tenant budget.TenantID) string {
	return c.prefix + ":check:{" + string(tenant) + "}"
}

// Create writes what remains.
func (c *checking) Create(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) error {
	return c.client.Set(ctx, c.key(tenant), int64(amount), 0).Err()
}

// Spent is what is gone from the budget; which part of it is held the key does not say.
func (c *checking) Spent(ctx context.Context, tenant budget.TenantID, granted budget.Microcents) (budget.Microcents, error) {
	remaining, err := c.remaining(ctx, tenant)
	return granted - remaining, err
}

func (c *checking) remaining(ctx context.Context, tenant budget.TenantID) (budget.Microcents, error) {
	remaining, err := c.client.Get(ctx, c.key(tenant)).Int64()
	return budget.Microcents(remaining), err
}

// TryReserve is Reserved, Insufficient or MissingTenant.
func (c *checking) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, _ ...budget.ReserveOption) (budget.Reservation, error) {
	remaining, err := c.remaining(ctx, tenant)
	switch {
	case errors.Is(err, redis.Nil):
		return budget.Reservation{Outcome: budget.MissingTenant}, nil
	case err != nil:
		return budget.Reservation{}, err
	case cost <= 0 || remaining < cost:
		return budget.Reservation{Outcome: budget.Insufficient, Remaining: remaining, Required: cost}, nil
	}
	left, err := c.client.DecrBy(ctx, c.key(tenant), int64(cost)).Result()
	if err != nil {
		return budget.Reservation{}, err
	}
	id := c.ids.next(tenant)
	c.held.Store(id, cost)
	return budget.Reservation{Outcome: budget.Reserved, ID: id, Remaining: budget.Microcents(left)}, nil
}

// Commit is Committed, Overrun or MissingReservation. What exceeds the hold is
// checked and taken as a reserve is.
func (c *checking) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	value, ok := c.held.LoadAndDelete(id)
	if !ok {
		return budget.Settlement{Outcome: budget.MissingReservation}, nil
	}
	surplus := value.(budget.Microcents) - actual
	if surplus < 0 {
		remaining, err := c.remaining(ctx, id.Tenant())
		if err != nil {
			return budget.Settlement{}, err
		}
		if remaining < -surplus {
			c.held.Store(id, value)
			return budget.Settlement{Outcome: budget.Overrun, Remaining: remaining}, nil
		}
	}
	left, err := c.client.IncrBy(ctx, c.key(id.Tenant()), int64(surplus)).Result()
	if err != nil {
		return budget.Settlement{}, err
	}
	return budget.Settlement{Outcome: budget.Committed, Remaining: budget.Microcents(left), Actual: actual}, nil
}

// Release is a commit of nothing.
func (c *checking) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	settled, err := c.Commit(ctx, id, 0)
	if settled.Outcome == budget.Committed {
		settled.Outcome = budget.Released
	}
	return settled, err
}
