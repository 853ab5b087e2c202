package local

import (
	"github.com/calybris/bursar/coordinator/budget"
)

// ring has the committed amount of each part of a rolling window. The account's
// lock guards it.
//
// Invariants while the account isn't locked:
//   - the sum of all parts is the limit's committed amount, and no part is negative: slide and
//     commit return the amounts that they take off and add, and settleAt and roll do the same to committed;
//   - the last part is that of the family's time when an operation last slid the ring, so no hold
//     that the limit counts was made in a later part;
//   - the amount committed before the window was set is in the part in which it was set.
type ring struct {
	length int64               // of a part, ms
	newest int64               // number of the last part: its start, Unix ms, divided by length
	parts  []budget.Microcents // the oldest first
}

// newRing returns the ring of a rolling window that is set at a time.
func newRing(period budget.Period, committed budget.Microcents, now int64) *ring {
	n, length := period.Parts()
	r := &ring{length: length.Milliseconds(), parts: make([]budget.Microcents, n+1)}
	r.newest = r.part(now)
	r.parts[n] = committed
	return r
}

// part returns the number of the part that contains a time.
func (r *ring) part(at int64) int64 {
	number := at / r.length
	if at%r.length < 0 { // before 1970
		number--
	}
	return number
}

// at returns the part in which a hold was made, or nil if that has left the window.
func (r *ring) at(made int64) *budget.Microcents {
	last := int64(len(r.parts) - 1)
	if age := r.newest - r.part(made); age <= last {
		return &r.parts[last-age]
	}
	return nil
}

// slide moves the window to a time, and returns the committed amount of the parts that have left it.
func (r *ring) slide(now int64) (left budget.Microcents) {
	passed := r.part(now) - r.newest
	if passed <= 0 {
		return 0
	}
	r.newest += passed
	gone := min(passed, int64(len(r.parts)))
	for _, amount := range r.parts[:gone] {
		left += amount
	}
	clear(r.parts[copy(r.parts, r.parts[gone:]):])
	return left
}

// commit adds the actual cost of a hold to the part in which it was made, and returns what it has
// added: 0 if that part has left the window.
func (r *ring) commit(made int64, actual budget.Microcents) budget.Microcents {
	part := r.at(made)
	if part == nil {
		return 0
	}
	*part += actual
	return actual
}

// renews returns when the oldest part with a committed amount leaves the window, or 0.
func (r *ring) renews() budget.Instant {
	for i, amount := range r.parts {
		if amount > 0 {
			return budget.Instant((r.newest + int64(i) + 1) * r.length)
		}
	}
	return 0
}

// rolling returns the ring of the limit's rolling window, or nil if it has none.
func (l *ledger) rolling() *ring {
	if l.managed == nil || l.managed.epochs == nil {
		return nil
	}
	return l.managed.epochs.ring
}
