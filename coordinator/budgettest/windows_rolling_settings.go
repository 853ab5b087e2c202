package budgettest

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// rollingSettingChecks are the checks of setting a rolling window and changing its amount.
func rollingSettingChecks() []check {
	return []check{
		{name: "a rolling window of a new tenant", run: rollingNew},
		{name: "a rolling window whose amount is not the budget", run: rollingNewAmount},
		{name: "a rolling window counts what was committed before", run: rollingFirst},
		{name: "the first rolling window's amount", run: rollingFirstAmount},
		{name: "another amount of a rolling window counts at once", run: rollingAmount},
		{name: "a rolling window that is set again keeps its parts", run: rollingRepeated},
		{name: "another rolling window has one part", run: rollingChanged},
		{name: "a removed rolling window keeps the terms", run: rollingRemoved},
		{name: "a budget below 0 without a window", run: rollingBelowZero},
		{name: "grants and withdrawals of a rolling window", run: rollingAdjusted},
		{name: "a rolling window's amount beyond 64 bits", run: rollingOverflow},
		{name: "a rolling window of a frozen or closed account", run: rollingFrozen},
		{name: "a rolling window of a recreated tenant", levels: true, run: rollingDeleted},
	}
}

func rollingNew(x *fixture) {
	x.openIn("acme", 70, rolling(budget.Last30Days, 0))
	x.openIn("globex", 70, rolling(budget.Last30Days, 70))
	x.openIn("zero", 0, dayLong(0))
	x.rolled("zero", figures{}, 0)
	x.lacks("zero", 0, time.Time{})
	for _, tenant := range []budget.TenantID{"acme", "globex"} {
		x.rolled(tenant, figures{70, 70}, 0)
		exists := expect(x, budget.Ensured{Outcome: budget.Exists, Remaining: 70})
		exists(x.engine.EnsureTenant(x.ctx, tenant, 5))
		exists(x.engine.EnsureTenant(x.ctx, tenant, 5, budget.InWindow(dayLong(5))))
		exists(x.engine.EnsureTenant(x.ctx, tenant, 5, budget.InWindow(dayLong(0))))
		x.rolled(tenant, figures{70, 70}, 0)
		if w := x.settings[tenant].Window; w != rolling(budget.Last30Days, 70) {
			x.t.Fatalf("the check expects %+v", w)
		}
		x.noEpoch(tenant, noon, noon.Add(time.Hour), march(2))
	}
}

func rollingNewAmount(x *fixture) {
	x.openIn("acme", 100, dayLong(100))
	x.open("none", 100)
	x.openIn("closed", 100, daily(100, 0))
	x.close("closed")
	for _, tenant := range []budget.TenantID{"ghost", "acme", "none", "closed"} {
		for _, amount := range []budget.Microcents{1, 99, 101, budget.MaxMicrocents} {
			refused[budget.Ensured](x, budget.ErrInvalidSetting, "another amount")(x.engine.EnsureTenant(x.ctx, tenant, 100, budget.InWindow(dayLong(amount))))
		}
		refused[budget.Ensured](x, budget.ErrInvalidSetting, "an amount and no budget")(x.engine.EnsureTenant(x.ctx, tenant, 0, budget.InWindow(dayLong(1))))
	}
	expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, "ghost"))
	x.rolled("acme", figures{100, 100}, 0)
	x.balance("none", 100, 100, 0, 0)
	expect(x, closedTenant)(x.engine.Configure(x.ctx, "closed", budget.InWindow(dayLong(1))))
	expect(x, missingTenant)(x.engine.Configure(x.ctx, "ghost", budget.InWindow(dayLong(1))))
}

// rollingFirst sets the first window of accounts that have committed money and holds.
func rollingFirst(x *fixture) {
	x.open("acme", 100)
	first, second := x.hold("acme", 10, 90), x.hold("acme", 5, 85)
	x.spend("acme", 20)
	x.at(hour(10).Add(time.Minute))
	third := x.hold("acme", 8, 57)
	x.at(hour(20).Add(30 * time.Minute))
	x.setWindow("acme", dayLong(0), 100)
	x.rolled("acme", figures{100, 57, 23, 20}, 0)
	x.lacks("acme", 57, hour(45))
	x.at(hour(24))
	expect(x, committed(54, 11))(x.engine.Commit(x.ctx, third, 11)) // of the part before the window
	x.lacks("acme", 54, hour(35))
	x.at(hour(24).Add(59 * time.Minute))
	expect(x, committed(52, 12))(x.engine.Commit(x.ctx, first, 12))
	x.lacks("acme", 52, hour(25))
	x.at(hour(25))
	x.rolled("acme", figures{100, 64, 5, 31}, 0)
	expect(x, committed(69, 70))(x.engine.Commit(x.ctx, second, 70)) // its part has left
	x.at(hour(35))
	x.rolled("acme", figures{100, 80, 0, 20}, 0)
	x.at(hour(45).Add(-time.Millisecond))
	x.rolled("acme", figures{100, 80, 0, 20}, 0)
	x.at(hour(45))
	x.rolled("acme", figures{100, 100}, 0)
	x.noEpoch("acme", noon, hour(20), hour(20).Add(30*time.Minute), hour(44))
}

func rollingFirstAmount(x *fixture) {
	for _, c := range []struct {
		tenant        budget.TenantID
		amount, shown budget.Microcents
		remaining     budget.Microcents
	}{
		{"kept", 0, 100, 60}, {"equal", 100, 100, 60}, {"raised", 130, 130, 90}, {"lowered", 99, 99, 59}, {"little", 1, 1, -39},
	} {
		x.open(c.tenant, 100)
		x.hold(c.tenant, 30, 70)
		x.spend(c.tenant, 10)
		x.setWindow(c.tenant, dayLong(c.amount), c.shown)
		x.rolled(c.tenant, figures{c.shown, c.remaining, 30, 10}, 0)
	}
	x.at(hour(25))
	x.rolled("little", figures{1, -29, 30}, 0)
	x.rolled("lowered", figures{99, 69, 30}, 0)
}

func rollingAmount(x *fixture) {
	x.openIn("acme", 100, dayLong(100))
	id := x.hold("acme", 10, 90)
	x.spend("acme", 40)
	x.at(hour(1))
	x.spend("acme", 30)
	x.setWindow("acme", dayLong(150), 150)
	x.rolled("acme", figures{150, 70, 10, 70}, 0)
	x.setWindow("acme", dayLong(120), 120)
	x.rolled("acme", figures{120, 40, 10, 70}, 0)
	x.setWindow("acme", dayLong(50), 50) // below the spent amount
	x.rolled("acme", figures{50, -30, 10, 70}, 0)
	x.lacks("acme", 0, hour(25))
	expect(x, lacking(0, 1))(x.engine.Withdraw(x.ctx, "acme", 1))
	expect(x, overrun(-30))(x.engine.Commit(x.ctx, id, 11))
	x.setWindow("acme", dayLong(1), 1)
	x.rolled("acme", figures{1, -79, 10, 70}, 0)
	x.setWindow("acme", dayLong(0), 1)
	x.rolled("acme", figures{1, -79, 10, 70}, 0)
	x.setWindow("acme", dayLong(60), 60)
	expect(x, committed(-20, 10))(x.engine.Commit(x.ctx, id, 10))
	x.at(hour(25).Add(-time.Millisecond))
	x.lacks("acme", 0, hour(25))
	x.rolled("acme", figures{60, -20, 0, 80}, 0)
	x.at(hour(25))
	x.lacks("acme", 30, hour(26))
	x.hold("acme", 30, 0)
	x.at(hour(26))
	x.rolled("acme", figures{60, 30, 30}, 0)

	x.configure("acme", budget.CapHold(7), budget.InWindow(dayLong(61)), budget.Overdraft(2)) // with others
	x.rolled("acme", figures{61, 31, 30}, 0)
	x.configure("acme", budget.InWindow(dayLong(500)), budget.InWindow(dayLong(62))) // the last counts
	x.rolled("acme", figures{62, 32, 30}, 0)
	x.configure("acme", budget.CapHold(0))
	x.rolled("acme", figures{62, 32, 30}, 0)
}

func rollingRepeated(x *fixture) {
	for _, period := range []budget.Period{budget.Last24Hours, budget.Last7Days, budget.Last30Days} {
		tenant := budget.TenantID(period.String())
		_, length := period.Parts()
		start := x.clock.now().Truncate(length).Add(length)
		x.at(start)
		x.openIn(tenant, 100, rolling(period, 100))
		x.spend(tenant, 10)
		x.at(start.Add(length))
		x.spend(tenant, 20)
		for i := range 3 {
			x.at(start.Add(time.Duration(i+2) * length))
			for _, amount := range []budget.Microcents{0, 100, 120, 100} {
				x.setWindow(tenant, rolling(period, amount), max(amount, 100))
				more := max(amount, 100) - 100
				x.rolled(tenant, figures{100 + more, 70 + more, 0, 30}, 0)
			}
			x.lacks(tenant, 70, leaving(period, start))
		}
		x.at(leaving(period, start))
		x.setWindow(tenant, rolling(period, 0), 100) // the first operation after that
		x.rolled(tenant, figures{100, 80, 0, 20}, 0)
		x.lacks(tenant, 80, leaving(period, start).Add(length))
		x.at(leaving(period, start).Add(length))
		x.rolled(tenant, figures{100, 100}, 0)
	}
}

func rollingChanged(x *fixture) {
	x.openIn("acme", 100, dayLong(100))
	id := x.hold("acme", 5, 95)
	x.spend("acme", 10)
	x.at(hour(20))
	x.spend("acme", 20)
	x.setWindow("acme", rolling(budget.Last7Days, 0), 100) // at 8 h of the second day
	x.rolled("acme", figures{100, 65, 5, 30}, 0)
	x.lacks("acme", 65, march(9).Add(12*time.Hour))
	x.at(hour(30))
	expect(x, committed(63, 7))(x.engine.Commit(x.ctx, id, 7)) // of noon of the first day
	x.lacks("acme", 63, march(8).Add(18*time.Hour))
	x.at(march(5))
	x.spend("acme", 1)
	x.setWindow("acme", rolling(budget.Last30Days, 50), 50)
	x.rolled("acme", figures{50, 12, 0, 38}, 0)
	x.lacks("acme", 12, march(36))
	x.at(march(36).Add(-time.Millisecond))
	x.setWindow("acme", dayLong(0), 50) // one part of one hour
	x.rolled("acme", figures{50, 12, 0, 38}, 0)
	x.lacks("acme", 12, march(37))
	x.at(march(37).Add(-time.Millisecond))
	x.rolled("acme", figures{50, 12, 0, 38}, 0)
	x.at(march(37))
	x.rolled("acme", figures{50, 50}, 0)
	x.spend("acme", 3)
	x.at(march(40))
	x.setWindow("acme", rolling(budget.Last7Days, 0), 50) // lets the part leave before it
	x.rolled("acme", figures{50, 50}, 0)
}

func rollingRemoved(x *fixture) {
	x.openIn("acme", 100, dayLong(100))
	first, second := x.hold("acme", 10, 90), x.hold("acme", 5, 85)
	x.spend("acme", 20)
	x.at(hour(2))
	x.setWindow("acme", budget.Window{}, 0)
	x.setWindow("acme", budget.Window{}, 0)
	x.balance("acme", 100, 65, 15, 20)
	x.noEpoch("acme", noon, hour(2))
	x.at(hour(70))
	x.balance("acme", 100, 65, 15, 20)
	expect(x, leftAt(65, ""))(x.engine.Remaining(x.ctx, "acme"))
	expect(x, overrun(65))(x.engine.Commit(x.ctx, first, 76))
	expect(x, committed(63, 12))(x.engine.Commit(x.ctx, first, 12))
	x.balance("acme", 100, 63, 5, 32)
	x.setWindow("acme", dayLong(0), 100)
	x.lacks("acme", 63, hour(95))
	expect(x, committed(68, 1000))(x.engine.Commit(x.ctx, second, 1000))
	x.at(hour(95))
	x.rolled("acme", figures{100, 100}, 0)
	x.spend("acme", 50)
	x.at(hour(120))
	x.setWindow("acme", budget.Window{}, 0) // the part leaves before it
	x.balance("acme", 100, 100, 0, 0)
}

// rollingBelowZero removes a window after its amount was lowered below the withdrawn amount.
func rollingBelowZero(x *fixture) {
	x.openIn("acme", 100, dayLong(100), budget.AtThresholds(50))
	x.hold("acme", 20, 80)
	x.spend("acme", 10)
	expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, "acme", 70))
	x.setWindow("acme", dayLong(5), 5)
	x.rolled("acme", figures{-65, -95, 20, 10}, 0)
	x.lacks("acme", 0, hour(25))
	x.setWindow("acme", budget.Window{}, 0)
	x.balance("acme", -65, -95, 20, 10)
	expect(x, leftAt(0, ""))(x.engine.Remaining(x.ctx, "acme"))
	expect(x, insufficient(0, 1))(x.engine.TryReserve(x.ctx, "acme", 1))
	expect(x, granted(-94))(x.engine.Grant(x.ctx, "acme", 1))
	x.at(hour(1))
	x.balance("acme", -64, -94, 20, 10)
	x.configure("acme", budget.AtThresholds())
	x.balance("acme", -64, -94, 20, 10)
	x.setWindow("acme", dayLong(0), 0)
	x.rolled("acme", figures{-64, -94, 20, 10}, 0)
	x.setWindow("acme", dayLong(70), 70)
	x.rolled("acme", figures{6, -24, 20, 10}, 0)
	expect(x, granted(0))(x.engine.Grant(x.ctx, "acme", 24))
	x.rolled("acme", figures{30, 0, 20, 10}, 0)
}

func rollingAdjusted(x *fixture) {
	x.openIn("acme", 100, dayLong(100))
	x.spend("acme", 60)
	expect(x, granted(50))(x.engine.Grant(x.ctx, "acme", 10))
	expect(x, lacking(50, 51))(x.engine.Withdraw(x.ctx, "acme", 51))
	expect(x, withdrawn(20))(x.engine.Withdraw(x.ctx, "acme", 30))
	x.rolled("acme", figures{80, 20, 0, 60}, 0)
	x.setWindow("acme", dayLong(110), 110) // 10 more than before
	x.rolled("acme", figures{90, 30, 0, 60}, 0)
	x.at(hour(25))
	x.rolled("acme", figures{90, 90}, 0)
	x.at(hour(100)) // grants don't leave
	x.rolled("acme", figures{90, 90}, 0)
	expect(x, granted(110))(x.engine.Grant(x.ctx, "acme", 20))
	x.rolled("acme", figures{110, 110}, 0)
}

func rollingOverflow(x *fixture) {
	const most = budget.MaxMicrocents
	beyond := func(settings ...budget.Setting) {
		x.t.Helper()
		refused[budget.Configuration](x, budget.ErrOverflow, "a setting beyond 64 bits")(x.engine.Configure(x.ctx, "acme", settings...))
	}
	x.openIn("acme", 100, dayLong(100))
	x.spend("acme", 10)
	expect(x, withdrawn(50))(x.engine.Withdraw(x.ctx, "acme", 40))
	beyond(budget.Overdraft(most - 99)) // with the amount
	x.configure("acme", budget.Overdraft(most-100))
	beyond(budget.InWindow(dayLong(101)))
	beyond(budget.InWindow(rolling(budget.Last7Days, 101)), budget.CapHold(3))
	x.setWindow("acme", dayLong(90), 90)
	x.rolled("acme", figures{50, 40, 0, 10}, 0)
	expect(x, granted(60))(x.engine.Grant(x.ctx, "acme", 20))
	expect(x, granted(90))(x.engine.Grant(x.ctx, "acme", 30))
	beyond(budget.InWindow(dayLong(91))) // granted is 100
	refused[budget.Adjustment](x, budget.ErrOverflow, "a grant")(x.engine.Grant(x.ctx, "acme", 1))
	x.rolled("acme", figures{100, 90, 0, 10}, 0)
	x.at(hour(25))
	x.rolled("acme", figures{100, 100}, 0)
	x.setWindow("acme", dayLong(1), 1)
	x.rolled("acme", figures{11, 11}, 0)
	x.configure("acme", budget.InWindow(dayLong(most-10)), budget.Overdraft(0))
	x.rolled("acme", figures{most, most}, 0)
	beyond(budget.InWindow(dayLong(most)))
	refused[budget.Adjustment](x, budget.ErrOverflow, "a grant")(x.engine.Grant(x.ctx, "acme", 1))

	x.openIn("edge", most, dayLong(most))
	id := x.hold("edge", most, 0)
	x.setWindow("edge", dayLong(1), 1)
	x.rolled("edge", figures{1, 1 - most, most}, 0)
	x.setWindow("edge", dayLong(most), most)
	x.setWindow("edge", dayLong(1), 1)
	expect(x, committed(1-most, most))(x.engine.Commit(x.ctx, id, most))
	x.rolled("edge", figures{1, 1 - most, 0, most}, 0)
	x.at(hour(50))
	x.rolled("edge", figures{1, 1}, 0)
	for _, tenant := range []budget.TenantID{"ghost", "edge"} {
		refused[budget.Ensured](x, budget.ErrOverflow, "a new tenant")(x.engine.EnsureTenant(x.ctx, tenant, 2, budget.InWindow(dayLong(2)), budget.Overdraft(most-1)))
	}
	x.openIn("new", 1, dayLong(1), budget.Overdraft(most-1))
}

func rollingFrozen(x *fixture) {
	for _, tenant := range []budget.TenantID{"frozen", "closed"} {
		x.openIn(tenant, 100, dayLong(100))
		x.spend(tenant, 60)
	}
	x.at(hour(1))
	late, other := x.hold("closed", 10, 30), x.hold("closed", 10, 20)
	x.freeze("frozen")
	x.close("closed")
	x.at(hour(25))
	x.rolled("frozen", figures{100, 100}, 0)
	expect(x, frozenAt(""))(x.engine.TryReserve(x.ctx, "frozen", 1))
	x.setWindow("frozen", dayLong(110), 110)
	expect(x, withdrawn(10))(x.engine.Withdraw(x.ctx, "closed", 70))
	x.rolled("closed", figures{30, 10, 20}, 0)
	expect(x, committed(0, 20))(x.engine.Commit(x.ctx, late, 20))
	x.rolled("closed", figures{30, 0, 10, 20}, 0)
	expect(x, closedTenant)(x.engine.Configure(x.ctx, "closed", budget.InWindow(dayLong(1000))))
	x.at(hour(26))
	x.rolled("closed", figures{30, 20, 10}, 0)
	expect(x, committed(30, 1000))(x.engine.Commit(x.ctx, other, 1000))
	x.unfreeze("frozen")
	x.hold("frozen", 110, 0)
}

func rollingDeleted(x *fixture) {
	for _, tenant := range []budget.TenantID{root, leaf} {
		x.openIn(tenant, 100, dayLong(100))
	}
	id := x.holdAt(leaf, 10, 90, leaf)
	x.spend(leaf, 20)
	for _, tenant := range []budget.TenantID{root, leaf} {
		want := figures{100, 70, 10, 20}.balance(time.Time{}, time.Time{}, x.settings[tenant])
		want.Outcome = budget.HoldsOpen
		expect(x, want)(x.delete(tenant))
	}
	expect(x, settlementAt(committed(75, 5), leaf))(x.engine.Commit(x.ctx, id, 5))
	x.at(hour(1))
	for _, tenant := range []budget.TenantID{leaf, root} {
		want := figures{100, 75, 0, 25}.balance(time.Time{}, time.Time{}, x.settings[tenant])
		want.Outcome = budget.Deleted
		expect(x, want)(x.delete(tenant))
	}
	x.open(leaf, 50)
	x.openIn(root, 60, dayLong(60))
	x.spend(leaf, 30)
	x.at(hour(25))
	x.balance(leaf, 50, 20, 0, 30)
	x.rolled(root, figures{60, 30, 0, 30}, 0)
	x.at(hour(26)) // the delete is the first operation after the part has left
	want := figures{60, 60}.balance(time.Time{}, time.Time{}, x.settings[root])
	want.Outcome = budget.Deleted
	expect(x, want)(x.delete(root))
}
