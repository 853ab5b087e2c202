package budgettest

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// limitHoldChecks are the checks of holds that are older than a limit, or than its removal.
func limitHoldChecks() []check {
	return []check{
		{name: "a limit that is set later doesn't count a hold", ttl: holdTTL, run: limitLater},
		{name: "a limit that is removed and set again doesn't count a hold", ttl: holdTTL, run: limitSetAfterRemoval},
		{name: "a removed limit doesn't count its holds", ttl: holdTTL, run: limitRemovedWithHolds},
		{name: "a limit with holds of ended epochs is removed", run: limitRemovedLate},
	}
}

// limitEpochChecks are the checks of the epochs of limits.
func limitEpochChecks() []check {
	return []check{
		{name: "a commit after the day but within the month", run: limitApart},
		{name: "limits with boundaries at the same instant", run: limitSameBoundary},
		{name: "limits of the calendar and rolling ones", run: limitRollingApart},
		{name: "a rolling limit doesn't contain a hold any more", run: limitOutside},
		{name: "a late excess is covered by every limit, or moves nothing", run: limitLateExcess},
		{name: "a late surplus passes on in each limit as its window says", run: limitLateSurplus},
		{name: "limits keep three ended epochs, and those with holds", run: limitKept},
		{name: "limits asleep for a month", run: limitAsleep},
		{name: "holds that are due end before the epochs of their limits", ttl: 12 * time.Hour, run: limitDue},
	}
}

func limitLater(x *fixture) {
	x.open("acme", 1000)
	first, second, third := x.hold("acme", 40, 960), x.hold("acme", 30, 930), x.hold("acme", 20, 910)
	fifth := x.hold("acme", 5, 905, budget.WithHoldTTL(0))
	x.configure("acme", limits(per(budget.Day, 100), per(budget.Last24Hours, 80))...)
	fourth := x.holdIn("acme", 10, 70, budget.Last24Hours)
	expect(x, committed(805, 130))(x.engine.Commit(x.ctx, first, 130)) // more than the limits have
	expect(x, released(835, 30))(x.engine.Release(x.ctx, second))
	x.limit("acme", budget.Day, noon, march(2), figures{100, 90, 10}, 0)
	x.limitRolled("acme", budget.Last24Hours, figures{80, 70, 10})
	expect(x, inLimit(committed(68, 12), budget.Last24Hours))(x.engine.Commit(x.ctx, fourth, 12))
	x.advance(holdTTL)
	expect(x, missing(budget.Expired))(x.engine.Commit(x.ctx, third, 1))
	x.limit("acme", budget.Day, noon, march(2), figures{100, 88, 0, 12}, 0)
	x.limitRolled("acme", budget.Last24Hours, figures{80, 68, 0, 12})
	expect(x, short(0, 858, 142))(x.engine.CommitAvailable(x.ctx, fifth, 1000))
	x.balance("acme", 1000, 0, 0, 1000)
}

// limitSetAfterRemoval removes limits with holds and sets them again, together with another hold
// in the same millisecond.
func limitSetAfterRemoval(x *fixture) {
	x.openDayMonth("acme", 1000, 100, 500)
	first, second, third := x.holdIn("acme", 30, 70, budget.Day), x.holdIn("acme", 20, 50, budget.Day), x.holdIn("acme", 10, 40, budget.Day)
	x.configure("acme", budget.RemoveLimit(budget.Day))
	x.configure("acme", budget.SetLimit(per(budget.Day, 100)))
	x.allLimits("acme", figures{1000, 940, 60}, figures{100, 100}, figures{500, 440, 60})
	fourth := x.holdIn("acme", 15, 85, budget.Day)
	expect(x, inLimit(committed(430, 25), budget.Month))(x.engine.Commit(x.ctx, first, 25)) // the least of those of the hold
	x.allLimits("acme", figures{1000, 930, 45, 25}, figures{100, 85, 15}, figures{500, 430, 45, 25})
	expect(x, inLimit(overrun(430), budget.Month))(x.engine.Commit(x.ctx, second, 451))
	expect(x, inLimit(committed(280, 170), budget.Month))(x.engine.Commit(x.ctx, second, 170))
	x.advance(holdTTL)
	expect(x, missing(budget.Expired))(x.engine.Release(x.ctx, third))
	expect(x, missing(budget.Expired))(x.engine.Release(x.ctx, fourth))
	x.allLimits("acme", figures{1000, 805, 0, 195}, figures{100, 100}, figures{500, 305, 0, 195})
}

func limitRemovedWithHolds(x *fixture) {
	x.openDayMonth("acme", 1000, 100, 500)
	first, second := x.holdIn("acme", 30, 70, budget.Day), x.holdIn("acme", 20, 50, budget.Day)
	x.holdIn("acme", 10, 40, budget.Day)
	x.configure("acme", budget.RemoveLimit(budget.Day))
	x.noLimit("acme", budget.Day)
	expect(x, leftIn(440, budget.Month, march(32)))(x.engine.Remaining(x.ctx, "acme"))
	x.limitTerms("acme", budget.Month, figures{500, 440, 60})
	expect(x, inLimit(committed(170, 300), budget.Month))(x.engine.Commit(x.ctx, first, 300)) // beyond what the day had
	expect(x, inLimit(released(190, 20), budget.Month))(x.engine.Release(x.ctx, second))
	x.configure("acme", budget.RemoveLimit(budget.Month))
	x.advance(holdTTL)
	x.balance("acme", 1000, 700, 0, 300)
	x.hold("acme", 700, 0)
}

func limitRemovedLate(x *fixture) {
	x.openDayMonth("acme", 1000, 100, 500)
	first, second := x.holdIn("acme", 30, 70, budget.Day), x.holdIn("acme", 20, 50, budget.Day)
	x.at(march(2))
	x.limit("acme", budget.Day, march(2), march(3), figures{100, 100}, 50)
	expect(x, inLimit(committed(100, 25), budget.Day))(x.engine.Commit(x.ctx, first, 25))
	x.configure("acme", budget.RemoveLimit(budget.Day))
	x.configure("acme", budget.SetLimit(per(budget.Day, 10)))
	x.limit("acme", budget.Day, march(2), march(3), figures{10, 10}, 0)
	x.noEpochOf("acme", budget.Day, noon)
	expect(x, inLimit(committed(425, 50), budget.Month))(x.engine.Commit(x.ctx, second, 50))
	x.limit("acme", budget.Day, march(2), march(3), figures{10, 10}, 0)
	x.limit("acme", budget.Month, noon, march(32), figures{500, 425, 0, 75}, 0)
	x.balance("acme", 1000, 925, 0, 75)
}

func limitApart(x *fixture) {
	x.openDayMonth("acme", 1000, 100, 500)
	first, second := x.holdIn("acme", 60, 40, budget.Day), x.holdIn("acme", 40, 0, budget.Day)
	x.at(march(2))
	x.limit("acme", budget.Day, march(2), march(3), figures{100, 100}, 100)
	expect(x, inLimit(committed(100, 50), budget.Day))(x.engine.Commit(x.ctx, first, 50))
	x.limitEnded("acme", budget.Day, noon, march(2), figures{100, 10, 40, 50})
	x.limit("acme", budget.Day, march(2), march(3), figures{100, 100}, 40)
	x.limit("acme", budget.Month, noon, march(32), figures{500, 410, 40, 50}, 0)
	third := x.holdIn("acme", 70, 30, budget.Day)
	x.at(march(4))
	expect(x, inLimit(committed(100, 45), budget.Day))(x.engine.Commit(x.ctx, second, 45)) // 5 more, of its day
	x.limitEnded("acme", budget.Day, noon, march(2), figures{100, 5, 0, 95})
	x.limit("acme", budget.Month, noon, march(32), figures{500, 335, 70, 95}, 0)
	x.at(march(32))
	expect(x, inLimit(released(100, 70), budget.Day))(x.engine.Release(x.ctx, third))
	x.limitEnded("acme", budget.Day, march(2), march(3), figures{100, 100})
	x.limitEnded("acme", budget.Month, noon, march(32), figures{500, 405, 0, 95})
	x.limit("acme", budget.Month, march(32), march(62), figures{500, 500}, 0)
	x.balance("acme", 1000, 905, 0, 95)
}

// limitSameBoundary has an hour, a day, a week and a month that end together, and a base limit
// that does, too, or has no window.
func limitSameBoundary(x *fixture) {
	start := march(31) // a Tuesday
	x.at(start.Add(23 * time.Hour))
	week := per(budget.Week, 300)
	week.Window.Weekday = time.Wednesday
	all := limits(per(budget.Hour, 100), per(budget.Day, 200), week, per(budget.Month, 400))
	x.openIn("all", 500, daily(500, 0), all...)
	x.open("none", 500, all...)
	end := march(32)
	x.at(end.Add(-time.Millisecond))
	for _, tenant := range x.tenants {
		x.holdIn(tenant, 90, 10, budget.Hour)
		expect(x, byLimit(until(insufficient(10, 11), end), budget.Hour))(x.engine.TryReserve(x.ctx, tenant, 11))
	}
	x.at(end)
	for _, tenant := range x.tenants {
		x.holdIn(tenant, 100, 0, budget.Hour)
		expect(x, byLimit(until(insufficient(0, 1), end.Add(time.Hour)), budget.Hour))(x.engine.TryReserve(x.ctx, tenant, 1))
		x.limit(tenant, budget.Hour, end, end.Add(time.Hour), figures{100, 0, 100}, 90)
		x.limit(tenant, budget.Day, end, march(33), figures{200, 100, 100}, 90)
		x.limit(tenant, budget.Week, end, march(39), figures{300, 200, 100}, 90)
		x.limit(tenant, budget.Month, end, march(62), figures{400, 300, 100}, 90)
		x.limitEnded(tenant, budget.Hour, start.Add(23*time.Hour), end, figures{100, 10, 90})
		x.limitEnded(tenant, budget.Month, start.Add(23*time.Hour), end, figures{400, 310, 90})
	}
	x.current("all", end, march(33), figures{500, 400, 100}, 90)
	x.balance("none", 500, 310, 190, 0)
	x.at(march(33))
	x.holdIn("all", 100, 0, budget.Hour)
	x.limit("all", budget.Day, march(33), march(34), figures{200, 100, 100}, 190)
	x.limit("all", budget.Week, end, march(39), figures{300, 100, 200}, 90)
}

func limitRollingApart(x *fixture) {
	x.openIn("acme", 1000, rolling(budget.Last7Days, 1000), limits(per(budget.Day, 100), per(budget.Last24Hours, 150))...)
	x.spend("acme", 100) // at noon
	expect(x, leftIn(0, budget.Day, march(2)))(x.engine.Remaining(x.ctx, "acme"))
	x.at(march(2))
	expect(x, byLimit(until(insufficient(50, 51), hour(25)), budget.Last24Hours))(x.engine.TryReserve(x.ctx, "acme", 51))
	id := x.holdIn("acme", 50, 0, budget.Last24Hours)
	x.limit("acme", budget.Day, march(2), march(3), figures{100, 50, 50}, 0)
	x.at(hour(25))
	expect(x, leftIn(50, budget.Day, march(3)))(x.engine.Remaining(x.ctx, "acme"))
	x.limitRolled("acme", budget.Last24Hours, figures{150, 100, 50})
	x.at(march(3))
	expect(x, inLimit(committed(100, 40), budget.Day))(x.engine.Commit(x.ctx, id, 40)) // 12 hours before its part leaves
	x.limitRolled("acme", budget.Last24Hours, figures{150, 110, 0, 40})
	x.limitEnded("acme", budget.Day, march(2), march(3), figures{100, 60, 0, 40})
	x.rolled("acme", figures{1000, 860, 0, 140}, 0)
	x.at(hour(37))
	x.limitRolled("acme", budget.Last24Hours, figures{150, 150})
	x.at(leaving(budget.Last7Days, noon))
	x.rolled("acme", figures{1000, 960, 0, 40}, 0)
}

// limitOutside commits holds that the last 24 hours don't contain any more, but the month does.
func limitOutside(x *fixture) {
	x.open("acme", 1000, limits(per(budget.Month, 500), per(budget.Last24Hours, 100))...)
	first, second, third := x.holdIn("acme", 20, 80, budget.Last24Hours), x.holdIn("acme", 30, 50, budget.Last24Hours), x.holdIn("acme", 10, 40, budget.Last24Hours)
	x.at(hour(25))
	x.limitRolled("acme", budget.Last24Hours, figures{100, 40, 60})
	expect(x, inLimit(committed(60, 25), budget.Last24Hours))(x.engine.Commit(x.ctx, first, 25))
	x.limitRolled("acme", budget.Last24Hours, figures{100, 60, 40})
	x.limit("acme", budget.Month, noon, march(32), figures{500, 435, 40, 25}, 0)
	expect(x, inLimit(overrun(435), budget.Month))(x.engine.Commit(x.ctx, second, 466))
	expect(x, inLimit(committed(65, 400), budget.Month))(x.engine.Commit(x.ctx, second, 400)) // more than 24 hours have
	x.limit("acme", budget.Month, noon, march(32), figures{500, 65, 10, 425}, 0)
	expect(x, inLimit(short(0, 75, 5), budget.Month))(x.engine.CommitAvailable(x.ctx, third, 80))
	x.limitRolled("acme", budget.Last24Hours, figures{100, 100})
	x.balance("acme", 1000, 500, 0, 500)
}

func limitLateExcess(x *fixture) {
	x.openDayMonth("acme", 1000, 100, 500)
	id := x.holdIn("acme", 40, 60, budget.Day)
	lacks := func(remaining, actual budget.Microcents, p budget.Period) {
		x.t.Helper()
		x.unchanged("acme", func() {
			expect(x, inLimit(overrun(remaining), p))(x.engine.Commit(x.ctx, id, actual))
		})
	}
	x.at(march(2))
	x.configure("acme", budget.SetLimit(per(budget.Day, 450)))
	lacks(450, 101, budget.Day) // its day had 60, whatever this one has
	x.spend("acme", 410)
	lacks(50, 91, budget.Month)
	expect(x, withdrawn(49))(x.engine.Withdraw(x.ctx, "acme", 501))
	lacks(49, 90, budget.NoPeriod)
	expect(x, inLimit(short(0, 89, 911), budget.NoPeriod))(x.engine.CommitAvailable(x.ctx, id, 1000))
	x.limitEnded("acme", budget.Day, noon, march(2), figures{100, 11, 0, 89})
	x.limit("acme", budget.Day, march(2), march(3), figures{450, 40, 0, 410}, 0)
	x.limit("acme", budget.Month, noon, march(32), figures{500, 1, 0, 499}, 0)
}

func limitLateSurplus(x *fixture) {
	day, week := per(budget.Day, 100), per(budget.Week, 100)
	day.Window.Carry, week.Window.Carry = budget.CarryAll, 40
	x.openIn("acme", 1000, budget.Window{Period: budget.Week}, limits(day, week, per(budget.Hour, 100))...)
	id := x.holdIn("acme", 70, 30, budget.Hour)
	x.at(march(8))
	x.limit("acme", budget.Day, march(8), march(9), figures{730, 730}, 70) // of 30, and six days
	x.limit("acme", budget.Week, march(8), march(15), figures{130, 130}, 70)
	x.limit("acme", budget.Hour, march(8), march(8).Add(time.Hour), figures{100, 100}, 70)
	expect(x, inLimit(committed(100, 20), budget.Hour))(x.engine.Commit(x.ctx, id, 20))
	x.limit("acme", budget.Day, march(8), march(9), figures{780, 780}, 0)
	x.limit("acme", budget.Week, march(8), march(15), figures{140, 140}, 0)
	x.limit("acme", budget.Hour, march(8), march(8).Add(time.Hour), figures{100, 100}, 0)
	x.limitEnded("acme", budget.Day, noon, march(2), figures{20, 0, 0, 20})
	x.limitEnded("acme", budget.Week, noon, march(8), figures{60, 40, 0, 20})
	x.limitEnded("acme", budget.Hour, noon, hour(1), figures{100, 80, 0, 20})
	x.current("acme", march(8), march(15), figures{1000, 1000}, 0)
	x.past("acme", noon, march(8), figures{1000, 980, 0, 20})
}

func limitKept(x *fixture) {
	x.openDayMonth("acme", 1000, 100, 500)
	id := x.holdIn("acme", 10, 90, budget.Day)
	for day := 2; day <= 6; day++ {
		x.at(march(day))
		x.limit("acme", budget.Day, march(day), march(day+1), figures{100, 100}, 10)
		x.limit("acme", budget.Month, noon, march(32), figures{500, 490, 10}, 0)
	}
	x.limitEnded("acme", budget.Day, noon, march(2), figures{100, 90, 10})
	x.noEpochOf("acme", budget.Day, march(2))
	for day := 3; day <= 5; day++ {
		x.limitEnded("acme", budget.Day, march(day), march(day+1), figures{100, 100})
	}
	x.noEpochOf("acme", budget.Month, noon.Add(-time.Millisecond))
	x.noEpoch("acme", noon, march(3)) // the base limit has no epochs
	expect(x, inLimit(released(100, 10), budget.Day))(x.engine.Release(x.ctx, id))
	x.limitEnded("acme", budget.Day, noon, march(2), figures{100, 100})
	x.at(march(7))
	x.limit("acme", budget.Day, march(7), march(8), figures{100, 100}, 0)
	x.noEpochOf("acme", budget.Day, noon, march(2), march(3))
}

func limitAsleep(x *fixture) {
	day := per(budget.Day, 100)
	day.Window.Carry = 250
	x.open("acme", 5000, limits(day, per(budget.Week, 300), per(budget.Month, 600), per(budget.Last30Days, 600))...)
	x.spend("acme", 60)
	id := x.holdIn("acme", 30, 10, budget.Day)
	x.at(march(41).Add(time.Hour)) // the 10th of April, a Friday
	expect(x, leftIn(300, budget.Week, march(43)))(x.engine.Remaining(x.ctx, "acme"))
	x.limit("acme", budget.Day, march(41), march(42), figures{350, 350}, 30)
	x.limit("acme", budget.Week, march(36), march(43), figures{300, 300}, 30)
	x.limit("acme", budget.Month, march(32), march(62), figures{600, 600}, 30)
	x.limitRolled("acme", budget.Last30Days, figures{600, 570, 30})
	expect(x, inLimit(committed(300, 25), budget.Week))(x.engine.Commit(x.ctx, id, 25))
	x.limitRolled("acme", budget.Last30Days, figures{600, 600})
	x.limitEnded("acme", budget.Week, noon, march(8), figures{300, 215, 0, 85})
	x.limitEnded("acme", budget.Month, noon, march(32), figures{600, 515, 0, 85})
}

// limitDue has holds that are due at a boundary of the day, and at one of the hour.
func limitDue(x *fixture) {
	day := per(budget.Day, 100)
	day.Window.Carry = budget.CarryAll
	x.open("acme", 1000, limits(per(budget.Hour, 500), day)...)
	x.holdIn("acme", 60, 40, budget.Day)
	x.holdIn("acme", 20, 20, budget.Day, budget.WithHoldTTL(time.Hour))
	x.at(hour(1))
	x.limit("acme", budget.Hour, hour(1), hour(2), figures{500, 500}, 60)
	x.limitEnded("acme", budget.Hour, noon, hour(1), figures{500, 440, 60})
	x.limit("acme", budget.Day, noon, march(2), figures{100, 40, 60}, 0)
	x.at(march(2))
	x.limit("acme", budget.Day, march(2), march(3), figures{200, 200}, 0)
	x.limitEnded("acme", budget.Day, noon, march(2), figures{})
	x.limitEnded("acme", budget.Hour, noon, hour(1), figures{500, 500})
	x.balance("acme", 1000, 1000, 0, 0)
}
