package budgettest

import (
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// windowSettingChecks are the checks of setting, changing and removing a window.
func windowSettingChecks() []check {
	return []check{
		{name: "a window of a new tenant", run: windowNew},
		{name: "the first window keeps the terms and the holds", run: windowFirst},
		{name: "the first window's amount", run: windowFirstAmount},
		{name: "a raised amount counts at once, a lowered one from the next epoch", run: windowRaised},
		{name: "a window that is set again changes nothing", run: windowRepeated},
		{name: "a changed period ends the epoch at its first boundary", run: windowChanged},
		{name: "another carry-over counts from the next boundary", run: windowCarryChanged},
		{name: "a removed window ends no epoch", run: windowRemoved},
		{name: "a window after a removed one", run: windowAgain},
		{name: "invalid windows are errors", run: windowInvalid},
		{name: "amounts and overdrafts beyond 64 bits are errors", run: windowOverflow},
		{name: "a window with other settings", run: windowWithOthers},
		{name: "a frozen or closed account begins epochs", run: windowFrozen},
	}
}

func windowNew(x *fixture) {
	x.openIn("acme", 70, budget.Window{Period: budget.Day})
	x.openIn("globex", 70, daily(100, 0))
	x.openIn("initech", 70, daily(50, 0))
	x.openIn("hooli", 0, daily(50, 0))
	x.openIn("zero", 0, budget.Window{Period: budget.Month, Zone: "UTC"})
	x.open("none", 70, budget.InWindow(budget.Window{}))
	for _, tenant := range []budget.TenantID{"acme", "globex", "initech"} {
		x.current(tenant, noon, march(2), figures{70, 70}, 0)
		exists := expect(x, budget.Ensured{Outcome: budget.Exists, Remaining: 70})
		exists(x.engine.EnsureTenant(x.ctx, tenant, 70))
		exists(x.engine.EnsureTenant(x.ctx, tenant, 5, budget.InWindow(budget.Window{Period: budget.Week, Amount: 1000})))
		exists(x.engine.EnsureTenant(x.ctx, tenant, 5, budget.InWindow(budget.Window{})))
		x.current(tenant, noon, march(2), figures{70, 70}, 0)
	}
	x.current("hooli", noon, march(2), figures{}, 0)
	if w := x.settings["zero"].Window; w.Day != 1 || w.Zone != "UTC" {
		x.t.Fatalf("the defaults of a window are %+v", w)
	}
	x.current("zero", noon, march(32), figures{}, 0)
	x.balance("none", 70, 70, 0, 0)
	x.noEpoch("none", noon)
	x.at(march(2))
	x.current("acme", march(2), march(3), figures{70, 70}, 0)
	x.current("globex", march(2), march(3), figures{100, 100}, 0)
	x.current("initech", march(2), march(3), figures{50, 50}, 0)
	x.current("hooli", march(2), march(3), figures{50, 50}, 0)
	x.at(march(32))
	x.current("zero", march(32), march(62), figures{}, 0)
}

// windowFirst sets the first window of accounts with holds, which belong to the epoch that it
// begins.
func windowFirst(x *fixture) {
	x.open("acme", 100)
	first, second := x.hold("acme", 30, 70), x.hold("acme", 20, 50)
	x.spend("acme", 10)
	x.noEpoch("acme", noon)
	x.at(noon.Add(time.Hour))
	third := x.hold("acme", 5, 35)
	x.setWindow("acme", daily(0, 0), 100)
	fourth := x.hold("acme", 5, 30)
	x.current("acme", noon.Add(time.Hour), march(2), figures{100, 30, 60, 10}, 0)
	x.noEpoch("acme", noon, noon.Add(time.Hour-time.Millisecond))
	expect(x, committed(28, 32))(x.engine.Commit(x.ctx, first, 32))
	x.at(march(2))
	expect(x, committed(100, 15))(x.engine.Commit(x.ctx, second, 15))
	expect(x, released(100, 5))(x.engine.Release(x.ctx, third))
	expect(x, released(100, 5))(x.engine.Release(x.ctx, fourth))
	x.current("acme", march(2), march(3), figures{100, 100}, 0)
	x.past("acme", noon.Add(time.Hour), march(2), figures{100, 43, 0, 57})

	x.open("globex", 100) // a window long after the holds
	old := x.hold("globex", 40, 60)
	x.at(march(9))
	x.setWindow("globex", budget.Window{Period: budget.Week, Weekday: time.Wednesday, Carry: budget.CarryAll}, 100)
	x.current("globex", march(9), march(11), figures{100, 60, 40}, 0)
	x.at(march(11))
	x.current("globex", march(11), march(18), figures{160, 160}, 40)
	expect(x, committed(165, 35))(x.engine.Commit(x.ctx, old, 35))
	x.past("globex", march(9), march(11), figures{35, 0, 0, 35})
}

func windowFirstAmount(x *fixture) {
	for _, c := range []struct {
		tenant             budget.TenantID
		amount, shown      budget.Microcents
		granted, remaining budget.Microcents
	}{
		{"kept", 0, 100, 100, 60}, {"equal", 100, 100, 100, 60}, {"raised", 130, 130, 130, 90},
		{"lowered", 99, 99, 100, 60}, {"little", 1, 1, 100, 60},
	} {
		x.open(c.tenant, 100)
		x.hold(c.tenant, 30, 70)
		x.spend(c.tenant, 10)
		x.setWindow(c.tenant, daily(c.amount, 0), c.shown)
		x.current(c.tenant, noon, march(2), figures{c.granted, c.remaining, 30, 10}, 0)
	}
	x.at(march(2))
	for tenant, amount := range map[budget.TenantID]budget.Microcents{"kept": 100, "equal": 100, "raised": 130, "lowered": 99, "little": 1} {
		x.current(tenant, march(2), march(3), figures{amount, amount}, 30)
	}
	x.open("spent", 100) // all of it is withdrawn
	expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, "spent", 100))
	x.setWindow("spent", daily(0, 0), 0)
	x.at(march(3))
	x.current("spent", march(3), march(4), figures{}, 0)
	x.setWindow("spent", daily(5, 0), 5)
	x.current("spent", march(3), march(4), figures{5, 5}, 0)
}

func windowRaised(x *fixture) {
	x.openIn("acme", 100, daily(100, 0))
	x.hold("acme", 30, 70)
	x.setWindow("acme", daily(150, 0), 150)
	x.current("acme", noon, march(2), figures{150, 120, 30}, 0)
	x.setWindow("acme", daily(120, 0), 120)
	x.current("acme", noon, march(2), figures{150, 120, 30}, 0)
	x.setWindow("acme", daily(130, 0), 130) // from 120
	x.current("acme", noon, march(2), figures{160, 130, 30}, 0)
	x.setWindow("acme", daily(0, 7), 130)
	x.current("acme", noon, march(2), figures{160, 130, 30}, 0)
	x.setWindow("acme", daily(50, 0), 50)
	x.hold("acme", 130, 0)
	x.at(march(2))
	x.setWindow("acme", daily(60, 0), 60) // the first operation in the epoch
	x.current("acme", march(2), march(3), figures{60, 60}, 160)
	x.past("acme", noon, march(2), figures{160, 0, 160})
	expect(x, withdrawn(50))(x.engine.Withdraw(x.ctx, "acme", 10))
	x.setWindow("acme", daily(61, 0), 61)
	x.current("acme", march(2), march(3), figures{51, 51}, 160)
	x.at(march(3))
	x.current("acme", march(3), march(4), figures{61, 61}, 160)
}

func windowRepeated(x *fixture) {
	w := budget.Window{Period: budget.Month, Amount: 100, Carry: 10}
	x.openIn("acme", 100, w)
	x.hold("acme", 30, 70)
	w.Zone, w.Day = "UTC", 1 // the defaults
	for range 2 {
		for _, again := range []budget.Window{w, {Period: budget.Month, Amount: 100, Carry: 10}, {Period: budget.Month, Carry: 10}} {
			x.setWindow("acme", again, 100)
			x.current("acme", noon, march(32), figures{100, 70, 30}, 0)
		}
		x.at(march(20))
	}
	x.at(march(32))
	x.setWindow("acme", w, 100)
	x.current("acme", march(32), march(62), figures{110, 110}, 30)
	x.past("acme", noon, march(32), figures{90, 60, 30})
	x.setWindow("acme", w, 100)
	x.current("acme", march(32), march(62), figures{110, 110}, 30)
}

func windowChanged(x *fixture) {
	x.openIn("acme", 100, daily(100, budget.CarryAll))
	id := x.hold("acme", 30, 70)
	x.at(noon.Add(time.Hour))
	change := func(start, end time.Time, w budget.Window) {
		x.t.Helper()
		x.setWindow("acme", w, 100)
		b, err := x.engine.Balance(x.ctx, "acme")
		if want := (budget.Epoch{Start: budget.InstantOf(start), End: budget.InstantOf(end)}); err != nil || b.Epoch != want {
			x.t.Fatalf("%+v: got %+v, %v; want %+v", w, b, err, want)
		}
	}
	for _, c := range []struct {
		end    time.Time
		window budget.Window
	}{
		{utc(time.March, 1, 14, 0), budget.Window{Period: budget.Hour}},
		{utc(time.March, 1, 13, 15), budget.Window{Period: budget.Hour, Zone: "Asia/Kathmandu"}},
		{utc(time.March, 1, 23, 0), budget.Window{Period: budget.Day, Zone: "Europe/Berlin"}},
		{march(32), budget.Window{Period: budget.Month}},
		{march(15), budget.Window{Period: budget.Month, Day: 15}},
		{march(8), budget.Window{Period: budget.Week}},
		{march(2), budget.Window{Period: budget.Week, Weekday: time.Monday}},
		{march(8), budget.Window{Period: budget.Week, Carry: budget.CarryAll}},
	} {
		change(noon, c.end, c.window)
		x.current("acme", noon, c.end, figures{100, 70, 30}, 0)
	}
	x.at(march(8))
	change(march(8), march(9), daily(0, budget.CarryAll)) // begins the week, which the day then ends
	x.current("acme", march(8), march(9), figures{170, 170}, 30)
	x.at(march(9))
	x.current("acme", march(9), march(10), figures{270, 270}, 30)
	expect(x, released(300, 30))(x.engine.Release(x.ctx, id))
	x.past("acme", march(8), march(9), figures{})
	x.past("acme", noon, march(8), figures{})
	x.at(march(10))
	x.setWindow("acme", budget.Window{Period: budget.Month, Amount: 120}, 120) // at the boundary of the day
	x.current("acme", march(10), march(32), figures{420, 420}, 0)
	x.at(march(32))
	x.current("acme", march(32), march(62), figures{120, 120}, 0)
}

func windowCarryChanged(x *fixture) {
	x.openIn("acme", 100, daily(100, 0))
	first, second := x.hold("acme", 30, 70), x.hold("acme", 10, 60)
	x.setWindow("acme", daily(0, 50), 100)
	x.at(march(2))
	x.current("acme", march(2), march(3), figures{150, 150}, 40)
	x.setWindow("acme", daily(0, 75), 100) // of what returns, 15 pass on
	expect(x, released(165, 30))(x.engine.Release(x.ctx, first))
	x.past("acme", noon, march(2), figures{35, 25, 10})
	x.setWindow("acme", daily(0, 0), 100)
	expect(x, released(165, 10))(x.engine.Release(x.ctx, second))
	x.past("acme", noon, march(2), figures{35, 35})
	x.at(march(3))
	x.current("acme", march(3), march(4), figures{100, 100}, 0)
}

func windowRemoved(x *fixture) {
	x.openIn("acme", 100, daily(100, 0)) // before an epoch has ended
	id := x.hold("acme", 30, 70)
	x.setWindow("acme", budget.Window{}, 0)
	x.balance("acme", 100, 70, 30, 0)
	x.noEpoch("acme", noon)
	x.openIn("globex", 100, daily(100, budget.CarryAll)) // and after that
	first, second := x.hold("globex", 30, 70), x.hold("globex", 10, 60)
	x.at(march(2))
	third := x.hold("globex", 60, 100)
	x.setWindow("globex", budget.Window{}, 0)
	x.setWindow("globex", budget.Window{}, 0)
	x.current("globex", march(2), time.Time{}, figures{160, 100, 60}, 40)
	expect(x, leftAt(100, ""))(x.engine.Remaining(x.ctx, "globex"))
	x.at(march(20))
	x.balance("acme", 100, 70, 30, 0)
	x.current("globex", march(2), time.Time{}, figures{160, 100, 60}, 40)
	x.past("globex", noon, march(2), figures{40, 0, 40})
	expect(x, released(100, 30))(x.engine.Release(x.ctx, id))
	expect(x, overrun(100))(x.engine.Commit(x.ctx, first, 91))
	expect(x, committed(98, 32))(x.engine.Commit(x.ctx, first, 32)) // of the amount passed on
	x.past("globex", noon, march(2), figures{42, 0, 10, 32})
	expect(x, released(98, 10))(x.engine.Release(x.ctx, second)) // nothing passes on without a window
	x.past("globex", noon, march(2), figures{42, 10, 0, 32})
	expect(x, committed(103, 55))(x.engine.Commit(x.ctx, third, 55))
	x.current("globex", march(2), time.Time{}, figures{158, 103, 0, 55}, 0)
	expect(x, budget.Balance{Outcome: budget.Found, Granted: 100, Remaining: 100})(x.engine.Balance(x.ctx, "acme"))
}

// windowAgain sets a window some time after another was removed. Holds that were made between
// them are of the epoch that had no end, as are those before it if no epoch has ended.
func windowAgain(x *fixture) {
	x.openIn("acme", 100, daily(100, 0))
	first := x.hold("acme", 30, 70)
	x.setWindow("acme", budget.Window{}, 0)
	x.at(march(2))
	second := x.hold("acme", 20, 50)
	x.setWindow("acme", daily(0, 0), 100)
	x.current("acme", march(2), march(3), figures{100, 50, 50}, 0)
	x.at(march(3))
	expect(x, committed(100, 30))(x.engine.Commit(x.ctx, first, 30))
	expect(x, committed(100, 19))(x.engine.Commit(x.ctx, second, 19))
	x.past("acme", march(2), march(3), figures{100, 51, 0, 49})

	third := x.hold("acme", 10, 90)
	x.setWindow("acme", budget.Window{}, 0)
	x.at(march(4))
	fourth := x.hold("acme", 10, 80)
	x.at(march(5))
	x.setWindow("acme", daily(0, 0), 100)
	x.current("acme", march(3), march(6), figures{100, 80, 20}, 0)
	x.at(march(6))
	expect(x, committed(100, 9))(x.engine.Commit(x.ctx, third, 9))
	expect(x, committed(100, 8))(x.engine.Commit(x.ctx, fourth, 8))
	x.current("acme", march(6), march(7), figures{100, 100}, 0)
	x.past("acme", march(3), march(6), figures{100, 83, 0, 17})
	x.past("acme", march(2), march(3), figures{100, 51, 0, 49})
}

// invalidWindows lists windows that no account can have.
var invalidWindows = map[string]budget.Window{
	"no period":                            {Amount: 1},
	"no period and a carry-over":           {Carry: 1},
	"no period and a zone":                 {Zone: "Europe/Berlin"},
	"no period and a day":                  {Day: 1},
	"no period and a weekday":              {Weekday: time.Monday},
	"an unknown period":                    {Period: budget.Last30Days + 1},
	"the last period":                      {Period: 255},
	"an unknown zone":                      {Period: budget.Day, Zone: "Europe/Atlantis"},
	"the local zone":                       {Period: budget.Day, Zone: "Local"},
	"an offset as the zone":                {Period: budget.Day, Zone: "+01:00"},
	"a path as the zone":                   {Period: budget.Day, Zone: "../Berlin"},
	"a long zone":                          {Period: budget.Day, Zone: strings.Repeat("Europe/", 100) + "Berlin"},
	"a day of a day":                       {Period: budget.Day, Day: 1},
	"a day of an hour":                     {Period: budget.Hour, Day: 1},
	"a day of a week":                      {Period: budget.Week, Day: 1},
	"day 29":                               {Period: budget.Month, Day: 29},
	"day 31":                               {Period: budget.Month, Day: 31},
	"day -1":                               {Period: budget.Month, Day: -1},
	"a weekday of a day":                   {Period: budget.Day, Weekday: time.Monday},
	"a weekday of a month":                 {Period: budget.Month, Weekday: time.Monday},
	"weekday 7":                            {Period: budget.Week, Weekday: 7},
	"weekday -1":                           {Period: budget.Week, Weekday: -1},
	"an amount of -1":                      {Period: budget.Day, Amount: -1},
	"the least amount":                     {Period: budget.Day, Amount: smallest},
	"a carry-over of -1":                   {Period: budget.Day, Carry: -1},
	"the least carry-over":                 {Period: budget.Day, Carry: smallest},
	"a rolling window with a zone":         {Period: budget.Last24Hours, Zone: "UTC"},
	"a rolling window with a day":          {Period: budget.Last30Days, Day: 1},
	"a rolling window with a weekday":      {Period: budget.Last7Days, Weekday: time.Monday},
	"a rolling window with a carry-over":   {Period: budget.Last24Hours, Carry: 1},
	"a rolling window that carries all":    {Period: budget.Last24Hours, Carry: budget.CarryAll},
	"a rolling window of -1":               {Period: budget.Last7Days, Amount: -1},
	"a rolling window of the least amount": {Period: budget.Last7Days, Amount: smallest},
	"two things that are not valid":        {Period: budget.Day, Carry: -1, Amount: -1},
}

func windowInvalid(x *fixture) {
	x.openIn("acme", 100, daily(100, 7))
	x.openIn("globex", 100, daily(100, 7))
	x.close("globex")
	for what, w := range invalidWindows {
		for _, tenant := range []budget.TenantID{"acme", "globex", "ghost"} {
			refused[budget.Configuration](x, budget.ErrInvalidSetting, what)(x.engine.Configure(x.ctx, tenant, budget.InWindow(w)))
			refused[budget.Configuration](x, budget.ErrInvalidSetting, what)(x.engine.Configure(x.ctx, tenant, budget.InWindow(w), budget.InWindow(daily(1, 1))))
			refused[budget.Ensured](x, budget.ErrInvalidSetting, what)(x.engine.EnsureTenant(x.ctx, tenant, 100, budget.InWindow(w)))
		}
	}
	expect(x, missingTenant)(x.engine.Configure(x.ctx, "ghost", budget.InWindow(daily(1, 1))))
	expect(x, closedTenant)(x.engine.Configure(x.ctx, "globex", budget.InWindow(daily(1, 1))))
	expect(x, closedTenant)(x.engine.Configure(x.ctx, "globex", budget.InWindow(budget.Window{})))
	x.current("acme", noon, march(2), figures{100, 100}, 0)
	x.current("globex", noon, march(2), figures{100, 100}, 0)
	for _, w := range []budget.Window{
		{Period: budget.Month, Day: 28}, {Period: budget.Week, Weekday: time.Saturday}, {Period: budget.Day, Carry: budget.CarryAll},
		{Period: budget.Hour, Amount: budget.MaxMicrocents},
	} {
		x.setWindow("acme", w, max(w.Amount, 100))
	}
	refused[budget.Balance](x, nil, "a nil option")(x.engine.Balance(x.ctx, "acme", nil))
	refused[budget.Balance](x, nil, "a nil option after another")(x.engine.Balance(x.ctx, "acme", budget.AtEpoch(noon), nil))
	expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, "ghost", budget.AtEpoch(noon)))
}

// windowOverflow checks at the edge that an epoch's amount and that of the current epoch fit
// 64 bits together with the overdraft.
func windowOverflow(x *fixture) {
	beyond := func(tenant budget.TenantID, settings ...budget.Setting) {
		x.t.Helper()
		refused[budget.Configuration](x, budget.ErrOverflow, "a setting beyond 64 bits")(x.engine.Configure(x.ctx, tenant, settings...))
	}
	const most = budget.MaxMicrocents
	x.openIn("acme", 100, daily(1000, 0)) // the amount is larger than the budget
	beyond("acme", budget.Overdraft(most-999))
	x.configure("acme", budget.Overdraft(most-1000))
	beyond("acme", budget.InWindow(daily(1001, 0)))
	beyond("acme", budget.InWindow(daily(most, 0)))
	beyond("acme", budget.InWindow(daily(1001, 0)), budget.CapHolds(1))
	x.current("acme", noon, march(2), figures{100, 100}, 0)
	expect(x, granted(1000))(x.engine.Grant(x.ctx, "acme", 900))
	refused[budget.Adjustment](x, budget.ErrOverflow, "a grant")(x.engine.Grant(x.ctx, "acme", 1))
	x.setWindow("acme", daily(500, 0), 500)
	beyond("acme", budget.InWindow(daily(501, 0))) // would raise the budget of the current epoch
	beyond("acme", budget.Overdraft(most-999))
	expect(x, withdrawn(999))(x.engine.Withdraw(x.ctx, "acme", 1))
	x.setWindow("acme", daily(501, 0), 501)
	x.current("acme", noon, march(2), figures{1000, 1000}, 0)

	x.open("globex", 100, budget.Overdraft(most-100))
	beyond("globex", budget.InWindow(daily(101, 0)))
	x.setWindow("globex", daily(0, budget.CarryAll), 100)
	x.openIn("initech", most, daily(1, budget.CarryAll))
	beyond("initech", budget.Overdraft(1))
	beyond("initech", budget.InWindow(daily(2, 0)))
	x.at(march(2))
	x.current("globex", march(2), march(3), figures{100, 100}, 0) // no room to carry anything
	x.past("globex", noon, march(2), figures{100, 100})
	x.current("initech", march(2), march(3), figures{most, most}, 0)
	x.past("initech", noon, march(2), figures{1, 1})
	refused[budget.Adjustment](x, budget.ErrOverflow, "a grant")(x.engine.Grant(x.ctx, "initech", 1))

	for _, budgets := range [][3]budget.Microcents{{most, 1, 1}, {1, most, 1}, {1, 1, most}, {0, 2, most - 1}} {
		for _, tenant := range []budget.TenantID{"ghost", "acme"} {
			refused[budget.Ensured](x, budget.ErrOverflow, "a new tenant")(x.engine.EnsureTenant(x.ctx, tenant, budgets[0],
				budget.InWindow(daily(budgets[1], 0)), budget.Overdraft(budgets[2])))
		}
	}
	expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, "ghost"))
	x.openIn("edge", 1, daily(2, 0), budget.Overdraft(most-2))
	x.close("acme")
	expect(x, closedTenant)(x.engine.Configure(x.ctx, "acme", budget.InWindow(daily(most, 0))))
}

// windowWithOthers changes other settings of an account with a window, and the window together
// with others.
func windowWithOthers(x *fixture) {
	x.openIn("acme", 100, daily(100, 30), budget.Overdraft(5))
	x.configure("acme", budget.CapHold(60), budget.AtThresholds(50))
	x.configure("acme")
	x.current("acme", noon, march(2), figures{100, 100}, 0)
	x.configure("acme", budget.CapHold(0), budget.InWindow(daily(120, 0)), budget.Overdraft(10))
	x.current("acme", noon, march(2), figures{120, 120}, 0)
	x.configure("acme", budget.InWindow(daily(200, 0)), budget.InWindow(daily(110, 10))) // the last counts
	x.current("acme", noon, march(2), figures{120, 120}, 0)
	x.at(march(2))
	x.configure("acme", budget.Overdraft(0))
	x.current("acme", march(2), march(3), figures{120, 120}, 0)
	x.past("acme", noon, march(2), figures{110, 110})
}

func windowFrozen(x *fixture) {
	for _, tenant := range []budget.TenantID{"frozen", "closed"} {
		x.openIn(tenant, 100, daily(100, 20))
		x.hold(tenant, 10, 90)
	}
	late := x.hold("closed", 50, 40)
	x.freeze("frozen")
	x.close("closed")
	x.at(march(2))
	x.current("frozen", march(2), march(3), figures{120, 120}, 10)
	expect(x, frozenAt(""))(x.engine.TryReserve(x.ctx, "frozen", 1))
	expect(x, closedAt(""))(x.engine.TryReserve(x.ctx, "closed", 1))
	x.current("closed", march(2), march(3), figures{120, 120}, 60)
	expect(x, budget.Adjustment{Outcome: budget.Closed})(x.engine.Grant(x.ctx, "closed", 1))
	expect(x, withdrawn(100))(x.engine.Withdraw(x.ctx, "closed", 20))
	expect(x, committed(80, 90))(x.engine.Commit(x.ctx, late, 90)) // its epoch kept 20, and passed on 20
	x.past("closed", noon, march(2), figures{100, 0, 10, 90})
	x.at(march(4))
	x.unfreeze("frozen")
	x.current("frozen", march(4), march(5), figures{120, 120}, 10)
	x.hold("frozen", 120, 0)
	x.current("closed", march(4), march(5), figures{120, 120}, 10)
}
