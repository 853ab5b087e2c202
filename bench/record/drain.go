package record

import (
	"slices"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
)

// shownDrains is how many budgets can be told apart in a plot.
const shownDrains = 6

// Drains are how the budgets went of some tenants that ran out, those that took long
// before those that had nothing from the start.
func (t *Timeline) Drains(r *Remains, l *Ledger, tenants []budget.TenantID, budgets []budget.Microcents) []report.Drain {
	type candidate struct{ place, ranOut int }
	var found []candidate
	for place := range r.left {
		tenant := place * r.every
		if l.Told(tenant).Refused > 0 {
			found = append(found, candidate{place, t.ranOut(place, budgets[tenant])})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return b.ranOut - a.ranOut })
	var shown []report.Drain
	for i := range min(shownDrains, len(found)) {
		place := found[i*len(found)/min(shownDrains, len(found))].place
		tenant := place * r.every
		shown = append(shown, report.Drain{
			Tenant: tenants[tenant], Granted: budgets[tenant], Points: t.drain(place, budgets[tenant]),
		})
	}
	return shown
}

// ranOut is the first moment in which a tenant had less than a hundredth left.
func (t *Timeline) ranOut(place int, granted budget.Microcents) int {
	return max(0, slices.IndexFunc(t.moments, func(m Sample) bool {
		return m.Latency != nil && m.Remaining[place] != untold && m.Remaining[place] <= int64(granted/100)
	}))
}

// drain begins with the whole budget, or with what the warm-up left of it.
func (t *Timeline) drain(place int, granted budget.Microcents) []report.DrainPoint {
	points := []report.DrainPoint{{Remaining: granted}}
	if t.before.Latency != nil && t.before.Remaining[place] != untold {
		points[0].Remaining = budget.Microcents(t.before.Remaining[place])
	}
	for _, m := range t.moments {
		if m.Latency != nil && m.Remaining[place] != untold {
			points = append(points, report.DrainPoint{Seconds: m.To.Seconds(), Remaining: budget.Microcents(m.Remaining[place])})
		}
	}
	return points
}
