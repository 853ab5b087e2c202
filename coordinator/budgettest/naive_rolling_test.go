package budgettest

import (
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
)

// The rolling windows of accounts in the naive engine. It has a list of all commits that a
// window contains.

// The deliberate errors of a naive engine in its rolling windows.
const (
	neverSlides         mistake = lastWindowMistake + 1 + iota
	slidesLate                  // a part leaves 1 ms after its time
	slidesEarly                 // a part leaves 1 ms before its time
	slidesPartLate              // a part leaves a part after its time
	slidesPartEarly             // the current part is one of those of the period
	slidesOne                   // an operation lets one part leave at most
	slidesAll                   // all parts leave with the oldest
	slidesFromSet               // the parts begin when the window is set
	slidesHolds                 // open holds end when their part leaves
	losesLeft                   // what leaves is not returned, but withdrawn
	slidesWithoutArming         // thresholds are armed by the operation after the one that lets a part leave
	countsAtCommit              // a commit counts in the part of its own time
	countsFromSet               // a hold from before the window counts in the part in which that was set
	outsideCountsNow            // a commit after its part has left counts in the current part
	outsideCountsOldest         // a commit after its part has left counts in the oldest part
	outsideIsChecked            // the excess of a commit after its part has left must be covered
	outsideLimits               // an account whose window does not contain a hold limits CommitAvailable
	outsideEverywhere           // a commit that one level's window does not contain charges no level
	outsideCostsNothing         // a commit after its part has left has an actual cost of 0
	renewsNextPart              // a refusal returns the end of the current part
	renewsNewest                // a refusal returns when the newest amount leaves
	renewsPartEarly             // a refusal returns a time that is a part too early
	lowersNext                  // a lowered amount does not change the account
	lowersToZero                // a lowered amount takes only what remains
	grantsRaiseAmount           // a grant changes the window's amount
	repeatsRing                 // a window that is set again counts all that is committed in the current part
	convertsRing                // another rolling window keeps the parts of the former one
	survives                    // the parts of a window leave when the account has none, or another one
	leavingReturns              // a window that is removed or made one of the calendar returns what is committed
	setReturns                  // a window returns what was committed before it
	setForgets                  // what was committed before a window never leaves
	rollingDropsEnded           // a rolling window drops the ended epochs
	rollingRestarts             // a rolling window starts an epoch
	showsStart                  // Balance returns an epoch for a rolling window
	latePassesOn                // what returns to an ended epoch passes on to a rolling window
	ensuresOther                // a new tenant has a rolling window with another amount
	ensuresExisting             // EnsureTenant of a tenant that exists does not check the amount
	keepsDeletedRing            // a recreated tenant has the parts of the deleted one

	lastRollingMistake
)

// ring is what is committed in an account's rolling window.
type ring struct {
	period budget.Period
	costs  []partCost
	set    int64 // time at which the window was set, Unix ms
}

// partCost is the cost of a hold in the part in which it was made, or all that had been committed
// when the window was set.
type partCost struct {
	part   int64
	amount budget.Microcents
}

// partOf returns the part that contains a time.
func (e *naive) partOf(r *ring, at int64) int64 {
	_, length := r.period.Parts()
	if e.mistake == slidesFromSet {
		at -= r.set % length.Milliseconds()
	}
	return at / length.Milliseconds()
}

// oldestPart returns the oldest part that a window contains now.
func (e *naive) oldestPart(r *ring) int64 {
	now := e.now
	parts, _ := r.period.Parts()
	switch e.mistake { //nolint:exhaustive // others concern other rules
	case slidesLate:
		now--
	case slidesEarly:
		now++
	case slidesPartLate:
		parts++
	case slidesPartEarly:
		parts--
	}
	return e.partOf(r, now) - int64(parts)
}

// slide returns to an account what its rolling window doesn't contain any more.
func (e *naive) slide(tenant budget.TenantID, account *budget.Balance, r *ring) {
	oldest := e.oldestPart(r)
	if e.mistake == slidesOne && len(r.costs) > 0 {
		first := slices.MinFunc(r.costs, func(a, b partCost) int { return int(a.part - b.part) })
		oldest = min(oldest, first.part+1)
	}
	if e.mistake == neverSlides {
		return
	}
	left, kept := budget.Microcents(0), []partCost(nil)
	for _, c := range r.costs {
		if c.part < oldest || e.mistake == slidesAll && e.hasLeft(r, oldest) {
			left += c.amount
		} else {
			kept = append(kept, c)
		}
	}
	r.costs = kept
	account.Committed -= left
	account.Remaining += left
	if e.mistake == losesLeft {
		account.Remaining -= left
		account.Granted -= left
	}
	if left > 0 && e.mistake != slidesWithoutArming {
		e.arm(tenant)
	}
	if e.mistake == slidesHolds {
		for id := range e.holds {
			if e.outside(id, tenant) {
				e.end(id, 0, budget.Expired)
			}
		}
	}
}

func (e *naive) hasLeft(r *ring, oldest int64) bool {
	return slices.ContainsFunc(r.costs, func(c partCost) bool { return c.part < oldest })
}

// outside reports whether an account's rolling window doesn't contain the time when an open hold
// was made, so that a commit doesn't charge the account.
func (e *naive) outside(id budget.ReservationID, level budget.TenantID) bool {
	h, open := e.holds[id]
	r := e.rings[level]
	return open && r != nil && e.epochOf(id, level) == nil && e.partOf(r, h.Made.UnixMilli()) < e.oldestPart(r)
}

// charged returns those of a hold's levels that a commit charges.
func (e *naive) charged(id budget.ReservationID, levels []budget.TenantID) []budget.TenantID {
	outside := func(level budget.TenantID) bool { return e.outside(id, level) }
	switch {
	case e.mistake == outsideIsChecked:
		return levels
	case e.mistake == outsideEverywhere && slices.ContainsFunc(levels, outside):
		return nil
	}
	return slices.DeleteFunc(slices.Clone(levels), outside)
}

// charge adds the cost of a hold to an account's rolling window, if it has one, and returns what
// that charges the account.
func (e *naive) charge(id budget.ReservationID, level budget.TenantID, spent budget.Microcents) budget.Microcents {
	r := e.rings[level]
	if e.mistake == outsideEverywhere && len(e.charged(id, e.set(id))) == 0 {
		return 0
	}
	if r == nil {
		return spent
	}
	part := e.partOf(r, e.holds[id].Made.UnixMilli())
	switch e.mistake { //nolint:exhaustive // others concern other rules
	case countsAtCommit:
		part = e.partOf(r, e.now)
	case countsFromSet:
		part = max(part, e.partOf(r, r.set))
	}
	if oldest := e.oldestPart(r); part < oldest {
		switch e.mistake { //nolint:exhaustive // others concern other rules
		case outsideCountsNow:
			part = e.partOf(r, e.now)
		case outsideCountsOldest:
			part = oldest
		default:
			return 0
		}
	}
	r.costs = append(r.costs, partCost{part, spent})
	return spent
}

// turns returns when the oldest amount leaves a rolling window, or 0.
func (e *naive) turns(r *ring) budget.Instant {
	parts, length := r.period.Parts()
	var found []int64
	for _, c := range r.costs {
		if c.amount > 0 {
			found = append(found, c.part)
		}
	}
	if e.mistake == renewsNextPart {
		return budget.Instant((e.partOf(r, e.now) + 1) * length.Milliseconds())
	}
	if len(found) == 0 {
		return 0
	}
	leaves := slices.Min(found) + int64(parts) + 1
	switch e.mistake { //nolint:exhaustive // others concern other rules
	case renewsNewest:
		leaves = slices.Max(found) + int64(parts) + 1
	case renewsPartEarly:
		leaves--
	}
	return budget.Instant(leaves * length.Milliseconds())
}

// rewind makes the ring of an account, after its window was set, or drops it. was is the window
// before that.
func (e *naive) rewind(tenant budget.TenantID, account *budget.Balance, was budget.Window) {
	w, r := account.Settings.Window, e.rings[tenant]
	if w.Period == was.Period && e.mistake != repeatsRing {
		return
	}
	if was.Period.Rolling() && !w.Period.Rolling() && e.mistake == leavingReturns || w.Period.Rolling() && e.mistake == setReturns {
		account.Remaining += account.Committed
		account.Committed = 0
	}
	if e.mistake != survives {
		delete(e.rings, tenant)
	}
	if !w.Period.Rolling() {
		return
	}
	next := &ring{period: w.Period, set: e.now}
	next.costs = []partCost{{e.partOf(next, e.now), account.Committed}}
	switch {
	case e.mistake == setForgets:
		next.costs = nil
	case e.mistake == convertsRing && r != nil:
		next.costs = nil
		_, length := r.period.Parts()
		for _, c := range r.costs {
			next.costs = append(next.costs, partCost{e.partOf(next, c.part*length.Milliseconds()), c.amount})
		}
	case e.mistake == rollingDropsEnded:
		delete(e.past, tenant)
	}
	e.rings[tenant] = next
}

// shown returns an account as it is returned: one with a rolling window has no epoch.
func (e *naive) shown(account *budget.Balance) budget.Balance {
	b := *account
	if b.Settings.Window.Period.Rolling() && e.mistake != showsStart {
		b.Epoch = budget.Epoch{}
	}
	if e.mistake == hidesLimits {
		b.Settings.Limits = 0
	}
	return b
}
