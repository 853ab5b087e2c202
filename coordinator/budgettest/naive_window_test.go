package budgettest

import (
	"math/big"
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// The windows of accounts in the naive engine. It passes from epoch to epoch one by one, also
// through those without an operation.

// The deliberate errors of a naive engine in its windows.
const (
	neverRolls             mistake = firstWindowMistake + 1 + iota
	rollsOnce                      // an operation passes one boundary at most
	rollsTwice                     // each boundary is passed twice
	rollsLate                      // an epoch begins 1 ms after its boundary
	rollsEarly                     // an epoch begins 1 ms before its boundary
	rollsBeforeDue                 // holds that are due end after the boundary
	rollsTenantOnly                // the ancestors of a tenant begin no epoch
	sleepsFrozen                   // a frozen account begins no epoch
	sleepsClosed                   // a closed account begins no epoch
	startsAtOperation              // an epoch starts when it is noticed
	forgetsDebt                    // debt does not pass on
	forgivesByEpoch                // debt beyond an epoch's amount does not pass on
	carriesAll                     // what passes on ignores the cap
	carriesNothing                 // only debt passes on
	carriesBeyond64                // what passes on may exceed 64 bits
	keepsMoved                     // an ended epoch keeps what it has passed on
	settlesCurrent                 // a hold of an ended epoch settles in the current one
	settlesNewestEnded             // a hold of an ended epoch settles in the newest of these
	losesLate                      // what returns to an ended epoch does not pass on
	lateIgnoresCap                 // what returns to an ended epoch passes on beyond the cap
	lateBeyond64                   // what returns to an ended epoch passes on beyond 64 bits
	roomWraps                      // the room for what passes on overflows
	coversByCurrent                // the excess of a late commit need only be covered by the current epoch
	coversByOwn                    // the excess of a late commit need only be covered by its epoch
	coversWithoutOverdraft         // the overdraft does not cover the excess of a late commit
	coversByDebt                   // a current epoch beyond its overdraft counts for late commits
	coversBeyond64                 // the excess of a late commit may exceed 64 bits
	lateTakesBack                  // an excess takes back what would not have been passed on, although its epoch has it
	raisesNext                     // a raised amount counts from the next epoch
	raisesNew                      // a new tenant has the window's amount at once
	lowersNow                      // a lowered amount counts at once
	resetsFirst                    // the first window makes the account as new
	restartsEpoch                  // a window that is set again starts an epoch
	keepsBoundary                  // a changed window has the boundaries of the former one
	forgetsAmount                  // a window without an amount has the granted one
	dropsAtRemoval                 // a removed window removes the ended epochs
	startsAgain                    // a window after a removed one starts an epoch
	keepsTwo                       // two ended epochs are kept
	keepsFour                      // four ended epochs are kept
	dropsHolds                     // the fourth last ended epoch is dropped, with its holds
	dropsSettled                   // an older epoch is dropped when its last hold ends
	includesEnd                    // an epoch contains its end
	hidesRenews                    // refusals and reads don't return the next boundary
	deletesEnded                   // an account with holds of ended epochs only is deleted
	keepsDeleted                   // a recreated tenant has the ended epochs of the deleted one
	capsForgetEnded                // CapReserved counts the holds of the current epoch
	capsForgetEndedHolds           // CapHolds counts the holds of the current epoch
	crossesFirstEpoch              // thresholds are not armed again in a new epoch
	crossesOfLast                  // what an ended epoch committed counts for thresholds of the current one
	configuresBeyondAmount         // the window's amount is checked without the overdraft
	listsUnrolled                  // a tree has the epochs of the last operations

	lastWindowMistake
)

// pastEpoch is an ended epoch: its terms, and what it has passed on to the epochs after it.
type pastEpoch struct {
	budget.Balance
	moved budget.Microcents
}

// keptEpochs is the number of ended epochs that are kept without holds.
func (e *naive) keptEpochs() int {
	switch e.mistake { //nolint:exhaustive // others concern other rules
	case keepsTwo:
		return 2
	case keepsFour:
		return 4
	default:
		return 3
	}
}

func (e *naive) rollLevels(levels []budget.TenantID) {
	for i, level := range levels {
		if i == 0 || e.mistake != rollsTenantOnly {
			e.roll(level)
		}
	}
}

func (e *naive) rollOwn(tenant budget.TenantID) {
	e.roll(tenant)
	for _, key := range e.limitsOf(tenant) {
		e.roll(key)
	}
}

// roll begins the present epoch of an account: it ends the current one at its boundary, then
// passes through every epoch without an operation. A rolling window slides.
func (e *naive) roll(tenant budget.TenantID) {
	account := e.accounts[tenant]
	if account == nil || e.mistake == sleepsFrozen && account.Settings.Frozen || e.mistake == sleepsClosed && account.Settings.Closed {
		return
	}
	if r := e.rings[tenant]; r != nil {
		e.slide(tenant, account, r)
	}
	if account.Epoch.End == 0 || e.mistake == neverRolls || e.waitsForBase(tenant) {
		return
	}
	now := budget.Instant(e.now)
	e.alignEnds(tenant)
	switch e.mistake { //nolint:exhaustive // others concern other rules
	case rollsLate:
		now--
	case rollsEarly:
		now++
	}
	if account.Epoch.End > now {
		return
	}
	e.endEpoch(tenant, account)
	boundaries := boundariesAfter(account.Settings.Window, account.Epoch.End)
	for start := account.Epoch.End; ; start = account.Epoch.End {
		if e.mistake == startsAtOperation {
			start = now
		}
		remaining := account.Settings.Window.Amount + e.passes(account, account.Remaining)
		if e.mistake == rollsTwice {
			remaining = account.Settings.Window.Amount + e.passes(account, remaining)
		}
		account.Granted, account.Remaining, account.Reserved, account.Committed = remaining, remaining, 0, 0
		account.Epoch = budget.Epoch{Start: start, End: boundaries()}
		if account.Epoch.End > now || e.mistake == rollsOnce {
			break
		}
	}
	if e.mistake != crossesFirstEpoch {
		delete(e.reached, tenant)
	}
}

// endEpoch moves the terms of the current epoch to the ended ones, and drops those that are
// not kept.
func (e *naive) endEpoch(tenant budget.TenantID, account *budget.Balance) {
	past := &pastEpoch{Balance: *account, moved: e.passes(account, account.Remaining)}
	if e.mistake != keepsMoved {
		past.Granted -= past.moved
		past.Remaining -= past.moved
	}
	account.Ended += past.Reserved
	past.Ended = 0
	all := append(e.past[tenant], past)
	var kept []*pastEpoch
	for i, p := range all {
		if i >= len(all)-e.keptEpochs() || p.Reserved > 0 && e.mistake != dropsHolds {
			kept = append(kept, p)
		}
	}
	e.past[tenant] = kept
}

// passes returns what an epoch with a remaining amount passes on to the next.
func (e *naive) passes(account *budget.Balance, remaining budget.Microcents) budget.Microcents {
	w, room := account.Settings.Window, budget.MaxMicrocents-account.Settings.Overdraft-account.Settings.Window.Amount
	switch e.mistake { //nolint:exhaustive // others concern other rules
	case forgetsDebt:
		remaining = max(remaining, 0)
	case forgivesByEpoch:
		remaining = max(remaining, -w.Amount)
	case carriesAll:
		return min(remaining, room)
	case carriesNothing:
		return min(remaining, 0)
	case carriesBeyond64:
		return min(remaining, w.Carry)
	}
	return min(remaining, w.Carry, room)
}

// boundariesAfter returns a function that returns the boundaries after a time, one by one.
func boundariesAfter(w budget.Window, after budget.Instant) func() budget.Instant {
	var ahead []time.Time
	last := after.Time()
	return func() budget.Instant {
		if len(ahead) == 0 {
			var err error
			if ahead, err = w.Boundaries(last, 50); err != nil {
				panic(err)
			}
		}
		last, ahead = ahead[0], ahead[1:]
		return budget.InstantOf(last)
	}
}

// epochOf returns the ended epoch of a hold at a level, or nil for the current one.
func (e *naive) epochOf(id budget.ReservationID, level budget.TenantID) *pastEpoch {
	h, open := e.holds[id]
	if !open || e.mistake == settlesCurrent {
		return nil
	}
	if tenant, limit := limitOf(level); limit != budget.NoPeriod {
		if e.mistake == limitsSettleCurrent || e.mistake == limitsSettleByBase && e.epochOf(id, tenant) == nil {
			return nil
		}
	}
	made := budget.InstantOf(h.Made)
	if all := e.past[level]; len(all) > 0 && made < e.accounts[level].Epoch.Start {
		if e.mistake == settlesNewestEnded {
			return all[len(all)-1]
		}
		for _, past := range slices.Backward(all) {
			if past.Epoch.Start <= made {
				return past
			}
		}
		return all[0]
	}
	return nil
}

// lateHolds returns the number of open holds of an account's ended epochs.
func (e *naive) lateHolds(level budget.TenantID) (n int64) {
	for id := range e.holds {
		if slices.Contains(e.set(id), level) && e.epochOf(id, level) != nil {
			n++
		}
	}
	return n
}

// endLate ends a hold in an ended epoch of an account, which passes on a part of what returns.
// An excess is paid by what remains in that epoch, then by what it had passed on.
func (e *naive) endLate(account *budget.Balance, past *pastEpoch, held, spent budget.Microcents) {
	back, carry := held-spent, account.Settings.Window.Carry
	if e.mistake == latePassesOn && account.Settings.Window.Period.Rolling() {
		carry = budget.CarryAll
	}
	whole := past.Remaining + past.moved // as if nothing had been passed on
	passes := min(carry, whole+back) - min(carry, whole)
	switch {
	case e.mistake == losesLate && back > 0:
		passes = 0
	case e.mistake == lateIgnoresCap && back > 0:
		passes = back
	case back < 0 && e.mistake != lateTakesBack:
		passes = min(past.Remaining+back, 0)
	}
	room := sum(budget.MaxMicrocents, -account.Settings.Overdraft, -account.Granted)
	switch e.mistake { //nolint:exhaustive // others concern other rules
	case roomWraps:
		room = budget.MaxMicrocents - account.Settings.Overdraft - account.Granted
	case lateBeyond64:
		room = budget.MaxMicrocents
	}
	passes = min(passes, past.Remaining+back, room)
	past.Reserved -= held
	past.Committed += spent
	past.Remaining += back - passes
	past.Granted -= passes
	past.moved += passes
	account.Granted += passes
	account.Remaining += passes
	account.Ended -= held
	if e.mistake == crossesOfLast {
		account.Committed += spent
		account.Remaining -= spent
	}
}

// arm forgets thresholds that an account has no longer reached.
func (e *naive) arm(level budget.TenantID) {
	if e.mistake != crossesOnce {
		e.reached[level] = e.accounts[level].Crossed()
	}
}

// payableLate returns the excess that a commit can have in an ended epoch: what this epoch
// could pay had it passed on nothing, of which the current one must pay its part, too.
func (e *naive) payableLate(account *budget.Balance, past *pastEpoch) budget.Microcents {
	overdraft := account.Settings.Overdraft
	if e.mistake == coversWithoutOverdraft {
		overdraft = 0
	}
	own := sum(past.moved, overdraft)
	current := max(account.Remaining+overdraft, 0)
	switch e.mistake { //nolint:exhaustive // others concern other rules
	case coversByCurrent:
		own = current
	case coversByOwn:
		current = own
	case coversByDebt:
		current = account.Remaining + overdraft
	}
	room := budget.MaxMicrocents - past.Granted // for what the epoch is granted afterwards
	if e.mistake == coversBeyond64 {
		room = budget.MaxMicrocents
	}
	return sum(past.Remaining, min(own, current, room))
}

// sum returns the sum, or the nearest amount of 64 bits.
func sum(amounts ...budget.Microcents) budget.Microcents {
	total := new(big.Int)
	for _, amount := range amounts {
		total.Add(total, big.NewInt(int64(amount)))
	}
	switch {
	case total.IsInt64():
		return budget.Microcents(total.Int64())
	case total.Sign() < 0:
		return smallest
	default:
		return budget.MaxMicrocents
	}
}

// setWindow completes the change of an account's window: after has the settings after it.
func (e *naive) setWindow(tenant budget.TenantID, after *budget.Balance, was, change budget.Window, isNew bool) error {
	now := budget.Instant(e.now)
	if change == (budget.Window{}) {
		if e.mistake == dropsAtRemoval {
			delete(e.past, tenant)
		}
		after.Epoch.End = 0
		if len(e.past[tenant]) == 0 {
			after.Epoch = budget.Epoch{}
		}
		return nil
	}
	amount, first := was.Amount, was == budget.Window{}
	if first {
		amount = after.Granted
	}
	if change.Amount == 0 && (first || e.mistake == forgetsAmount) {
		after.Settings.Window.Amount = max(after.Granted, 0)
	}
	if err := e.raise(after, amount, change.Amount, isNew); err != nil {
		return err
	}
	if first && e.mistake == resetsFirst {
		after.Granted, after.Remaining, after.Reserved, after.Committed = after.Settings.Window.Amount, after.Settings.Window.Amount, 0, 0
	}
	rolls := after.Settings.Window.Period.Rolling()
	if after.Epoch == (budget.Epoch{}) || !first && e.mistake == restartsEpoch || first && e.mistake == startsAgain || rolls && e.mistake == rollingRestarts {
		after.Epoch.Start = now
	}
	if rolls {
		after.Epoch.End = 0
		return nil
	}
	same := was
	same.Amount, same.Carry = after.Settings.Window.Amount, after.Settings.Window.Carry
	keeps := e.mistake == keepsBoundary || e.mistake == keepsLimitBoundary && !isBase(tenant)
	if same != after.Settings.Window && (first || !keeps) {
		after.Epoch.End = boundariesAfter(after.Settings.Window, now)()
	}
	return nil
}

// raise adds to the current epoch the difference to a larger amount, and to a rolling window that
// to a smaller one, too.
func (e *naive) raise(after *budget.Balance, was, amount budget.Microcents, isNew bool) error {
	larger := amount > was && (!isNew || e.mistake == raisesNew) && e.mistake != raisesNext
	smaller := amount < was && (e.mistake == lowersNow || after.Settings.Window.Period.Rolling() && e.mistake != lowersNext)
	if after.Limit != budget.NoPeriod {
		larger = larger && e.mistake != raisesLimitNext
		smaller = smaller || amount < was && e.mistake == lowersLimitNow
	}
	if amount == 0 || !larger && !smaller {
		return nil
	}
	granted := new(big.Int).Sub(big.NewInt(int64(amount)), big.NewInt(int64(was)))
	granted.Add(granted, big.NewInt(int64(after.Granted)))
	if !granted.IsInt64() {
		return budget.ErrOverflow
	}
	difference := budget.Microcents(granted.Int64()) - after.Granted
	if e.mistake == lowersToZero {
		difference = max(difference, -max(after.Remaining, 0))
	}
	after.Granted += difference
	after.Remaining += difference
	return nil
}

// renews returns the next boundary of a level, or when its rolling window next returns an amount.
func (e *naive) renews(level budget.TenantID) budget.Instant {
	if e.mistake == hidesRenews {
		return 0
	}
	if e.mistake == renewsOfBase {
		level, _ = limitOf(level)
	}
	if r := e.rings[level]; r != nil {
		return e.turns(r)
	}
	return e.accounts[level].Epoch.End
}

// balanceAt returns the balance of the epoch that contains a time.
func (e *naive) balanceAt(tenant budget.TenantID, at budget.Instant) (budget.Balance, error) {
	account := e.shown(e.accounts[tenant])
	contains := func(b budget.Balance) bool {
		return b.Epoch.Start != 0 && b.Epoch.Start <= at && (b.Epoch.End == 0 || at < b.Epoch.End || e.mistake == includesEnd && at == b.Epoch.End)
	}
	for i, past := range e.past[tenant] {
		if e.mistake == dropsSettled && i < len(e.past[tenant])-3 && past.Reserved == 0 {
			continue
		}
		if contains(past.Balance) {
			b := past.Balance
			b.Settings = account.Settings
			return b, nil
		}
	}
	if contains(account) {
		return account, nil
	}
	return budget.Balance{}, budget.ErrNoEpoch
}
