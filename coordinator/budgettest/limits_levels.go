package budgettest

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// limitLevelChecks are the checks of several levels with limits.
func limitLevelChecks() []check {
	checks := []check{
		{name: "a reserve debits every limit of every level or none", run: limitLevelsReserve},
		{name: "of equal limits the nearest level's first is named", run: limitLevelsEqual},
		{name: "a settle moves every limit of every level", ttl: holdTTL, run: limitLevelsSettle},
		{name: "an excess is covered by the limits of every level, or moves nothing", run: limitLevelsExcess},
		{name: "commit available charges the least amount of the limits of all levels", run: limitLevelsAvailable},
		{name: "each check is made at all levels before their limits", run: limitLevelsRefuse},
		{name: "limits of a level that is created or deleted", run: limitLevelsCreated},
		{name: "limits of a level that are set or removed", ttl: holdTTL, run: limitLevelsLater},
		{name: "the epochs of the limits of levels begin apart", run: limitLevelsEpochs},
		{name: "thresholds of the limits of each level", run: limitLevelsThresholds},
		{name: "a tree shows the periods of limits", run: limitLevelsTree},
	}
	for i := range checks {
		checks[i].levels = true
	}
	return checks
}

// holdAtLimit is hold if a limit of a level has the least.
func (x *fixture) holdAtLimit(tenant budget.TenantID, cost, remaining budget.Microcents, level budget.TenantID, p budget.Period) budget.ReservationID {
	x.t.Helper()
	res, err := x.engine.TryReserve(x.ctx, tenant, cost)
	id := res.ID
	res.ID = budget.ReservationID{}
	expect(x, budget.Reservation{Outcome: budget.Reserved, Remaining: remaining, Level: level, Limit: p})(res, err)
	return id
}

// openLimits creates three levels, each with another limit.
func (x *fixture) openLimits(month, day, dayLong budget.Microcents) {
	x.t.Helper()
	x.open(root, 10_000, budget.SetLimit(per(budget.Month, month)))
	x.open(middle, 10_000, budget.SetLimit(per(budget.Day, day)))
	x.open(leaf, 10_000, budget.SetLimit(per(budget.Last24Hours, dayLong)))
}

// ofLevels checks the terms of the limits of openLimits.
func (x *fixture) ofLevels(month, day, dayLong figures) {
	x.t.Helper()
	x.limitTerms(root, budget.Month, month)
	x.limitTerms(middle, budget.Day, day)
	x.limitTerms(leaf, budget.Last24Hours, dayLong)
}

func limitLevelsReserve(x *fixture) {
	x.openLimits(300, 200, 100)
	refuse := func(remaining budget.Microcents, level budget.TenantID, p budget.Period, renews time.Time) {
		x.t.Helper()
		refusal := byLimit(until(reservationAt(insufficient(remaining, remaining+1), level), renews), p)
		for _, tenant := range x.tenants {
			x.unchanged(tenant, func() { expect(x, refusal)(x.engine.TryReserve(x.ctx, leaf, remaining+1)) })
		}
		left := leftIn(remaining, p, renews)
		left.Level = level
		expect(x, left)(x.engine.Remaining(x.ctx, leaf))
	}
	refuse(100, leaf, budget.Last24Hours, time.Time{})
	x.holdAtLimit(leaf, 30, 70, leaf, budget.Last24Hours)
	x.ofLevels(figures{300, 270, 30}, figures{200, 170, 30}, figures{100, 70, 30})
	x.holdAtLimit(middle, 110, 60, middle, budget.Day)
	refuse(60, middle, budget.Day, march(2))
	x.holdAtLimit(root, 150, 10, root, budget.Month)
	refuse(10, root, budget.Month, march(32))
	x.holdAtLimit(leaf, 10, 0, root, budget.Month)
	x.ofLevels(figures{300, 0, 300}, figures{200, 50, 150}, figures{100, 60, 40})
	for tenant, reserved := range map[budget.TenantID]budget.Microcents{root: 300, middle: 150, leaf: 40} {
		x.balance(tenant, 10_000, 10_000-reserved, reserved, 0)
	}
	x.open(aside, 5)
	expect(x, byLimit(until(reservationAt(insufficient(0, 6), root), march(32)), budget.Month))(x.engine.TryReserve(x.ctx, aside, 6))
}

func limitLevelsEqual(x *fixture) {
	x.openLimits(100, 100, 100)
	x.holdAtLimit(leaf, 10, 90, leaf, budget.Last24Hours)
	x.configure(leaf, budget.RemoveLimit(budget.Last24Hours))
	id := x.holdAtLimit(leaf, 10, 80, middle, budget.Day)
	expect(x, inLimit(settlementAt(overrun(80), middle), budget.Day))(x.engine.Commit(x.ctx, id, 91))
	expect(x, inLimit(settlementAt(released(90, 10), middle), budget.Day))(x.engine.Release(x.ctx, id))
	expect(x, withdrawn(90))(x.engine.Withdraw(x.ctx, root, 9900)) // the root itself has as much as its month
	x.configure(middle, budget.RemoveLimit(budget.Day))
	x.holdAt(leaf, 10, 80, root)
	expect(x, withdrawn(80))(x.engine.Withdraw(x.ctx, middle, 9900))
	x.holdAt(leaf, 10, 70, middle)
	x.configure(middle, budget.SetLimit(per(budget.Hour, 70)))
	expect(x, withdrawn(70))(x.engine.Withdraw(x.ctx, leaf, 9900))
	x.holdAt(leaf, 10, 60, leaf)
	expect(x, granted(1060))(x.engine.Grant(x.ctx, leaf, 1000))
	expect(x, granted(1060))(x.engine.Grant(x.ctx, middle, 1000))
	expect(x, reservationAt(byLimit(until(insufficient(60, 61), hour(1)), budget.Hour), middle))(x.engine.TryReserve(x.ctx, leaf, 61))
}

func limitLevelsSettle(x *fixture) {
	x.openLimits(300, 200, 100)
	first, second := x.holdAtLimit(leaf, 30, 70, leaf, budget.Last24Hours), x.holdAtLimit(leaf, 20, 50, leaf, budget.Last24Hours)
	x.holdAtLimit(leaf, 10, 40, leaf, budget.Last24Hours)
	expect(x, inLimit(settlementAt(committed(55, 15), leaf), budget.Last24Hours))(x.engine.Commit(x.ctx, first, 15))
	x.ofLevels(figures{300, 255, 30, 15}, figures{200, 155, 30, 15}, figures{100, 55, 30, 15})
	expect(x, inLimit(settlementAt(committed(50, 25), leaf), budget.Last24Hours))(x.engine.Commit(x.ctx, second, 25))
	x.ofLevels(figures{300, 250, 10, 40}, figures{200, 150, 10, 40}, figures{100, 50, 10, 40})
	third := x.holdAtLimit(middle, 100, 50, middle, budget.Day)
	expect(x, inLimit(settlementAt(released(150, 100), middle), budget.Day))(x.engine.Release(x.ctx, third))
	x.advance(holdTTL)
	x.ofLevels(figures{300, 260, 0, 40}, figures{200, 160, 0, 40}, figures{100, 60, 0, 40})
	for _, tenant := range x.tenants {
		x.balance(tenant, 10_000, 9960, 0, 40)
	}
}

func limitLevelsExcess(x *fixture) {
	x.openLimits(130, 120, 110)
	id := x.holdAtLimit(leaf, 10, 100, leaf, budget.Last24Hours)
	lacks := func(remaining, actual budget.Microcents, level budget.TenantID, p budget.Period) {
		x.t.Helper()
		for _, tenant := range x.tenants {
			x.unchanged(tenant, func() {
				expect(x, inLimit(settlementAt(overrun(remaining), level), p))(x.engine.Commit(x.ctx, id, actual))
			})
		}
	}
	lacks(100, 111, leaf, budget.Last24Hours)
	dayLong := per(budget.Last24Hours, 110)
	dayLong.Overdraft = 100
	x.configure(leaf, budget.SetLimit(dayLong))
	lacks(110, 121, middle, budget.Day)
	x.configure(middle, budget.SetLimit(per(budget.Day, 500)))
	lacks(120, 131, root, budget.Month)
	expect(x, withdrawn(115))(x.engine.Withdraw(x.ctx, middle, 9875))
	lacks(115, 126, middle, budget.NoPeriod)
	expect(x, inLimit(settlementAt(committed(-15, 125), leaf), budget.Last24Hours))(x.engine.Commit(x.ctx, id, 125))
	x.ofLevels(figures{130, 5, 0, 125}, figures{500, 375, 0, 125}, figures{110, -15, 0, 125})
}

func limitLevelsAvailable(x *fixture) {
	x.openLimits(130, 120, 110)
	first, second := x.holdAtLimit(leaf, 10, 100, leaf, budget.Last24Hours), x.holdAtLimit(leaf, 5, 95, leaf, budget.Last24Hours)
	x.holdAtLimit(root, 60, 55, root, budget.Month)
	expect(x, inLimit(settlementAt(short(0, 65, 35), root), budget.Month))(x.engine.CommitAvailable(x.ctx, first, 100))
	x.ofLevels(figures{130, 0, 65, 65}, figures{120, 50, 5, 65}, figures{110, 40, 5, 65})
	x.configure(root, budget.RemoveLimit(budget.Month))
	expect(x, inLimit(settlementAt(short(0, 45, 15), leaf), budget.Last24Hours))(x.engine.CommitAvailable(x.ctx, second, 60))
	x.limitTerms(middle, budget.Day, figures{120, 10, 0, 110})
}

func limitLevelsRefuse(x *fixture) {
	x.openLimits(100, 100, 10)
	x.configure(root, budget.CapHold(50))
	expect(x, cappedAt(root, budget.HoldCap, 50))(x.engine.TryReserve(x.ctx, leaf, 51))
	expect(x, byLimit(reservationAt(insufficient(10, 50), leaf), budget.Last24Hours))(x.engine.TryReserve(x.ctx, leaf, 50))
	x.freeze(middle)
	expect(x, frozenAt(middle))(x.engine.TryReserve(x.ctx, leaf, 51))
	x.close(root)
	expect(x, closedAt(root))(x.engine.TryReserve(x.ctx, leaf, 51))
	expect(x, reservationAt(closedAt(""), root))(x.engine.TryReserve(x.ctx, root, 1000))
}

// limitLevelsCreated creates levels with limits above a hold, and deletes one.
func limitLevelsCreated(x *fixture) {
	x.open(leaf, 1000)
	first := x.holdAt(leaf, 40, 960, leaf)
	x.open(middle, 1000, budget.SetLimit(per(budget.Day, 50)))
	second := x.holdAtLimit(leaf, 30, 20, middle, budget.Day)
	x.open(root, 1000, budget.SetLimit(per(budget.Month, 60)))
	third := x.holdAtLimit(leaf, 10, 10, middle, budget.Day)
	expect(x, settlementAt(committed(820, 140), leaf))(x.engine.Commit(x.ctx, first, 140))
	x.limitTerms(middle, budget.Day, figures{50, 10, 40})
	x.limitTerms(root, budget.Month, figures{60, 50, 10})
	expect(x, inLimit(settlementAt(committed(5, 35), middle), budget.Day))(x.engine.Commit(x.ctx, second, 35))
	x.limitTerms(root, budget.Month, figures{60, 50, 10})
	expect(x, inLimit(settlementAt(committed(7, 8), middle), budget.Day))(x.engine.Commit(x.ctx, third, 8))
	x.limitTerms(root, budget.Month, figures{60, 52, 0, 8})
	x.limitTerms(middle, budget.Day, figures{50, 7, 0, 43})
	want := budget.Balance{Outcome: budget.Deleted, Granted: 1000, Remaining: 957, Committed: 43, Settings: x.settings[middle]}
	expect(x, want)(x.delete(middle))
	x.holdAtLimit(leaf, 20, 32, root, budget.Month)
}

// limitLevelsLater sets, removes and sets again limits of an ancestor.
func limitLevelsLater(x *fixture) {
	for _, tenant := range []budget.TenantID{root, middle, leaf, twin} {
		x.open(tenant, 1000)
	}
	first := x.holdAt(leaf, 40, 960, leaf)
	x.configure(root, budget.SetLimit(per(budget.Day, 100)))
	second := x.holdAtLimit(leaf, 30, 70, root, budget.Day)
	x.configure(root, budget.RemoveLimit(budget.Day))
	third := x.holdAt(leaf, 20, 910, leaf)
	x.configure(root, budget.SetLimit(per(budget.Day, 50)))
	fourth := x.holdAtLimit(twin, 10, 40, root, budget.Day)
	for id, actual := range map[budget.ReservationID]budget.Microcents{first: 50, second: 25, third: 200} {
		res, err := x.engine.Commit(x.ctx, id, actual)
		if err != nil || res.Outcome != budget.Committed || res.Limit != budget.NoPeriod {
			x.t.Fatalf("got %+v, %v", res, err)
		}
		x.limitTerms(root, budget.Day, figures{50, 40, 10})
	}
	expect(x, inLimit(settlementAt(committed(44, 6), root), budget.Day))(x.engine.Commit(x.ctx, fourth, 6))
	x.limitTerms(root, budget.Day, figures{50, 44, 0, 6})
	x.holdAtLimit(leaf, 44, 0, root, budget.Day)
	x.advance(holdTTL)
	x.limitTerms(root, budget.Day, figures{50, 44, 0, 6})
	x.balance(root, 1000, 719, 0, 281)
	x.balance(leaf, 1000, 725, 0, 275)
}

func limitLevelsEpochs(x *fixture) {
	x.openLimits(300, 200, 100)
	first, second := x.holdAtLimit(leaf, 40, 60, leaf, budget.Last24Hours), x.holdAtLimit(leaf, 30, 30, leaf, budget.Last24Hours)
	x.at(march(2))
	x.holdAtLimit(leaf, 20, 10, leaf, budget.Last24Hours)
	x.limit(root, budget.Month, noon, march(32), figures{300, 210, 90}, 0)
	x.limit(middle, budget.Day, march(2), march(3), figures{200, 180, 20}, 70)
	expect(x, inLimit(settlementAt(committed(20, 30), leaf), budget.Last24Hours))(x.engine.Commit(x.ctx, first, 30))
	x.limitEnded(middle, budget.Day, noon, march(2), figures{200, 140, 30, 30})
	x.limitRolled(leaf, budget.Last24Hours, figures{100, 20, 50, 30})
	x.at(hour(25))
	expect(x, inLimit(settlementAt(committed(80, 35), leaf), budget.Last24Hours))(x.engine.Commit(x.ctx, second, 35)) // outside of the leaf's window
	x.limitRolled(leaf, budget.Last24Hours, figures{100, 80, 20})
	x.limitEnded(middle, budget.Day, noon, march(2), figures{200, 135, 0, 65})
	x.limit(middle, budget.Day, march(2), march(3), figures{200, 180, 20}, 0)
	x.at(march(32))
	x.limit(root, budget.Month, march(32), march(62), figures{300, 300}, 20)
	x.limitEnded(root, budget.Month, noon, march(32), figures{300, 215, 20, 65})
	x.holdAtLimit(leaf, 80, 0, leaf, budget.Last24Hours)
	x.limit(root, budget.Month, march(32), march(62), figures{300, 220, 80}, 20)
}

func limitLevelsThresholds(x *fixture) {
	event := func(tenant budget.TenantID, p budget.Period, percent int, committed, granted budget.Microcents) budget.Crossing {
		return budget.Crossing{Tenant: tenant, Limit: p, Percent: percent, Committed: committed, Granted: granted}
	}
	month, day := per(budget.Month, 200), per(budget.Day, 100)
	month.Thresholds, day.Thresholds = thresholds(50), thresholds(50)
	x.open(root, 1000, budget.SetLimit(month), budget.AtThresholds(10))
	x.open(leaf, 1000, budget.SetLimit(day))
	x.spend(leaf, 50)
	x.crossings(event(leaf, budget.Day, 50, 50, 100))
	x.spend(leaf, 50)
	x.reachedIn(budget.Month, 50)
	events := []budget.Crossing{
		event(leaf, budget.Day, 50, 50, 100), event(root, budget.NoPeriod, 10, 100, 1000), event(root, budget.Month, 50, 100, 200),
	}
	x.crossings(events...)
	x.at(march(2))
	x.spend(leaf, 60)
	x.lastCrossing(append(events, event(leaf, budget.Day, 50, 60, 100))...)
}

func limitLevelsTree(x *fixture) {
	x.openLimits(300, 200, 100)
	x.open(twin, 100)
	x.holdAtLimit(leaf, 10, 90, leaf, budget.Last24Hours)
	x.treeOf(root, root, middle, leaf, twin)
	x.at(march(2))
	x.configure(middle, budget.RemoveLimit(budget.Day))
	x.treeOf(middle, middle, leaf, twin)
}
