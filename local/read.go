package local

import (
	"context"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Remaining implements [budget.Engine].
func (e *Engine) Remaining(_ context.Context, tenant budget.TenantID) (budget.Remainder, error) {
	a, err := e.account(tenant)
	if err != nil {
		return budget.Remainder{}, err
	}
	if a == nil {
		return budget.Remainder{Outcome: budget.MissingTenant}, nil
	}
	return budget.Remainder{Outcome: budget.Found, Remaining: a.look()}, nil
}

// Balance implements [budget.Engine].
func (e *Engine) Balance(_ context.Context, tenant budget.TenantID) (budget.Balance, error) {
	a, err := e.account(tenant)
	if err != nil {
		return budget.Balance{}, err
	}
	if a == nil {
		return budget.Balance{Outcome: budget.MissingTenant}, nil
	}
	remaining := a.open()
	b := a.balance(remaining)
	a.close(remaining)
	return b, nil
}

// Lookup implements [budget.Engine].
func (e *Engine) Lookup(_ context.Context, id budget.ReservationID) (budget.Fate, error) {
	if err := id.Validate(); err != nil {
		return budget.Fate{}, err
	}
	place, generation := id.Bits()
	a := e.accounts.numbered(place>>slotBits, id.Tenant())
	if a == nil {
		return budget.Fate{Outcome: budget.NotKnown}, nil
	}
	a.advance(e.clock.now())
	remaining := a.open()
	fate := budget.Fate{Outcome: budget.NotKnown}
	if h := a.holds.at(place & slotMask); h != nil && h.generation == generation {
		fate = h.fate(a.latest.Load())
	}
	a.close(remaining)
	return fate, nil
}

// Holds implements [budget.Engine]. Other operations on the tenant wait while it
// copies the holds.
func (e *Engine) Holds(_ context.Context, tenant budget.TenantID) (budget.HoldList, error) {
	a, err := e.account(tenant)
	if err != nil {
		return budget.HoldList{}, err
	}
	if a == nil {
		return budget.HoldList{Outcome: budget.MissingTenant, Balance: budget.Balance{Outcome: budget.MissingTenant}}, nil
	}
	remaining := a.open()
	list := budget.HoldList{Outcome: budget.Found, Balance: a.balance(remaining)}
	open := a.holds.list()
	a.close(remaining)
	// The order of the slots is the order of the IDs, since all name the same account.
	for i, h := range open {
		if i == 0 {
			list.Holds = make([]budget.Hold, 0, len(open))
		}
		list.Holds = append(list.Holds, budget.Hold{
			ID:   budget.NewReservationID(a.tenant, a.number<<slotBits|h.number, h.generation),
			Held: h.held, Made: instant(h.since), Deadline: deadline(h.until),
		})
	}
	return list, nil
}

func instant(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func deadline(ms int64) time.Time {
	if ms == never {
		return time.Time{}
	}
	return instant(ms)
}

// balance returns the account's figures. The account must be locked.
func (a *account) balance(remaining budget.Microcents) budget.Balance {
	return budget.Balance{
		Outcome: budget.Found, Granted: a.granted,
		Remaining: remaining, Reserved: a.reserved, Committed: a.committed,
	}
}
