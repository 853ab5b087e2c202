package budgettest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// thresholdChecks are the checks of thresholds, and of their events if the engine reports
// them.
func thresholdChecks() []check {
	return []check{
		{name: "a threshold is reached at exactly its amount", run: thresholdExact},
		{name: "a threshold is crossed once until a grant", run: thresholdOnce},
		{name: "several thresholds at once", run: thresholdSeveral},
		{name: "a withdrawal and new thresholds cross", run: thresholdChanged},
		{name: "reserves and refusals cross nothing", ttl: holdTTL, run: thresholdUncommitted},
		{name: "thresholds exact at every edge", run: thresholdEdges},
		{name: "thresholds of each level", levels: true, run: thresholdLevels},
		{name: "a recreated tenant crosses again", levels: true, run: thresholdRecreated},
		{name: "concurrent commits cross each threshold once", run: thresholdConcurrent},
	}
}

// crossingTimeout is the maximum time until an event is reported: a coordinator calls back
// after it has answered.
var crossingTimeout = 5 * time.Second

// awaitCrossings returns the events so far, once there are n.
func (x *fixture) awaitCrossings(n int) []budget.Crossing {
	got := x.subject.Crossings()
	for began := time.Now(); len(got) < n && time.Since(began) < crossingTimeout; got = x.subject.Crossings() {
		time.Sleep(time.Millisecond)
	}
	return got
}

// crossings waits for the events of the check so far. An event that is wrong may come late,
// so each call compares all of them.
func (x *fixture) crossings(want ...budget.Crossing) {
	x.t.Helper()
	if x.subject.Crossings == nil {
		return
	}
	got := slices.SortedFunc(slices.Values(x.awaitCrossings(len(want))), compareCrossings)
	want = slices.SortedFunc(slices.Values(want), compareCrossings)
	if !slices.Equal(want, got) {
		x.t.Fatalf("got the events %+v, want %+v", got, want)
	}
}

func compareCrossings(a, b budget.Crossing) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Percent, b.Percent), cmp.Compare(a.Committed, b.Committed), cmp.Compare(a.Granted, b.Granted))
}

// lastCrossing is crossings for the end of a check: it crosses a threshold of another tenant,
// by whose event earlier ones have probably been reported.
func (x *fixture) lastCrossing(want ...budget.Crossing) {
	x.t.Helper()
	x.open("last", 1, budget.AtThresholds(100))
	x.spend("last", 1)
	x.crossings(append(want, budget.Crossing{Tenant: "last", Percent: 100, Committed: 1, Granted: 1})...)
}

// spend reserves and commits an amount.
func (x *fixture) spend(tenant budget.TenantID, amount budget.Microcents) {
	x.t.Helper()
	res, err := x.engine.TryReserve(x.ctx, tenant, amount)
	if err != nil || res.Outcome != budget.Reserved {
		x.t.Fatalf("got %+v, %v; want reserved", res, err)
	}
	settled, err := x.engine.Commit(x.ctx, res.ID, amount)
	if err != nil || settled.Outcome != budget.Committed {
		x.t.Fatalf("got %+v, %v; want committed", settled, err)
	}
}

// reached checks the thresholds that a tenant's balance has reached.
func (x *fixture) reached(tenant budget.TenantID, percents ...int) {
	x.t.Helper()
	b, err := x.engine.Balance(x.ctx, tenant)
	if err != nil || b.Crossed() != thresholds(percents...) {
		x.t.Fatalf("%q with %+v has reached %s%%, %v; want %d", tenant, b, b.Crossed(), err, percents)
	}
}

func thresholdExact(x *fixture) {
	x.open("acme", 1000, budget.AtThresholds(1, 50, 100))
	x.reached("acme")
	x.spend("acme", 9)
	x.reached("acme")
	x.crossings()
	x.spend("acme", 1)
	x.reached("acme", 1)
	first := budget.Crossing{Tenant: "acme", Percent: 1, Committed: 10, Granted: 1000}
	x.crossings(first)
	x.spend("acme", 489)
	x.reached("acme", 1)
	x.crossings(first)
	x.spend("acme", 1)
	x.reached("acme", 1, 50)
	half := budget.Crossing{Tenant: "acme", Percent: 50, Committed: 500, Granted: 1000}
	x.crossings(first, half)
	x.spend("acme", 499)
	x.reached("acme", 1, 50)
	x.spend("acme", 1)
	x.reached("acme", 1, 50, 100)
	x.balance("acme", 1000, 0, 0, 1000)
	whole := budget.Crossing{Tenant: "acme", Percent: 100, Committed: 1000, Granted: 1000}
	x.crossings(first, half, whole)

	x.open("odd", 3, budget.AtThresholds(50)) // of 1.5
	x.spend("odd", 1)
	x.reached("odd")
	x.spend("odd", 1)
	x.reached("odd", 50)
	x.lastCrossing(first, half, whole, budget.Crossing{Tenant: "odd", Percent: 50, Committed: 2, Granted: 3})
}

func thresholdOnce(x *fixture) {
	x.open("acme", 100, budget.AtThresholds(100))
	x.spend("acme", 100)
	first := budget.Crossing{Tenant: "acme", Percent: 100, Committed: 100, Granted: 100}
	x.crossings(first)
	x.configure("acme", budget.Overdraft(10), budget.AtThresholds(100)) // the same again
	expect(x, budget.Ensured{Outcome: budget.Exists})(x.engine.EnsureTenant(x.ctx, "acme", 1))
	x.reached("acme", 100)
	expect(x, granted(20))(x.engine.Grant(x.ctx, "acme", 20))
	x.reached("acme")
	x.crossings(first)
	x.spend("acme", 19)
	x.reached("acme")
	x.spend("acme", 1)
	x.reached("acme", 100)
	second := budget.Crossing{Tenant: "acme", Percent: 100, Committed: 120, Granted: 120}
	x.crossings(first, second)
	expect(x, granted(5))(x.engine.Grant(x.ctx, "acme", 5))
	expect(x, committed(-2, 7))(x.engine.Commit(x.ctx, x.hold("acme", 5, 0), 7)) // and beyond
	third := budget.Crossing{Tenant: "acme", Percent: 100, Committed: 127, Granted: 125}
	x.crossings(first, second, third)
	expect(x, granted(0))(x.engine.Grant(x.ctx, "acme", 2)) // to exactly 100 %
	x.reached("acme", 100)
	expect(x, granted(1))(x.engine.Grant(x.ctx, "acme", 1))
	x.reached("acme")
	x.spend("acme", 1)
	x.lastCrossing(first, second, third, budget.Crossing{Tenant: "acme", Percent: 100, Committed: 128, Granted: 128})
}

func thresholdSeveral(x *fixture) {
	x.open("acme", 100, budget.AtThresholds(10, 20, 80, 100, 150, budget.MaxThreshold), budget.Overdraft(2000))
	x.spend("acme", 80)
	event := func(percent int, committed, granted budget.Microcents) budget.Crossing {
		return budget.Crossing{Tenant: "acme", Percent: percent, Committed: committed, Granted: granted}
	}
	events := []budget.Crossing{event(10, 80, 100), event(20, 80, 100), event(80, 80, 100)}
	x.reached("acme", 10, 20, 80)
	x.crossings(events...)
	expect(x, granted(320))(x.engine.Grant(x.ctx, "acme", 300)) // 20 %
	x.reached("acme", 10, 20)
	expect(x, committed(-200, 520))(x.engine.Commit(x.ctx, x.hold("acme", 10, 310), 520))
	events = append(events, event(80, 600, 400), event(100, 600, 400), event(150, 600, 400))
	x.reached("acme", 10, 20, 80, 100, 150)
	expect(x, granted(4000))(x.engine.Grant(x.ctx, "acme", 4200))
	x.reached("acme", 10)
	x.configure("acme", budget.AtThresholds())
	x.reached("acme")
	x.spend("acme", 4000)
	x.lastCrossing(events...)
}

func thresholdChanged(x *fixture) {
	event := func(percent int, granted budget.Microcents) budget.Crossing {
		return budget.Crossing{Tenant: "acme", Percent: percent, Committed: 50, Granted: granted}
	}
	x.open("acme", 100)
	x.spend("acme", 50)
	x.crossings()
	x.configure("acme", budget.AtThresholds(40, 60))
	x.reached("acme", 40)
	x.crossings(event(40, 100))
	x.configure("acme", budget.AtThresholds(40, 50, 60, 100))
	x.reached("acme", 40, 50)
	x.crossings(event(40, 100), event(50, 100))
	expect(x, withdrawn(34))(x.engine.Withdraw(x.ctx, "acme", 16)) // 59.5 %
	x.reached("acme", 40, 50)
	expect(x, withdrawn(33))(x.engine.Withdraw(x.ctx, "acme", 1)) // 60.2 %
	x.reached("acme", 40, 50, 60)
	x.crossings(event(40, 100), event(50, 100), event(60, 83))
	expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, "acme", 33))
	x.reached("acme", 40, 50, 60, 100)
	x.lastCrossing(event(40, 100), event(50, 100), event(60, 83), event(100, 50))
}

func thresholdUncommitted(x *fixture) {
	x.open("acme", 100, budget.AtThresholds(1))
	first, second := x.hold("acme", 50, 50), x.hold("acme", 40, 10)
	x.hold("acme", 10, 0)
	expect(x, insufficient(0, 1))(x.engine.TryReserve(x.ctx, "acme", 1))
	expect(x, overrun(0))(x.engine.Commit(x.ctx, first, 51))
	expect(x, released(50, 50))(x.engine.Release(x.ctx, first))
	expect(x, committed(90, 0))(x.engine.Commit(x.ctx, second, 0))
	x.advance(holdTTL)
	expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, "acme", 100))
	x.reached("acme")
	x.balance("acme", 0, 0, 0, 0)
	x.lastCrossing()
}

// thresholdEdges crosses thresholds of large budgets, whose product with the percentage needs
// more than 64 bits, and first stops a microcent short of them.
func thresholdEdges(x *fixture) {
	var events []budget.Crossing
	cross := func(granted, overdraft budget.Microcents, percent int, least budget.Microcents) {
		x.t.Helper()
		tenant := budget.TenantID(fmt.Sprintf("edge-%d", len(events)))
		x.open(tenant, granted, budget.Overdraft(overdraft), budget.AtThresholds(percent))
		id, last := x.hold(tenant, 1, granted-1), x.hold(tenant, 1, granted-2)
		expect(x, committed(granted-least, least-1))(x.engine.Commit(x.ctx, id, least-1))
		x.reached(tenant)
		expect(x, committed(granted-least, 1))(x.engine.Commit(x.ctx, last, 1))
		x.reached(tenant, percent)
		events = append(events, budget.Crossing{Tenant: tenant, Percent: percent, Committed: least, Granted: granted})
	}
	for _, edge := range edges {
		if edge > 1 {
			cross(edge, 0, 100, edge)
			cross(edge, 0, 50, edge/2+edge%2)
			cross(edge, 0, 1, (edge-1)/100+1)
		}
		if edge > 1 && edge < budget.MaxMicrocents/10 {
			cross(edge, 9*edge, budget.MaxThreshold, 10*edge)
		}
	}
	x.lastCrossing(events...)
}

func thresholdLevels(x *fixture) {
	event := func(tenant budget.TenantID, percent int, committed, granted budget.Microcents) budget.Crossing {
		return budget.Crossing{Tenant: tenant, Percent: percent, Committed: committed, Granted: granted}
	}
	x.open(root, 100, budget.AtThresholds(50))
	x.open(middle, 100)
	x.open(leaf, 100, budget.AtThresholds(25, 50))
	x.open(twin, 100, budget.AtThresholds(100))
	x.spend(leaf, 30)
	x.reached(leaf, 25)
	x.reached(root)
	events := []budget.Crossing{event(leaf, 25, 30, 100)}
	x.crossings(events...)
	x.spend(twin, 20)
	x.reached(root, 50)
	x.reached(twin)
	events = append(events, event(root, 50, 50, 100))
	x.crossings(events...)
	expect(x, granted(100))(x.engine.Grant(x.ctx, leaf, 30)) // arms only the thresholds of the tenant
	x.reached(leaf)
	x.reached(root, 50)
	x.spend(leaf, 5)
	x.reached(leaf, 25)
	events = append(events, event(leaf, 25, 35, 130))
	x.crossings(events...)
	expect(x, granted(60))(x.engine.Grant(x.ctx, root, 15))
	x.reached(root)
	x.spend(middle, 10)
	x.reached(root, 50)
	x.lastCrossing(append(events, event(root, 50, 65, 115))...)
}

func thresholdRecreated(x *fixture) {
	event := budget.Crossing{Tenant: root, Percent: 50, Committed: 60, Granted: 100}
	x.open(root, 100, budget.AtThresholds(50))
	x.spend(root, 60)
	x.crossings(event)
	want := budget.Balance{Outcome: budget.Deleted, Granted: 100, Remaining: 40, Committed: 60, Settings: x.settings[root]}
	expect(x, want)(x.delete(root))
	x.open(root, 100)
	x.spend(root, 60)
	x.crossings(event)
	x.configure(root, budget.AtThresholds(50))
	x.reached(root, 50)
	x.lastCrossing(event, event)
}

func thresholdConcurrent(x *fixture) {
	const each, cost = 25, 2
	percents := []int{1, 25, 50, 75, 100}
	x.open("acme", callers*each*cost, budget.AtThresholds(percents...))
	atOnce(callers, func(int) {
		for range each {
			res, err := x.engine.TryReserve(x.ctx, "acme", cost)
			if x.failed("reserve", err) {
				return
			}
			settled, err := x.engine.Commit(x.ctx, res.ID, cost)
			if !x.failed("commit", err) && settled.Outcome != budget.Committed {
				x.t.Errorf("got %+v, want committed", settled)
			}
		}
	})
	x.reached("acme", percents...)
	x.balance("acme", callers*each*cost, 0, 0, callers*each*cost)
	if x.subject.Crossings == nil {
		return
	}
	x.open("last", 1, budget.AtThresholds(100))
	x.spend("last", 1)
	var crossed []int
	for _, event := range x.awaitCrossings(len(percents) + 1) {
		if event.Tenant != "acme" {
			continue
		}
		crossed = append(crossed, event.Percent)
		if event.Granted != callers*each*cost || event.Committed*100 < event.Granted*budget.Microcents(event.Percent) {
			x.t.Errorf("got the event %+v, which is below its threshold", event)
		}
	}
	slices.Sort(crossed)
	if !slices.Equal(crossed, percents) {
		x.t.Errorf("the thresholds %d were crossed, want each of %d once", crossed, percents)
	}
}
