package local

import (
	"math"
	"math/rand/v2"
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// account is one tenant's books.
//
// The word remaining also guards all that is below it: while its mark is set,
// one goroutine alone has the books open, and it closes them by storing the word
// without the mark. So a reserve takes its money and the right to note its hold
// in one compare-and-swap, and whoever sees the word unmarked sees no hold half
// made and none half settled.
//
// Invariants whenever the word is unmarked:
//   - remaining + reserved + committed = granted, and none is negative;
//   - reserved is the sum of the open holds;
//   - every open hold's deadline is later than latest.
type account struct {
	tenant budget.TenantID
	hash   uint64 // of the tenant
	number uint64 // in order of creation

	remaining atomic.Int64 // microcents, and the mark
	latest    atomic.Int64 // the time that the books have reached, in ms; grows while they are open

	granted   budget.Microcents
	reserved  budget.Microcents
	committed budget.Microcents

	generation uint64 // of the last hold made
	holds      slots
}

func newAccount(tenant budget.TenantID, granted budget.Microcents) *account {
	// Generations begin anywhere in 64 bits, so that those of another engine are
	// not met again here.
	a := &account{tenant: tenant, granted: granted, generation: rand.Uint64()} //nolint:gosec // it spreads load, and protects nothing
	a.remaining.Store(int64(granted))
	a.latest.Store(math.MinInt64)
	return a
}

// advance brings the books to the time now: holds that are due end. Then latest
// is at least now.
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
