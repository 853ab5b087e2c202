package metrics

import (
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// Ledger sums up the answers that callers got, a line for each tenant, for the check of
// balances.
type Ledger struct {
	stripes [][]Cell
}

// Cell is what some callers were told of a tenant.
type Cell struct {
	Committed atomic.Int64 // microcents, told as Committed
	Open      atomic.Int64 // microcents, told as Reserved and not settled
	Unknown   atomic.Int64 // microcents at most, of operations whose outcome is unknown
	Refused   atomic.Int64 // reserves answered Insufficient
}

// Totals is a line summed up over the stripes.
type Totals struct {
	Committed, Open, Unknown budget.Microcents
	Refused                  int64
}

// maxCells bounds the ledger to 32 MB where tenants are many; 192 callers of
// 100 tenants still have a stripe each.
const maxCells = 1_000_000

// NewLedger makes as many stripes as memory allows, so that callers do not meet
// on a hot tenant's line: the ledger must cost less than what it watches.
func NewLedger(tenants, callers int) *Ledger {
	stripes := max(1, min(callers, maxCells/tenants))
	l := &Ledger{stripes: make([][]Cell, stripes)}
	for i := range l.stripes {
		l.stripes[i] = make([]Cell, tenants)
	}
	return l
}

// Of returns the lines that a caller writes to.
func (l *Ledger) Of(caller int) []Cell { return l.stripes[caller%len(l.stripes)] }

// Totals sums up a tenant's line. The callers must have stopped.
func (l *Ledger) Totals(tenant int) Totals {
	var sum Totals
	for _, stripe := range l.stripes {
		entry := &stripe[tenant]
		sum.Committed += budget.Microcents(entry.Committed.Load())
		sum.Open += budget.Microcents(entry.Open.Load())
		sum.Unknown += budget.Microcents(entry.Unknown.Load())
		sum.Refused += entry.Refused.Load()
	}
	return sum
}

// Add notes what somebody else was told of a tenant. One at a time.
func (l *Ledger) Add(tenant int, t Totals) {
	entry := &l.Of(0)[tenant]
	entry.Committed.Add(int64(t.Committed))
	entry.Open.Add(int64(t.Open))
	entry.Unknown.Add(int64(t.Unknown))
	entry.Refused.Add(t.Refused)
}

// Lose puts in doubt all that a tenant could have spent, because what some callers were
// told is not known any more.
func (l *Ledger) Lose(budgets []budget.Microcents) {
	for tenant, granted := range budgets {
		t := l.Totals(tenant)
		l.Of(0)[tenant].Unknown.Add(int64(max(0, granted-t.Committed-t.Unknown)))
	}
}

// Counts are answers by outcome; Unknown counts the calls without one.
type Counts [budget.Expired + 1]int64

// Add adds others.
func (c *Counts) Add(other *Counts) {
	for i, n := range other {
		c[i] += n
	}
}

// Answers are all but the calls without one.
func (c *Counts) Answers() int64 {
	var sum int64
	for _, n := range c[budget.Unknown+1:] {
		sum += n
	}
	return sum
}

// LastRemaining are what tenants had left, as callers were told last; of every so many
// tenants one, so that a sample of a million stays small.
type LastRemaining struct {
	every int
	left  []atomic.Int64
}

const (
	maxSampledTenants = 256
	unknown           = -1 // since the last sample; no tenant of a run has debt
)

// NewLastRemaining has been told of nothing yet.
func NewLastRemaining(tenants int) *LastRemaining {
	r := &LastRemaining{every: (tenants + maxSampledTenants - 1) / maxSampledTenants}
	r.left = make([]atomic.Int64, (tenants+r.every-1)/r.every)
	for i := range r.left {
		r.left[i].Store(unknown)
	}
	return r
}

// Set notes what a tenant has left.
func (r *LastRemaining) Set(tenant int, left budget.Microcents) {
	if tenant%r.every == 0 {
		r.left[tenant/r.every].Store(int64(left))
	}
}

// Take returns what was told since the last time.
func (r *LastRemaining) Take() []int64 {
	left := make([]int64, len(r.left))
	for i := range r.left {
		left[i] = r.left[i].Swap(unknown)
	}
	return left
}
