package budgettest

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// windowLevelChecks are the checks of levels with different windows.
func windowLevelChecks() []check {
	checks := []check{
		{name: "levels begin their epochs apart", run: windowsApart},
		{name: "a reserve begins the epoch of each level", run: windowsBegin},
		{name: "a refusal and a read name the window of their level", run: windowsRenew},
		{name: "a hold has an epoch at each level", ttl: 26 * time.Hour, run: windowsHold},
		{name: "a late excess is covered at every level, or moves nothing", run: windowsExcess},
		{name: "a late commit of the amount that all levels have", run: windowsAvailable},
		{name: "a level with a window that is set or created later", run: windowsLater},
		{name: "a tree shows the present epochs", run: windowsTree},
	}
	for i := range checks {
		checks[i].levels = true
	}
	return checks
}

func leftAtUntil(remaining budget.Microcents, level budget.TenantID, renews time.Time) budget.Remainder {
	r := leftUntil(remaining, renews)
	r.Level = level
	return r
}

// monthly, then none, then daily: the windows of the levels of most checks.
func (x *fixture) openLevels(top, between, tenant budget.Microcents) {
	x.t.Helper()
	x.openIn(root, top, budget.Window{Period: budget.Month})
	x.open(middle, between)
	x.openIn(leaf, tenant, daily(0, 0))
}

func windowsApart(x *fixture) {
	x.openLevels(1000, 500, 100)
	x.holdAt(leaf, 100, 0, leaf)
	x.at(march(2))
	id := x.holdAt(leaf, 90, 10, leaf)
	x.current(root, noon, march(32), figures{1000, 810, 190}, 0)
	x.balance(middle, 500, 310, 190, 0)
	x.current(leaf, march(2), march(3), figures{100, 10, 90}, 100)
	x.at(march(3))
	expect(x, settlementAt(committed(100, 80), leaf))(x.engine.Commit(x.ctx, id, 80))
	x.current(root, noon, march(32), figures{1000, 820, 100, 80}, 0)
	x.balance(middle, 500, 320, 100, 80)
	x.current(leaf, march(3), march(4), figures{100, 100}, 100)
	x.past(leaf, march(2), march(3), figures{100, 20, 0, 80})
	x.at(march(32))
	x.holdAt(leaf, 100, 0, leaf)
	x.current(root, march(32), march(62), figures{1000, 900, 100}, 100)
	x.past(root, noon, march(32), figures{1000, 820, 100, 80})
	x.balance(middle, 500, 220, 200, 80)
	x.current(leaf, march(32), march(33), figures{100, 0, 100}, 100)
}

// windowsBegin exhausts the levels one by one: at the boundary each has a budget again.
func windowsBegin(x *fixture) {
	x.openIn(root, 30, daily(30, 0))
	x.openIn(middle, 30, daily(30, 0))
	x.openIn(leaf, 30, daily(30, 0))
	x.openIn(aside, 30, daily(30, 0))
	for day := 2; day <= 5; day++ {
		tenant := []budget.TenantID{root, aside, middle, leaf}[day-2]
		level := tenant
		x.holdAt(tenant, 30, 0, level)
		expect(x, leftAtUntil(0, map[int]budget.TenantID{2: root, 3: root, 4: middle, 5: leaf}[day], march(day)))(x.engine.Remaining(x.ctx, leaf))
		x.at(march(day))
		if day%2 == 0 {
			expect(x, leftAtUntil(30, leaf, march(day+1)))(x.engine.Remaining(x.ctx, leaf))
		}
		id := x.holdAt(leaf, 30, 0, leaf)
		expect(x, settlementAt(released(30, 30), leaf))(x.engine.Release(x.ctx, id))
	}
	x.current(root, march(5), march(6), figures{30, 30}, 120)
	x.current(middle, march(5), march(6), figures{30, 30}, 60)
	x.current(leaf, march(5), march(6), figures{30, 30}, 30)
}

func windowsRenew(x *fixture) {
	x.openLevels(100, 80, 50)
	refuse := func(remaining budget.Microcents, level budget.TenantID, renews time.Time) {
		x.t.Helper()
		expect(x, until(reservationAt(insufficient(remaining, 1000), level), renews))(x.engine.TryReserve(x.ctx, leaf, 1000))
		expect(x, leftAtUntil(remaining, level, renews))(x.engine.Remaining(x.ctx, leaf))
	}
	refuse(50, leaf, march(2))
	x.holdAt(middle, 50, 30, middle)
	refuse(30, middle, time.Time{})
	x.holdAt(root, 40, 10, root)
	refuse(10, root, march(32))
	expect(x, granted(60))(x.engine.Grant(x.ctx, root, 50))
	expect(x, granted(60))(x.engine.Grant(x.ctx, middle, 30))
	x.at(march(2))
	refuse(50, leaf, march(3))
	x.at(march(32))
	refuse(50, leaf, march(33))
	x.setWindow(leaf, budget.Window{}, 0)
	refuse(50, leaf, time.Time{})
}

// windowsHold ends holds at levels where their epoch has ended, and at levels where it has not.
func windowsHold(x *fixture) {
	x.openIn(root, 1000, budget.Window{Period: budget.Hour, Carry: budget.CarryAll})
	x.openIn(middle, 1000, budget.Window{Period: budget.Week})
	x.openIn(leaf, 1000, daily(0, 50))
	first, second := x.holdAt(leaf, 100, 900, leaf), x.holdAt(leaf, 200, 700, leaf)
	x.holdAt(leaf, 300, 400, leaf)
	hour := noon.Add(time.Hour)
	x.at(hour)
	expect(x, settlementAt(committed(430, 70), leaf))(x.engine.Commit(x.ctx, first, 70))
	x.past(root, noon, hour, figures{570, 0, 500, 70})
	x.current(root, hour, hour.Add(time.Hour), figures{1430, 1430}, 500)
	x.current(middle, noon, march(8), figures{1000, 430, 500, 70}, 0)
	x.current(leaf, noon, march(2), figures{1000, 430, 500, 70}, 0)
	x.at(march(2))
	expect(x, settlementAt(committed(380, 250), middle))(x.engine.Commit(x.ctx, second, 250))
	x.past(root, noon, hour, figures{620, 0, 300, 320})
	x.current(root, march(2), march(2).Add(time.Hour), figures{12_380, 12_380}, 300)
	x.current(middle, noon, march(8), figures{1000, 380, 300, 320}, 0)
	x.past(leaf, noon, march(2), figures{950, 330, 300, 320})
	x.current(leaf, march(2), march(3), figures{1050, 1050}, 300)
	x.at(noon.Add(26 * time.Hour)) // the deadline of the third
	expect(x, leftAtUntil(680, middle, march(8)))(x.engine.Remaining(x.ctx, leaf))
	x.past(leaf, noon, march(2), figures{950, 630, 0, 320})
	x.current(root, march(2).Add(14*time.Hour), march(2).Add(15*time.Hour), figures{26_680, 26_680}, 0)
	x.past(root, noon, hour, figures{320, 0, 0, 320})
}

func windowsExcess(x *fixture) {
	x.openIn(root, 100, daily(0, budget.CarryAll))
	x.open(middle, 1000)
	x.openIn(leaf, 100, daily(0, 0))
	id := x.holdAt(leaf, 40, 60, leaf)
	lacks := func(remaining budget.Microcents, level budget.TenantID, actual budget.Microcents) {
		x.t.Helper()
		var before [3]budget.Balance
		for i, tenant := range []budget.TenantID{root, middle, leaf} {
			before[i], _ = x.engine.Balance(x.ctx, tenant)
		}
		expect(x, settlementAt(overrun(remaining), level))(x.engine.Commit(x.ctx, id, actual))
		for i, tenant := range []budget.TenantID{root, middle, leaf} {
			expect(x, before[i])(x.engine.Balance(x.ctx, tenant))
		}
	}
	x.at(march(2))
	lacks(100, leaf, 101) // both have 60
	x.holdAt(root, 105, 55, root)
	lacks(55, root, 96)
	expect(x, withdrawn(50))(x.engine.Withdraw(x.ctx, middle, 910))
	lacks(50, middle, 91)
	x.configure(middle, budget.Overdraft(100))
	lacks(55, root, 96)
	expect(x, granted(60))(x.engine.Grant(x.ctx, root, 5))
	x.configure(root, budget.Overdraft(1))
	lacks(100, leaf, 101)
	x.configure(leaf, budget.Overdraft(1))
	expect(x, settlementAt(committed(-11, 101), middle))(x.engine.Commit(x.ctx, id, 101))
	x.current(root, march(2), march(3), figures{104, -1, 105}, 0)
	x.past(root, noon, march(2), figures{101, 0, 0, 101})
	x.current(leaf, march(2), march(3), figures{99, 99}, 0)
	x.past(leaf, noon, march(2), figures{101, 0, 0, 101})
	x.balance(middle, 90, -11, 0, 101)
}

func windowsAvailable(x *fixture) {
	x.openIn(root, 100, daily(0, budget.CarryAll))
	x.open(middle, 1000)
	x.openIn(leaf, 100, daily(0, 0))
	first, second, third := x.holdAt(leaf, 20, 80, leaf), x.holdAt(leaf, 10, 70, leaf), x.holdAt(leaf, 10, 60, leaf)
	x.at(march(2))
	x.holdAt(root, 130, 30, root)
	expect(x, settlementAt(short(0, 50, 50), root))(x.engine.CommitAvailable(x.ctx, first, 100)) // the root pays 30
	x.past(root, noon, march(2), figures{70, 0, 20, 50})
	x.past(leaf, noon, march(2), figures{100, 30, 20, 50})
	expect(x, settlementAt(short(0, 10, 1), root))(x.engine.CommitAvailable(x.ctx, second, 11))
	expect(x, granted(100))(x.engine.Grant(x.ctx, root, 100))
	expect(x, settlementAt(short(70, 40, 60), root))(x.engine.CommitAvailable(x.ctx, third, 100)) // both have 30
	x.current(root, march(2), march(3), figures{200, 70, 130}, 0)
	x.past(root, noon, march(2), figures{100, 0, 0, 100})
	x.past(leaf, noon, march(2), figures{100, 0, 0, 100})
	x.balance(middle, 1000, 900, 0, 100)
}

// windowsLater sets the window of a level, or creates the level, when there are holds.
func windowsLater(x *fixture) {
	x.open(middle, 100)
	x.openIn(leaf, 100, daily(0, 0))
	first := x.holdAt(leaf, 40, 60, leaf)
	x.at(march(2))
	x.openIn(root, 100, daily(0, 0)) // has no part in the first hold
	x.setWindow(middle, budget.Window{Period: budget.Hour}, 100)
	second := x.holdAt(leaf, 10, 50, middle)
	x.at(march(2).Add(time.Hour))
	expect(x, settlementAt(committed(90, 45), leaf))(x.engine.Commit(x.ctx, first, 45))
	x.past(leaf, noon, march(2), figures{100, 55, 0, 45})
	x.past(middle, march(2), march(2).Add(time.Hour), figures{100, 45, 10, 45})
	x.current(root, march(2), march(3), figures{100, 90, 10}, 0)
	x.at(march(3))
	expect(x, settlementAt(released(100, 10), leaf))(x.engine.Release(x.ctx, second))
	x.past(root, march(2), march(3), figures{100, 100})
	x.past(middle, march(2), march(2).Add(time.Hour), figures{100, 55, 0, 45})
	x.past(leaf, march(2), march(3), figures{100, 100})
}

func windowsTree(x *fixture) {
	x.openLevels(1000, 500, 100)
	x.openIn(twin, 100, budget.Window{Period: budget.Hour, Carry: 20})
	x.holdAt(leaf, 40, 60, leaf)
	x.treeOf(root, root, middle, leaf, twin)
	for _, at := range []time.Time{march(2), march(3), march(32), march(40)} {
		x.at(at)
		x.treeOf(root, root, middle, leaf, twin)
		x.current(twin, at, at.Add(time.Hour), figures{120, 120}, 0)
		x.at(at.Add(time.Hour))
		x.treeOf(middle, middle, leaf, twin)
	}
}
