package local

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
)

// epochs are those of a limit that has a window, or has had one. Its ledger has the terms of the
// current epoch. The account's lock guards them. While the window is a rolling one, no
// epoch ends, and the ring divides the committed amount of the current one.
//
// Invariants:
//   - ended is in the order of time, and each epoch ends at or before the start of the next one;
//   - a hold that counts in the limit belongs to the epoch with the latest start that isn't
//     after the time at which the hold was made, or to the oldest if all starts are: no earlier
//     start is known. endedAt finds it;
//   - an ended epoch is kept while holds are open in it, and if it is among the last keptEpochs;
//   - ahead ends after the family's time at the last roll if the window is one of the calendar, and
//     is empty otherwise;
//   - ring is nil unless the window is a rolling one.
type epochs struct {
	start int64   // of the current epoch, Unix ms
	ahead []int64 // the next boundaries, Unix ms, ascending
	ended []epoch
	ring  *ring
}

// keptEpochs is the number of ended epochs that are kept although no holds are open in them.
const keptEpochs = 3

// epoch is an ended epoch. Invariants:
//   - remaining + reserved + committed = granted, and none is negative;
//   - reserved is the sum of the open holds that belong to it;
//   - remaining + moved would remain if the epoch had passed on nothing.
type epoch struct {
	start, end int64 // Unix ms

	granted   budget.Microcents
	remaining budget.Microcents
	reserved  budget.Microcents
	committed budget.Microcents
	moved     budget.Microcents // passed on to the next epoch and, since then, to the current; negative for debt
}

// next returns the end of the current epoch, or never.
func (e *epochs) next() int64 {
	if e == nil || len(e.ahead) == 0 {
		return never
	}
	return e.ahead[0]
}

// lastEnd returns a time: every hold that was made since then belongs to the current epoch.
func (e *epochs) lastEnd() int64 {
	if e == nil || len(e.ended) == 0 {
		return math.MinInt64
	}
	return e.start
}

// current returns the bounds of the current epoch. A rolling window shows none.
func (e *epochs) current() (bounds budget.Epoch) {
	if e == nil || e.ring != nil {
		return budget.Epoch{}
	}
	bounds.Start = budget.Instant(e.start)
	if len(e.ahead) > 0 {
		bounds.End = budget.Instant(e.ahead[0])
	}
	return bounds
}

// reserved returns the amount reserved in ended epochs.
func (e *epochs) reserved() (sum budget.Microcents) {
	if e == nil {
		return 0
	}
	for i := range e.ended {
		sum += e.ended[i].reserved
	}
	return sum
}

// endedAt returns the ended epoch of a hold that was made at a time, or nil for the current one.
func (e *epochs) endedAt(made int64) *epoch {
	if made >= e.lastEnd() {
		return nil
	}
	i, found := slices.BinarySearchFunc(e.ended, made, func(e epoch, at int64) int { return cmp.Compare(e.start, at) })
	if !found && i > 0 {
		i--
	}
	return &e.ended[i]
}

// reservedInAll returns the amount reserved in all epochs.
func (l *ledger) reservedInAll() budget.Microcents {
	if l.managed == nil {
		return l.reserved
	}
	return l.reserved + l.managed.epochs.reserved()
}

// renews returns when the window renews the budget, or a part of it, or 0.
func (l *ledger) renews() budget.Instant {
	if l.managed == nil {
		return 0
	}
	if r := l.rolling(); r != nil {
		return r.renews()
	}
	return l.managed.epochs.current().End
}

// setWindow changes the epochs for a window, and is followed by the change of the settings. The
// start of an epoch that is known stays, since it divides the holds. So does a ring, unless the
// period changes.
func (m *managed) setWindow(w budget.Window, committed budget.Microcents, now int64) {
	if sameBoundaries(w, m.settings.Window) {
		return // without a window before and after, too
	}
	if m.epochs == nil {
		m.epochs = &epochs{start: now}
	}
	e := m.epochs
	e.ahead, e.ring = nil, nil
	switch {
	case w.Period.Rolling():
		e.ring = newRing(w.Period, committed, now)
	case w.Period != budget.NoPeriod:
		e.ahead = renewal(w, now, now).Boundaries
	case len(e.ended) == 0:
		m.epochs = nil
	}
}

func sameBoundaries(w, other budget.Window) bool {
	w.Amount, w.Carry = other.Amount, other.Carry
	return w == other
}

// renewal returns the boundaries of a window that was validated when it was set. Its zone is
// loaded since then, so there is no error.
func renewal(w budget.Window, mark, now int64) budget.Renewal {
	r, err := w.Renewal(mark, now)
	if err != nil {
		panic(fmt.Sprintf("local: no boundaries after %d: %v", mark, err))
	}
	return r
}

// amountSet sets the amount of a window to one that was given, or to what the limit has if none
// was. It returns the granted amount after that: an amount that is raised counts at once, and one that
// is lowered if the window is a rolling one.
//
// granted and remaining may fall below 0. But remaining minus the amount never falls below
// -MaxMicrocents, so neither overflows: with the amount, the overdraft that a settlement takes from
// remaining fits 64 bits; an amount that is lowered here lowers remaining by the same; and the debt
// that an epoch passes on is at most its own.
func (l *ledger) amountSet(amount budget.Microcents, w *budget.Window) (granted budget.Microcents, err error) {
	before := l.settings().Window
	hadWindow := before.Period != budget.NoPeriod
	counts := func(old budget.Microcents) bool { return amount > old || w.Period.Rolling() }
	switch {
	case amount == 0 && hadWindow: // it stays
	case amount == 0:
		w.Amount = max(l.granted, 0)
	case hadWindow && counts(before.Amount):
		if granted, err = l.granted.Add(amount - before.Amount); err != nil {
			return 0, fmt.Errorf("raise the amount of %s from %d to %d: %w", l.name(), before.Amount, amount, err)
		}
		return granted, nil
	case !hadWindow && counts(l.granted):
		return amount, nil
	}
	return l.granted, nil
}

// roll begins the epoch of a time, if the current one has ended by then, or moves a rolling window
// to that time, and returns what remains. The holds that were due by that time must have ended,
// each in its own epoch.
func (l *ledger) roll(remaining budget.Microcents, now int64) budget.Microcents {
	if r := l.rolling(); r != nil {
		left := r.slide(now) // at most committed, so that remaining stays at most granted
		l.committed -= left
		return remaining + left
	}
	if l.managed == nil || now < l.managed.epochs.next() {
		return remaining
	}
	e, settings := l.managed.epochs, &l.managed.settings
	end, start, skipped := e.pass(settings.Window, now)
	amount := settings.Window.Amount
	limit := budget.MaxMicrocents - settings.Overdraft - amount // the amount and the overdraft fit
	passed := min(settings.Window.Passes(remaining, skipped), limit)
	moved := min(settings.Window.Carry, remaining, limit)
	e.ended = append(e.ended, epoch{
		start: e.start, end: end,
		granted: l.granted - moved, remaining: remaining - moved, reserved: l.reserved, committed: l.committed,
		moved: moved,
	})
	e.drop()
	e.start = start
	l.granted, l.reserved, l.committed = amount+passed, 0, 0
	return l.granted
}

// pass removes the boundaries up to now, of which there is at least one, from those ahead. It
// returns the first and the last of them, and the number of epochs between the two.
func (e *epochs) pass(w budget.Window, now int64) (first, last, skipped int64) {
	ahead, omitted := e.ahead, int64(0)
	if stored := ahead[len(ahead)-1]; stored <= now {
		r := renewal(w, stored, now)
		ahead, omitted = slices.Concat(ahead, r.Boundaries), r.Omitted
	}
	passed := 1
	for ahead[passed] <= now {
		passed++
	}
	e.ahead = ahead[passed:]
	return ahead[0], ahead[passed-1], int64(passed-1) + omitted
}

// drop removes the ended epochs without open holds, except for the last ones.
func (e *epochs) drop() {
	older := max(len(e.ended)-keptEpochs, 0)
	last := e.ended[older:]
	e.ended = append(slices.DeleteFunc(e.ended[:older], func(e epoch) bool { return e.reserved == 0 }), last...)
}

// settleAt moves the amounts of a hold that was made at a time and ends at an actual cost, in
// its epoch, and returns what remains in the current one. A rolling window that doesn't contain the
// hold any more is charged nothing. Unless the cost is 0, roll must have begun the epoch of the
// family's time.
func (l *ledger) settleAt(made int64, held, actual, remaining budget.Microcents) budget.Microcents {
	if l.managed != nil {
		if e := l.managed.epochs.endedAt(made); e != nil {
			passed := e.settle(held, actual, l.managed.settings.Window.Carry, l.grantable())
			l.granted += passed
			return remaining + passed
		}
		if r := l.rolling(); r != nil {
			actual = r.commit(made, actual)
		}
	}
	l.reserved -= held
	l.committed += actual
	return remaining + held - actual
}

// settle moves the amounts of a hold, and returns the difference that it makes to what the epoch
// passes on, which is at most limit. An excess is paid by what remains in the epoch first.
func (e *epoch) settle(held, actual, carry, limit budget.Microcents) (passed budget.Microcents) {
	back := held - actual
	if back < 0 {
		passed = min(e.remaining+back, 0)
	} else {
		before := e.remaining + e.moved
		passed = min(min(carry, before+back)-min(carry, before), limit)
	}
	e.reserved -= held
	e.committed += actual
	e.remaining += back - passed
	e.granted -= passed
	e.moved += passed
	return passed
}

// room returns the largest excess that a hold of the epoch can debit, given what remains in the
// current one: it must be covered as if the epoch had passed on nothing, and the current epoch
// must cover its part of that. The granted amount doesn't overflow.
func (e *epoch) room(remaining, overdraft budget.Microcents) budget.Microcents {
	returnable := min(max(remaining+overdraft, 0), budget.MaxMicrocents-e.granted)
	if e.moved <= budget.MaxMicrocents-overdraft {
		returnable = min(returnable, e.moved+overdraft)
	}
	return e.remaining + returnable
}

// balanceAt returns the figures of the epoch that contained a time. current has those of the
// current epoch.
func (l *ledger) balanceAt(at budget.Instant, current budget.Balance) (budget.Balance, error) {
	if m := l.managed; m != nil && m.epochs != nil {
		if m.epochs.ring == nil && at >= current.Epoch.Start && int64(at) < m.epochs.next() {
			return current, nil
		}
		for i := range m.epochs.ended {
			e := &m.epochs.ended[i]
			if e.start <= int64(at) && int64(at) < e.end {
				return budget.Balance{
					Outcome: budget.Found, Limit: m.period, Granted: e.granted,
					Remaining: e.remaining, Reserved: e.reserved, Committed: e.committed, Settings: m.settings,
					Epoch: budget.Epoch{Start: budget.Instant(e.start), End: budget.Instant(e.end)},
				}, nil
			}
		}
	}
	return budget.Balance{}, fmt.Errorf("%s at %s: %w", l.name(), at, budget.ErrNoEpoch)
}
