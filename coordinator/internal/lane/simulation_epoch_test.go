package lane

import (
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
)

// The windows of the model: epoch by epoch, and with integers that have no limit.

// simAccount is an account of the model: the terms of its current epoch, and its ended epochs,
// the oldest first. Epochs.Kept and Epochs.Ended are not used.
type simAccount struct {
	store.Account
	ended []*simEpoch
	ring  simRing // nil unless the window is a rolling one; Epochs.Ring is not used
	// waits is set while the next boundary is not stored, and lacks while the batch lacks one of
	// the tenant's limits.
	waits, lacks bool
}

// simEpoch is an ended epoch.
type simEpoch struct {
	start int64
	store.EndedEpoch
}

// copyAccount returns the account as stored, with its ended epochs.
func (l *simLedger) copyAccount(id store.AccountID) *simAccount {
	a := &simAccount{Account: l.accounts[id]}
	if a.Epochs == nil {
		return a
	}
	e := *a.Epochs
	a.ring = ringOf(a.Settings.Window, &e)
	e.Ahead, e.Ring, a.Epochs = slices.Clone(e.Ahead), nil, &e
	for _, start := range slices.Backward(e.Kept) {
		a.ended = append(a.ended, &simEpoch{start, l.epochs[id][start]})
	}
	return a
}

// simZones are the offsets from UTC of the zones in a simulation.
var simZones = map[string]time.Duration{"UTC": 0, "Asia/Kolkata": 5*time.Hour + 30*time.Minute}

// simNext returns the first boundary of a window after a time, in Unix ms.
func simNext(w budget.Window, after int64) int64 {
	zone := time.FixedZone("", int(simZones[w.Zone].Seconds()))
	t := time.UnixMilli(after).In(zone)
	var next time.Time
	switch w.Period {
	case budget.NoPeriod, budget.Last24Hours, budget.Last7Days, budget.Last30Days:
		panic("a window of the period " + w.Period.String() + " has no boundaries")
	case budget.Hour:
		next = time.Date(t.Year(), t.Month(), t.Day(), t.Hour()+1, 0, 0, 0, zone)
	case budget.Day:
		next = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, zone)
	case budget.Week:
		days := (int(w.Weekday)-int(t.Weekday())+6)%7 + 1
		next = time.Date(t.Year(), t.Month(), t.Day()+days, 0, 0, 0, 0, zone)
	case budget.Month:
		next = time.Date(t.Year(), t.Month(), w.Day, 0, 0, 0, 0, zone)
		if !next.After(t) {
			next = time.Date(t.Year(), t.Month()+1, w.Day, 0, 0, 0, 0, zone)
		}
	}
	return next.UnixMilli()
}

func bigOf(amount budget.Microcents) *big.Int { return big.NewInt(int64(amount)) }

func bigSum(amounts ...budget.Microcents) *big.Int {
	sum := new(big.Int)
	for _, amount := range amounts {
		sum.Add(sum, bigOf(amount))
	}
	return sum
}

func bigLess(least *big.Int, others ...*big.Int) *big.Int {
	for _, other := range others {
		if other.Cmp(least) < 0 {
			least = other
		}
	}
	return least
}

// amountOf returns an amount that fits.
func amountOf(sum *big.Int) budget.Microcents {
	if !sum.IsInt64() {
		panic("an amount of the model is " + sum.String())
	}
	return budget.Microcents(sum.Int64())
}

// room returns the amount that may be granted beside another.
func (a *simAccount) room(granted budget.Microcents) *big.Int {
	return new(big.Int).Sub(bigOf(budget.MaxMicrocents), bigSum(granted, a.Settings.Overdraft))
}

// hasPeriod reports whether the account has a window: a rolling one, or a current epoch with an
// end.
func (a *simAccount) hasPeriod() bool { return a.Settings.Window.Period != budget.NoPeriod }

// next returns the next boundary, if the window has one and it is stored, else 0; of a rolling
// window the time when its next amount leaves.
func (a *simAccount) next() int64 {
	if a.rolls() {
		return a.leaves()
	}
	if a.hasPeriod() && len(a.Epochs.Ahead) > 0 {
		return a.Epochs.Ahead[0]
	}
	return 0
}

// endedReserved returns the sum that the open holds of ended epochs reserve.
func (a *simAccount) endedReserved() (sum budget.Microcents) {
	for _, e := range a.ended {
		sum += e.Reserved
	}
	return sum
}

// String returns the account with its epochs.
func (a *simAccount) String() string {
	text := fmt.Sprintf("%+v, %d holds, waits: %t", a.Balance(), a.Holds, a.waits)
	if a.Epochs != nil {
		text += fmt.Sprintf(", %+v, ring %v", *a.Epochs, a.ring)
	}
	for _, e := range a.ended {
		text += fmt.Sprintf(", %+v", *e)
	}
	return text
}

// Balance returns the balance as callers see it.
func (a *simAccount) Balance() budget.Balance {
	b := budget.Balance{
		Outcome: budget.Found, Granted: a.Granted, Remaining: a.Remaining, Reserved: a.Reserved, Committed: a.Committed,
		Settings: a.Settings, Ended: a.endedReserved(),
	}
	if a.Epochs != nil && !a.rolls() {
		b.Epoch = budget.Epoch{Start: budget.Instant(a.Epochs.Start), End: budget.Instant(a.next())}
	}
	return b
}

// crossed returns the thresholds that the account has reached.
func (a *simAccount) crossed() budget.Thresholds {
	return a.Settings.Thresholds.Reached(a.Committed, a.Granted)
}

// enter begins the epoch of now, or makes the account wait if its next boundary is not stored; a
// rolling window moves to now.
func (a *simAccount) enter(now int64) {
	if a.Epochs == nil || !a.hasPeriod() {
		return
	} else if a.rolls() {
		a.slide(now)
		return
	}
	ahead := a.Epochs.Ahead
	if a.waits = len(ahead) == 0 || ahead[len(ahead)-1] <= now; !a.waits {
		a.roll(now)
	}
}

// renew stores the boundaries up to the last of some, and begins the epoch of now. Those are
// of a calendar that the model computes itself.
func (a *simAccount) renew(last, now int64) {
	for at := simNext(a.Settings.Window, a.Epochs.Mark); at <= last; at = simNext(a.Settings.Window, at) {
		a.Epochs.Ahead = append(a.Epochs.Ahead, at)
	}
	a.Epochs.Mark = last
	a.roll(now)
	a.waits = len(a.Epochs.Ahead) == 0
}

// roll ends the current epoch if a boundary has passed.
func (a *simAccount) roll(now int64) {
	passed := 0
	for passed < len(a.Epochs.Ahead) && a.Epochs.Ahead[passed] <= now {
		passed++
	}
	if passed == 0 {
		return
	}
	w := a.Settings.Window
	limit := a.room(w.Amount)
	skipped := new(big.Int).Mul(bigOf(w.Amount), big.NewInt(int64(passed-1)))
	moved := amountOf(bigLess(bigOf(w.Carry), bigOf(a.Remaining), limit))
	given := amountOf(bigLess(bigOf(w.Carry), skipped.Add(skipped, bigOf(a.Remaining)), limit))
	a.ended = append(a.ended, &simEpoch{a.Epochs.Start, store.EndedEpoch{
		Granted: a.Granted - moved, Remaining: a.Remaining - moved, Reserved: a.Reserved, Committed: a.Committed,
		Moved: moved, End: a.Epochs.Ahead[0],
	}})
	a.Epochs.Start, a.Epochs.Ahead = a.Epochs.Ahead[passed-1], a.Epochs.Ahead[passed:]
	a.Granted = amountOf(bigSum(w.Amount, given))
	a.Remaining, a.Reserved, a.Committed = a.Granted, 0, 0
	older := max(len(a.ended)-3, 0)
	last := a.ended[older:]
	a.ended = append(slices.DeleteFunc(a.ended[:older], func(e *simEpoch) bool { return e.Reserved == 0 }), last...)
}

// epochOf returns the ended epoch to which a hold belongs that was made at a time, or nil for
// the current one.
func (a *simAccount) epochOf(made int64) *simEpoch {
	if a.Epochs == nil || len(a.ended) == 0 || made >= a.Epochs.Start {
		return nil
	}
	found := a.ended[0]
	for _, e := range a.ended {
		if e.start <= made {
			found = e
		}
	}
	return found
}

// cover returns the largest excess that the account pays for a hold made at a time that counts.
func (a *simAccount) cover(made int64) *big.Int {
	own := bigSum(a.Remaining, a.Settings.Overdraft)
	e := a.epochOf(made)
	if e == nil {
		return own
	}
	if own.Sign() < 0 {
		own = new(big.Int)
	}
	return own.Add(bigOf(e.Remaining), bigLess(own, bigSum(e.Moved, a.Settings.Overdraft), bigSum(budget.MaxMicrocents, -e.Granted)))
}

// move changes what the epoch of a hold that was made at a time has reserved and committed.
// It reports whether that epoch has ended, or a rolling window doesn't contain the hold.
func (a *simAccount) move(made int64, reserved, committed budget.Microcents) (late bool) {
	e := a.epochOf(made)
	if e == nil {
		if late = a.outside(made); late {
			committed = 0
		} else if a.rolls() {
			a.addTo(made, committed)
		}
		a.Reserved += reserved
		a.Committed += committed
		a.Remaining -= reserved + committed
		return late
	}
	back := new(big.Int).Neg(bigSum(reserved, committed))
	change := new(big.Int)
	if back.Sign() > 0 {
		carry, before := bigOf(a.Settings.Window.Carry), bigSum(e.Remaining, e.Moved)
		after := new(big.Int).Add(before, back)
		change.Sub(bigLess(carry, after), bigLess(carry, before))
	}
	left := new(big.Int).Add(bigOf(e.Remaining), back)
	change = bigLess(change, left, a.room(a.Granted))
	passed := amountOf(change)
	e.Reserved += reserved
	e.Committed += committed
	e.Remaining = amountOf(left.Sub(left, change))
	e.Granted -= passed
	e.Moved += passed
	a.Granted += passed
	a.Remaining += passed
	return true
}

// calendarOf returns the part of a window that determines its boundaries.
func calendarOf(w budget.Window) budget.Window {
	w.Amount, w.Carry = 0, 0
	return w
}

// configure makes a change at a time. It reports whether all sums fit 64 bits; the account
// is changed only if they do. An account that is created has the budget that it is given.
func (a *simAccount) configure(c *budget.Change, now int64, created bool) (fits bool) {
	settings, granted := c.Apply(a.Settings), a.Granted
	w, was := &settings.Window, a.Settings.Window
	if c.SetWindow && w.Period != budget.NoPeriod {
		before := a.Granted
		if was.Period != budget.NoPeriod {
			before = was.Amount
		}
		if c.Window.Amount == 0 {
			w.Amount = max(before, 0)
		} else if more := new(big.Int).Sub(bigOf(c.Window.Amount), bigOf(before)); (more.Sign() > 0 || w.Period.Rolling()) && !created {
			sum := more.Add(more, bigOf(a.Granted))
			if !sum.IsInt64() {
				return false
			}
			granted = amountOf(sum)
		}
	}
	remaining := bigSum(a.Remaining, granted, -a.Granted)
	if remaining.Cmp(bigOf(-budget.MaxMicrocents)) < 0 || !bigSum(granted, settings.Overdraft).IsInt64() || !bigSum(w.Amount, settings.Overdraft).IsInt64() {
		return false
	}
	a.Remaining = amountOf(remaining)
	a.Granted, a.Settings = granted, settings
	switch {
	case !c.SetWindow:
	case w.Period == budget.NoPeriod && len(a.ended) == 0:
		a.Epochs, a.ring, a.waits = nil, nil, false
	case calendarOf(*w) == calendarOf(was):
	default:
		if a.Epochs == nil {
			a.Epochs = &store.Epochs{Start: now}
		}
		a.Epochs.Mark, a.Epochs.Ahead, a.ring, a.waits = now, nil, nil, false
		switch {
		case w.Period.Rolling():
			a.beginRing(now)
		case w.Period != budget.NoPeriod:
			a.waits = true
		}
	}
	return true
}

// at returns the terms of the epoch that contains a time.
func (a *simAccount) at(t int64) (b budget.Balance, kept bool) {
	if a.Epochs == nil {
		return b, false
	}
	if end := a.next(); t >= a.Epochs.Start {
		return a.Balance(), !a.rolls() && (end == 0 || t < end)
	}
	for _, e := range a.ended {
		if e.start <= t && t < e.End {
			return budget.Balance{
				Outcome: budget.Found, Granted: e.Granted, Remaining: e.Remaining, Reserved: e.Reserved, Committed: e.Committed,
				Settings: a.Settings, Epoch: budget.Epoch{Start: budget.Instant(e.start), End: budget.Instant(e.End)},
			}, true
		}
	}
	return b, false
}
