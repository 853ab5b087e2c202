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
			a.family.root.advance(now)
			return a.reserveLevels(cost, ttl), nil
		}
		a.advanceSlow(now)
	}
	// The first attempt of debitIfAvailable, without the call. A word that isn't an amount is
	// less than any cost.
	left := budget.Microcents(a.word.Load())
	remaining := left - cost // used only if left covers the cost
	if left < cost || !a.word.CompareAndSwap(int64(left), locked) {
		if left >= 0 && left < cost {
			res.Outcome, res.Remaining, res.Level, res.Required = budget.Insufficient, left, a.tenant, cost
			return res, nil
		}
		var ok bool
		if remaining, ok = a.debitIfAvailable(cost); !ok {
			return a.reserveSlow(remaining, cost, ttl), nil
		}
	}
	slot, generation := a.hold(cost, ttl)
	a.closePlain(remaining)
	res.Outcome, res.Remaining, res.Level = budget.Reserved, remaining, a.tenant
	res.ID = a.id(slot, generation)
	return res, nil
}

// reserveSlow returns the result of a reserve that debitIfAvailable refused with this word.
func (a *account) reserveSlow(word, cost budget.Microcents, ttl int64) budget.Reservation {
	if word == missingWord {
		return budget.Reservation{Outcome: budget.MissingTenant}
	}
	if word == managedWord {
		return a.reserveLevels(cost, ttl)
	}
	return budget.Reservation{Outcome: budget.Insufficient, Remaining: word, Level: a.tenant, Required: cost}
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

// reserveLevels reserves for a tenant with ancestors or settings. All levels are locked before
// the first is checked, so the amounts are of one instant, and nothing is debited anywhere
// before every check has passed at every limit.
func (a *account) reserveLevels(cost budget.Microcents, ttl int64) budget.Reservation {
	var p path
	for withRoot := false; ; withRoot = true {
		p.openExisting(a, withRoot)
		if p.set&ownSet == 0 {
			p.close()
			return budget.Reservation{Outcome: budget.MissingTenant}
		}
		now := a.time()
		if p.special {
			p.roll(now)
			if res := p.restrict(cost); res.Outcome != budget.Unknown {
				p.close()
				return res
			}
		}
		least, remaining := p.least() // stays the same, since all limits are debited by the same amount
		if remaining < cost || p.overfull(cost) {
			limit, renews := least.period(), least.renews()
			p.close()
			return budget.Reservation{
				Outcome: budget.Insufficient, Remaining: max(remaining, 0), Level: least.tenant, Limit: limit,
				Required: cost, Renews: renews,
			}
		}
		slot, generation, ok := p.hold(cost, now, ttl)
		if !ok {
			p.close()
			continue
		}
		limit := least.period()
		p.close()
		return budget.Reservation{
			Outcome: budget.Reserved, ID: a.id(slot, generation),
			Remaining: remaining - cost, Level: least.tenant, Limit: limit,
		}
	}
}

// restrict returns the refusal by the settings of a level, or the zero Reservation. Closed
// comes before Frozen, and Frozen before Capped; of several levels the nearest is named.
func (p *path) restrict(cost budget.Microcents) (res budget.Reservation) {
	for k := range p.n {
		l := p.levels[k]
		if l == nil || l.managed == nil {
			continue
		}
		s := &l.managed.settings
		switch {
		case s.Closed:
			return budget.Reservation{Outcome: budget.Closed, Level: l.tenant}
		case res.Outcome == budget.Frozen:
		case s.Frozen:
			res = budget.Reservation{Outcome: budget.Frozen, Level: l.tenant}
		case res.Outcome == budget.Unknown:
			holds := int64(l.holds.count()) + l.managed.below
			if exceeded, limit := s.CappedBy(cost, l.reservedInAll(), holds); exceeded != budget.NoCap {
				res = budget.Reservation{Outcome: budget.Capped, Level: l.tenant, Cap: exceeded, CapLimit: limit}
			}
		}
	}
	return res
}

// hold debits all limits and records the hold. It changes nothing and returns false if the
// root must be locked first: the hold's deadline is earlier than any that the family has
// for the tenant.
//
// now is the family's time. If the root isn't locked, another goroutine may be ending the holds of the family that are
// due by a time later than now. Either it has yet to come to this tenant, and will wait for
// the lock; or the tenant's due, and so the deadline of this hold, is later than that time.
func (p *path) hold(cost budget.Microcents, now, ttl int64) (number, generation uint64, ok bool) {
	a := p.levels[0]
	deadline := until(now, ttl)
	if a.parent != nil && deadline < a.due {
		if p.levels[p.n-1].parent != nil {
			return 0, 0, false
		}
		a.due = deadline
		a.family.earliest.lower(uint64(a.place), deadline)
	}
	for k := range p.n {
		if p.set>>k&1 != 0 {
			p.remaining[k] -= cost
			p.levels[k].reserved += cost
			if k > 0 && p.special {
				p.levels[k].addBelow(1)
			}
		}
	}
	if p.limited {
		p.holdLimits(cost)
	}
	a.generation += setMask + 1
	generation = a.generation&^setMask | p.set
	return a.holds.add(slot{generation: generation, held: cost, since: now, until: deadline}), generation, true
}
