package baseline

import (
	"context"
	"errors"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
)

// checking keeps budgets as most gateways do: a key per tenant with the remaining amount. A
// request reads it, compares in the program, and takes its cost with DECRBY; at the end,
// INCRBY returns the rest. The node that made a hold remembers its amount and settles it
// once. But other requests come between the read and the DECRBY: when a budget runs out,
// several of them see the same money, and all spend it.
type checking struct {
	client redis.UniversalClient
	prefix string
	ids    *ids
	held   sync.Map // budget.ReservationID → budget.Microcents
}

func (c *checking) key(tenant budget.TenantID) string {
	return c.prefix + ":check:{" + string(tenant) + "}"
}

// Create writes the remaining amount.
func (c *checking) Create(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) error {
	return c.client.Set(ctx, c.key(tenant), int64(amount), 0).Err()
}

// Spent returns the difference to the budget, which includes holds.
func (c *checking) Spent(ctx context.Context, tenant budget.TenantID, granted budget.Microcents) (budget.Microcents, error) {
	remaining, err := c.remaining(ctx, tenant)
	return granted - remaining, err
}

func (c *checking) remaining(ctx context.Context, tenant budget.TenantID) (budget.Microcents, error) {
	remaining, err := c.client.Get(ctx, c.key(tenant)).Int64()
	return budget.Microcents(remaining), err
}

// TryReserve returns Reserved, Insufficient or MissingTenant.
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

// Commit returns Committed, Overrun or MissingReservation. An amount above the hold is
// checked and taken like a reserve.
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

// Release commits nothing.
func (c *checking) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	return released(c.Commit(ctx, id, 0))
}
