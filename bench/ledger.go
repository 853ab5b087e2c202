package bench

import (
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// ledger is what the callers were told, a line a tenant: what the books must say.
type ledger struct {
	stripes [][]line
	tenants int
}

type line struct {
	committed atomic.Int64 // microcents, told as Committed
	open      atomic.Int64 // microcents, told as Reserved and not settled
	doubt     atomic.Int64 // microcents at most, of operations whose outcome is unknown
	refused   atomic.Int64 // reserves answered Insufficient
}

// told is a line summed up over the stripes.
type told struct {
	committed, open, doubt budget.Microcents
	refused                int64
}

// ledgerLines bounds the ledger to 32 MB where tenants are many; 192 callers of
// 100 tenants still have a stripe each.
const ledgerLines = 1_000_000

// newLedger makes as many stripes as memory allows, so that callers do not meet
// on a hot tenant's line: the ledger must cost less than what it watches.
func newLedger(tenants, callers int) *ledger {
	stripes := max(1, min(callers, ledgerLines/tenants))
	l := &ledger{stripes: make([][]line, stripes), tenants: tenants}
	for i := range l.stripes {
		l.stripes[i] = make([]line, tenants)
	}
	return l
}

// of returns the lines that a caller writes to.
func (l *ledger) of(caller int) []line { return l.stripes[caller%len(l.stripes)] }

// told sums up a tenant's line. The callers must have stopped.
func (l *ledger) told(tenant int) told {
	var sum told
	for _, stripe := range l.stripes {
		entry := &stripe[tenant]
		sum.committed += budget.Microcents(entry.committed.Load())
		sum.open += budget.Microcents(entry.open.Load())
		sum.doubt += budget.Microcents(entry.doubt.Load())
		sum.refused += entry.refused.Load()
	}
	return sum
}

// lose puts in doubt all that a tenant could have spent, because what some callers were
// told is not known any more.
func (l *ledger) lose(budgets []budget.Microcents) {
	for tenant, granted := range budgets {
		t := l.told(tenant)
		l.of(0)[tenant].doubt.Add(int64(max(0, granted-t.committed-t.doubt)))
	}
}
