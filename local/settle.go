package local

import (
	"context"

	"github.com/calybris/bursar/coordinator/budget"
)

// Commit implements [budget.Engine].
func (e *Engine) Commit(_ context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	if actual < 0 {
		return budget.Settlement{Outcome: budget.InvalidAmount}, nil
	}
	s, err := e.settle(id, budget.Committed, actual)
	if s.outcome != budget.Committed {
		return budget.Settlement{Outcome: s.outcome, Remaining: s.remaining, Prior: s.prior}, err
	}
	return budget.Settlement{Outcome: budget.Committed, Remaining: s.remaining, Actual: actual}, nil
}

// Release implements [budget.Engine].
func (e *Engine) Release(_ context.Context, id budget.ReservationID) (budget.Settlement, error) {
	s, err := e.settle(id, budget.Released, 0)
	if s.outcome != budget.Released {
		return budget.Settlement{Outcome: s.outcome, Remaining: s.remaining, Prior: s.prior}, err
	}
	return budget.Settlement{Outcome: budget.Released, Remaining: s.remaining, Returned: s.held}, nil
}

// settled holds the fields of a Settlement. With four of them it is small enough to stay
// in registers, unlike the five of a Settlement.
type settled struct {
	outcome   budget.Outcome
	prior     budget.Outcome
	remaining budget.Microcents
	held      budget.Microcents
}

func (e *Engine) settle(id budget.ReservationID, outcome budget.Outcome, actual budget.Microcents) (settled, error) {
	place, generation := id.Bits()
	a := e.accounts.numbered(place>>slotBits, id.Tenant())
	if a == nil {
		if err := id.Validate(); err != nil {
			return settled{}, err
		}
		return settled{outcome: budget.MissingReservation}, nil
	}
	a.advance(e.clock.now())
	return a.settle(place&slotMask, generation, outcome, actual), nil
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
	now := a.latest.Load()
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
	amount := held
	if outcome == budget.Committed {
		amount = actual
	}
	a.holds.end(number, h, outcome, amount, now)
	a.close(remaining)
	return settled{outcome: outcome, remaining: remaining, held: held}
}
