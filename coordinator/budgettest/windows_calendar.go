package budgettest

import (
	"fmt"
	"time"
	_ "time/tzdata" // the checks use several zones

	"github.com/calybris/bursar/coordinator/budget"
)

// calendarChecks are the checks of boundaries in time zones.
func calendarChecks() []check {
	return []check{
		{name: "days of 23 and 25 hours in Berlin", run: calendarBerlin},
		{name: "epochs of every period", run: calendarPeriods},
		{name: "boundaries far ahead", run: calendarFar},
	}
}

// utc returns a time of 2026.
func utc(month time.Month, day, hour, minute int) time.Time {
	return time.Date(2026, month, day, hour, minute, 0, 0, time.UTC)
}

// calendarBerlin spends at each edge of the two days on which the clock of Berlin changes.
func calendarBerlin(x *fixture) {
	w := daily(10, 0)
	w.Zone = "Europe/Berlin"
	for _, days := range [][]time.Time{
		{utc(time.March, 27, 23, 0), utc(time.March, 28, 23, 0), utc(time.March, 29, 22, 0), utc(time.March, 30, 22, 0)},
		{utc(time.October, 23, 22, 0), utc(time.October, 24, 22, 0), utc(time.October, 25, 23, 0), utc(time.October, 26, 23, 0)},
	} {
		x.at(days[0])
		tenant := budget.TenantID(days[0].Month().String())
		x.openIn(tenant, 10, w)
		for i, end := range days[1:] {
			start := days[i]
			x.at(end.Add(-time.Millisecond))
			x.spend(tenant, 10)
			expect(x, until(insufficient(0, 1), end))(x.engine.TryReserve(x.ctx, tenant, 1))
			x.current(tenant, start, end, figures{10, 0, 0, 10}, 0)
			x.at(end)
			x.hold(tenant, 1, 9)
			x.at(end.Add(time.Millisecond))
			res, err := x.engine.TryReserve(x.ctx, tenant, 9)
			if err != nil || res.Outcome != budget.Reserved || res.Remaining != 0 {
				x.t.Fatalf("1 ms after %s: %+v, %v", end, res, err)
			}
			expect(x, released(9, 9))(x.engine.Release(x.ctx, res.ID))
			list, err := x.engine.Holds(x.ctx, tenant)
			if err != nil || len(list.Holds) != 1 {
				x.t.Fatalf("got %+v, %v; want one hold", list, err)
			}
			expect(x, released(10, 1))(x.engine.Release(x.ctx, list.Holds[0].ID))
			x.past(tenant, start, end, figures{10, 0, 0, 10})
		}
	}
}

// calendarPeriods passes from epoch to epoch, and from a time within one to the next.
func calendarPeriods(x *fixture) {
	for name, c := range map[string]struct {
		window budget.Window
		end    time.Time
	}{
		"hours":                          {budget.Window{Period: budget.Hour}, utc(time.March, 1, 13, 0)},
		"hours in Kathmandu":             {budget.Window{Period: budget.Hour, Zone: "Asia/Kathmandu"}, utc(time.March, 1, 12, 15)},
		"days in Kolkata":                {budget.Window{Period: budget.Day, Zone: "Asia/Kolkata"}, utc(time.March, 1, 18, 30)},
		"weeks from Sunday":              {budget.Window{Period: budget.Week}, march(8)},
		"weeks from Monday in New York":  {budget.Window{Period: budget.Week, Weekday: time.Monday, Zone: "America/New_York"}, utc(time.March, 2, 5, 0)},
		"months":                         {budget.Window{Period: budget.Month, Day: 1}, march(32)},
		"months from the 28th in Berlin": {budget.Window{Period: budget.Month, Day: 28, Zone: "Europe/Berlin"}, utc(time.March, 27, 23, 0)},
	} {
		tenant := budget.TenantID(name)
		x.openIn(tenant, 10, c.window)
		x.current(tenant, noon, c.end, figures{10, 10}, 0)
	}
	for _, c := range []struct {
		tenant budget.TenantID
		times  []time.Time
	}{
		{"hours", []time.Time{utc(time.March, 1, 13, 0), utc(time.March, 1, 14, 0), utc(time.March, 1, 15, 0)}},
		{"hours in Kathmandu", []time.Time{utc(time.March, 1, 15, 15), utc(time.March, 1, 16, 15), utc(time.March, 1, 17, 15)}},
		{"days in Kolkata", []time.Time{utc(time.March, 1, 18, 30), utc(time.March, 2, 18, 30), utc(time.March, 3, 18, 30)}},
		{"weeks from Monday in New York", []time.Time{utc(time.March, 9, 4, 0), utc(time.March, 16, 4, 0), utc(time.March, 23, 4, 0)}},
		{"weeks from Sunday", []time.Time{utc(time.March, 22, 0, 0), utc(time.March, 29, 0, 0), utc(time.April, 5, 0, 0)}},
		{"months from the 28th in Berlin", []time.Time{utc(time.March, 27, 23, 0), utc(time.April, 27, 22, 0), utc(time.May, 27, 22, 0)}},
		{"months", []time.Time{utc(time.May, 1, 0, 0), utc(time.June, 1, 0, 0), utc(time.July, 1, 0, 0)}},
	} {
		for i, start := range c.times[:len(c.times)-1] {
			if x.clock.now().Before(start) {
				x.at(start.Add(-time.Millisecond))
				b, err := x.engine.Balance(x.ctx, c.tenant)
				if err != nil || b.Epoch.End != budget.InstantOf(start) {
					x.t.Fatalf("%s: got %+v, %v; want an end at %s", c.tenant, b, err, start)
				}
				x.at(start)
			}
			x.current(c.tenant, start, c.times[i+1], figures{10, 10}, 0)
		}
	}
}

// calendarFar passes more boundaries at once than an engine has computed ahead, one more and one
// fewer.
func calendarFar(x *fixture) {
	hour := func(n int) time.Time { return utc(time.March, 1, 12+n, 0) }
	w := budget.Window{Period: budget.Hour, Carry: budget.CarryAll}
	const sleepers = 40
	name := func(i int) budget.TenantID { return budget.TenantID(fmt.Sprintf("sleeper-%d", i)) }
	for i := range sleepers {
		x.openIn(name(i), 1, w)
	}
	for i := range sleepers {
		x.at(hour(i + 1).Add(-time.Millisecond))
		x.current(name(i), later(hour(i), noon), hour(i+1), figures{budget.Microcents(i + 1), budget.Microcents(i + 1)}, 0)
		x.at(hour(i + 1))
		x.current(name(i), hour(i+1), hour(i+2), figures{budget.Microcents(i + 2), budget.Microcents(i + 2)}, 0)
	}
	x.at(hour(24 * 365))
	for i := range sleepers {
		x.current(name(i), hour(24*365), hour(24*365+1), figures{24*365 + 1, 24*365 + 1}, 0)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
