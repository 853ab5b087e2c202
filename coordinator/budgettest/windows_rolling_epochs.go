package budgettest

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// rollingEpochChecks are the checks of rolling windows of accounts that had a window of the
// calendar, and of windows of the calendar after them.
func rollingEpochChecks() []check {
	return []check{
		{name: "a rolling window after one of the calendar", run: rollingAfterDays},
		{name: "a window of the calendar after a rolling one", run: rollingBeforeDays},
		{name: "holds of ended epochs settle there after a rolling window was set", ttl: 60 * time.Hour, run: rollingLate},
		{name: "an excess of an ended epoch in a rolling window", run: rollingLateExcess},
		{name: "the debt of an ended epoch in a rolling window", run: rollingLateDebt},
		{name: "a rolling window keeps ended epochs when it is removed", run: rollingRemovedLate},
		{name: "a late settle crosses thresholds of a rolling window", run: rollingLateThresholds},
		{name: "amounts when the kind of a window changes", run: rollingKinds},
	}
}

func rollingAfterDays(x *fixture) {
	x.openIn("acme", 100, daily(100, budget.CarryAll))
	x.at(hour(1).Add(time.Minute))
	first, second := x.hold("acme", 10, 90), x.hold("acme", 20, 70)
	x.spend("acme", 5)
	x.at(hour(5))
	x.setWindow("acme", dayLong(0), 100) // in the first epoch
	x.rolled("acme", figures{100, 65, 30, 5}, 0)
	x.noEpoch("acme", noon, hour(1), hour(5), march(2))
	x.at(march(2)) // would be a boundary
	x.rolled("acme", figures{100, 65, 30, 5}, 0)
	x.lacks("acme", 65, hour(30))
	expect(x, committed(63, 12))(x.engine.Commit(x.ctx, first, 12))
	x.lacks("acme", 63, hour(26))
	x.at(hour(26))
	x.rolled("acme", figures{100, 75, 20, 5}, 0)
	expect(x, committed(95, 1000))(x.engine.Commit(x.ctx, second, 1000))
	x.at(hour(30))
	x.rolled("acme", figures{100, 100}, 0)

	x.openIn("globex", 100, daily(50, 20)) // at a boundary
	x.spend("globex", 90)
	x.at(march(3))
	x.setWindow("globex", dayLong(0), 50)
	x.rolled("globex", figures{60, 60}, 0)
	x.past("globex", hour(30), march(3), figures{90, 0, 0, 90})
	x.spend("globex", 20)
	x.at(march(4).Add(time.Hour))
	x.rolled("globex", figures{60, 60}, 0)
	x.past("globex", hour(30), march(3), figures{90, 0, 0, 90})
	x.noEpoch("globex", march(3), march(4))
}

func rollingBeforeDays(x *fixture) {
	x.openIn("acme", 100, dayLong(100))
	first := x.hold("acme", 10, 90)
	x.spend("acme", 20)
	x.at(hour(5))
	second := x.hold("acme", 5, 65)
	x.spend("acme", 3)
	x.setWindow("acme", daily(0, 0), 100)
	x.current("acme", noon, march(2), figures{100, 62, 15, 23}, 0)
	x.noEpoch("acme", noon.Add(-time.Millisecond))
	expect(x, until(insufficient(62, 63), march(2)))(x.engine.TryReserve(x.ctx, "acme", 63))
	x.at(march(2))
	x.current("acme", march(2), march(3), figures{100, 100}, 15)
	x.past("acme", noon, march(2), figures{100, 62, 15, 23})
	expect(x, committed(100, 11))(x.engine.Commit(x.ctx, first, 11))
	expect(x, released(100, 5))(x.engine.Release(x.ctx, second))
	x.past("acme", noon, march(2), figures{100, 66, 0, 34})

	x.openIn("globex", 100, dayLong(100)) // a window that is longer than those in between
	x.spend("globex", 40)
	third := x.hold("globex", 10, 50)
	x.at(hour(20))
	x.setWindow("globex", budget.Window{Period: budget.Month}, 100)
	x.at(march(4)) // long after the parts would have left
	x.current("globex", march(2), march(32), figures{100, 50, 10, 40}, 0)
	expect(x, overrun(50))(x.engine.Commit(x.ctx, third, 61))
	expect(x, committed(49, 11))(x.engine.Commit(x.ctx, third, 11))
	x.setWindow("globex", dayLong(0), 100) // one part again
	x.rolled("globex", figures{100, 49, 0, 51}, 0)
	x.lacks("globex", 49, march(5).Add(time.Hour))
	x.at(march(5).Add(time.Hour))
	x.rolled("globex", figures{100, 100}, 0)
}

// rollingLate settles holds of ended epochs, of the epoch in which a rolling window was set, and
// of that window. The hold that expires is of an ended epoch.
func rollingLate(x *fixture) {
	x.openIn("acme", 100, daily(100, 50))
	first, second := x.hold("acme", 10, 90, budget.WithHoldTTL(0)), x.hold("acme", 20, 70, budget.WithHoldTTL(0))
	x.hold("acme", 5, 65) // until midnight of the fourth day
	x.at(march(2))
	third := x.hold("acme", 7, 143, budget.WithHoldTTL(0))
	x.at(march(2).Add(time.Hour))
	x.spend("acme", 3)
	x.setWindow("acme", rolling(budget.Last7Days, 0), 100)
	x.rolled("acme", figures{150, 140, 7, 3}, 35)
	x.past("acme", noon, march(2), figures{50, 15, 35})
	x.noEpoch("acme", march(2), march(2).Add(time.Hour))
	fourth := x.hold("acme", 1, 139, budget.WithHoldTTL(0))
	expect(x, committed(139, 4))(x.engine.Commit(x.ctx, first, 4)) // nothing passes on
	x.rolled("acme", figures{150, 139, 8, 3}, 25)
	x.past("acme", noon, march(2), figures{50, 21, 25, 4})
	x.at(march(3))
	expect(x, released(139, 20))(x.engine.Release(x.ctx, second))
	x.past("acme", noon, march(2), figures{50, 41, 5, 4})
	expect(x, committed(140, 6))(x.engine.Commit(x.ctx, third, 6))
	expect(x, committed(139, 2))(x.engine.Commit(x.ctx, fourth, 2))
	x.rolled("acme", figures{150, 139, 0, 11}, 5)
	if holds := x.holds("acme"); len(holds) != 1 {
		x.t.Fatalf("got the holds %+v, want one", holds)
	}
	x.at(march(4))
	x.rolled("acme", figures{150, 139, 0, 11}, 0)
	x.past("acme", noon, march(2), figures{50, 46, 0, 4})
	x.at(march(9).Add(6 * time.Hour))
	x.rolled("acme", figures{150, 150}, 0)
	x.past("acme", noon, march(2), figures{50, 46, 0, 4})

	x.setWindow("acme", daily(0, budget.CarryAll), 100) // and back
	x.current("acme", march(2), march(10), figures{150, 150}, 0)
	x.at(march(10))
	x.current("acme", march(10), march(11), figures{250, 250}, 0)
	x.past("acme", march(2), march(10), figures{})
	x.past("acme", noon, march(2), figures{50, 46, 0, 4})
}

func rollingLateExcess(x *fixture) {
	x.openIn("acme", 100, daily(100, budget.CarryAll))
	x.openIn("own", 100, daily(100, 0))
	first, second := x.hold("acme", 10, 90), x.hold("acme", 5, 85)
	own := x.hold("own", 10, 90)
	x.at(march(2))
	x.setWindow("acme", dayLong(0), 100)
	x.setWindow("own", dayLong(0), 100)
	x.rolled("acme", figures{185, 185}, 15)
	x.hold("acme", 160, 25)
	x.spend("own", 100)
	x.at(march(4)) // the part of the hold would have left
	expect(x, overrun(25))(x.engine.Commit(x.ctx, first, 36))
	expect(x, committed(5, 30))(x.engine.Commit(x.ctx, first, 30))
	x.rolled("acme", figures{165, 5, 160}, 5)
	x.past("acme", noon, march(2), figures{35, 0, 5, 30})
	expect(x, short(0, 10, 90))(x.engine.CommitAvailable(x.ctx, second, 100))
	x.past("acme", noon, march(2), figures{40, 0, 0, 40})
	x.rolled("acme", figures{160, 0, 160}, 0)
	expect(x, overrun(100))(x.engine.Commit(x.ctx, own, 101))
	expect(x, committed(100, 100))(x.engine.Commit(x.ctx, own, 100))
	x.past("own", noon, march(2), figures{100, 0, 0, 100})
	x.rolled("own", figures{100, 100}, 0)
}

func rollingLateDebt(x *fixture) {
	x.openIn("acme", 100, daily(100, 0), budget.Overdraft(50))
	first, second := x.hold("acme", 20, 80), x.hold("acme", 40, 40)
	expect(x, committed(-50, 90))(x.engine.Commit(x.ctx, x.hold("acme", 40, 0), 90))
	x.at(march(2))
	x.setWindow("acme", dayLong(0), 100)
	x.rolled("acme", figures{50, 50}, 60)
	expect(x, released(70, 20))(x.engine.Release(x.ctx, first)) // pays debt
	x.rolled("acme", figures{70, 70}, 40)
	x.past("acme", noon, march(2), figures{130, 0, 40, 90})
	expect(x, committed(100, 3))(x.engine.Commit(x.ctx, second, 3)) // 30 of the 37 do
	x.rolled("acme", figures{100, 100}, 0)
	x.past("acme", noon, march(2), figures{100, 7, 0, 93})
}

func rollingRemovedLate(x *fixture) {
	x.openIn("acme", 100, daily(100, 0))
	first := x.hold("acme", 10, 90)
	x.at(march(2))
	second := x.hold("acme", 20, 80)
	x.setWindow("acme", dayLong(0), 100)
	x.spend("acme", 30)
	x.setWindow("acme", budget.Window{}, 0)
	x.current("acme", march(2), time.Time{}, figures{100, 50, 20, 30}, 10)
	x.past("acme", noon, march(2), figures{100, 90, 10})
	x.at(march(6))
	x.current("acme", march(2), time.Time{}, figures{100, 50, 20, 30}, 10)
	expect(x, leftAt(50, ""))(x.engine.Remaining(x.ctx, "acme"))
	expect(x, committed(50, 9))(x.engine.Commit(x.ctx, first, 9))
	expect(x, committed(49, 21))(x.engine.Commit(x.ctx, second, 21))
	x.past("acme", noon, march(2), figures{100, 91, 0, 9})
	x.current("acme", march(2), time.Time{}, figures{100, 49, 0, 51}, 0)
	x.setWindow("acme", rolling(budget.Last7Days, 0), 100)
	x.rolled("acme", figures{100, 49, 0, 51}, 0)
	x.past("acme", noon, march(2), figures{100, 91, 0, 9})
	x.lacks("acme", 49, march(13).Add(6*time.Hour))
}

func rollingLateThresholds(x *fixture) {
	event := func(committed, granted budget.Microcents) budget.Crossing {
		return budget.Crossing{Tenant: "acme", Percent: 50, Committed: committed, Granted: granted}
	}
	x.openIn("acme", 100, daily(100, budget.CarryAll), budget.AtThresholds(50))
	late, kept := x.hold("acme", 30, 70), x.hold("acme", 50, 20)
	x.at(march(2))
	x.setWindow("acme", dayLong(0), 100)
	x.spend("acme", 58) // of 120
	x.reached("acme")
	x.crossings()
	expect(x, committed(42, 50))(x.engine.Commit(x.ctx, late, 50)) // takes 20 back
	x.reached("acme", 50)
	x.crossings(event(58, 100))
	x.at(march(3).Add(time.Hour)) // all that was spent has left
	expect(x, released(100, 50))(x.engine.Release(x.ctx, kept))
	x.reached("acme")
	x.past("acme", noon, march(2), figures{100, 50, 0, 50})
	x.spend("acme", 50)
	x.lastCrossing(event(58, 100), event(50, 100))
}

func rollingKinds(x *fixture) {
	x.openIn("acme", 100, daily(100, 0))
	x.hold("acme", 30, 70)
	x.setWindow("acme", daily(60, 0), 60) // from the next epoch
	x.current("acme", noon, march(2), figures{100, 70, 30}, 0)
	x.setWindow("acme", dayLong(0), 60)
	x.rolled("acme", figures{100, 70, 30}, 0)
	x.setWindow("acme", dayLong(70), 70) // 10 more than the amount
	x.rolled("acme", figures{110, 80, 30}, 0)
	x.setWindow("acme", rolling(budget.Last7Days, 20), 20)
	x.rolled("acme", figures{60, 30, 30}, 0)
	x.setWindow("acme", daily(5, 0), 5) // from the next epoch again
	x.current("acme", noon, march(2), figures{60, 30, 30}, 0)
	x.setWindow("acme", rolling(budget.Last7Days, 4), 4)
	x.rolled("acme", figures{59, 29, 30}, 0)
	x.setWindow("acme", budget.Window{Period: budget.Month, Amount: 14}, 14)
	x.current("acme", noon, march(32), figures{69, 39, 30}, 0)
	x.setWindow("acme", rolling(budget.Last30Days, 1), 1)
	x.rolled("acme", figures{56, 26, 30}, 0)
	x.setWindow("acme", budget.Window{}, 0)
	x.balance("acme", 56, 26, 30, 0)
	x.setWindow("acme", dayLong(6), 6)
	x.rolled("acme", figures{6, -24, 30}, 0)
	x.setWindow("acme", daily(0, 0), 6)
	x.current("acme", noon, march(2), figures{6, -24, 30}, 0)
	x.at(march(2))
	x.current("acme", march(2), march(3), figures{-18, -18}, 30) // debt passes on
}
