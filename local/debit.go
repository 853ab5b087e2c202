package local

import (
	"math"

	"github.com/calybris/bursar/coordinator/budget"
)

// mark is the sign of the word remaining, which no amount needs.
const mark = math.MinInt64

// debitIfAvailable takes the amount out of remaining in one compare-and-swap, which also
// locks the account, or changes nothing and returns what remains.
//
// The swap succeeds only on the very value that was compared with the amount, so
// however many goroutines debit at once, none takes what another has taken. A
// refusal locks nothing and is final: the caller has advanced the account to its
// own time, latest never goes back, and an unmarked word holds back nothing that
// was due by then.
func (a *account) debitIfAvailable(amount budget.Microcents) (remaining budget.Microcents, ok bool) {
	for attempt := 0; ; attempt++ {
		current := a.remaining.Load()
		if current >= 0 {
			left := current - int64(amount)
			if left < 0 {
				return budget.Microcents(current), false
			}
			if a.remaining.CompareAndSwap(current, left|mark) {
				return budget.Microcents(left), true
			}
		}
		pause(attempt)
	}
}

// open locks the account and returns what remains.
func (a *account) open() budget.Microcents {
	for attempt := 0; ; attempt++ {
		current := a.remaining.Load()
		if current >= 0 && a.remaining.CompareAndSwap(current, current|mark) {
			return budget.Microcents(current)
		}
		pause(attempt)
	}
}

// close unlocks the account with a new remaining. The store publishes everything that
// was written under the lock.
func (a *account) close(remaining budget.Microcents) { a.remaining.Store(int64(remaining)) }

// look returns what remains while the account is unlocked. Like a refusal it locks
// nothing and is final.
func (a *account) look() budget.Microcents {
	for attempt := 0; ; attempt++ {
		if current := a.remaining.Load(); current >= 0 {
			return budget.Microcents(current)
		}
		pause(attempt)
	}
}
