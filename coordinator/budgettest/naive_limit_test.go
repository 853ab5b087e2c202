package budgettest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// The limits of tenants in the naive engine. Each is one more account, which follows that of its
// tenant among the levels.

// The deliberate errors of a naive engine in its limits.
const (
	skipsLimits           mistake = lastRollingMistake + 1 + iota
	skipsAncestorLimits           // a reserve debits only the tenant's own limits
	skipsLastLimit                // a reserve debits all limits of a tenant but the last
	debitsBeforeLimits            // a reserve debits the base limit before it checks the others
	debitsLimitsInTurn            // a reserve debits each limit before it checks the next
	checksLimitsFirst             // Insufficient by a limit before Closed, Frozen and Capped
	refusesByFirst                // a refusal names the first limit without the cost, not the least
	surplusToBase                 // a surplus returns to the base limit only
	excessFromBase                // an excess is charged to the base limit only
	expiresAtBase                 // an expired hold returns to the base limit only
	releasesAtBase                // a released hold returns to the base limit only
	endsInLaterLimits             // a hold's end touches the limits that exist by then
	endsInLimitSetAgain           // a hold has a part in a limit that was removed and set again
	limitsBeforeBase              // of equal limits, those beside the base limit come first
	limitsBackwards               // of equal limits, the last period comes first
	limitsAfterParents            // of equal limits, the base limits of all levels come first
	reservesNameNoLimit           // a reserve returns no limit
	refusalsNameNoLimit           // a refused reserve returns no limit
	settlesNameNoLimit            // a settle returns no limit
	overrunsNameNoLimit           // an overrun returns no limit
	readsNameNoLimit              // Remaining returns no limit
	renewsOfBase                  // a refusal returns the next boundary of the base limit
	readsBaseOnly                 // Remaining returns the least of the base limits
	coversByBase                  // only the base limits need to cover an excess
	availableOfBase               // CommitAvailable charges the amount that the base limits can pay
	overdrawsOfBase               // the overdraft of the base limit counts for the others
	overdrawsNoLimit              // the overdraft of a limit beside the base limit doesn't count
	capsByLimits                  // holds count for caps once a limit
	limitsRollWithBase            // limits begin an epoch only when the base limit does
	limitsRollTogether            // each limit begins an epoch when one of its tenant does
	limitsSettleCurrent           // a hold settles in the current epoch of each limit
	limitsSettleByBase            // a hold settles in the current epoch of each limit if it does in the base limit
	crossesBaseOnly               // thresholds of limits are not reported
	crossesUnnamed                // an event names no limit
	keepsRemoved                  // a limit that was removed and set again has its ended epochs
	removesNothing                // a removed limit remains
	removesWithoutHolds           // a limit with open holds is not removed
	removesPresent                // the removal of a limit that a tenant doesn't have is an error
	configuresBaseFirst           // Configure changes the base limit before it checks the others
	configuresInTurn              // Configure changes each limit before it checks the next
	configuresBeyondLimit         // the amount of a limit's epoch is checked without the overdraft
	overflowsFirst                // ErrOverflow before ErrTooManyLimits
	tooManyFirst                  // ErrTooManyLimits before Closed and MissingTenant
	countsNoLimits                // a tenant can have any number of limits
	countsRemoved                 // the removed limits count for the maximum
	countsChanged                 // the changed limits count twice for the maximum
	limitsOfClosed                // a closed tenant accepts limits
	limitsOfFrozen                // a frozen tenant accepts none
	restartsLimit                 // a limit that is set again is as a new one
	keepsLimitOverdraft           // a limit that is set without an overdraft keeps it
	keepsLimitThresholds          // a limit that is set without thresholds keeps them
	keepsLimitCarry               // a limit that is set without a carry-over keeps it
	raisesLimitNext               // the raised amount of a limit counts from the next epoch
	lowersLimitNow                // the lowered amount of a limit counts at once
	keepsLimitBoundary            // a limit with another calendar keeps its boundary
	ensuresLimitsOfOthers         // EnsureTenant sets the limits of a tenant that exists
	ensuresNoLimits               // a new tenant has no limits
	beginsWithBudget              // the limits of a new tenant begin with its budget
	beginsWithSpent               // a new limit begins with the reserved and committed amounts of the base limit
	keepsDeletedLimits            // a recreated tenant has the limits of the deleted one
	deletesBaseOnly               // a deleted tenant's limits still limit the holds of those below it
	noEpochFirst                  // ErrNoEpoch before ErrNoLimit
	absentIsBase                  // the balance of an absent limit is that of the base limit
	epochsOfBase                  // the balance of a limit's epoch is that of the base limit
	hidesLimit                    // the balance of a limit doesn't name it
	hidesLimits                   // settings don't have the periods of the limits
	showsBaseSettings             // the balance of a limit has the settings of its tenant
	listsBackwards                // Limits has the last period first
	listsTwice                    // the balances of Limits are of two instants
	adjustsLimits                 // grants and withdrawals change the limits, too
	skipsLimitFunds               // a reserve debits limits without a check

	lastLimitMistake
)

// limitKey returns the key of a limit among the accounts. No tenant has such a name.
func limitKey(tenant budget.TenantID, p budget.Period) budget.TenantID {
	return budget.TenantID(rune(p)) + tenant
}

// limitOf returns the tenant and the limit of a key.
func limitOf(key budget.TenantID) (budget.TenantID, budget.Period) {
	if key != "" && key[0] <= byte(budget.Last30Days) {
		return key[1:], budget.Period(key[0])
	}
	return key, budget.NoPeriod
}

func isBase(key budget.TenantID) bool {
	_, limit := limitOf(key)
	return limit == budget.NoPeriod
}

// limitsOf returns the keys of a tenant's limits, in the order of their periods.
func (e *naive) limitsOf(tenant budget.TenantID) (keys []budget.TenantID) {
	for p := budget.Hour; p <= budget.Last30Days; p++ {
		if key := limitKey(tenant, p); e.accounts[key] != nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// bases returns the base limits among some keys.
func bases(keys []budget.TenantID) (base []budget.TenantID) {
	for _, key := range keys {
		if isBase(key) {
			base = append(base, key)
		}
	}
	return base
}

// debited returns the levels that a reserve debits.
func (e *naive) debited(tenant budget.TenantID, levels []budget.TenantID) []budget.TenantID {
	last := e.limitsOf(tenant)
	return slices.DeleteFunc(slices.Clone(levels), func(key budget.TenantID) bool {
		of, limit := limitOf(key)
		return limit != budget.NoPeriod && (e.mistake == skipsLimits || e.mistake == skipsAncestorLimits && of != tenant ||
			e.mistake == skipsLastLimit && len(last) > 1 && key == last[len(last)-1])
	})
}

// inOrder returns levels in the order in which the first of equals is named.
func (e *naive) inOrder(levels []budget.TenantID) []budget.TenantID {
	if e.mistake != limitsBeforeBase && e.mistake != limitsBackwards && e.mistake != limitsAfterParents {
		return levels
	}
	place := func(key budget.TenantID) int {
		of, limit := limitOf(key)
		level := -strings.Count(string(of), "/") * 100
		switch {
		case e.mistake == limitsBeforeBase && limit == budget.NoPeriod:
			return level + 50
		case e.mistake == limitsBackwards && limit != budget.NoPeriod:
			return level + 50 - int(limit)
		case e.mistake == limitsAfterParents && limit != budget.NoPeriod:
			return level + 10_000 + int(limit)
		}
		return level + int(limit)
	}
	return slices.SortedStableFunc(slices.Values(levels), func(a, b budget.TenantID) int { return place(a) - place(b) })
}

// name returns the level and the limit of a key in a result that the mistake, if any, leaves
// without a limit.
func (e *naive) name(key budget.TenantID, unnamed mistake) (budget.TenantID, budget.Period) {
	level, limit := limitOf(key)
	if e.mistake == unnamed {
		limit = budget.NoPeriod
	}
	return level, limit
}

// firstWithout returns the first of some levels that doesn't have a cost, or the least.
func (e *naive) firstWithout(levels []budget.TenantID, cost budget.Microcents) (budget.TenantID, budget.Microcents) {
	for _, key := range levels {
		if remaining := e.accounts[key].Remaining; remaining < cost {
			return key, remaining
		}
	}
	return e.least(levels)
}

// debitEarly debits, by mistake, levels of a refused reserve.
func (e *naive) debitEarly(levels []budget.TenantID, cost budget.Microcents) {
	debit := func(key budget.TenantID) {
		e.accounts[key].Remaining -= cost
		e.accounts[key].Committed += cost
	}
	_, remaining := e.least(bases(levels))
	for _, key := range levels {
		switch {
		case e.mistake == debitsBeforeLimits && isBase(key) && remaining >= cost:
			debit(key)
		case e.mistake == debitsLimitsInTurn && e.accounts[key].Remaining < cost:
			return
		case e.mistake == debitsLimitsInTurn:
			debit(key)
		}
	}
}

// waitsForBase reports whether a limit begins no epoch, by mistake.
func (e *naive) waitsForBase(key budget.TenantID) bool {
	tenant, limit := limitOf(key)
	return e.mistake == limitsRollWithBase && limit != budget.NoPeriod && e.accounts[tenant].Epoch.Start < e.accounts[key].Epoch.End
}

// alignEnds ends, by mistake, the epochs of all limits of a tenant at the first boundary.
func (e *naive) alignEnds(key budget.TenantID) {
	tenant, limit := limitOf(key)
	if e.mistake != limitsRollTogether || limit == budget.NoPeriod {
		return
	}
	first := budget.Instant(e.now + 1)
	for _, key := range e.limitsOf(tenant) {
		if end := e.accounts[key].Epoch.End; end != 0 {
			first = min(first, end)
		}
	}
	for _, key := range e.limitsOf(tenant) {
		if end := e.accounts[key].Epoch.End; end != 0 && first <= budget.Instant(e.now) {
			e.accounts[key].Epoch.End = first
		}
	}
}

// touched returns the levels that the end of a hold touches.
func (e *naive) touched(id budget.ReservationID, spent budget.Microcents, how budget.Outcome) []budget.TenantID {
	held, set := e.holds[id].Held, e.set(id)
	if e.mistake == expiresAtBase && how == budget.Expired || e.mistake == releasesAtBase && how == budget.Released ||
		e.mistake == excessFromBase && how == budget.Committed && spent > held {
		return bases(set)
	}
	return set
}

// withLater returns the base limits of a hold's levels, each with the limits that it has now.
func (e *naive) withLater(set []budget.TenantID) (keys []budget.TenantID) {
	for _, key := range bases(set) {
		keys = append(append(keys, key), e.limitsOf(key)...)
	}
	return keys
}

// forget removes an account or a limit with its epochs. Open holds have no part in it any more.
func (e *naive) forget(key budget.TenantID) {
	delete(e.accounts, key)
	delete(e.reached, key)
	if isBase(key) && e.mistake != keepsDeleted || !isBase(key) && e.mistake != keepsRemoved {
		delete(e.past, key)
	}
	if !isBase(key) || e.mistake != keepsDeletedRing {
		delete(e.rings, key)
	}
	if isBase(key) || e.mistake == endsInLimitSetAgain {
		return
	}
	for id, set := range e.sets {
		e.sets[id] = slices.DeleteFunc(set, func(debited budget.TenantID) bool { return debited == key })
	}
}

// tooMany returns ErrTooManyLimits if a tenant with these settings can't have the limits of a
// change.
func (e *naive) tooMany(s budget.Settings, change budget.Change) error {
	after := change.Apply(s).Limits
	n := after.Len()
	switch e.mistake { //nolint:exhaustive // others concern other rules
	case countsNoLimits:
		return nil
	case countsRemoved:
		n = (s.Limits | after).Len()
	case countsChanged:
		n = s.Limits.Len()
		for _, l := range change.Limits {
			if !l.Remove {
				n++
			}
		}
	}
	if n > budget.MaxLimits {
		return fmt.Errorf("%w: %d", budget.ErrTooManyLimits, n)
	}
	return nil
}

// drafts returns the limits that a change sets, as they are after it, or ErrOverflow.
func (e *naive) drafts(tenant budget.TenantID, change budget.Change) (map[budget.TenantID]budget.Balance, error) {
	drafts := make(map[budget.TenantID]budget.Balance)
	for _, l := range change.Limits {
		if l.Remove {
			continue
		}
		key := limitKey(tenant, l.Window.Period)
		draft, exists := e.draft(tenant, key, &l.Limit)
		fields := budget.Change{
			SetOverdraft: true, SetThresholds: true, SetWindow: true,
			Settings: budget.Settings{Overdraft: l.Overdraft, Thresholds: l.Thresholds, Window: l.Window},
		}
		if err := e.apply(key, &draft, fields, !exists); err != nil {
			return nil, err
		}
		drafts[key] = draft
		if e.mistake == configuresInTurn {
			e.setLimits(drafts)
		}
	}
	return drafts, nil
}

// draft returns a limit before it is set, or a new one, and whether it exists.
func (e *naive) draft(tenant, key budget.TenantID, l *budget.Limit) (budget.Balance, bool) {
	account := e.accounts[key]
	if account == nil || e.mistake == restartsLimit {
		draft := budget.Balance{Outcome: budget.Found, Limit: l.Window.Period, Granted: l.Window.Amount, Remaining: l.Window.Amount}
		if base := e.accounts[tenant]; base != nil && e.mistake == beginsWithSpent {
			draft.Remaining -= base.Reserved + base.Committed
			draft.Committed += base.Reserved + base.Committed
		}
		return draft, false
	}
	was := account.Settings
	switch {
	case e.mistake == keepsLimitOverdraft && l.Overdraft == 0:
		l.Overdraft = was.Overdraft
	case e.mistake == keepsLimitThresholds && l.Thresholds.IsZero():
		l.Thresholds = was.Thresholds
	case e.mistake == keepsLimitCarry && l.Window.Carry == 0:
		l.Window.Carry = was.Window.Carry
	}
	return *account, true
}

// setLimits stores limits.
func (e *naive) setLimits(drafts map[budget.TenantID]budget.Balance) {
	for key, draft := range drafts {
		was := budget.Window{}
		if account := e.accounts[key]; account != nil {
			was = account.Settings.Window
		}
		e.accounts[key] = &draft
		if e.rings[key] == nil {
			was = budget.Window{}
		}
		e.rewind(key, &draft, was)
	}
}

// removeLimits removes limits of a change. It returns an error only by mistake.
func (e *naive) removeLimits(tenant budget.TenantID, change budget.Change) error {
	for _, l := range change.Limits {
		key := limitKey(tenant, l.Window.Period)
		account := e.accounts[key]
		if l.Remove && account == nil && e.mistake == removesPresent {
			return budget.ErrNoLimit
		}
		if !l.Remove || account == nil || e.mistake == removesNothing || e.mistake == removesWithoutHolds && account.Reserved > 0 {
			continue
		}
		e.forget(key)
	}
	return nil
}

// ensureLimits gives a new tenant its limits. SetLimit has checked that they fit 64 bits.
func (e *naive) ensureLimits(tenant budget.TenantID, change budget.Change, amount budget.Microcents) error {
	limits, err := e.drafts(tenant, change)
	if e.mistake == ensuresNoLimits {
		return err
	}
	if e.mistake == beginsWithBudget {
		for key, draft := range limits {
			draft.Granted, draft.Remaining = amount, amount
			limits[key] = draft
		}
	}
	e.setLimits(limits)
	return err
}

// balanceOf returns the balance of a limit, or an error.
func (e *naive) balanceOf(tenant budget.TenantID, o budget.BalanceOptions) (budget.Balance, error) {
	key := limitKey(tenant, o.Limit)
	account := e.accounts[key]
	switch {
	case account == nil && e.mistake == absentIsBase:
		return e.shown(e.accounts[tenant]), nil
	case account == nil && e.mistake == noEpochFirst && o.At != 0:
		return budget.Balance{}, budget.ErrNoEpoch
	case account == nil:
		return budget.Balance{}, budget.ErrNoLimit
	case o.At == 0:
		return e.shownLimit(tenant, e.shown(account)), nil
	}
	if e.mistake == epochsOfBase {
		key = tenant
	}
	b, err := e.balanceAt(key, o.At)
	if err != nil {
		return b, err
	}
	return e.shownLimit(tenant, b), nil
}

// shownLimit returns the balance of a limit as it is returned.
func (e *naive) shownLimit(tenant budget.TenantID, b budget.Balance) budget.Balance {
	switch e.mistake { //nolint:exhaustive // others concern other rules
	case hidesLimit:
		b.Limit = budget.NoPeriod
	case showsBaseSettings:
		s := e.accounts[tenant].Settings
		b.Settings.Frozen, b.Settings.Closed, b.Settings.CapHold, b.Settings.Limits = s.Frozen, s.Closed, s.CapHold, s.Limits
	}
	return b
}

func (e *naive) Limits(_ context.Context, tenant budget.TenantID) (budget.LimitList, error) {
	account, err := e.begin(tenant)
	defer e.finish()
	if err != nil {
		return budget.LimitList{}, err
	}
	if account == nil {
		return budget.LimitList{Outcome: budget.MissingTenant}, nil
	}
	list := budget.LimitList{Outcome: budget.Found, Limits: []budget.Balance{e.shown(account)}}
	if e.mistake == listsTwice {
		e.mu.Unlock()
		time.Sleep(time.Millisecond)
		e.mu.Lock()
	}
	for _, key := range e.limitsOf(tenant) {
		list.Limits = append(list.Limits, e.shownLimit(tenant, e.shown(e.accounts[key])))
	}
	if e.mistake == listsBackwards {
		slices.Reverse(list.Limits[1:])
	}
	return list, nil
}
