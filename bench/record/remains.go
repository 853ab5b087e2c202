package record

import (
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// Remains are what tenants had left, as callers were told last; of every so many
// tenants one, so that a sample of a million stays small.
type Remains struct {
	every int
	left  []atomic.Int64
}

const (
	mostRemains = 256
	untold      = -1 // since the last sample; no tenant of a run has debt
)

// NewRemains has been told of nothing yet.
func NewRemains(tenants int) *Remains {
	r := &Remains{every: (tenants + mostRemains - 1) / mostRemains}
	r.left = make([]atomic.Int64, (tenants+r.every-1)/r.every)
	for i := range r.left {
		r.left[i].Store(untold)
	}
	return r
}

// Tell notes what a tenant has left.
func (r *Remains) Tell(tenant int, left budget.Microcents) {
	if tenant%r.every == 0 {
		r.left[tenant/r.every].Store(int64(left))
	}
}

// Take returns what was told since the last time.
func (r *Remains) Take() []int64 {
	left := make([]int64, len(r.left))
	for i := range r.left {
		left[i] = r.left[i].Swap(untold)
	}
	return left
}
