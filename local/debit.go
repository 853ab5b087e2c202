package local

import (
	"math"

	"github.com/calybris/bursar/coordinator/budget"
)

// mark is the sign bit of the word remaining, which is free because remaining is never
// negative.
const mark = math.MinInt64

// missing is the unmarked word of an account that doesn't exist, which can be locked like
// any other. A marked word is never equal to it, because a debit leaves less than the
// largest amount. As an amount it covers no cost.
const missing = -1

// debitIfAvailable subtracts the amount from remaining in one compare-and-swap, which also
// locks the account, or changes nothing and returns the remaining amount, or missing.
//
// The swap succeeds only on the very value that was compared with the amount, so
// concurrent debits never take the same money twice. A refusal locks nothing and is final:
// the caller has advanced the account to its own time, latest never decreases, and an
// unmarked word includes the money of all holds that were due by then.
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
		} else if current == missing {
			return missing, false
		}
		pause(attempt)
	}
}

// open locks the account and returns the remaining amount, or missing.
func (a *account) open() budget.Microcents {
	if current := a.remaining.Load(); current >= 0 && a.remaining.CompareAndSwap(current, mark) {
		return budget.Microcents(current)
	}
	return a.openSlow()
}

func (a *account) openSlow() budget.Microcents {
	for attempt := 0; ; attempt++ {
		current := a.remaining.Load()
		if (current >= 0 || current == missing) && a.remaining.CompareAndSwap(current, mark) {
			return budget.Microcents(current)
		}
		pause(attempt)
	}
}

// close unlocks the account and sets remaining, or missing. The store publishes all writes that were
// made under the lock.
func (a *account) close(remaining budget.Microcents) { a.remaining.Store(int64(remaining)) }

// look returns the remaining amount, or missing, as soon as the account is unlocked. Like a refusal, it
// locks nothing and is final.
func (a *account) look() budget.Microcents {
	for attempt := 0; ; attempt++ {
		if current := a.remaining.Load(); current >= 0 || current == missing {
			return budget.Microcents(current)
		}
		pause(attempt)
	}
}
