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

func (c *checking) reserve(ctx context.Context, id budget.ReservationID, cost budget.Microcents) (decision, error) {
	remaining, err := c.remaining(ctx, id.Tenant())
	switch {
	case errors.Is(err, redis.Nil):
		return decision{budget.MissingTenant, 0}, nil
	case err != nil:
		return decision{}, err
	case cost <= 0 || remaining < cost:
		return decision{budget.Insufficient, remaining}, nil
	}
	left, err := c.client.DecrBy(ctx, c.key(id.Tenant()), int64(cost)).Result()
	if err == nil {
		c.held.Store(id, cost)
	}
	return decision{budget.Reserved, budget.Microcents(left)}, err
}

// settle checks and takes an amount above the hold like a reserve.
func (c *checking) settle(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (decision, error) {
	value, ok := c.held.LoadAndDelete(id)
	if !ok {
		return decision{budget.MissingReservation, 0}, nil
	}
	surplus := value.(budget.Microcents) - actual
	if surplus < 0 {
		remaining, err := c.remaining(ctx, id.Tenant())
		if err != nil {
			return decision{}, err
		}
		if remaining < -surplus {
			c.held.Store(id, value)
			return decision{budget.Overrun, remaining}, nil
		}
	}
	left, err := c.client.IncrBy(ctx, c.key(id.Tenant()), int64(surplus)).Result()
	return decision{budget.Committed, budget.Microcents(left)}, err
}
