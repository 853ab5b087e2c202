package budgettest

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// rollingLevelChecks are the checks of levels of which some have rolling windows.
func rollingLevelChecks() []check {
	checks := []check{
		{name: "levels let their parts leave apart", run: rollingApart},
		{name: "a reserve and a read let the parts of each level leave", run: rollingAtLevels},
		{name: "a commit that the window of one level doesn't contain", run: rollingOneOutside},
		{name: "a commit that no level's window contains", run: rollingAllOutside},
		{name: "a refusal names the rolling window of its level", run: rollingLevelRenews},
		{name: "a level whose rolling window is set or created later", run: rollingLater},
		{name: "a tree shows what rolling windows contain", run: rollingTree},
	}
	for i := range checks {
		checks[i].levels = true
	}
	return checks
}

func rollingApart(x *fixture) {
	x.openIn(root, 1000, rolling(budget.Last30Days, 1000))
	x.openIn(middle, 500, rolling(budget.Last7Days, 500))
	x.openIn(leaf, 100, dayLong(100))
	x.spend(leaf, 60)
	id := x.holdAt(leaf, 10, 30, leaf)
	x.at(hour(25))
	x.rolled(leaf, figures{100, 90, 10}, 0)
	x.rolled(middle, figures{500, 430, 10, 60}, 0)
	expect(x, settlementAt(committed(100, 15), leaf))(x.engine.Commit(x.ctx, id, 15))
	x.rolled(leaf, figures{100, 100}, 0)
	x.rolled(middle, figures{500, 425, 0, 75}, 0)
	x.rolled(root, figures{1000, 925, 0, 75}, 0)
	x.spend(leaf, 100)
	x.at(leaving(budget.Last7Days, noon))
	x.holdAt(leaf, 1, 99, leaf)
	x.rolled(middle, figures{500, 399, 1, 100}, 0)
	x.rolled(root, figures{1000, 824, 1, 175}, 0)
	x.at(leaving(budget.Last7Days, hour(25)))
	x.rolled(middle, figures{500, 499, 1}, 0)
	x.at(leaving(budget.Last30Days, noon).Add(-time.Millisecond))
	x.rolled(root, figures{1000, 824, 1, 175}, 0)
	x.at(leaving(budget.Last30Days, noon))
	x.rolled(root, figures{1000, 899, 1, 100}, 0)
	x.at(leaving(budget.Last30Days, hour(25)))
	x.rolled(root, figures{1000, 999, 1}, 0)
}

// rollingAtLevels exhausts the levels one by one.
func rollingAtLevels(x *fixture) {
	for _, tenant := range []budget.TenantID{root, middle, leaf} {
		x.openIn(tenant, 30, dayLong(30))
	}
	for i, tenant := range []budget.TenantID{root, middle, leaf} {
		start := hour(30 * i)
		x.at(start)
		x.spend(tenant, 30)
		expect(x, leftAtUntil(0, tenant, hour(30*i+25)))(x.engine.Remaining(x.ctx, leaf))
		x.at(hour(30*i + 25).Add(-time.Millisecond))
		expect(x, until(reservationAt(insufficient(0, 1), tenant), hour(30*i+25)))(x.engine.TryReserve(x.ctx, leaf, 1))
		x.at(hour(30*i + 25))
		if i%2 == 0 {
			expect(x, leftAt(30, leaf))(x.engine.Remaining(x.ctx, leaf))
		}
		id := x.holdAt(leaf, 30, 0, leaf)
		expect(x, settlementAt(released(30, 30), leaf))(x.engine.Release(x.ctx, id))
	}
}

// rollingOneOutside has a rolling window at each of three levels in turn, which doesn't contain
// the holds any more. The other two have none, and one of the calendar.
func rollingOneOutside(x *fixture) {
	const most = budget.MaxMicrocents
	levels := []budget.TenantID{root, middle, leaf}
	windows := []budget.Window{dayLong(0), {}, {Period: budget.Month}}
	for turn, start := range []time.Time{noon, march(41), march(81)} {
		x.at(start)
		var rolls, flat, month budget.TenantID
		for i, tenant := range levels {
			w := windows[(i+turn)%3]
			x.openIn(tenant, 100, w)
			switch {
			case w.Period.Rolling():
				rolls = tenant
			case w.Period == budget.Month:
				month = tenant
			default:
				flat = tenant
			}
		}
		first, second, third := x.holdAt(leaf, 10, 90, leaf), x.holdAt(leaf, 10, 80, leaf), x.holdAt(leaf, 10, 70, leaf)
		settled := x.holdAt(leaf, 10, 60, leaf)
		end := start.Add(25 * time.Hour)
		x.at(end)
		expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, rolls, 60))
		expect(x, withdrawn(30))(x.engine.Withdraw(x.ctx, flat, 30))
		expect(x, withdrawn(20))(x.engine.Withdraw(x.ctx, month, 40))

		expect(x, settlementAt(overrun(20), month))(x.engine.Commit(x.ctx, first, 31)) // rolls has less
		expect(x, settlementAt(committed(5, 25), month))(x.engine.Commit(x.ctx, first, 25))
		x.rolled(rolls, figures{40, 10, 30}, 0)
		x.terms(flat, figures{70, 15, 30, 25})
		x.terms(month, figures{60, 5, 30, 25})
		expect(x, settlementAt(short(0, 15, most-15), month))(x.engine.CommitAvailable(x.ctx, second, most))
		x.rolled(rolls, figures{40, 20, 20}, 0)
		x.terms(flat, figures{70, 10, 20, 40})
		x.terms(month, figures{60, 0, 20, 40})
		expect(x, settlementAt(committed(2, 8), month))(x.engine.Commit(x.ctx, third, 8))
		x.rolled(rolls, figures{40, 30, 10}, 0)
		expect(x, settlementAt(released(12, 10), month))(x.engine.Release(x.ctx, settled))
		x.rolled(rolls, figures{40, 40}, 0)
		x.terms(flat, figures{70, 22, 0, 48})
		x.terms(month, figures{60, 12, 0, 48})
		for i := range levels { // the leaf first
			if b, err := x.delete(levels[2-i]); err != nil || b.Outcome != budget.Deleted {
				x.t.Fatalf("delete: got %+v, %v", b, err)
			}
		}
	}
}

// terms checks the terms of a tenant's current balance.
func (x *fixture) terms(tenant budget.TenantID, f figures) {
	x.t.Helper()
	b, err := x.engine.Balance(x.ctx, tenant)
	if got := (figures{b.Granted, b.Remaining, b.Reserved, b.Committed}); err != nil || got != f {
		x.t.Fatalf("%q: got %+v, %v; want %v", tenant, b, err, f)
	}
}

func rollingAllOutside(x *fixture) {
	const most = budget.MaxMicrocents
	levels := []budget.TenantID{root, middle, leaf}
	for _, tenant := range levels {
		x.openIn(tenant, 100, dayLong(100))
	}
	first, second, third := x.holdAt(leaf, 10, 90, leaf), x.holdAt(leaf, 10, 80, leaf), x.holdAt(leaf, 10, 70, leaf)
	x.at(hour(24))
	x.holdAt(middle, 40, 30, middle)
	x.holdAt(root, 30, 0, root)
	x.at(hour(25).Add(-time.Millisecond))
	expect(x, settlementAt(overrun(0), root))(x.engine.Commit(x.ctx, first, most))
	x.at(hour(25))
	expect(x, settlementAt(committed(10, most), root))(x.engine.Commit(x.ctx, first, most))
	expect(x, settlementAt(committed(20, most), root))(x.engine.CommitAvailable(x.ctx, second, most))
	expect(x, settlementAt(released(30, 10), root))(x.engine.Release(x.ctx, third))
	x.rolled(root, figures{100, 30, 70}, 0)
	x.rolled(middle, figures{100, 60, 40}, 0)
	x.rolled(leaf, figures{100, 100}, 0)
	for _, id := range []budget.ReservationID{first, second} {
		expect(x, missing(budget.Committed))(x.engine.Commit(x.ctx, id, 1))
	}
}

func rollingLevelRenews(x *fixture) {
	x.openIn(root, 100, rolling(budget.Last30Days, 100))
	x.openIn(middle, 80, daily(0, 0))
	x.openIn(leaf, 50, dayLong(50))
	refuse := func(remaining budget.Microcents, level budget.TenantID, renews time.Time) {
		x.t.Helper()
		expect(x, until(reservationAt(insufficient(remaining, 1000), level), renews))(x.engine.TryReserve(x.ctx, leaf, 1000))
		expect(x, leftAtUntil(remaining, level, renews))(x.engine.Remaining(x.ctx, leaf))
	}
	refuse(50, leaf, time.Time{})
	x.at(hour(1))
	x.spend(leaf, 20)
	refuse(30, leaf, hour(26))
	x.spend(middle, 35)
	refuse(25, middle, march(2))
	x.spend(root, 30)
	refuse(15, root, march(32))
	x.at(march(2))
	refuse(15, root, march(32))
	expect(x, granted(75))(x.engine.Grant(x.ctx, root, 60))
	refuse(30, leaf, hour(26))
	x.at(hour(26))
	refuse(50, leaf, time.Time{})
}

// rollingLater sets the rolling window of a level, or creates the level, when there are holds.
func rollingLater(x *fixture) {
	x.open(middle, 100)
	x.openIn(leaf, 100, rolling(budget.Last7Days, 0))
	first, second := x.holdAt(leaf, 40, 60, leaf), x.holdAt(leaf, 5, 55, leaf)
	x.at(hour(3))
	x.openIn(root, 100, dayLong(0)) // has no part in these holds
	third := x.holdAt(leaf, 10, 45, leaf)
	x.at(hour(20))
	x.setWindow(middle, dayLong(0), 100)
	expect(x, settlementAt(committed(40, 45), leaf))(x.engine.Commit(x.ctx, first, 45))
	x.at(hour(25))
	x.rolled(root, figures{100, 90, 10}, 0)
	x.rolled(middle, figures{100, 85, 15}, 0)
	x.rolled(leaf, figures{100, 40, 15, 45}, 0)
	expect(x, settlementAt(committed(39, 6), leaf))(x.engine.Commit(x.ctx, second, 6))
	x.rolled(middle, figures{100, 90, 10}, 0)
	expect(x, settlementAt(overrun(39), leaf))(x.engine.Commit(x.ctx, third, 50))
	expect(x, settlementAt(committed(37, 12), leaf))(x.engine.Commit(x.ctx, third, 12))
	x.rolled(root, figures{100, 88, 0, 12}, 0)
	x.rolled(middle, figures{100, 88, 0, 12}, 0)
	x.rolled(leaf, figures{100, 37, 0, 63}, 0)
	x.at(hour(28))
	x.rolled(root, figures{100, 100}, 0)
	x.rolled(middle, figures{100, 100}, 0)
}

func rollingTree(x *fixture) {
	x.openIn(root, 1000, rolling(budget.Last30Days, 0))
	x.openIn(middle, 500, rolling(budget.Last7Days, 0))
	x.openIn(leaf, 100, dayLong(0))
	x.openIn(twin, 100, daily(0, 0))
	x.spend(leaf, 40)
	x.holdAt(leaf, 1, 59, leaf)
	x.treeOf(root, root, middle, leaf, twin)
	for _, at := range []time.Time{hour(25), leaving(budget.Last7Days, noon), march(32)} {
		for _, before := range []time.Duration{time.Millisecond, 0} {
			x.at(at.Add(-before))
			x.treeOf(root, root, middle, leaf, twin)
			x.treeOf(middle, middle, leaf, twin)
		}
	}
	x.rolled(root, figures{1000, 999, 1}, 0)
	x.rolled(middle, figures{500, 499, 1}, 0)
	x.rolled(leaf, figures{100, 99, 1}, 0)
}
