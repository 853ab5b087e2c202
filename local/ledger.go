package local

import (
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
)

// ledger has the terms of one limit of an account, the base limit or a further one. The account's
// lock guards it. Its methods need the lock.
//
// Invariants while the account isn't locked:
//   - remaining + reserved + committed = granted;
//   - none is negative, except the remaining amount of a limit that has had an overdraft, the
//     granted amount of one whose debt has passed on to another epoch, and both of one whose
//     rolling window has had a larger amount;
//   - reserved + committed doesn't overflow, nor does granted + overdraft, nor what is reserved in
//     all epochs: path.overfull refuses reserves, and nothing else adds to it.
//
// If the limit has a window, the four amounts are those of its current epoch; see epochs. That is
// the epoch of the last operation that read the limit: the next one begins a new epoch, with roll,
// if a boundary has passed. It moves a rolling window, too.
type ledger struct {
	tenant budget.TenantID

	granted   budget.Microcents
	reserved  budget.Microcents
	committed budget.Microcents

	// managed has the settings and the epochs. It is nil for an account that is missing or has
	// neither.
	managed *managed
}

// period returns the period of a further limit.
func (l *ledger) period() budget.Period {
	if l.managed == nil {
		return budget.NoPeriod
	}
	return l.managed.period
}

// name returns the limit's name in errors.
func (l *ledger) name() string {
	if l.period() == budget.NoPeriod {
		return fmt.Sprintf("tenant %q", l.tenant)
	}
	return fmt.Sprintf("the limit by %s of tenant %q", l.period(), l.tenant)
}

// balance returns the figures, of which remaining is one.
func (l *ledger) balance(remaining budget.Microcents) budget.Balance {
	b := budget.Balance{
		Outcome: budget.Found, Granted: l.granted,
		Remaining: remaining, Reserved: l.reserved, Committed: l.committed,
	}
	if m := l.managed; m != nil {
		b.Limit, b.Settings, b.Epoch, b.Ended = m.period, m.settings, m.epochs.current(), m.epochs.reserved()
	}
	return b
}
