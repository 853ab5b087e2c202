package local

import (
	"context"

	"github.com/calybris/bursar/coordinator/budget"
)

// TryReserve implements [budget.Engine].
func (e *Engine) TryReserve(_ context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (res budget.Reservation, err error) {
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
	if now := e.clock.now(); now > a.latest.Load() {
		// The time of an account with a parent is that of its root, so it comes here always.
		if a.parent != nil {
			return a.reserveLevels(cost, ttl, now), nil
		}
		a.advanceSlow(now)
	}
	// The first attempt of debitIfAvailable, without the call. A marked word is less than any
	// cost.
	left := budget.Microcents(a.remaining.Load())
	remaining := left - cost // used only if left covers the cost
	if left < cost || !a.remaining.CompareAndSwap(int64(left), int64(remaining)|mark) {
		if left >= 0 && left < cost {
			res.Outcome, res.Remaining, res.Level, res.Required = budget.Insufficient, left, a.tenant, cost
			return res, nil
		}
		var ok bool
		if remaining, ok = a.debitIfAvailable(cost); !ok {
			return a.refusal(remaining, cost), nil
		}
	}
	slot, generation := a.hold(cost, ttl)
	a.close(remaining)
	res.Outcome, res.Remaining, res.Level = budget.Reserved, remaining, a.tenant
	res.ID = a.id(slot, generation)
	return res, nil
}

// refusal returns the result of a reserve that debitIfAvailable refused.
func (a *account) refusal(remaining, cost budget.Microcents) budget.Reservation {
	if remaining == missing {
		return budget.Reservation{Outcome: budget.MissingTenant}
	}
	return budget.Reservation{Outcome: budget.Insufficient, Remaining: remaining, Level: a.tenant, Required: cost}
}

func (a *account) id(slot, generation uint64) budget.ReservationID {
	return budget.NewReservationID(a.tenant, uint64(a.number)<<slotBits|slot, generation)
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
	a.generation += setMask + 1
	now := a.latest.Load()
	return a.holds.add(slot{generation: a.generation, held: amount, since: now, until: until(now, ttl)}), a.generation
}

// until returns the deadline of a hold.
func until(now, ttl int64) int64 {
	if ttl > 0 {
		return now + ttl
	}
	return never
}

// reserveLevels reserves for a tenant with ancestors. All levels are locked before the
// first is checked, so the amounts are of one instant, and nothing is debited anywhere
// before the cost is covered everywhere.
func (a *account) reserveLevels(cost budget.Microcents, ttl, now int64) budget.Reservation {
	a.family.root.advance(now)
	var p path
	for withRoot := false; ; withRoot = true {
		p.openExisting(a, withRoot)
		if p.set&ownSet == 0 {
			p.close()
			return budget.Reservation{Outcome: budget.MissingTenant}
		}
		least := p.least() // stays the same, since all levels are debited by the same amount
		if p.remaining[least] < cost {
			p.close()
			return budget.Reservation{Outcome: budget.Insufficient, Remaining: p.remaining[least], Level: p.levels[least].tenant, Required: cost}
		}
		slot, generation, ok := p.hold(cost, ttl)
		if !ok {
			p.close()
			continue
		}
		p.close()
		return budget.Reservation{
			Outcome: budget.Reserved, ID: a.id(slot, generation),
			Remaining: p.remaining[least], Level: p.levels[least].tenant,
		}
	}
}

// hold debits all levels and records the hold. It changes nothing and returns false if the
// root must be locked first: the hold's deadline is earlier than any that the family has
// for the tenant.
//
// If the root isn't locked, another goroutine may be ending the holds of the family that are
// due by a time later than now. Either it has yet to come to this tenant, and will wait for
// the lock; or the tenant's due, and so the deadline of this hold, is later than that time.
func (p *path) hold(cost budget.Microcents, ttl int64) (number, generation uint64, ok bool) {
	a := p.levels[0]
	f := a.family
	now := f.root.latest.Load()
	deadline := until(now, ttl)
	if deadline < a.due {
		if p.levels[p.n-1].parent != nil {
			return 0, 0, false
		}
		a.due = deadline
		f.earliest.lower(uint64(a.place), deadline)
	}
	for k := range p.n {
		if p.set>>k&1 != 0 {
			p.remaining[k] -= cost
			p.levels[k].reserved += cost
		}
	}
	a.generation += setMask + 1
	generation = a.generation&^setMask | p.set
	return a.holds.add(slot{generation: generation, held: cost, since: now, until: deadline}), generation, true
}
