package local

import (
	"context"
	"fmt"
	"slices"
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
	if a.parent != nil {
		return a.leastRemaining(), nil
	}
	remaining, ok := a.look()
	if !ok {
		return a.leastRemaining(), nil
	}
	if remaining == missing {
		return budget.Remainder{Outcome: budget.MissingTenant}, nil
	}
	return budget.Remainder{Outcome: budget.Found, Remaining: remaining, Level: a.tenant}, nil
}

// leastRemaining returns the least remaining amount of the limits of the tenant's levels.
func (a *account) leastRemaining() budget.Remainder {
	var p path
	p.openExisting(a, false)
	defer p.close()
	if p.set&ownSet == 0 {
		return budget.Remainder{Outcome: budget.MissingTenant}
	}
	p.roll(a.time())
	least, remaining := p.least()
	return budget.Remainder{Outcome: budget.Found, Remaining: max(remaining, 0), Level: least.tenant, Limit: least.period(), Renews: least.renews()}
}

// Balance implements [budget.Engine].
func (e *Engine) Balance(_ context.Context, tenant budget.TenantID, opts ...budget.BalanceOption) (budget.Balance, error) {
	a, err := e.account(tenant)
	if err != nil {
		return budget.Balance{}, err
	}
	var o budget.BalanceOptions
	if len(opts) > 0 {
		if o, err = budget.ApplyBalance(opts); err != nil {
			return budget.Balance{}, err
		}
	}
	if a == nil {
		return budget.Balance{Outcome: budget.MissingTenant}, nil
	}
	if o.Limit != budget.NoPeriod {
		return a.balanceOf(o)
	}
	remaining := a.openCurrent()
	b := a.balance(remaining)
	if o.At != 0 && b.Outcome == budget.Found {
		b, err = a.balanceAt(o.At, b)
	}
	a.close(remaining)
	return b, err
}

// balanceOf returns the figures of a further limit.
func (a *account) balanceOf(o budget.BalanceOptions) (b budget.Balance, err error) {
	remaining := a.open()
	defer a.close(remaining)
	if remaining == missing {
		return budget.Balance{Outcome: budget.MissingTenant}, nil
	}
	_, l := a.limit(o.Limit)
	if l == nil {
		return budget.Balance{}, fmt.Errorf("tenant %q, by %s: %w", a.tenant, o.Limit, budget.ErrNoLimit)
	}
	l.roll(a.time())
	if b = l.balance(); o.At != 0 {
		return l.balanceAt(o.At, b)
	}
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
		fate = h.fate(a.time())
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
	b, lists := a.counted()
	list := budget.HoldList{Outcome: b.Outcome, Balance: b}
	for _, l := range lists {
		for _, h := range l.open {
			list.Holds = append(list.Holds, budget.Hold{
				ID:   l.of.id(h.number, h.generation),
				Held: h.held, Made: instant(h.since), Deadline: deadline(h.until),
			})
		}
	}
	// The order of the slots is the order of the IDs of one account.
	if len(lists) > 1 {
		slices.SortFunc(list.Holds, func(a, b budget.Hold) int { return a.ID.Compare(b.ID) })
	}
	return list, nil
}

// slotList is a copy of open holds of one account.
type slotList struct {
	of   *account
	open []numbered
}

// counted returns the balance of the account and the holds that it counts.
func (a *account) counted() (b budget.Balance, lists []slotList) {
	remaining := a.openCurrent()
	defer a.close(remaining)
	b = a.balance(remaining)
	if open := a.holds.list(ownSet); len(open) > 0 {
		lists = append(lists, slotList{a, open})
	}
	a.visitBelow(func(m *account, levels uint64) {
		if open := m.holds.list(levels); len(open) > 0 {
			lists = append(lists, slotList{m, open})
		}
	})
	return b, lists
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
	if remaining == missing {
		return budget.Balance{Outcome: budget.MissingTenant}
	}
	return a.ledger.balance(remaining)
}
