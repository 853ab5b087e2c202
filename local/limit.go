package local

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
)

// limit is a further limit of an account. Its ledger has a managed with the remaining amount. The
// account's lock guards it.
//
// Invariants while the account isn't locked:
//   - those of a ledger;
//   - reserved is the sum of the open holds that the account counts and that were made after the
//     limit, without those that belong to an ended epoch of it: hold debits all limits of a locked
//     level, settle and expire move those for which counts is true, and a new limit has no hold. So
//     it is at most that of the base limit, in all epochs.
type limit struct {
	ledger
	created int64 // Unix ms
	// older has the generations of the holders when the limit was created, without level sets: of
	// those that had open holds made in the same millisecond. It doesn't change.
	older map[*account]uint64
}

// counts reports whether the limit counts a hold of the holder: whether it existed when the hold was
// made. Both were made while the limit's account was locked, at the family's time, which was read
// under that lock. So the earlier one doesn't have the later time. If the times are the same, the
// hold is the earlier one if the holder's generation had come as far as that of the hold by then.
func (l *limit) counts(holder *account, h *slot) bool {
	if h.since != l.created {
		return h.since > l.created
	}
	last, ok := l.older[holder]
	return !ok || int64(h.generation&^setMask-last) > 0 //nolint:gosec // a difference, of numbers that may overflow
}

// limits returns the further limits in the order of their periods.
func (l *ledger) limits() []*limit {
	if l.managed == nil {
		return nil
	}
	return l.managed.limits
}

// limit returns the place of the limit of a period, and the limit, or nil.
func (l *ledger) limit(p budget.Period) (place int, of *limit) {
	limits := l.limits()
	place, ok := slices.BinarySearchFunc(limits, p, func(l *limit, p budget.Period) int { return cmp.Compare(l.managed.period, p) })
	if !ok {
		return place, nil
	}
	return place, limits[place]
}

// roll is that of the ledger.
func (l *limit) roll(now int64) { l.managed.remaining = l.ledger.roll(l.managed.remaining, now) }

// settle moves the amounts of a hold that the limit counts and that ends at an actual cost.
func (l *limit) settle(h *slot, actual budget.Microcents) {
	l.managed.remaining = l.settleAt(h.since, h.held, actual, l.managed.remaining)
}

// balance returns the limit's figures.
func (l *limit) balance() budget.Balance { return l.ledger.balance(l.managed.remaining) }

// after returns the settings and the granted amount of the limit after a change.
func (l *limit) after(c *budget.LimitChange) (settings budget.Settings, granted budget.Microcents, err error) {
	settings = budget.Settings{Overdraft: c.Overdraft, Thresholds: c.Thresholds, Window: c.Window}
	if granted, err = l.amountSet(c.Window.Amount, &settings.Window); err != nil {
		return settings, 0, err
	}
	if err = validateOverdraft(l.tenant, granted, settings); err != nil {
		err = fmt.Errorf("limit by %s: %w", l.managed.period, err)
	}
	return settings, granted, err
}

// checkLimits returns the error of a change of limits, and changes none. The account must be
// locked.
func (a *account) checkLimits(changes []budget.LimitChange, now int64) error {
	for i := range changes {
		c := &changes[i]
		if _, l := a.limit(c.Window.Period); l != nil && !c.Remove {
			l.roll(now)
			if _, _, err := l.after(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// changeLimits makes a change of limits that checkLimits has accepted, and appends an event for each
// threshold that it crosses. The account must be locked, with the settings after the change.
func (a *account) changeLimits(changes []budget.LimitChange, now int64, events []budget.Crossing) []budget.Crossing {
	m := a.managed
	if m == nil { // the last limit was removed
		return events
	}
	for i := range changes {
		c := &changes[i]
		place, l := a.limit(c.Window.Period)
		switch {
		case c.Remove && l != nil:
			m.limits = slices.Delete(m.limits, place, place+1)
		case c.Remove:
		case l != nil:
			events = l.change(c, now, events)
		default:
			m.limits = slices.Insert(m.limits, place, a.newLimit(c, now))
		}
	}
	return events
}

func (l *limit) change(c *budget.LimitChange, now int64, events []budget.Crossing) []budget.Crossing {
	settings, granted, _ := l.after(c)
	before, m := l.reached(), l.managed
	m.remaining += granted - l.granted
	l.granted = granted
	m.setWindow(settings.Window, l.committed, now)
	m.settings = settings
	return l.crossed(events, before)
}

// newLimit returns a limit of the account, which must be locked.
func (a *account) newLimit(c *budget.LimitChange, now int64) *limit {
	l := &limit{created: now, older: a.holdersAt(now)}
	l.tenant, l.granted = a.tenant, c.Window.Amount
	l.managed = &managed{period: c.Window.Period, remaining: l.granted}
	l.managed.setWindow(c.Window, 0, now)
	l.managed.settings = budget.Settings{Overdraft: c.Overdraft, Thresholds: c.Thresholds, Window: c.Window}
	return l
}

// holdersAt returns the generations of the tenants with open holds that the account counts and that
// were made at a time. The account must be locked, so no such hold is made meanwhile.
func (a *account) holdersAt(made int64) (generations map[*account]uint64) {
	if a.reservedInAll() == 0 { // a hold's amount is never 0
		return nil
	}
	add := func(holder *account, levels uint64) {
		if holder.holds.anyMade(made, levels) {
			if generations == nil {
				generations = make(map[*account]uint64)
			}
			generations[holder] = holder.generation &^ setMask
		}
	}
	add(a, ownSet)
	a.visitBelow(add)
	return generations
}

// limitsAt returns the further limits of a level that take part, in their order.
func (p *path) limitsAt(k int) iter.Seq[*limit] {
	return func(yield func(*limit) bool) {
		if p.limits[k] == 0 { // there may be no managed
			return
		}
		for _, l := range p.levels[k].managed.limits {
			if p.limits[k].Has(l.managed.period) && !yield(l) {
				return
			}
		}
	}
}

// rollLimits is roll for the further limits.
func (p *path) rollLimits(now int64) {
	for k := range p.n {
		for l := range p.limitsAt(k) {
			l.roll(now)
		}
	}
}

// holdLimits debits the further limits.
func (p *path) holdLimits(cost budget.Microcents) {
	for k := range p.n {
		for l := range p.limitsAt(k) {
			l.managed.remaining -= cost
			l.reserved += cost
		}
	}
}

// settleLimits moves the amounts of a hold at the further limits of a level.
func (p *settlingPath) settleLimits(k int, h *slot, charge budget.Microcents) {
	for l := range p.limitsAt(k) {
		before := l.reached()
		l.settle(h, charge)
		p.events = l.crossed(p.events, before)
	}
}

// leaveOut removes the limits that don't count a hold of the tenant from those that take part.
func (p *path) leaveOut(h *slot) {
	for k := range p.n {
		for l := range p.limitsAt(k) {
			if !l.counts(p.levels[0], h) {
				p.limits[k] = p.limits[k].Without(l.managed.period)
			}
		}
	}
}

// Limits implements [budget.Engine].
func (e *Engine) Limits(_ context.Context, tenant budget.TenantID) (budget.LimitList, error) {
	a, err := e.account(tenant)
	if err != nil {
		return budget.LimitList{}, err
	}
	if a == nil {
		return budget.LimitList{Outcome: budget.MissingTenant}, nil
	}
	remaining := a.open()
	defer func() { a.close(remaining) }()
	if remaining == missing {
		return budget.LimitList{Outcome: budget.MissingTenant}, nil
	}
	now := a.time()
	remaining = a.roll(remaining, now)
	list := budget.LimitList{Outcome: budget.Found, Limits: []budget.Balance{a.balance(remaining)}}
	for _, l := range a.limits() {
		l.roll(now)
		list.Limits = append(list.Limits, l.balance())
	}
	return list, nil
}
