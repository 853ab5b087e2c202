package bench

import (
	"slices"
	"sync/atomic"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
)

// remains are what tenants had left, as callers were told last; of every so many
// tenants one, so that a sample of a million stays small.
type remains struct {
	every int
	left  []atomic.Int64
}

const (
	mostRemains = 256
	untold      = -1 // since the last sample; no tenant of a run has debt
)

func newRemains(tenants int) *remains {
	r := &remains{every: (tenants + mostRemains - 1) / mostRemains}
	r.left = make([]atomic.Int64, (tenants+r.every-1)/r.every)
	for i := range r.left {
		r.left[i].Store(untold)
	}
	return r
}

func (r *remains) tell(tenant int, left budget.Microcents) {
	if tenant%r.every == 0 {
		r.left[tenant/r.every].Store(int64(left))
	}
}

// take returns what was told since the last time.
func (r *remains) take() []int64 {
	left := make([]int64, len(r.left))
	for i := range r.left {
		left[i] = r.left[i].Swap(untold)
	}
	return left
}

// shownDrains is how many budgets can be told apart in a plot.
const shownDrains = 6

// drains are how the budgets went of some tenants that ran out, those that took long
// before those that had nothing from the start.
func (f *fleet) drains(budgets []budget.Microcents) []report.Drain {
	type candidate struct{ place, ranOut int }
	var found []candidate
	for place := range f.remains.left {
		tenant := place * f.remains.every
		if f.ledger.told(tenant).refused > 0 {
			found = append(found, candidate{place, f.timeline.ranOut(place, budgets[tenant])})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return b.ranOut - a.ranOut })
	var shown []report.Drain
	for i := range min(shownDrains, len(found)) {
		place := found[i*len(found)/min(shownDrains, len(found))].place
		tenant := place * f.remains.every
		shown = append(shown, report.Drain{
			Tenant: f.tenants[tenant], Granted: budgets[tenant], Points: f.timeline.drain(place, budgets[tenant]),
		})
	}
	return shown
}

// ranOut is the first moment in which a tenant had less than a hundredth left.
func (t *timeline) ranOut(place int, granted budget.Microcents) int {
	return max(0, slices.IndexFunc(t.moments, func(m moment) bool {
		return m.latency != nil && m.remaining[place] != untold && m.remaining[place] <= int64(granted/100)
	}))
}

// drain begins with the whole budget, or with what the warm-up left of it.
func (t *timeline) drain(place int, granted budget.Microcents) []report.DrainPoint {
	points := []report.DrainPoint{{Remaining: granted}}
	if t.before.latency != nil && t.before.remaining[place] != untold {
		points[0].Remaining = budget.Microcents(t.before.remaining[place])
	}
	for _, m := range t.moments {
		if m.latency != nil && m.remaining[place] != untold {
			points = append(points, report.DrainPoint{Seconds: m.to.Seconds(), Remaining: budget.Microcents(m.remaining[place])})
		}
	}
	return points
}
