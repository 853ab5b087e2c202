package local

import (
	"math"

	"github.com/calybris/bursar/coordinator/budget"
)

// The words that aren't amounts. Any other word is the remaining amount, which is not negative.
const (
	locked      = math.MinInt64
	missingWord = -1 // the account doesn't exist
	managedWord = -2 // the account has a managed, with its remaining amount
)

// missing is the remaining amount of an account that doesn't exist. That of any other is
// larger, because reserved + committed is at most the largest amount.
const missing budget.Microcents = math.MinInt64

// debitIfAvailable subtracts the amount from remaining in one compare-and-swap, which also
// locks the account, and returns what remains. Or it changes nothing and returns the word:
// the remaining amount, missingWord or managedWord.
//
// The swap succeeds only on the very value that was compared with the amount, so
// concurrent debits never take the same money twice. A refusal locks nothing and is final:
// the caller has advanced the account to its own time, latest never decreases, and a word
// that isn't locked includes the money of all holds that were due by then. Neither a debit
// nor a refusal can miss a setting, such as a freeze, because the word of an account with
// settings is managedWord, whose amount only a goroutine with the lock can read.
func (a *account) debitIfAvailable(amount budget.Microcents) (word budget.Microcents, ok bool) {
	for attempt := 0; ; attempt++ {
		current := a.word.Load()
		if current >= 0 {
			left := current - int64(amount)
			if left < 0 {
				return budget.Microcents(current), false
			}
			if a.word.CompareAndSwap(current, locked) {
				return budget.Microcents(left), true
			}
		} else if current != locked {
			return budget.Microcents(current), false
		}
		pause(attempt)
	}
}

// open locks the account and returns the remaining amount, or missing.
func (a *account) open() budget.Microcents {
	if current := a.word.Load(); current >= 0 && a.word.CompareAndSwap(current, locked) {
		return budget.Microcents(current)
	}
	return a.openSlow()
}

// openPlain locks the account and returns the remaining amount, unless the account is missing
// or has settings. The caller may close it with closePlain.
func (a *account) openPlain() (remaining budget.Microcents, ok bool) {
	for attempt := 0; ; attempt++ {
		current := a.word.Load()
		if current >= 0 && a.word.CompareAndSwap(current, locked) {
			return budget.Microcents(current), true
		}
		if current == missingWord || current == managedWord {
			return 0, false
		}
		pause(attempt)
	}
}

func (a *account) openSlow() budget.Microcents {
	for attempt := 0; ; attempt++ {
		current := a.word.Load()
		if current != locked && a.word.CompareAndSwap(current, locked) {
			switch current {
			case missingWord:
				return missing
			case managedWord:
				return a.managed.remaining
			}
			return budget.Microcents(current)
		}
		pause(attempt)
	}
}

// close unlocks the account and sets remaining, or missing. The store publishes all writes
// that were made under the lock.
func (a *account) close(remaining budget.Microcents) {
	word := int64(remaining)
	if a.managed != nil {
		a.managed.remaining, word = remaining, managedWord
	} else if remaining == missing {
		word = missingWord
	}
	a.word.Store(word)
}

// closePlain is close for an account that exists and has no settings.
func (a *account) closePlain(remaining budget.Microcents) { a.word.Store(int64(remaining)) }

// openCurrent is open for an operation that reads the account: it also begins the epoch of the
// family's time.
func (a *account) openCurrent() budget.Microcents {
	remaining := a.open()
	if a.managed != nil {
		return a.roll(remaining, a.time())
	}
	return remaining
}

// look returns the remaining amount, or missing, unless the account has settings. Like a refusal, it
// locks nothing and is final.
func (a *account) look() (remaining budget.Microcents, ok bool) {
	for attempt := 0; ; attempt++ {
		switch current := a.word.Load(); {
		case current >= 0:
			return budget.Microcents(current), true
		case current == missingWord:
			return missing, true
		case current == managedWord:
			return 0, false
		}
		pause(attempt)
	}
}
