package local

import (
	"math"
	"math/rand/v2"
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// account is one tenant's account.
//
// The word is the remaining amount, and also the lock of the fields below it: the goroutine
// that replaces it by locked holds the lock, and releases it by storing the amount. So a
// reserve takes its money and the right to record its hold in one compare-and-swap, and
// while the word isn't locked no hold is partially created or settled.
//
// Invariants while the word isn't locked:
//   - those of a ledger;
//   - the word is managedWord if and only if the account has a managed;
//   - reserved is the sum of the open holds whose level sets contain the account, without those
//     that belong to an ended epoch of it;
//   - the deadline of each such hold is later than the time of the family's root;
//   - if the account is missing, there are no such holds.
//
// A hold is in the slots of its tenant. It is made, settled and ended only while all
// accounts of its level set are locked. So locking one account freezes all holds that it
// counts, and an account that exists in the set of an open hold is not deleted before the
// hold ends.
type account struct {
	hash   uint64 // of the tenant
	number uint32 // in order of creation
	place  uint32 // among the members of the family

	word   atomic.Int64 // remaining, microcents; or locked, missingWord, managedWord
	latest atomic.Int64 // of a root: its family's time, Unix ms, grows under the lock; else the least integer

	ledger // of the base limit

	generation uint64 // of the last hold made, without its level set
	holds      slots

	parent *account // nil for a root
	family *family  // nil for a root without accounts below it
	// due is the lower bound of the deadlines of the holds that the family has for this
	// account. It changes only while the root is locked, too.
	due int64
}

// newAccount returns an account that doesn't exist yet.
func newAccount(tenant budget.TenantID) *account {
	// Generations start at a random 64-bit number, so that an ID of another engine
	// matches no hold of this one.
	a := &account{ledger: ledger{tenant: tenant}, generation: rand.Uint64()&^setMask | ownSet, due: never} //nolint:gosec // a start value, not a secret
	a.word.Store(missingWord)
	a.latest.Store(math.MinInt64)
	return a
}

// create makes the account exist, unless it does, and reports whether it did not. The
// caller holds the mutex of accounts.
func (a *account) create(granted budget.Microcents, settings budget.Settings, limits []budget.LimitChange) bool {
	defer a.family.reshape()()
	remaining := a.open()
	if remaining != missing {
		a.close(remaining)
		return false
	}
	a.granted, a.committed = granted, 0
	now := a.time()
	a.manage(settings, granted, now)
	a.changeLimits(limits, now, nil)
	a.close(granted)
	return true
}

// delete makes the account missing, unless it counts open holds. The caller holds the mutex
// of accounts.
func (a *account) delete() budget.Balance {
	defer a.family.reshape()()
	remaining := a.openCurrent()
	if remaining == missing {
		a.close(missing)
		return budget.Balance{Outcome: budget.MissingTenant}
	}
	b := a.balance(remaining)
	if a.reservedInAll() > 0 { // a hold's amount is never 0
		a.close(remaining)
		b.Outcome = budget.HoldsOpen
		return b
	}
	a.managed = nil
	a.close(missing)
	b.Outcome = budget.Deleted
	return b
}

// advance ends the holds that are due by now, in the whole family. Afterwards the time of
// the family is at least now.
func (a *account) advance(now int64) {
	if now > a.latest.Load() {
		a.advanceSlow(now)
	}
}

func (a *account) advanceSlow(now int64) {
	if a.parent != nil {
		a.family.root.advance(now)
		return
	}
	remaining := a.open()
	if now > a.latest.Load() {
		p := path{n: 1}
		p.levels[0], p.remaining[0] = a, remaining
		p.expire(now)
		remaining = p.remaining[0]
		if a.family != nil {
			remaining = a.family.expire(now, remaining)
		}
		// Store the time last: a goroutine that loads it may lock an account below, without
		// locking this one.
		a.latest.Store(now)
	}
	a.close(remaining)
}

// time returns the time of the account's family.
func (a *account) time() int64 {
	if a.parent != nil {
		a = a.family.root
	}
	return a.latest.Load()
}
