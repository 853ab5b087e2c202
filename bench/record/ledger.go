package record

import (
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// Ledger sums up the answers that callers got, a line for each tenant, for the check of
// balances.
type Ledger struct {
	stripes [][]Line
}

// Line is what some callers were told of a tenant.
type Line struct {
	Committed atomic.Int64 // microcents, told as Committed
	Open      atomic.Int64 // microcents, told as Reserved and not settled
	Doubt     atomic.Int64 // microcents at most, of operations whose outcome is unknown
	Refused   atomic.Int64 // reserves answered Insufficient
}

// Told is a line summed up over the stripes.
type Told struct {
	Committed, Open, Doubt budget.Microcents
	Refused                int64
}

// ledgerLines bounds the ledger to 32 MB where tenants are many; 192 callers of
// 100 tenants still have a stripe each.
const ledgerLines = 1_000_000

// NewLedger makes as many stripes as memory allows, so that callers do not meet
// on a hot tenant's line: the ledger must cost less than what it watches.
func NewLedger(tenants, callers int) *Ledger {
	stripes := max(1, min(callers, ledgerLines/tenants))
	l := &Ledger{stripes: make([][]Line, stripes)}
	for i := range l.stripes {
		l.stripes[i] = make([]Line, tenants)
	}
	return l
}

// Of returns the lines that a caller writes to.
func (l *Ledger) Of(caller int) []Line { return l.stripes[caller%len(l.stripes)] }

// Told sums up a tenant's line. The callers must have stopped.
func (l *Ledger) Told(tenant int) Told {
	var sum Told
	for _, stripe := range l.stripes {
		entry := &stripe[tenant]
		sum.Committed += budget.Microcents(entry.Committed.Load())
		sum.Open += budget.Microcents(entry.Open.Load())
		sum.Doubt += budget.Microcents(entry.Doubt.Load())
		sum.Refused += entry.Refused.Load()
	}
	return sum
}

// Add notes what somebody else was told of a tenant. One at a time.
func (l *Ledger) Add(tenant int, t Told) {
	entry := &l.Of(0)[tenant]
	entry.Committed.Add(int64(t.Committed))
	entry.Open.Add(int64(t.Open))
	entry.Doubt.Add(int64(t.Doubt))
	entry.Refused.Add(t.Refused)
}

// Lose puts in doubt all that a tenant could have spent, because what some callers were
// told is not known any more.
func (l *Ledger) Lose(budgets []budget.Microcents) {
	for tenant, granted := range budgets {
		t := l.Told(tenant)
		l.Of(0)[tenant].Doubt.Add(int64(max(0, granted-t.Committed-t.Doubt)))
	}
}
