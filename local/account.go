package local

import (
	"math"
	"math/rand/v2"
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// account is one tenant's account.
//
// The word remaining is also the lock of the fields below it: the goroutine that sets its
// mark holds the lock, and releases it by storing the word without the mark. So a
// reserve takes its money and the right to record its hold in one compare-and-swap, and
// while the word is unmarked no hold is partially created or settled.
//
// Invariants while the word is unmarked:
//   - remaining + reserved + committed = granted, and none is negative;
//   - reserved is the sum of the open holds;
//   - every open hold's deadline is later than latest.
type account struct {
	tenant budget.TenantID
	hash   uint64 // of the tenant
	number uint64 // in order of creation

	remaining atomic.Int64 // microcents, and the mark
	latest    atomic.Int64 // the account's clock, Unix ms; grows under the lock

	granted   budget.Microcents
	reserved  budget.Microcents
	committed budget.Microcents

	generation uint64 // of the last hold made
	holds      slots
}

func newAccount(tenant budget.TenantID, granted budget.Microcents) *account {
	// Generations start at a random 64-bit number, so that an ID of another engine
	// matches no hold of this one.
	a := &account{tenant: tenant, granted: granted, generation: rand.Uint64()} //nolint:gosec // a start value, not a secret
	a.remaining.Store(int64(granted))
	a.latest.Store(math.MinInt64)
	return a
}

// advance ends the holds that are due by now. Afterwards latest is at least now.
func (a *account) advance(now int64) {
	if now > a.latest.Load() {
		a.advanceSlow(now)
	}
}

func (a *account) advanceSlow(now int64) {
	remaining := a.open()
	if now > a.latest.Load() {
		a.latest.Store(now)
		expired := a.holds.expire(now)
		a.reserved -= expired
		remaining += expired
	}
	a.close(remaining)
}
