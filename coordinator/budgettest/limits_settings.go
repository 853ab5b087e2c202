package budgettest

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// limitSettingChecks are the checks of setting, changing and removing limits.
func limitSettingChecks() []check {
	return []check{
		{name: "limits of a new tenant", run: limitNew},
		{name: "ensuring an existing tenant changes no limit", run: limitExisting},
		{name: "a new limit begins with its whole amount", run: limitSet},
		{name: "a raised amount of a limit counts at once, a lowered one from the next epoch", run: limitRaised},
		{name: "another amount of a rolling limit counts at once", run: limitRollingAmount},
		{name: "all fields of a limit that is set count", run: limitFields},
		{name: "a limit that is set again changes nothing", run: limitSetAgain},
		{name: "a changed calendar of a limit ends its epoch at the first boundary", run: limitCalendar},
		{name: "a removed limit is gone", run: limitRemoved},
		{name: "at most four limits", run: limitTooMany},
		{name: "amounts and overdrafts of a limit beyond 64 bits", run: limitOverflow},
		{name: "a change that fails changes nothing", run: limitFails},
		{name: "invalid limits are errors", run: limitInvalid},
		{name: "limits of a closed or frozen tenant", run: limitClosed},
		{name: "limits with other settings", run: limitWithOthers},
		{name: "a recreated tenant has no limits", levels: true, run: limitRecreated},
		{name: "thresholds of a limit", run: limitThresholds},
		{name: "thresholds of a limit that changes", run: limitThresholdsChanged},
	}
}

func limitNew(x *fixture) {
	day := per(budget.Day, 50)
	day.Overdraft, day.Thresholds = 7, thresholds(50, 100)
	x.openIn("acme", 70, daily(100, 0), budget.SetLimit(day), budget.SetLimit(per(budget.Last7Days, 40)), budget.RemoveLimit(budget.Month))
	x.current("acme", noon, march(2), figures{70, 70}, 0)
	x.limit("acme", budget.Day, noon, march(2), figures{50, 50}, 0)
	x.limitRolled("acme", budget.Last7Days, figures{40, 40})
	x.noLimit("acme", budget.Hour, budget.Month, budget.Last24Hours)
	x.holdIn("acme", 10, 30, budget.Last7Days)
	x.at(march(2))
	x.limit("acme", budget.Day, march(2), march(3), figures{50, 50}, 10)
	x.limitRolled("acme", budget.Last7Days, figures{40, 30, 10})
	x.open("none", 10, budget.RemoveLimit(budget.Day))
	x.noLimit("none", budget.Day)
	x.balance("none", 10, 10, 0, 0)
	x.open("zero", 0, budget.SetLimit(per(budget.Week, 1))) // a limit can have more than the base limit
	x.limit("zero", budget.Week, march(2), march(8), figures{1, 1}, 0)
	x.open("four", 10, limits(per(budget.Hour, 1), per(budget.Day, 2), per(budget.Week, 3), per(budget.Month, 4))...)
	x.holdIn("four", 1, 0, budget.Hour)
}

func limitExisting(x *fixture) {
	x.open("acme", 100, budget.SetLimit(per(budget.Day, 50)))
	x.open("globex", 100)
	x.holdIn("acme", 10, 40, budget.Day)
	for _, settings := range [][]budget.Setting{
		limits(per(budget.Day, 90)), limits(per(budget.Month, 1)), {budget.RemoveLimit(budget.Day)}, nil,
		limits(per(budget.Hour, 1), per(budget.Week, 1), per(budget.Month, 1), per(budget.Last24Hours, 1)), // the fifth with that of the day
	} {
		x.unchanged("acme", func() {
			expect(x, budget.Ensured{Outcome: budget.Exists, Remaining: 90})(x.engine.EnsureTenant(x.ctx, "acme", 5, settings...))
		})
		expect(x, budget.Ensured{Outcome: budget.Exists, Remaining: 100})(x.engine.EnsureTenant(x.ctx, "globex", 5, settings...))
	}
	x.noLimit("acme", budget.Hour, budget.Week, budget.Month, budget.Last24Hours)
	x.noLimit("globex", allPeriods...)
	x.hold("globex", 100, 0)
}

// limitSet sets limits of an account with holds and costs, in which they have no part.
func limitSet(x *fixture) {
	x.open("acme", 100)
	x.hold("acme", 30, 70)
	x.spend("acme", 10)
	x.at(noon.Add(time.Hour))
	x.configure("acme", budget.SetLimit(per(budget.Day, 20)))
	x.limit("acme", budget.Day, hour(1), march(2), figures{20, 20}, 0)
	x.noEpochOf("acme", budget.Day, noon)
	expect(x, byLimit(until(insufficient(20, 21), march(2)), budget.Day))(x.engine.TryReserve(x.ctx, "acme", 21))
	x.holdIn("acme", 15, 5, budget.Day)
	x.at(noon.Add(2 * time.Hour))
	x.configure("acme", limits(per(budget.Hour, 500), per(budget.Last24Hours, 4))...)
	x.limit("acme", budget.Hour, hour(2), hour(3), figures{500, 500}, 0)
	x.limitRolled("acme", budget.Last24Hours, figures{4, 4})
	x.limit("acme", budget.Day, hour(1), march(2), figures{20, 5, 15}, 0)
	x.holdIn("acme", 4, 0, budget.Last24Hours)
	x.balance("acme", 100, 41, 49, 10)
	x.at(march(2))
	x.limit("acme", budget.Day, march(2), march(3), figures{20, 20}, 19)
	x.limitEnded("acme", budget.Day, hour(1), march(2), figures{20, 1, 19})
}

func limitRaised(x *fixture) {
	x.open("acme", 1000, budget.SetLimit(per(budget.Day, 100)))
	x.holdIn("acme", 30, 70, budget.Day)
	set := func(amount budget.Microcents) {
		x.t.Helper()
		x.configure("acme", budget.SetLimit(per(budget.Day, amount)))
	}
	set(150)
	x.limit("acme", budget.Day, noon, march(2), figures{150, 120, 30}, 0)
	set(120)
	x.limit("acme", budget.Day, noon, march(2), figures{150, 120, 30}, 0)
	set(130) // from 120
	x.limit("acme", budget.Day, noon, march(2), figures{160, 130, 30}, 0)
	set(50)
	x.holdIn("acme", 130, 0, budget.Day)
	x.at(march(2))
	set(60) // the first operation in the epoch
	x.limit("acme", budget.Day, march(2), march(3), figures{60, 60}, 160)
	x.limitEnded("acme", budget.Day, noon, march(2), figures{160, 0, 160})
	x.at(march(3))
	x.limit("acme", budget.Day, march(3), march(4), figures{60, 60}, 160)
	x.balance("acme", 1000, 840, 160, 0)
}

func limitRollingAmount(x *fixture) {
	x.open("acme", 1000, budget.SetLimit(per(budget.Last24Hours, 100)))
	x.spend("acme", 30)
	id := x.holdIn("acme", 50, 20, budget.Last24Hours)
	x.configure("acme", budget.SetLimit(per(budget.Last24Hours, 120)))
	x.limitRolled("acme", budget.Last24Hours, figures{120, 40, 50, 30})
	x.configure("acme", budget.SetLimit(per(budget.Last24Hours, 60)))
	x.limitRolled("acme", budget.Last24Hours, figures{60, -20, 50, 30})
	expect(x, byLimit(until(insufficient(0, 1), hour(25)), budget.Last24Hours))(x.engine.TryReserve(x.ctx, "acme", 1))
	expect(x, inLimit(committed(-15, 45), budget.Last24Hours))(x.engine.Commit(x.ctx, id, 45))
	x.at(hour(25))
	x.limitRolled("acme", budget.Last24Hours, figures{60, 60})
	x.balance("acme", 1000, 925, 0, 75)
}

// limitFields sets limits without fields that they had.
func limitFields(x *fixture) {
	full := budget.Limit{Window: daily(100, 40), Overdraft: 50, Thresholds: thresholds(10)}
	x.open("acme", 1000, budget.SetLimit(full))
	x.limit("acme", budget.Day, noon, march(2), figures{100, 100}, 0)
	full.Thresholds = thresholds(20, 30)
	full.Overdraft, full.Window.Carry = 60, 20
	x.configure("acme", budget.SetLimit(full))
	x.limit("acme", budget.Day, noon, march(2), figures{100, 100}, 0)
	x.configure("acme", budget.SetLimit(per(budget.Day, 100)))
	x.limit("acme", budget.Day, noon, march(2), figures{100, 100}, 0)
	x.reachedIn(budget.Day)
	expect(x, inLimit(overrun(90), budget.Day))(x.engine.Commit(x.ctx, x.holdIn("acme", 10, 90, budget.Day), 101))
	x.at(march(2)) // and nothing is carried
	x.limit("acme", budget.Day, march(2), march(3), figures{100, 100}, 10)
}

func limitSetAgain(x *fixture) {
	month := per(budget.Month, 100)
	month.Overdraft, month.Thresholds, month.Window.Carry = 5, thresholds(90), 10
	again := month
	again.Window.Zone, again.Window.Day = "UTC", 1 // the defaults
	x.open("acme", 1000, limits(month, per(budget.Last7Days, 200))...)
	x.holdIn("acme", 20, 80, budget.Month)
	x.spend("acme", 10)
	for _, at := range []time.Time{hour(1), hour(14), march(5)} {
		x.at(at)
		for _, l := range []budget.Limit{month, again, per(budget.Last7Days, 200)} {
			x.unchanged("acme", func() { x.configure("acme", budget.SetLimit(l)) })
		}
		x.limit("acme", budget.Month, noon, march(32), figures{100, 70, 20, 10}, 0)
		x.limitRolled("acme", budget.Last7Days, figures{200, 170, 20, 10})
	}
	x.at(march(32))
	x.configure("acme", limits(again, per(budget.Last7Days, 200))...)
	x.limit("acme", budget.Month, march(32), march(62), figures{110, 110}, 20)
	x.limitRolled("acme", budget.Last7Days, figures{200, 180, 20}) // its hold is kept
}

func limitCalendar(x *fixture) {
	x.open("acme", 1000, limits(per(budget.Day, 100), per(budget.Week, 200))...)
	x.holdIn("acme", 30, 70, budget.Day)
	berlin := per(budget.Day, 100)
	berlin.Window.Zone = "Europe/Berlin"
	x.configure("acme", budget.SetLimit(berlin))
	x.limit("acme", budget.Day, noon, utc(time.March, 1, 23, 0), figures{100, 70, 30}, 0)
	monday := per(budget.Week, 200)
	monday.Window.Weekday = time.Monday
	x.configure("acme", budget.SetLimit(monday))
	x.limit("acme", budget.Week, noon, march(2), figures{200, 170, 30}, 0)
	x.at(utc(time.March, 1, 23, 0))
	x.limit("acme", budget.Day, utc(time.March, 1, 23, 0), utc(time.March, 2, 23, 0), figures{100, 100}, 30)
	x.limit("acme", budget.Week, noon, march(2), figures{200, 170, 30}, 0)
	x.at(march(2))
	x.limit("acme", budget.Week, march(2), march(9), figures{200, 200}, 30)
	x.configure("acme", budget.SetLimit(per(budget.Week, 200)))
	x.limit("acme", budget.Week, march(2), march(8), figures{200, 200}, 30)
	x.balance("acme", 1000, 970, 30, 0)
}

func limitRemoved(x *fixture) {
	x.open("acme", 100, limits(per(budget.Hour, 10), per(budget.Day, 20), per(budget.Last24Hours, 30))...)
	x.spend("acme", 10)
	expect(x, byLimit(until(insufficient(0, 1), hour(1)), budget.Hour))(x.engine.TryReserve(x.ctx, "acme", 1))
	x.configure("acme", budget.RemoveLimit(budget.Hour))
	x.noLimit("acme", budget.Hour)
	x.unchanged("acme", func() {
		x.configure("acme", budget.RemoveLimit(budget.Hour)) // it has none
		x.configure("acme", budget.RemoveLimit(budget.Month))
	})
	x.holdIn("acme", 10, 0, budget.Day)
	x.configure("acme", budget.RemoveLimit(budget.Day), budget.RemoveLimit(budget.Last24Hours))
	x.noLimit("acme", allPeriods...)
	x.hold("acme", 80, 0)
	x.balance("acme", 100, 0, 90, 10)
	x.configure("acme", budget.SetLimit(per(budget.Hour, 10)))
	x.limit("acme", budget.Hour, noon, hour(1), figures{10, 10}, 0)

	x.at(hour(1)) // with ended epochs, which go with it
	x.limit("acme", budget.Hour, hour(1), hour(2), figures{10, 10}, 0)
	x.limitEnded("acme", budget.Hour, noon, hour(1), figures{10, 10})
	x.configure("acme", budget.RemoveLimit(budget.Hour))
	x.configure("acme", budget.SetLimit(per(budget.Hour, 10)))
	x.noEpochOf("acme", budget.Hour, noon)
	x.limit("acme", budget.Hour, hour(1), hour(2), figures{10, 10}, 0)
}

func limitTooMany(x *fixture) {
	four := limits(per(budget.Hour, 100), per(budget.Day, 100), per(budget.Week, 100), per(budget.Month, 100))
	fifth := budget.SetLimit(per(budget.Last24Hours, 10))
	refuse := func(tenant budget.TenantID, settings ...budget.Setting) {
		x.t.Helper()
		x.unchanged(tenant, func() {
			refused[budget.Configuration](x, budget.ErrTooManyLimits, "a fifth limit")(x.engine.Configure(x.ctx, tenant, settings...))
		})
		x.noLimit(tenant, budget.Last24Hours)
	}
	x.open("acme", 1000, four...)
	refuse("acme", fifth)
	refuse("acme", append(four, fifth)...)
	refuse("acme", budget.RemoveLimit(budget.Day), fifth, budget.SetLimit(per(budget.Last7Days, 10)))
	refuse("acme", fifth, budget.Overdraft(5), budget.SetLimit(per(budget.Day, 500)))
	x.configure("acme", four...) // the same ones
	x.configure("acme", fifth, budget.RemoveLimit(budget.Day))
	x.limitRolled("acme", budget.Last24Hours, figures{10, 10})
	x.noLimit("acme", budget.Day)
	x.configure("acme", budget.RemoveLimit(budget.Last24Hours), budget.SetLimit(per(budget.Day, 70)))
	x.holdIn("acme", 70, 0, budget.Day)

	x.open("globex", 1000)
	refuse("globex", append(four, fifth)...)
	for _, tenant := range []budget.TenantID{"ghost", "globex"} {
		refused[budget.Ensured](x, budget.ErrTooManyLimits, "a new tenant")(x.engine.EnsureTenant(x.ctx, tenant, 1, append(four, fifth)...))
	}
	expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, "ghost"))
	expect(x, missingTenant)(x.engine.Configure(x.ctx, "ghost", fifth))
	x.close("acme")
	expect(x, closedTenant)(x.engine.Configure(x.ctx, "acme", fifth))
}

// limitOverflow raises the overdraft of a limit whose current epoch is granted more than its
// amount.
func limitOverflow(x *fixture) {
	const most = budget.MaxMicrocents
	set := func(amount, overdraft budget.Microcents) budget.Setting {
		l := per(budget.Day, amount)
		l.Overdraft = overdraft
		return budget.SetLimit(l)
	}
	x.open("acme", 1000, set(1000, most-1000))
	beyond := func(settings ...budget.Setting) {
		x.t.Helper()
		x.unchanged("acme", func() {
			refused[budget.Configuration](x, budget.ErrOverflow, "a limit beyond 64 bits")(x.engine.Configure(x.ctx, "acme", settings...))
		})
	}
	beyond(set(1001, most-1000))
	x.configure("acme", set(500, most-1000)) // the current epoch keeps 1000
	beyond(set(500, most-999))
	beyond(set(500, most-500))
	beyond(set(501, most-1000))
	beyond(set(most, 0)) // which raises it by most-500
	x.configure("acme", set(501, most-1001))
	x.limit("acme", budget.Day, noon, march(2), figures{1001, 1001}, 0)
	x.at(march(2))
	x.configure("acme", set(501, most-501))
	x.limit("acme", budget.Day, march(2), march(3), figures{501, 501}, 0)
	beyond(set(501, most-501), budget.Overdraft(most-999)) // of the base limit
	x.open("both", most, set(most, 0), budget.SetLimit(per(budget.Month, most)))
	x.hold("both", most, 0)
	refused[budget.Ensured](x, budget.ErrOverflow, "a new tenant")(x.engine.EnsureTenant(x.ctx, "ghost", 1, set(most, 1)))
	refused[budget.Ensured](x, budget.ErrOverflow, "an existing tenant")(x.engine.EnsureTenant(x.ctx, "acme", 1, set(most, 1)))
	expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, "ghost"))
}

// limitFails makes changes with an invalid part. None of the other parts takes effect.
func limitFails(x *fixture) {
	const most = budget.MaxMicrocents
	week := per(budget.Week, 100)
	week.Overdraft = most - 100
	x.openIn("acme", 100, daily(100, 0), limits(per(budget.Hour, 10), per(budget.Day, 20), week)...)
	week.Window.Amount, week.Overdraft = 50, most-100
	x.configure("acme", budget.SetLimit(week)) // the current epoch is granted 100
	week.Overdraft = most - 60
	for _, c := range []struct {
		err      error
		settings []budget.Setting
	}{
		{budget.ErrOverflow, []budget.Setting{budget.SetLimit(week), budget.SetLimit(per(budget.Day, 30))}},
		{budget.ErrOverflow, []budget.Setting{budget.SetLimit(week), budget.SetLimit(per(budget.Month, 30))}},
		{budget.ErrOverflow, []budget.Setting{budget.SetLimit(week), budget.RemoveLimit(budget.Day)}},
		{budget.ErrOverflow, []budget.Setting{budget.SetLimit(week), budget.Overdraft(7), budget.CapHolds(3)}},
		{budget.ErrOverflow, []budget.Setting{budget.SetLimit(week), budget.InWindow(daily(200, 5))}},
		{budget.ErrOverflow, []budget.Setting{budget.SetLimit(week), budget.AtThresholds(1), budget.SetLimit(per(budget.Hour, 11))}},
		{budget.ErrOverflow, []budget.Setting{budget.Overdraft(most - 99), budget.SetLimit(per(budget.Day, 30)), budget.RemoveLimit(budget.Hour)}},
		{budget.ErrTooManyLimits, []budget.Setting{ // before ErrOverflow
			budget.Overdraft(most - 99), budget.SetLimit(per(budget.Month, 30)), budget.SetLimit(per(budget.Last24Hours, 30)),
		}},
		{budget.ErrTooManyLimits, []budget.Setting{budget.SetLimit(week), budget.SetLimit(per(budget.Month, 30)), budget.SetLimit(per(budget.Last24Hours, 30))}},
		{budget.ErrTooManyLimits, []budget.Setting{
			budget.CapHold(3), budget.SetLimit(per(budget.Day, 30)), budget.SetLimit(per(budget.Last7Days, 30)), budget.SetLimit(per(budget.Last24Hours, 30)),
		}},
	} {
		x.unchanged("acme", func() {
			refused[budget.Configuration](x, c.err, "a part of a change")(x.engine.Configure(x.ctx, "acme", c.settings...))
		})
	}
	x.holdIn("acme", 10, 0, budget.Hour)
	x.current("acme", noon, march(2), figures{100, 90, 10}, 0)
}

func limitInvalid(x *fixture) {
	x.open("acme", 100, budget.SetLimit(per(budget.Day, 50)))
	x.open("globex", 100)
	x.close("globex")
	invalid := map[string][]budget.Setting{
		"no period":        limits(budget.Limit{}),
		"no amount":        limits(per(budget.Day, 0)),
		"an overdraft":     limits(budget.Limit{Window: daily(1, 0), Overdraft: -1}),
		"twice":            limits(per(budget.Day, 1), per(budget.Day, 1)),
		"set and removed":  append(limits(per(budget.Day, 1)), budget.RemoveLimit(budget.Day)),
		"remove none":      {budget.RemoveLimit(budget.NoPeriod)},
		"remove unknown":   {budget.RemoveLimit(budget.Last30Days + 1)},
		"with a valid one": limits(per(budget.Month, 1), budget.Limit{}),
	}
	for what, w := range invalidWindows {
		invalid[what] = limits(budget.Limit{Window: w})
	}
	for what, settings := range invalid {
		for _, tenant := range []budget.TenantID{"acme", "globex", "ghost"} {
			refused[budget.Configuration](x, budget.ErrInvalidSetting, what)(x.engine.Configure(x.ctx, tenant, settings...))
			refused[budget.Ensured](x, budget.ErrInvalidSetting, what)(x.engine.EnsureTenant(x.ctx, tenant, 100, settings...))
		}
	}
	refused[budget.Balance](x, budget.ErrInvalidSetting, "an unknown period")(x.engine.Balance(x.ctx, "acme", budget.OfLimit(budget.Last30Days+1)))
	x.balance("acme", 100, 100, 0, 0)
	x.balance("globex", 100, 100, 0, 0)
	x.limit("acme", budget.Day, noon, march(2), figures{50, 50}, 0)
}

func limitClosed(x *fixture) {
	for _, tenant := range []budget.TenantID{"frozen", "closed"} {
		x.openDayMonth(tenant, 1000, 100, 200)
	}
	frozen, closed := x.holdIn("frozen", 30, 70, budget.Day), x.holdIn("closed", 30, 70, budget.Day)
	x.freeze("frozen")
	x.close("closed")
	x.configure("frozen", budget.SetLimit(per(budget.Day, 150)), budget.SetLimit(per(budget.Hour, 10)), budget.RemoveLimit(budget.Month))
	x.limit("frozen", budget.Day, noon, march(2), figures{150, 120, 30}, 0)
	x.noLimit("frozen", budget.Month)
	x.unchanged("closed", func() {
		for _, settings := range [][]budget.Setting{
			limits(per(budget.Day, 150)), limits(per(budget.Hour, 10)), {budget.RemoveLimit(budget.Month)}, {budget.RemoveLimit(budget.Week)},
		} {
			expect(x, closedTenant)(x.engine.Configure(x.ctx, "closed", settings...))
		}
	})
	x.at(march(2)) // epochs begin also then
	expect(x, frozenAt(""))(x.engine.TryReserve(x.ctx, "frozen", 1000))
	expect(x, closedAt(""))(x.engine.TryReserve(x.ctx, "closed", 1000))
	x.limit("frozen", budget.Day, march(2), march(3), figures{150, 150}, 30)
	x.limit("closed", budget.Day, march(2), march(3), figures{100, 100}, 30)
	expect(x, inLimit(committed(150, 20), budget.Day))(x.engine.Commit(x.ctx, frozen, 20))
	expect(x, inLimit(released(100, 30), budget.Day))(x.engine.Release(x.ctx, closed))
	x.limitEnded("frozen", budget.Day, noon, march(2), figures{150, 130, 0, 20})
	x.limitEnded("closed", budget.Day, noon, march(2), figures{100, 100})
}

func limitWithOthers(x *fixture) {
	x.openIn("acme", 100, daily(100, 0), budget.Overdraft(5), budget.SetLimit(per(budget.Day, 80)))
	x.configure("acme", budget.CapHold(60), budget.SetLimit(per(budget.Month, 90)), budget.AtThresholds(50))
	x.configure("acme", budget.Overdraft(7))
	x.configure("acme")
	x.limit("acme", budget.Day, noon, march(2), figures{80, 80}, 0)
	x.limit("acme", budget.Month, noon, march(32), figures{90, 90}, 0)
	x.configure("acme", budget.InWindow(budget.Window{}), budget.RemoveLimit(budget.Day), budget.SetLimit(per(budget.Month, 95)))
	x.noLimit("acme", budget.Day)
	x.balance("acme", 100, 100, 0, 0)
	x.limit("acme", budget.Month, noon, march(32), figures{95, 95}, 0)
	x.freeze("acme")
	x.unfreeze("acme")
	x.holdIn("acme", 60, 35, budget.Month)
}

func limitRecreated(x *fixture) {
	for _, tenant := range []budget.TenantID{leaf, middle, root} {
		x.openDayMonth(tenant, 100, 50, 60)
	}
	x.at(march(2))
	id := x.holdAtLimit(leaf, 40, 10, leaf, budget.Day)
	for _, tenant := range []budget.TenantID{root, middle, leaf} {
		b, err := x.delete(tenant)
		if err != nil || b.Outcome != budget.HoldsOpen || b.Reserved != 40 {
			x.t.Fatalf("got %+v, %v; want the hold of 40", b, err)
		}
	}
	expect(x, inLimit(settlementAt(committed(20, 30), leaf), budget.Day))(x.engine.Commit(x.ctx, id, 30))
	for _, tenant := range []budget.TenantID{root, middle} {
		want := budget.Balance{Outcome: budget.Deleted, Granted: 100, Remaining: 70, Committed: 30, Settings: x.settings[tenant]}
		expect(x, want)(x.delete(tenant))
		expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, tenant, budget.OfLimit(budget.Day)))
		if list, err := x.engine.Limits(x.ctx, tenant); err != nil || list.Outcome != budget.MissingTenant || len(list.Limits) > 0 {
			x.t.Fatalf("got %+v, %v; want no tenant", list, err)
		}
	}
	x.configure(leaf, budget.RemoveLimit(budget.Day), budget.RemoveLimit(budget.Month))
	x.holdAt(leaf, 70, 0, leaf) // the deleted levels had 20
	x.open(middle, 100)
	x.noLimit(middle, allPeriods...)
	x.balance(middle, 100, 100, 0, 0)
	x.open(root, 100, budget.SetLimit(per(budget.Day, 80)))
	x.limit(root, budget.Day, march(2), march(3), figures{80, 80}, 0)
	x.noEpochOf(root, budget.Day, noon)
	x.holdAtLimit(middle, 50, 30, root, budget.Day)
	x.holdAtLimit(middle, 30, 0, root, budget.Day)
}

func limitThresholds(x *fixture) {
	month := per(budget.Month, 400)
	month.Thresholds = thresholds(10, 50)
	day := per(budget.Day, 100)
	day.Thresholds = thresholds(50, 100)
	x.open("acme", 1000, budget.SetLimit(month), budget.SetLimit(day), budget.AtThresholds(5, 50))
	var events []budget.Crossing
	spend := func(amount budget.Microcents, crossed ...budget.Crossing) {
		x.t.Helper()
		x.spend("acme", amount)
		events = append(events, crossed...)
		x.crossings(events...)
	}
	event := func(p budget.Period, percent int, committed, granted budget.Microcents) budget.Crossing {
		return budget.Crossing{Tenant: "acme", Limit: p, Percent: percent, Committed: committed, Granted: granted}
	}
	spend(39)
	spend(10, event(budget.Month, 10, 49, 400))
	spend(1, event(budget.NoPeriod, 5, 50, 1000), event(budget.Day, 50, 50, 100))
	spend(50, event(budget.Day, 100, 100, 100))
	x.reachedIn(budget.Day, 50, 100)
	x.reachedIn(budget.Month, 10)
	x.reached("acme", 5)
	x.at(march(2))
	x.reachedIn(budget.Day)
	spend(60, event(budget.Day, 50, 60, 100))
	x.at(march(3))
	spend(40, event(budget.Month, 50, 200, 400))
	spend(60, event(budget.Day, 50, 100, 100), event(budget.Day, 100, 100, 100))
	x.lastCrossing(events...)
}

func limitThresholdsChanged(x *fixture) {
	set := func(amount budget.Microcents, percents ...int) {
		x.t.Helper()
		l := per(budget.Last24Hours, amount)
		l.Thresholds = thresholds(percents...)
		x.configure("acme", budget.SetLimit(l))
	}
	var events []budget.Crossing
	crossed := func(percent int, committed, granted budget.Microcents) {
		x.t.Helper()
		events = append(events, budget.Crossing{Tenant: "acme", Limit: budget.Last24Hours, Percent: percent, Committed: committed, Granted: granted})
		x.crossings(events...)
	}
	x.open("acme", 1000)
	x.spend("acme", 500)
	set(100, 50) // nothing is committed in it
	x.crossings()
	x.spend("acme", 40)
	set(100, 40, 50)
	crossed(40, 40, 100)
	set(100, 40, 50)
	x.crossings(events...)
	set(80, 40, 50)
	crossed(50, 40, 80)
	set(120, 40, 50) // arms them
	x.reachedIn(budget.Last24Hours)
	x.spend("acme", 8)
	crossed(40, 48, 120)
	x.configure("acme", budget.RemoveLimit(budget.Last24Hours))
	set(100, 40)
	x.reachedIn(budget.Last24Hours)
	x.spend("acme", 50)
	crossed(40, 50, 100)
	x.at(hour(25))
	x.reachedIn(budget.Last24Hours)
	x.spend("acme", 40)
	events = append(events, budget.Crossing{Tenant: "acme", Limit: budget.Last24Hours, Percent: 40, Committed: 40, Granted: 100})
	x.lastCrossing(events...)
}
