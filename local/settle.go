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
		return e.settleLevels(a, id, budget.Committed, actual, false)
	}
	place, generation := id.Bits()
	s := a.settle(place&slotMask, generation, budget.Committed, actual)
	if s.outcome != budget.Committed {
		return e.notSettled(a, s, id, budget.Committed, actual)
	}
	res.Outcome, res.Remaining, res.Level, res.Actual = budget.Committed, s.remaining, a.tenant, actual
	return res, nil
}

// CommitAvailable implements [budget.Engine].
func (e *Engine) CommitAvailable(_ context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	if actual < 0 {
		return budget.Settlement{Outcome: budget.InvalidAmount}, nil
	}
	return e.settleLevels(e.holder(id), id, budget.Committed, actual, true)
}

// Release implements [budget.Engine].
func (e *Engine) Release(_ context.Context, id budget.ReservationID) (res budget.Settlement, err error) {
	a := e.holder(id)
	if a == nil || a.parent != nil && !ownOnly(id) {
		return e.settleLevels(a, id, budget.Released, 0, false)
	}
	place, generation := id.Bits()
	s := a.settle(place&slotMask, generation, budget.Released, 0)
	if s.outcome != budget.Released {
		return e.notSettled(a, s, id, budget.Released, 0)
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

// notSettled returns the result of a settlement that settle has refused or left to
// settleLevels.
func (e *Engine) notSettled(a *account, s settled, id budget.ReservationID, outcome budget.Outcome, actual budget.Microcents) (budget.Settlement, error) {
	if s.outcome == budget.Unknown {
		return e.settleLevels(a, id, outcome, actual, false)
	}
	if s.outcome == budget.Overrun {
		return budget.Settlement{Outcome: budget.Overrun, Remaining: s.remaining, Level: a.tenant}, nil
	}
	return budget.Settlement{Outcome: budget.MissingReservation, Prior: s.prior}, nil
}

// settle ends the hold with that slot number and generation, if it is open and remaining
// covers the excess. It holds the account's lock throughout, so of two settlements of a
// hold the second sees the first complete, and a hold whose settlement is refused is open
// at every moment. If the account is missing or has settings, the outcome is Unknown.
func (a *account) settle(number, generation uint64, outcome budget.Outcome, actual budget.Microcents) settled {
	// The first attempt of openPlain, without the call.
	remaining := budget.Microcents(a.word.Load())
	if remaining < 0 || !a.word.CompareAndSwap(int64(remaining), locked) {
		var ok bool
		if remaining, ok = a.openPlain(); !ok {
			return settled{}
		}
	}
	h := a.holds.at(number)
	if h == nil || h.generation != generation {
		a.closePlain(remaining)
		return settled{outcome: budget.MissingReservation}
	}
	now := a.time()
	if !h.open() {
		prior := h.prior(now)
		a.closePlain(remaining)
		return settled{outcome: budget.MissingReservation, prior: prior}
	}
	// Neither amount is negative, so the difference doesn't overflow. Unless the
	// settlement is refused, the new remaining is between 0 and granted.
	held := h.held
	excess := actual - held
	if excess > remaining {
		a.closePlain(remaining)
		return settled{outcome: budget.Overrun, remaining: remaining}
	}
	remaining -= excess
	a.reserved -= held
	a.committed += actual
	a.holds.settle(number, h, outcome, actual, now)
	a.closePlain(remaining)
	return settled{outcome: outcome, remaining: remaining, held: held}
}

// settleLevels is settle for any hold. The ID names the hold's level set; if the hold is
// open, the levels exist. All are locked, and the excess is checked at all limits that count the
// hold, before anything moves at one. An excess that isn't covered is an Overrun unless partial is
// set. a is nil if the ID names no account, and so no hold.
func (e *Engine) settleLevels(a *account, id budget.ReservationID, outcome budget.Outcome, actual budget.Microcents, partial bool) (budget.Settlement, error) {
	if a == nil {
		if err := id.Validate(); err != nil {
			return budget.Settlement{}, err
		}
		return budget.Settlement{Outcome: budget.MissingReservation}, nil
	}
	_, generation := id.Bits()
	var p settlingPath
	p.open(a, generation&setMask)
	res := p.settle(id, outcome, actual, partial)
	p.close()
	if p.events != nil {
		e.report(p.events)
	}
	return res, nil
}

// settlingPath is the path of a settlement.
type settlingPath struct {
	path
	events []budget.Crossing // from the tenant up
}

func (p *settlingPath) settle(id budget.ReservationID, outcome budget.Outcome, actual budget.Microcents, partial bool) (res budget.Settlement) {
	a := p.levels[0]
	place, generation := id.Bits()
	number := place & slotMask
	h := a.holds.at(number)
	res.Outcome = budget.MissingReservation
	if h == nil || h.generation != generation {
		return res
	}
	now := a.time()
	if !h.open() {
		res.Prior = h.prior(now)
		return res
	}
	if p.limited {
		p.leaveOut(h)
	}
	p.roll(now)
	held := h.held
	excess := actual - held
	if excess > 0 {
		tightest, remaining, room := p.tightest(h.since)
		if excess > room && !partial {
			res.Outcome, res.Remaining, res.Level, res.Limit = budget.Overrun, remaining, tightest.tenant, tightest.period()
			return res
		}
		// A limit's reserved + room is at most granted + overdraft, and in an ended epoch at most
		// MaxMicrocents, so no sum overflows. A rolling window that doesn't contain the hold any
		// more has room for any excess, and is charged nothing.
		excess = min(excess, max(room, 0))
	}
	charge := held + excess
	for k := range p.n {
		l := p.levels[k]
		if l == nil {
			continue
		}
		if p.special && l.managed != nil {
			before := l.reached()
			p.remaining[k] = l.settleAt(h.since, held, charge, p.remaining[k])
			p.events = l.crossed(p.events, before)
			if p.limited {
				p.settleLimits(k, h, charge)
			}
			if k > 0 {
				l.addBelow(-1)
			}
			continue
		}
		p.remaining[k] -= excess
		l.reserved -= held
		l.committed += charge
	}
	least, remaining := p.least()
	a.holds.settle(number, h, outcome, charge, now)
	res.Outcome, res.Remaining, res.Level, res.Limit = outcome, remaining, least.tenant, least.period()
	if outcome == budget.Committed {
		res.Actual, res.Shortfall = charge, actual-charge
	} else {
		res.Returned = held
	}
	return res
}
