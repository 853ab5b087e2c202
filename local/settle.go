package local

import (
	"context"

	"github.com/calybris/bursar/coordinator/budget"
)

// Commit implements [budget.Engine].
func (e *Engine) Commit(_ context.Context, id budget.ReservationID, actual budget.Microcents) (res budget.Settlement, err error) {
	if actual < 0 {
		res.Outcome = budget.InvalidAmount
		return res, nil
	}
	a := e.holder(id)
	if a == nil || a.parent != nil && !ownOnly(id) {
		return a.settleLevels(id, budget.Committed, actual)
	}
	place, generation := id.Bits()
	s := a.settle(place&slotMask, generation, budget.Committed, actual)
	if s.outcome != budget.Committed {
		return s.refusal(a.tenant), nil
	}
	res.Outcome, res.Remaining, res.Level, res.Actual = budget.Committed, s.remaining, a.tenant, actual
	return res, nil
}

// Release implements [budget.Engine].
func (e *Engine) Release(_ context.Context, id budget.ReservationID) (res budget.Settlement, err error) {
	a := e.holder(id)
	if a == nil || a.parent != nil && !ownOnly(id) {
		return a.settleLevels(id, budget.Released, 0)
	}
	place, generation := id.Bits()
	s := a.settle(place&slotMask, generation, budget.Released, 0)
	if s.outcome != budget.Released {
		return s.refusal(a.tenant), nil
	}
	res.Outcome, res.Remaining, res.Level, res.Returned = budget.Released, s.remaining, a.tenant, s.held
	return res, nil
}

// ownOnly reports whether the hold debited no ancestor of its tenant.
func ownOnly(id budget.ReservationID) bool {
	_, generation := id.Bits()
	return generation&setMask == ownSet
}

// holder returns the account that an ID names, advanced to now, or nil if there is none.
func (e *Engine) holder(id budget.ReservationID) *account {
	place, _ := id.Bits()
	a := e.accounts.numbered(place>>slotBits, id.Tenant())
	if a == nil {
		return nil
	}
	a.advance(e.clock.now())
	return a
}

// settled holds the fields of a Settlement of a hold that debited one level. With four of
// them it is small enough to stay in registers, unlike a Settlement.
type settled struct {
	outcome   budget.Outcome
	prior     budget.Outcome
	remaining budget.Microcents
	held      budget.Microcents
}

func (s settled) refusal(level budget.TenantID) budget.Settlement {
	if s.outcome == budget.Overrun {
		return budget.Settlement{Outcome: budget.Overrun, Remaining: s.remaining, Level: level}
	}
	return budget.Settlement{Outcome: budget.MissingReservation, Prior: s.prior}
}

// settle ends the hold with that slot number and generation, if it is open and remaining
// covers the excess. It holds the account's lock throughout, so of two settlements of a
// hold the second sees the first complete, and a hold whose settlement is refused is open
// at every moment.
func (a *account) settle(number, generation uint64, outcome budget.Outcome, actual budget.Microcents) settled {
	remaining := a.open()
	h := a.holds.at(number)
	if h == nil || h.generation != generation {
		a.close(remaining)
		return settled{outcome: budget.MissingReservation}
	}
	now := a.time()
	if !h.open() {
		prior := h.prior(now)
		a.close(remaining)
		return settled{outcome: budget.MissingReservation, prior: prior}
	}
	// Neither amount is negative, so the difference doesn't overflow. Unless the
	// settlement is refused, the new remaining is between 0 and granted.
	held := h.held
	excess := actual - held
	if excess > remaining {
		a.close(remaining)
		return settled{outcome: budget.Overrun, remaining: remaining}
	}
	remaining -= excess
	a.reserved -= held
	a.committed += actual
	a.holds.settle(number, h, outcome, actual, now)
	a.close(remaining)
	return settled{outcome: outcome, remaining: remaining, held: held}
}

// settleLevels is settle for a hold that debited ancestors of its tenant. The ID names the
// hold's level set; if the hold is open, the levels exist. All are locked, and the excess is
// checked at all, before anything moves at one. a is nil if the ID names no account, and so
// no hold.
func (a *account) settleLevels(id budget.ReservationID, outcome budget.Outcome, actual budget.Microcents) (budget.Settlement, error) {
	if a == nil {
		if err := id.Validate(); err != nil {
			return budget.Settlement{}, err
		}
		return budget.Settlement{Outcome: budget.MissingReservation}, nil
	}
	_, generation := id.Bits()
	var p path
	p.open(a, generation&setMask)
	res := p.settle(id, outcome, actual)
	p.close()
	return res, nil
}

func (p *path) settle(id budget.ReservationID, outcome budget.Outcome, actual budget.Microcents) (res budget.Settlement) {
	a := p.levels[0]
	place, generation := id.Bits()
	number := place & slotMask
	h := a.holds.at(number)
	res.Outcome = budget.MissingReservation
	if h == nil || h.generation != generation {
		return res
	}
	now := a.family.root.latest.Load()
	if !h.open() {
		res.Prior = h.prior(now)
		return res
	}
	held := h.held
	excess := actual - held
	least := p.least()
	if excess > p.remaining[least] {
		res.Outcome, res.Remaining, res.Level = budget.Overrun, p.remaining[least], p.levels[least].tenant
		return res
	}
	// All levels move by the same amount, so the one with the least stays the same.
	for k := range p.n {
		if l := p.levels[k]; l != nil {
			p.remaining[k] -= excess
			l.reserved -= held
			l.committed += actual
		}
	}
	a.holds.settle(number, h, outcome, actual, now)
	res.Outcome, res.Remaining, res.Level = outcome, p.remaining[least], p.levels[least].tenant
	if outcome == budget.Committed {
		res.Actual = actual
	} else {
		res.Returned = held
	}
	return res
}
