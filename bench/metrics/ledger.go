package metrics

import (
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// Counts has the number of answers by outcome; Unknown counts the calls without an answer.
type Counts [budget.Expired + 1]int64

// Add adds other counts.
func (c *Counts) Add(other *Counts) {
	for i, n := range other {
		c[i] += n
	}
}

// Answers returns the number of calls with an answer.
func (c *Counts) Answers() int64 {
	var sum int64
	for _, n := range c[budget.Unknown+1:] {
		sum += n
	}
	return sum
}

// Ledger adds up the answers that workers received, for each tenant, for the check of
// balances.
type Ledger struct {
	stripes [][]Cell
}

// Cell has the answers that some workers received for one tenant.
type Cell struct {
	Committed atomic.Int64 // microcents of Committed answers
	Open      atomic.Int64 // microcents reserved and not settled
	Unknown   atomic.Int64 // microcents, at most, of calls without an answer
	Refused   atomic.Int64 // reserves answered Insufficient
}

// Totals is the sum of a tenant's cells.
type Totals struct {
	Committed, Open, Unknown budget.Microcents
	Refused                  int64
}

// maxCells bounds the ledger to 32 MB. 192 workers on 100 tenants still have a stripe each.
const maxCells = 1_000_000

// NewLedger returns a ledger that spreads each tenant's sums over a stripe a worker, so that
// workers don't contend for the cell of a hot tenant. It has at most maxCells cells.
func NewLedger(tenants, workers int) *Ledger {
	l := &Ledger{stripes: make([][]Cell, max(1, min(workers, maxCells/tenants)))}
	for i := range l.stripes {
		l.stripes[i] = make([]Cell, tenants)
	}
	return l
}

// Of returns the cells that a worker writes to, by tenant.
func (l *Ledger) Of(worker int) []Cell { return l.stripes[worker%len(l.stripes)] }

// Totals returns the sum for a tenant. The workers must have stopped.
func (l *Ledger) Totals(tenant int) Totals {
	var sum Totals
	for _, stripe := range l.stripes {
		c := &stripe[tenant]
		sum.Committed += budget.Microcents(c.Committed.Load())
		sum.Open += budget.Microcents(c.Open.Load())
		sum.Unknown += budget.Microcents(c.Unknown.Load())
		sum.Refused += c.Refused.Load()
	}
	return sum
}

// Add adds the answers that workers of another process received for a tenant.
func (l *Ledger) Add(tenant int, t Totals) {
	c := &l.Of(0)[tenant]
	c.Committed.Add(int64(t.Committed))
	c.Open.Add(int64(t.Open))
	c.Unknown.Add(int64(t.Unknown))
	c.Refused.Add(t.Refused)
}

// Lose marks all that the tenants could have spent as unknown, after the answers of some
// workers were lost.
func (l *Ledger) Lose(budgets []budget.Microcents) {
	for tenant, granted := range budgets {
		t := l.Totals(tenant)
		l.Of(0)[tenant].Unknown.Add(int64(max(0, granted-t.Committed-t.Unknown)))
	}
}

// LastRemaining has the balance that each tenant had in the last answer. Of many tenants
// it has every n-th only, so that a sample stays small.
type LastRemaining struct {
	every int
	left  []atomic.Int64
}

const (
	maxSampledTenants = 256
	noAnswer          = -1 // since the last sample; no tenant of a run has debt
)

// NewLastRemaining returns one without answers.
func NewLastRemaining(tenants int) *LastRemaining {
	r := &LastRemaining{every: (tenants + maxSampledTenants - 1) / maxSampledTenants}
	r.left = make([]atomic.Int64, (tenants+r.every-1)/r.every)
	for i := range r.left {
		r.left[i].Store(noAnswer)
	}
	return r
}

// Set stores the balance of a tenant.
func (r *LastRemaining) Set(tenant int, left budget.Microcents) {
	if tenant%r.every == 0 {
		r.left[tenant/r.every].Store(int64(left))
	}
}

// Take returns the balances that were set since the last call.
func (r *LastRemaining) Take() []int64 {
	left := make([]int64, len(r.left))
	for i := range r.left {
		left[i] = r.left[i].Swap(noAnswer)
	}
	return left
}
