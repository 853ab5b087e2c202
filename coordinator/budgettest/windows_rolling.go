package budgettest

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// rollingChecks are the checks of rolling windows.
func rollingChecks() []check {
	return slices.Concat([]check{
		{name: "a steady load gets back part by part", run: rollingLoad},
		{name: "nothing returns before its part is older than the period", run: rollingExactly},
		{name: "every operation returns what has left", run: rollingByEach},
		{name: "a commit counts in the part in which its hold was made", run: rollingMade},
		{name: "a commit after its part has left charges nothing", run: rollingOutside},
		{name: "a refusal and a read return when the oldest amount leaves", run: rollingRenews},
		{name: "a rolling window asleep longer than its period", run: rollingAsleep},
		{name: "a hold is kept longer than its part", ttl: 30 * time.Hour, run: rollingDue},
		{name: "debt is paid by what leaves", run: rollingOverdraft},
		{name: "caps of an account with a rolling window", run: rollingCaps},
		{name: "thresholds can be crossed again after a part has left", run: rollingThresholds},
		{name: "what leaves is exact at every edge", run: rollingEdges},
		{name: "concurrent operations let a part leave once", run: rollingConcurrent},
	}, rollingSettingChecks(), rollingEpochChecks(), rollingLevelChecks())
}

// rolling returns a rolling window.
func rolling(period budget.Period, amount budget.Microcents) budget.Window {
	return budget.Window{Period: period, Amount: amount}
}

// dayLong returns a window of the last 24 hours, with parts of an hour.
func dayLong(amount budget.Microcents) budget.Window { return rolling(budget.Last24Hours, amount) }

// hour returns the time some hours after noon of the first day. Each is the start of a part of a
// window of the last 24 hours.
func hour(n int) time.Time { return noon.Add(time.Duration(n) * time.Hour) }

// leaving returns when the part of a time leaves a rolling window.
func leaving(p budget.Period, made time.Time) time.Time {
	parts, length := p.Parts()
	return made.Truncate(length).Add(time.Duration(parts+1) * length)
}

// rolled checks the balance of a tenant with a rolling window, which has no epoch.
func (x *fixture) rolled(tenant budget.TenantID, f figures, ended budget.Microcents) {
	x.t.Helper()
	want := f.balance(time.Time{}, time.Time{}, x.settings[tenant])
	want.Ended = ended
	expect(x, want)(x.engine.Balance(x.ctx, tenant))
	expect(x, want)(x.engine.Balance(x.ctx, tenant, budget.AtEpoch(time.Time{})))
	x.noEpoch(tenant, x.clock.now())
	x.holds(tenant)
	if f[1]+f[2]+f[3] != f[0] {
		x.t.Fatalf("the check expects %v, which doesn't add up", f)
	}
}

// lacks checks that a tenant has so much, and when it has more, which is never for the zero time.
func (x *fixture) lacks(tenant budget.TenantID, remaining budget.Microcents, renews time.Time) {
	x.t.Helper()
	expect(x, until(insufficient(remaining, remaining+1), renews))(x.engine.TryReserve(x.ctx, tenant, remaining+1))
	expect(x, leftUntil(remaining, renews))(x.engine.Remaining(x.ctx, tenant))
}

// rollingLoad spends another amount in each hour of several days, up to what the window has, then
// nothing any more.
func rollingLoad(x *fixture) {
	const hours = 80
	spent := func(n int) budget.Microcents {
		if n < 0 || n >= hours {
			return 0
		}
		return budget.Microcents(50 + n*37%100)
	}
	const amount = 3000
	x.openIn("acme", amount, dayLong(amount))
	for n := range hours + 26 {
		var sum budget.Microcents
		for i := n - 24; i <= n; i++ {
			sum += spent(i)
		}
		now := hour(n).Add(time.Duration(n) * time.Second)
		x.at(now)
		if n < hours {
			x.rolled("acme", figures{amount, amount - sum + spent(n), 0, sum - spent(n)}, 0)
			x.spend("acme", spent(n))
		}
		x.rolled("acme", figures{amount, amount - sum, 0, sum}, 0)
		renews := hour(max(n+1, 25))
		if n >= hours+24 {
			renews = time.Time{}
		}
		x.lacks("acme", amount-sum, renews)
	}
}

// rollingExactly commits at the first and the last millisecond of a part, and at the first of the
// next one, in a window of each period.
func rollingExactly(x *fixture) {
	for _, period := range []budget.Period{budget.Last24Hours, budget.Last7Days, budget.Last30Days} {
		parts, length := period.Parts()
		tenant := budget.TenantID(period.String())
		start := x.clock.now().Truncate(length).Add(length)
		x.at(start.Add(-length / 3)) // in the part before it
		x.openIn(tenant, 100, rolling(period, 100))
		for _, spent := range []struct {
			after  time.Duration
			amount budget.Microcents
		}{{0, 10}, {length / 2, 20}, {length - time.Millisecond, 30}, {length, 40}} {
			x.at(start.Add(spent.after))
			x.spend(tenant, spent.amount)
		}
		first := start.Add(time.Duration(parts+1) * length)
		if first != leaving(period, start) || first.Sub(start)-length != map[budget.Period]time.Duration{
			budget.Last24Hours: 24 * time.Hour, budget.Last7Days: 7 * 24 * time.Hour, budget.Last30Days: 30 * 24 * time.Hour,
		}[period] {
			x.t.Fatalf("%d parts of %s for %s", parts, length, period)
		}
		for _, at := range []time.Time{start.Add(2 * length), first.Add(-length), first.Add(-time.Millisecond), first.Add(-time.Nanosecond)} {
			x.at(at)
			x.lacks(tenant, 0, first)
			x.rolled(tenant, figures{100, 0, 0, 100}, 0)
		}
		x.at(first)
		x.lacks(tenant, 60, first.Add(length))
		x.rolled(tenant, figures{100, 60, 0, 40}, 0)
		x.at(first.Add(length - time.Millisecond))
		x.lacks(tenant, 60, first.Add(length))
		x.at(first.Add(length))
		x.lacks(tenant, 100, time.Time{})
		x.rolled(tenant, figures{100, 100}, 0)
	}
}

// rollingByEach makes each operation the first one after a part has left, and the last one
// before it.
func rollingByEach(x *fixture) {
	holds := make(map[budget.TenantID]budget.ReservationID)
	x.at(noon.Add(20 * time.Minute))
	for what := range rollCalls {
		for _, when := range []string{" before", " after"} {
			tenant := budget.TenantID(what + when)
			x.openIn(tenant, 20, dayLong(0))
			x.spend(tenant, 10)
		}
	}
	x.at(hour(3))
	for _, tenant := range x.tenants {
		holds[tenant] = x.hold(tenant, 4, 6)
	}
	run := func(what string, tenant budget.TenantID, want budget.Microcents) {
		x.t.Helper()
		got, err := rollCalls[what].call(x, tenant, holds[tenant])
		if err != nil || got != want {
			x.t.Fatalf("%s at %s: remaining %d, %v; want %d", what, x.clock.instant(), got, err, want)
		}
	}
	x.at(hour(25).Add(-time.Millisecond))
	for what, c := range rollCalls {
		run(what, budget.TenantID(what+" before"), c.before)
	}
	x.at(hour(25))
	for what, c := range rollCalls {
		if what != "commit available" { // which spends all
			c.before += 10
		}
		run(what, budget.TenantID(what+" after"), c.before)
	}
}

func rollingMade(x *fixture) {
	x.at(noon.Add(59 * time.Minute))
	x.openIn("acme", 100, dayLong(100))
	first, second, third := x.hold("acme", 10, 90), x.hold("acme", 20, 70), x.hold("acme", 5, 65)
	x.at(hour(5))
	fourth := x.hold("acme", 15, 50)
	expect(x, committed(52, 8))(x.engine.Commit(x.ctx, first, 8))
	x.at(hour(12))
	x.spend("acme", 1)
	expect(x, committed(41, 30))(x.engine.Commit(x.ctx, second, 30)) // more than was held
	x.at(hour(24))
	expect(x, committed(38, 18))(x.engine.CommitAvailable(x.ctx, fourth, 18))
	x.rolled("acme", figures{100, 38, 5, 57}, 0)
	x.at(hour(25).Add(-time.Millisecond))
	expect(x, committed(36, 7))(x.engine.Commit(x.ctx, third, 7)) // in the last millisecond of its part
	x.lacks("acme", 36, hour(25))
	x.at(hour(25))
	x.rolled("acme", figures{100, 81, 0, 19}, 0)
	x.lacks("acme", 81, hour(30))
	x.at(hour(30))
	x.rolled("acme", figures{100, 99, 0, 1}, 0)
	x.lacks("acme", 99, hour(37))
	x.at(hour(37))
	x.rolled("acme", figures{100, 100}, 0)
}

func rollingOutside(x *fixture) {
	const most = budget.MaxMicrocents
	x.at(noon.Add(time.Minute))
	x.openIn("acme", 100, dayLong(100))
	var ids [6]budget.ReservationID
	for i := range ids {
		ids[i] = x.hold("acme", 10, budget.Microcents(90-10*i))
	}
	x.at(hour(1))
	late := x.hold("acme", 5, 35)
	x.hold("acme", 35, 0) // nothing remains
	x.at(hour(25).Add(-time.Millisecond))
	expect(x, overrun(0))(x.engine.Commit(x.ctx, ids[0], 11))
	expect(x, short(0, 10, 1))(x.engine.CommitAvailable(x.ctx, ids[0], 11))
	x.rolled("acme", figures{100, 0, 90, 10}, 0)

	x.at(hour(25))
	x.rolled("acme", figures{100, 10, 90}, 0)
	x.hold("acme", 10, 0)
	charges := func(id budget.ReservationID, settled, want budget.Settlement, err error) {
		x.t.Helper()
		expect(x, want)(settled, err)
		fate, err := x.engine.Lookup(x.ctx, id)
		if err != nil || fate.Outcome != want.Outcome || fate.Amount != want.Actual+want.Returned || !fate.At.Equal(x.clock.instant()) {
			x.t.Fatalf("got %+v, %v; want %+v", fate, err, want)
		}
	}
	settled, err := x.engine.Commit(x.ctx, ids[1], 7)
	charges(ids[1], settled, committed(10, 7), err)
	x.rolled("acme", figures{100, 10, 90}, 0)
	settled, err = x.engine.Commit(x.ctx, ids[2], 10)
	charges(ids[2], settled, committed(20, 10), err)
	settled, err = x.engine.Commit(x.ctx, ids[3], most)
	charges(ids[3], settled, committed(30, most), err)
	settled, err = x.engine.CommitAvailable(x.ctx, ids[4], most)
	charges(ids[4], settled, committed(40, most), err)
	settled, err = x.engine.Release(x.ctx, ids[5])
	charges(ids[5], settled, released(50, 10), err)
	expect(x, missing(budget.Committed))(x.engine.Commit(x.ctx, ids[3], 1))
	x.rolled("acme", figures{100, 50, 50}, 0)
	x.lacks("acme", 50, time.Time{})

	expect(x, overrun(50))(x.engine.Commit(x.ctx, late, 56)) // its part has not left
	expect(x, committed(0, 55))(x.engine.Commit(x.ctx, late, 55))
	x.lacks("acme", 0, hour(26))
	x.at(hour(26).Add(-time.Millisecond))
	x.rolled("acme", figures{100, 0, 45, 55}, 0)
	x.at(hour(26))
	x.rolled("acme", figures{100, 55, 45}, 0)
}

func rollingRenews(x *fixture) {
	x.openIn("acme", 100, rolling(budget.Last7Days, 100))
	x.lacks("acme", 100, time.Time{})
	first := x.hold("acme", 10, 90)
	x.lacks("acme", 90, time.Time{}) // holds don't leave
	expect(x, committed(90, 0))(x.engine.Commit(x.ctx, x.hold("acme", 10, 80), 0))
	expect(x, released(90, 10))(x.engine.Release(x.ctx, x.hold("acme", 10, 80)))
	x.lacks("acme", 90, time.Time{})
	x.at(march(3).Add(5 * time.Hour))
	x.spend("acme", 20)
	x.lacks("acme", 70, march(10).Add(6*time.Hour))
	x.at(march(3).Add(6 * time.Hour))
	x.spend("acme", 5)
	x.lacks("acme", 65, march(10).Add(6*time.Hour))
	expect(x, committed(67, 8))(x.engine.Commit(x.ctx, first, 8)) // an older part
	x.lacks("acme", 67, march(8).Add(18*time.Hour))
	x.at(march(8).Add(18 * time.Hour))
	x.lacks("acme", 75, march(10).Add(6*time.Hour))
	x.at(march(10).Add(6 * time.Hour))
	x.lacks("acme", 95, march(10).Add(12*time.Hour))
	expect(x, insufficient(0, 0))(x.engine.TryReserve(x.ctx, "acme", 0)) // names no level
	x.at(march(10).Add(12 * time.Hour))
	x.lacks("acme", 100, time.Time{})
}

func rollingAsleep(x *fixture) {
	for _, period := range []budget.Period{budget.Last24Hours, budget.Last7Days, budget.Last30Days} {
		for _, days := range []int{1, 2, 7, 8, 30, 31, 32, 1000} {
			tenant := budget.TenantID(fmt.Sprintf("%s-%d", period, days))
			x.at(x.clock.now().Truncate(24 * time.Hour).Add(24 * time.Hour))
			x.openIn(tenant, 100, rolling(period, 100))
			id := x.hold(tenant, 3, 97)
			for _, spent := range []budget.Microcents{10, 20, 30} {
				_, length := period.Parts()
				x.advance(length)
				x.spend(tenant, spent)
			}
			x.advance(time.Duration(days) * 24 * time.Hour)
			// The three parts began one part after another, the last one just now.
			left := map[budget.Period]map[int]budget.Microcents{
				budget.Last24Hours: {1: 30}, budget.Last7Days: {1: 60, 2: 60, 7: 30}, budget.Last30Days: {1: 60, 2: 60, 7: 60, 8: 60, 30: 30},
			}[period][days]
			x.rolled(tenant, figures{100, 97 - left, 3, left}, 0)
			expect(x, released(100-left, 3))(x.engine.Release(x.ctx, id))
		}
	}
}

// rollingDue has holds that outlast their part, which leave with nothing but their deadline.
func rollingDue(x *fixture) {
	x.openIn("acme", 100, dayLong(100))
	x.hold("acme", 30, 70)
	x.spend("acme", 20)
	x.hold("acme", 5, 45, budget.WithHoldTTL(25*time.Hour))
	x.hold("acme", 1, 44, budget.WithHoldTTL(24*time.Hour))
	x.at(hour(25).Add(-time.Millisecond))
	x.rolled("acme", figures{100, 45, 35, 20}, 0)
	x.at(hour(25)) // a deadline and the part's end
	x.hold("acme", 70, 0)
	x.rolled("acme", figures{100, 0, 100}, 0)
	x.lacks("acme", 0, time.Time{})
	x.at(hour(30).Add(-time.Millisecond))
	if holds := x.holds("acme"); len(holds) != 2 {
		x.t.Fatalf("got the holds %+v, want 2", holds)
	}
	x.at(hour(30))
	x.hold("acme", 30, 0)
	x.rolled("acme", figures{100, 0, 100}, 0)
	x.at(hour(60))
	x.rolled("acme", figures{100, 100}, 0)
	if holds := x.holds("acme"); len(holds) != 0 {
		x.t.Fatalf("got the holds %+v", holds)
	}
}

func rollingOverdraft(x *fixture) {
	x.openIn("acme", 100, dayLong(100), budget.Overdraft(50))
	first, second := x.hold("acme", 40, 60), x.hold("acme", 60, 0)
	expect(x, overrun(0))(x.engine.Commit(x.ctx, first, 91))
	expect(x, committed(-30, 70))(x.engine.Commit(x.ctx, first, 70))
	x.at(hour(2))
	expect(x, overrun(-30))(x.engine.Commit(x.ctx, second, 81))
	expect(x, short(-50, 80, 1))(x.engine.CommitAvailable(x.ctx, second, 81))
	x.rolled("acme", figures{100, -50, 0, 150}, 0)
	x.lacks("acme", 0, hour(25))
	expect(x, granted(-49))(x.engine.Grant(x.ctx, "acme", 1))
	expect(x, lacking(0, 1))(x.engine.Withdraw(x.ctx, "acme", 1))
	x.configure("acme", budget.Overdraft(0))
	x.at(hour(25))
	x.rolled("acme", figures{101, 101}, 0)

	x.openIn("globex", 100, dayLong(100), budget.Overdraft(50)) // the debt of two parts
	third := x.hold("globex", 10, 90)
	x.at(hour(26))
	expect(x, committed(-20, 110))(x.engine.Commit(x.ctx, x.hold("globex", 90, 0), 110))
	expect(x, committed(-50, 40))(x.engine.Commit(x.ctx, third, 40))
	x.at(hour(50))
	x.rolled("globex", figures{100, -10, 0, 110}, 0)
	x.lacks("globex", 0, hour(51))
	x.at(hour(51))
	x.rolled("globex", figures{100, 100}, 0)
}

func rollingCaps(x *fixture) {
	x.openIn("sum", 100, dayLong(100), budget.CapReserved(50), budget.CapHold(40))
	x.openIn("number", 100, dayLong(100), budget.CapHolds(2))
	x.spend("sum", 20)
	x.spend("number", 20)
	first := x.hold("sum", 40, 40)
	second := x.hold("number", 1, 79)
	x.at(hour(30)) // what was spent has left, and the holds have not
	expect(x, cappedAt("", budget.HoldCap, 40))(x.engine.TryReserve(x.ctx, "sum", 41))
	expect(x, cappedAt("", budget.ReservedCap, 50))(x.engine.TryReserve(x.ctx, "sum", 11))
	x.hold("sum", 10, 50)
	x.hold("number", 1, 98)
	expect(x, cappedAt("", budget.HoldsCap, 2))(x.engine.TryReserve(x.ctx, "number", 1))
	expect(x, committed(90, 1000))(x.engine.Commit(x.ctx, first, 1000))
	expect(x, committed(99, 1000))(x.engine.Commit(x.ctx, second, 1000))
	x.hold("sum", 40, 50)
	x.hold("number", 1, 98)
	expect(x, cappedAt("", budget.ReservedCap, 50))(x.engine.TryReserve(x.ctx, "sum", 1))
	expect(x, cappedAt("", budget.HoldsCap, 2))(x.engine.TryReserve(x.ctx, "number", 1))

	x.openIn("ended", 100, daily(100, 0), budget.CapReserved(50), budget.CapHolds(2))
	third := x.hold("ended", 30, 70)
	x.at(march(3))
	x.setWindow("ended", dayLong(0), 100)
	expect(x, cappedAt("", budget.ReservedCap, 50))(x.engine.TryReserve(x.ctx, "ended", 21))
	x.hold("ended", 20, 80)
	x.configure("ended", budget.CapReserved(51))
	expect(x, cappedAt("", budget.HoldsCap, 2))(x.engine.TryReserve(x.ctx, "ended", 1))
	expect(x, released(80, 30))(x.engine.Release(x.ctx, third))
	x.hold("ended", 31, 49)
}

func rollingThresholds(x *fixture) {
	event := func(percent int, committed, granted budget.Microcents) budget.Crossing {
		return budget.Crossing{Tenant: "acme", Percent: percent, Committed: committed, Granted: granted}
	}
	x.openIn("acme", 100, dayLong(100), budget.AtThresholds(50, 100))
	old := x.hold("acme", 1, 99)
	x.spend("acme", 55)
	events := []budget.Crossing{event(50, 55, 100)}
	x.crossings(events...)
	x.at(hour(1))
	x.spend("acme", 40)
	x.reached("acme", 50)
	second := x.hold("acme", 1, 3)
	x.at(hour(25)) // the commit is the first operation: it finds 40, and leaves 51
	expect(x, committed(48, 11))(x.engine.Commit(x.ctx, second, 11))
	events = append(events, event(50, 51, 100))
	x.crossings(events...)
	x.spend("acme", 7)
	third := x.hold("acme", 40, 1)
	x.at(hour(26))
	expect(x, committed(49, 43))(x.engine.Commit(x.ctx, third, 43)) // from 7 to 50
	events = append(events, event(50, 50, 100))
	x.crossings(events...)
	expect(x, committed(50, 1000))(x.engine.Commit(x.ctx, old, 1000)) // its part has left
	x.reached("acme", 50)
	x.setWindow("acme", dayLong(50), 50) // 50 of 50
	events = append(events, event(100, 50, 50))
	x.crossings(events...)
	x.setWindow("acme", dayLong(200), 200)
	x.reached("acme")
	expect(x, withdrawn(50))(x.engine.Withdraw(x.ctx, "acme", 100)) // 50 of 100
	events = append(events, event(50, 50, 100))
	x.at(hour(50))
	x.reached("acme")
	x.spend("acme", 49)
	x.reached("acme")
	x.spend("acme", 1)
	events = append(events, event(50, 50, 100))
	x.lastCrossing(events...)
}

func rollingEdges(x *fixture) {
	const most = budget.MaxMicrocents
	name := func(i int, what string) budget.TenantID { return budget.TenantID(fmt.Sprintf("%s-%d", what, i)) }
	ids := make(map[budget.TenantID]budget.ReservationID)
	for i, edge := range edges {
		x.openIn(name(i, "all"), edge, dayLong(edge))
		x.spend(name(i, "all"), edge)
		x.openIn(name(i, "debt"), edge, dayLong(edge), budget.Overdraft(most-edge))
		id := x.hold(name(i, "debt"), edge, 0)
		expect(x, committed(edge-most, most))(x.engine.Commit(x.ctx, id, most))
		x.openIn(name(i, "held"), edge, dayLong(edge))
		ids[name(i, "held")] = x.hold(name(i, "held"), edge, 0)
		x.openIn(name(i, "parts"), edge, dayLong(0))
		x.spend(name(i, "parts"), edge-edge/2)
	}
	x.at(hour(1))
	for i, edge := range edges {
		if edge > 1 {
			x.spend(name(i, "parts"), edge/2)
		}
	}
	x.at(hour(25))
	for i, edge := range edges {
		x.rolled(name(i, "all"), figures{edge, edge}, 0)
		x.rolled(name(i, "debt"), figures{edge, edge}, 0)
		x.rolled(name(i, "parts"), figures{edge, edge - edge/2, 0, edge / 2}, 0)
		id := ids[name(i, "held")]
		expect(x, committed(edge, most))(x.engine.Commit(x.ctx, id, most))
		x.rolled(name(i, "held"), figures{edge, edge}, 0)
	}
	x.at(hour(26))
	for i, edge := range edges {
		x.rolled(name(i, "parts"), figures{edge, edge}, 0)
	}
}

// rollingConcurrent has all callers make the first operation after a part has left.
func rollingConcurrent(x *fixture) {
	const cost = 3
	x.openIn("acme", 100, dayLong(100))
	var spent []budget.Microcents
	for n := range 60 {
		x.at(hour(n))
		before := budget.Microcents(0)
		for _, s := range spent[max(0, n-24):] {
			before += s
		}
		var reserved atomic.Int64
		atOnce(callers, func(int) {
			for range 1 + n%3 {
				res, err := x.engine.TryReserve(x.ctx, "acme", cost)
				if x.failed("reserve", err) {
					return
				}
				if res.Outcome == budget.Reserved {
					reserved.Add(1)
					_, err = x.engine.Commit(x.ctx, res.ID, cost)
					x.failed("commit", err)
				}
			}
		})
		now := cost * budget.Microcents(reserved.Load())
		spent = append(spent, now)
		x.rolled("acme", figures{100, 100 - before - now, 0, before + now}, 0)
		if want := min(int64(callers*(1+n%3)), int64(100-before)/cost); reserved.Load() != want {
			x.t.Errorf("hour %d: %d reserves of %d succeeded, want %d", n, reserved.Load(), cost, want)
		}
	}
}
