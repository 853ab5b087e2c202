package lane

import (
	"maps"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
)

// The rolling windows of the model: what is committed, by the number of the part since 1970.

// simRing is the parts of a rolling window in which something is committed.
type simRing map[int64]budget.Microcents

// simParts are the number of parts of each rolling window beside the current one, and their
// length in ms.
var simParts = map[budget.Period]struct{ number, length int64 }{
	budget.Last24Hours: {24, 3_600_000}, budget.Last7Days: {28, 21_600_000}, budget.Last30Days: {30, 86_400_000},
}

// ringOf returns the ring of an account as stored, or nil if its window has none.
func ringOf(w budget.Window, e *store.Epochs) simRing {
	parts, rolls := simParts[w.Period]
	if !rolls {
		return nil
	}
	ring, oldest := make(simRing), e.Mark/parts.length-parts.number
	for i, amount := range e.Ring {
		if amount != 0 {
			ring[oldest+int64(i)] = amount
		}
	}
	return ring
}

// rolls reports whether the account has a rolling window.
func (a *simAccount) rolls() bool { return a.ring != nil }

// oldest returns the first part of the window.
func (a *simAccount) oldest() int64 {
	parts := simParts[a.Settings.Window.Period]
	return a.Epochs.Mark/parts.length - parts.number
}

// slide moves the window to a time.
func (a *simAccount) slide(now int64) {
	length := simParts[a.Settings.Window.Period].length
	a.Epochs.Mark = max(a.Epochs.Mark, now/length*length)
	for part, amount := range a.ring {
		if part < a.oldest() {
			a.Committed -= amount
			a.Remaining += amount
			delete(a.ring, part)
		}
	}
}

// outside reports whether a hold that was made at a time counts in a part that has left the
// window.
func (a *simAccount) outside(made int64) bool {
	return a.rolls() && a.epochOf(made) == nil && made/simParts[a.Settings.Window.Period].length < a.oldest()
}

// addTo adds to the part in which a hold was made.
func (a *simAccount) addTo(made int64, amount budget.Microcents) {
	if part := made / simParts[a.Settings.Window.Period].length; amount != 0 {
		a.ring[part] += amount
	}
}

// leaves returns when the next amount leaves the window, or 0 if nothing is committed.
func (a *simAccount) leaves() int64 {
	if len(a.ring) == 0 {
		return 0
	}
	parts := simParts[a.Settings.Window.Period]
	return (slices.Min(slices.Collect(maps.Keys(a.ring))) + parts.number + 1) * parts.length
}

// beginRing begins a rolling window at a time, in whose part all that is committed counts.
func (a *simAccount) beginRing(now int64) {
	length := simParts[a.Settings.Window.Period].length
	a.ring, a.Epochs.Mark = make(simRing), now/length*length
	a.addTo(now, a.Committed)
}

// checkStoredRing checks a ring as it is stored.
func (s *simulation) checkStoredRing(p *simPartition, id store.AccountID, a *simAccount) {
	stored := p.ledger.accounts[id].Epochs
	parts, rolls := simParts[a.Settings.Window.Period]
	if !rolls {
		if len(stored.Ring) > 0 {
			s.failf("%s has a ring without a rolling window: %s", id, a)
		}
		return
	}
	sum := bigSum(stored.Ring...)
	if len(stored.Ring) != int(parts.number)+1 || slices.Min(stored.Ring) < 0 || sum.Cmp(bigOf(a.Committed)) != 0 {
		s.failf("%s has committed %d, but its ring is %d", id, a.Committed, stored.Ring)
	}
	if stored.Mark%parts.length != 0 || stored.Mark > p.ledger.control.Time || len(stored.Ahead) > 0 {
		s.failf("%s has a ring whose last part begins at %d, the time is %d: %s", id, stored.Mark, p.ledger.control.Time, a)
	}
}

// someRolling makes a window a rolling one.
func (s *simulation) someRolling(w budget.Window) budget.Window {
	period := budget.Last24Hours
	if s.random.IntN(4) == 0 {
		period = []budget.Period{budget.Last7Days, budget.Last30Days}[s.random.IntN(2)]
	}
	return budget.Window{Period: period, Amount: w.Amount}
}

// rollTime returns a time to which the clock may jump for an account with a rolling window, and
// whether a whole ring is skipped.
func (s *simulation) rollTime(a *simAccount, now int64) (to int64, far bool) {
	parts := simParts[a.Settings.Window.Period]
	next := (now/parts.length + 1) * parts.length
	switch s.random.IntN(6) {
	case 0:
		to = next + s.random.Int64N(parts.number)*parts.length
	case 1:
		to, far = next+(parts.number+s.random.Int64N(3))*parts.length, true
	case 2, 3:
		if to = a.leaves(); to == 0 {
			to = next
		}
		far = to-now > simFar/2
	default:
		to = next
	}
	switch s.random.IntN(8) {
	case 0, 1:
		to--
	case 2:
		to++
	case 3:
		to -= s.random.Int64N(3000)
	}
	return to, far
}
