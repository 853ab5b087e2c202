package local

import (
	"context"

	"github.com/calybris/bursar/coordinator/budget"
)

// TryReserve implements [budget.Engine].
func (e *Engine) TryReserve(_ context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	if cost <= 0 {
		return budget.Reservation{Outcome: budget.Insufficient, Required: cost}, nil
	}
	ttl := e.holdTTL
	if len(opts) > 0 {
		o, err := budget.Apply(opts)
		if err != nil {
			return budget.Reservation{}, err
		}
		if o.HasHoldTTL {
			ttl = o.HoldTTL.Milliseconds()
		}
	}
	a := e.accounts.find(tenant)
	if a == nil {
		return missingTenant(tenant)
	}
	a.advance(e.clock.now())
	remaining, ok := a.debitIfAvailable(cost)
	if !ok {
		return budget.Reservation{Outcome: budget.Insufficient, Remaining: remaining, Required: cost}, nil
	}
	slot, generation := a.hold(cost, ttl)
	a.close(remaining)
	return budget.Reservation{
		Outcome:   budget.Reserved,
		ID:        budget.NewReservationID(a.tenant, a.number<<slotBits|slot, generation),
		Remaining: remaining,
	}, nil
}

func missingTenant(tenant budget.TenantID) (budget.Reservation, error) {
	if err := tenant.Validate(); err != nil {
		return budget.Reservation{}, err
	}
	return budget.Reservation{Outcome: budget.MissingTenant}, nil
}

// hold records a hold for an amount that is already debited. The account must be locked.
func (a *account) hold(amount budget.Microcents, ttl int64) (number, generation uint64) {
	a.reserved += amount
	a.generation++
	now := a.latest.Load()
	until := int64(never)
	if ttl > 0 {
		until = now + ttl
	}
	return a.holds.add(slot{generation: a.generation, held: amount, since: now, until: until}), a.generation
}
