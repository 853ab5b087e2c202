package budgettest

import (
	"fmt"
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// windowChecks are the checks of windows. Those with levels use the tenants of levelChecks.
func windowChecks() []check {
	return slices.Concat(rollChecks(), calendarChecks(), windowSettingChecks(), lateChecks(), epochChecks(), windowLevelChecks(), rollingChecks())
}

// rollChecks are the checks of the beginning of an epoch.
func rollChecks() []check {
	return []check{
		{name: "an epoch begins at its boundary and not before", run: rollAtBoundary},
		{name: "every operation begins the epoch", run: rollByEach},
		{name: "what remains is carried as far as the window says", run: rollCarries},
		{name: "debt is carried, also beyond an epoch's amount", run: rollDebt},
		{name: "an account asleep for a month rolls once", run: rollAsleep},
		{name: "holds that are due end before the epoch does", ttl: holdTTL, run: rollDue},
		{name: "carried amounts exact at every edge", run: rollEdges},
		{name: "grants and withdrawals count in the current epoch", run: rollAdjusted},
	}
}

// daily returns a window by the day of UTC.
func daily(amount, carry budget.Microcents) budget.Window {
	return budget.Window{Period: budget.Day, Amount: amount, Carry: carry}
}

// march returns the beginning of a day of the month in which the clock of a check starts, at
// noon of the first.
func march(day int) time.Time { return time.Date(2026, time.March, day, 0, 0, 0, 0, time.UTC) }

// noon is the start of the first epoch of a tenant that is created before the clock moves.
var noon = epoch.Truncate(time.Millisecond)

// figures are the terms of a balance: granted, remaining, reserved and committed.
type figures [4]budget.Microcents

func (f figures) balance(start, end time.Time, s budget.Settings) budget.Balance {
	return budget.Balance{
		Outcome: budget.Found, Granted: f[0], Remaining: f[1], Reserved: f[2], Committed: f[3], Settings: s,
		Epoch: budget.Epoch{Start: budget.InstantOf(start), End: budget.InstantOf(end)},
	}
}

// at moves the clock.
func (x *fixture) at(t time.Time) { x.clock.set(t) }

// openIn creates a tenant with a window. A window without an amount has that of the budget.
func (x *fixture) openIn(tenant budget.TenantID, amount budget.Microcents, w budget.Window, settings ...budget.Setting) {
	x.t.Helper()
	x.open(tenant, amount, append(settings, budget.InWindow(w))...)
	if w.Amount == 0 {
		x.windowOf(tenant, amount)
	}
}

// windowOf changes the amount of the window that the check expects.
func (x *fixture) windowOf(tenant budget.TenantID, amount budget.Microcents) {
	s := x.settings[tenant]
	s.Window.Amount = amount
	x.settings[tenant] = s
}

// setWindow sets a window, which must then have the amount.
func (x *fixture) setWindow(tenant budget.TenantID, w budget.Window, amount budget.Microcents) {
	x.t.Helper()
	change, err := budget.NewChange(budget.InWindow(w))
	if err != nil {
		x.t.Fatal(err)
	}
	x.settings[tenant] = change.Apply(x.settings[tenant])
	x.windowOf(tenant, amount)
	expect(x, configured(x.settings[tenant]))(x.engine.Configure(x.ctx, tenant, budget.InWindow(w)))
}

// current checks the current epoch of a tenant; ended is the amount that holds of ended epochs reserve.
func (x *fixture) current(tenant budget.TenantID, start, end time.Time, f figures, ended budget.Microcents) {
	x.t.Helper()
	want := f.balance(start, end, x.settings[tenant])
	want.Ended = ended
	expect(x, want)(x.engine.Balance(x.ctx, tenant))
	expect(x, want)(x.engine.Balance(x.ctx, tenant, budget.AtEpoch(start)))
	expect(x, want)(x.engine.Balance(x.ctx, tenant, budget.AtEpoch(time.Time{})))
	if !end.IsZero() {
		expect(x, want)(x.engine.Balance(x.ctx, tenant, budget.AtEpoch(end.Add(-time.Millisecond))))
		x.noEpoch(tenant, end)
	}
	if holds := x.holds(tenant); len(holds) == 0 && ended != 0 {
		x.t.Fatalf("%q has no holds", tenant)
	}
}

// past checks an ended epoch of a tenant.
func (x *fixture) past(tenant budget.TenantID, start, end time.Time, f figures) {
	x.t.Helper()
	want := f.balance(start, end, x.settings[tenant])
	expect(x, want)(x.engine.Balance(x.ctx, tenant, budget.AtEpoch(start)))
	expect(x, want)(x.engine.Balance(x.ctx, tenant, budget.AtEpoch(end.Add(-time.Millisecond))))
	if f[1]+f[2]+f[3] != f[0] {
		x.t.Fatalf("the check expects %v, which doesn't add up", f)
	}
}

// noEpoch checks that no epoch with these times is kept.
func (x *fixture) noEpoch(tenant budget.TenantID, times ...time.Time) {
	x.t.Helper()
	for _, at := range times {
		refused[budget.Balance](x, budget.ErrNoEpoch, "the epoch at "+at.String())(x.engine.Balance(x.ctx, tenant, budget.AtEpoch(at)))
	}
}

// until returns the refusal of a level whose window renews its budget.
func until(res budget.Reservation, renews time.Time) budget.Reservation {
	res.Renews = budget.InstantOf(renews)
	return res
}

func leftUntil(remaining budget.Microcents, renews time.Time) budget.Remainder {
	return budget.Remainder{Outcome: budget.Found, Remaining: remaining, Renews: budget.InstantOf(renews)}
}

func rollAtBoundary(x *fixture) {
	x.openIn("acme", 100, daily(100, 0))
	x.open("globex", 100) // without a window
	x.current("acme", noon, march(2), figures{100, 100, 0, 0}, 0)
	x.hold("acme", 30, 70)
	x.at(march(2).Add(-time.Millisecond))
	x.hold("acme", 60, 10)
	expect(x, until(insufficient(10, 11), march(2)))(x.engine.TryReserve(x.ctx, "acme", 11))
	expect(x, leftUntil(10, march(2)))(x.engine.Remaining(x.ctx, "acme"))
	x.current("acme", noon, march(2), figures{100, 10, 90, 0}, 0)
	x.at(march(2).Add(-time.Nanosecond)) // the same millisecond
	expect(x, until(insufficient(10, 11), march(2)))(x.engine.TryReserve(x.ctx, "acme", 11))
	x.at(march(2))
	x.hold("acme", 11, 89)
	x.current("acme", march(2), march(3), figures{100, 89, 11, 0}, 90)
	x.past("acme", noon, march(2), figures{100, 10, 90, 0})
	x.noEpoch("acme", noon.Add(-time.Millisecond), march(3))
	expect(x, until(insufficient(89, 90), march(3)))(x.engine.TryReserve(x.ctx, "acme", 90))
	expect(x, leftUntil(89, march(3)))(x.engine.Remaining(x.ctx, "acme"))
	expect(x, insufficient(0, 0))(x.engine.TryReserve(x.ctx, "acme", 0)) // names no level
	x.at(march(3).Add(-time.Millisecond))
	x.hold("acme", 89, 0)
	x.at(march(3).Add(time.Millisecond))
	x.hold("acme", 100, 0)
	x.current("acme", march(3), march(4), figures{100, 0, 100, 0}, 190)
	x.past("acme", march(2), march(3), figures{100, 0, 100, 0})
	x.past("acme", noon, march(2), figures{100, 10, 90, 0})
	x.balance("globex", 100, 100, 0, 0)
	expect(x, leftAt(100, ""))(x.engine.Remaining(x.ctx, "globex"))
	expect(x, insufficient(100, 101))(x.engine.TryReserve(x.ctx, "globex", 101))
}

// rollCalls are operations, each with the remaining amounts that it must return for a tenant of
// rollByEach, before and at the boundary.
var rollCalls = map[string]struct {
	before, at budget.Microcents
	call       func(x *fixture, tenant budget.TenantID, hold budget.ReservationID) (budget.Microcents, error)
}{
	"reserve": {5, 19, func(x *fixture, tenant budget.TenantID, _ budget.ReservationID) (budget.Microcents, error) {
		res, err := x.engine.TryReserve(x.ctx, tenant, 1)
		return res.Remaining, err
	}},
	"a refused reserve": {6, 20, func(x *fixture, tenant budget.TenantID, _ budget.ReservationID) (budget.Microcents, error) {
		res, err := x.engine.TryReserve(x.ctx, tenant, 1000)
		return res.Remaining, err
	}},
	"commit": {7, 20, func(x *fixture, _ budget.TenantID, hold budget.ReservationID) (budget.Microcents, error) {
		res, err := x.engine.Commit(x.ctx, hold, 3)
		return res.Remaining, err
	}},
	"a refused commit": {6, 20, func(x *fixture, _ budget.TenantID, hold budget.ReservationID) (budget.Microcents, error) {
		res, err := x.engine.Commit(x.ctx, hold, 1000)
		return res.Remaining, err
	}},
	"commit available": {0, 20, func(x *fixture, _ budget.TenantID, hold budget.ReservationID) (budget.Microcents, error) {
		res, err := x.engine.CommitAvailable(x.ctx, hold, 1000)
		return res.Remaining, err
	}},
	"release": {10, 20, func(x *fixture, _ budget.TenantID, hold budget.ReservationID) (budget.Microcents, error) {
		res, err := x.engine.Release(x.ctx, hold)
		return res.Remaining, err
	}},
	"remaining": {6, 20, func(x *fixture, tenant budget.TenantID, _ budget.ReservationID) (budget.Microcents, error) {
		res, err := x.engine.Remaining(x.ctx, tenant)
		return res.Remaining, err
	}},
	"balance": {6, 20, func(x *fixture, tenant budget.TenantID, _ budget.ReservationID) (budget.Microcents, error) {
		res, err := x.engine.Balance(x.ctx, tenant)
		return res.Remaining, err
	}},
	"holds": {6, 20, func(x *fixture, tenant budget.TenantID, _ budget.ReservationID) (budget.Microcents, error) {
		res, err := x.engine.Holds(x.ctx, tenant)
		return res.Balance.Remaining, err
	}},
	"ensure": {6, 20, func(x *fixture, tenant budget.TenantID, _ budget.ReservationID) (budget.Microcents, error) {
		res, err := x.engine.EnsureTenant(x.ctx, tenant, 1000)
		return res.Remaining, err
	}},
	"grant": {7, 21, func(x *fixture, tenant budget.TenantID, _ budget.ReservationID) (budget.Microcents, error) {
		res, err := x.engine.Grant(x.ctx, tenant, 1)
		return res.Remaining, err
	}},
	"withdraw": {5, 19, func(x *fixture, tenant budget.TenantID, _ budget.ReservationID) (budget.Microcents, error) {
		res, err := x.engine.Withdraw(x.ctx, tenant, 1)
		return res.Remaining, err
	}},
	"a refused withdrawal": {6, 20, func(x *fixture, tenant budget.TenantID, _ budget.ReservationID) (budget.Microcents, error) {
		res, err := x.engine.Withdraw(x.ctx, tenant, 1000)
		return res.Remaining, err
	}},
	"configure": {11, 25, func(x *fixture, tenant budget.TenantID, _ budget.ReservationID) (budget.Microcents, error) {
		if _, err := x.engine.Configure(x.ctx, tenant, budget.InWindow(daily(25, 0))); err != nil {
			return 0, err
		}
		res, err := x.engine.Balance(x.ctx, tenant)
		return res.Remaining, err
	}},
}

// rollByEach makes each operation the first one at a boundary, and the last one before it.
func rollByEach(x *fixture) {
	holds := make(map[budget.TenantID]budget.ReservationID)
	prepare := func(tenant budget.TenantID) {
		x.openIn(tenant, 10, daily(20, 0))
		holds[tenant] = x.hold(tenant, 4, 6)
	}
	run := func(what string, tenant budget.TenantID, want budget.Microcents) {
		x.t.Helper()
		got, err := rollCalls[what].call(x, tenant, holds[tenant])
		if err != nil || got != want {
			x.t.Fatalf("%s at %s: remaining %d, %v; want %d", what, x.clock.instant(), got, err, want)
		}
	}
	for what := range rollCalls {
		prepare(budget.TenantID(what + " before"))
		prepare(budget.TenantID(what + " after"))
	}
	x.at(march(2).Add(-time.Millisecond))
	for what, c := range rollCalls {
		run(what, budget.TenantID(what+" before"), c.before)
	}
	x.at(march(2))
	for what, c := range rollCalls {
		tenant := budget.TenantID(what + " after")
		run(what, tenant, c.at)
		b, err := x.engine.Balance(x.ctx, tenant, budget.AtEpoch(noon))
		if err != nil || b.Granted != 10 || b.Epoch.End != budget.InstantOf(march(2)) {
			x.t.Fatalf("%s changed the epoch before it: %+v, %v", what, b, err)
		}
	}
}

func rollCarries(x *fixture) {
	cases := []struct{ carry, remaining, next budget.Microcents }{
		{0, 0, 20}, {0, 1, 20}, {0, 100, 20}, {1, 0, 20}, {1, 1, 21}, {1, 100, 21}, {40, 39, 59}, {40, 40, 60}, {40, 41, 60},
		{budget.CarryAll, 0, 20}, {budget.CarryAll, 41, 61}, {budget.CarryAll, 100, 120}, {0, -1, 19}, {0, -30, -10}, {40, -20, 0},
		{budget.CarryAll, -30, -10},
	}
	name := func(i int) budget.TenantID { return budget.TenantID(fmt.Sprintf("tenant-%d", i)) }
	for i, c := range cases {
		x.openIn(name(i), 100, daily(20, c.carry), budget.Overdraft(30))
		expect(x, committed(c.remaining, 100-c.remaining))(x.engine.Commit(x.ctx, x.hold(name(i), 100, 0), 100-c.remaining))
	}
	x.at(march(2))
	for i, c := range cases {
		moved := c.next - 20
		x.current(name(i), march(2), march(3), figures{c.next, c.next}, 0)
		x.past(name(i), noon, march(2), figures{100 - moved, c.remaining - moved, 0, 100 - c.remaining})
	}
}

func rollDebt(x *fixture) {
	for _, tenant := range []budget.TenantID{"acme", "third", "fourth"} {
		x.openIn(tenant, 100, daily(100, 0), budget.Overdraft(250))
		expect(x, committed(-220, 320))(x.engine.Commit(x.ctx, x.hold(tenant, 100, 0), 320))
	}
	x.at(march(2))
	expect(x, leftUntil(0, march(3)))(x.engine.Remaining(x.ctx, "acme"))
	expect(x, until(insufficient(0, 1), march(3)))(x.engine.TryReserve(x.ctx, "acme", 1))
	expect(x, lacking(0, 1))(x.engine.Withdraw(x.ctx, "acme", 1))
	x.current("acme", march(2), march(3), figures{-120, -120}, 0)
	x.past("acme", noon, march(2), figures{320, 0, 0, 320})
	x.at(march(3))
	x.current("acme", march(3), march(4), figures{-20, -20}, 0)
	x.current("third", march(3), march(4), figures{-20, -20}, 0) // after a day without an operation
	x.past("acme", march(2), march(3), figures{})
	x.past("third", noon, march(2), figures{320, 0, 0, 320})
	x.noEpoch("third", march(2))
	expect(x, granted(-15))(x.engine.Grant(x.ctx, "third", 5))
	x.at(march(4))
	x.current("acme", march(4), march(5), figures{80, 80}, 0)
	x.current("third", march(4), march(5), figures{85, 85}, 0)
	x.current("fourth", march(4), march(5), figures{80, 80}, 0)
	x.at(march(5))
	for _, tenant := range x.tenants {
		x.current(tenant, march(5), march(6), figures{100, 100}, 0)
	}
}

// rollAsleep compares accounts without operations for a month with others that are read daily.
func rollAsleep(x *fixture) {
	const days = 31
	april := func(day int) time.Time { return march(31 + day) }
	type sleeper struct{ read, asleep budget.TenantID }
	want := make(map[sleeper]budget.Microcents)
	for i, carry := range []budget.Microcents{0, 70, 100, 250, budget.CarryAll} {
		for j, remaining := range []budget.Microcents{0, 60, 100, -50, -1000, -5000} {
			s := sleeper{budget.TenantID(fmt.Sprintf("read-%d-%d", i, j)), budget.TenantID(fmt.Sprintf("asleep-%d-%d", i, j))}
			for _, tenant := range []budget.TenantID{s.read, s.asleep} {
				x.openIn(tenant, 100, daily(100, carry), budget.Overdraft(5000))
				expect(x, committed(remaining, 100-remaining))(x.engine.Commit(x.ctx, x.hold(tenant, 100, 0), 100-remaining))
			}
			want[s] = 100 + min(carry, remaining+(days-1)*100)
		}
	}
	for day := 2; day <= days; day++ {
		x.at(march(day))
		for s := range want {
			expect(x, budget.Ensured{Outcome: budget.Exists, Remaining: x.remainingOf(s.read)})(x.engine.EnsureTenant(x.ctx, s.read, 1))
		}
	}
	x.at(april(1).Add(time.Hour))
	for s, remaining := range want {
		for _, tenant := range []budget.TenantID{s.read, s.asleep} {
			x.current(tenant, april(1), april(2), figures{remaining, remaining}, 0)
		}
		x.noEpoch(s.asleep, march(2), march(30), april(1).Add(-time.Millisecond))
		x.noEpoch(s.read, noon, march(28))
		for _, at := range []time.Time{march(29), march(30), march(31)} {
			if b, err := x.engine.Balance(x.ctx, s.read, budget.AtEpoch(at)); err != nil || !b.Conserved() || b.Epoch.Start != budget.InstantOf(at) {
				x.t.Fatalf("the epoch of %s: %+v, %v", at, b, err)
			}
		}
	}
}

// remainingOf returns the remaining amount of a tenant's balance.
func (x *fixture) remainingOf(tenant budget.TenantID) budget.Microcents {
	x.t.Helper()
	b, err := x.engine.Balance(x.ctx, tenant)
	if err != nil || b.Outcome != budget.Found {
		x.t.Fatalf("the balance of %q: %+v, %v", tenant, b, err)
	}
	return b.Remaining
}

// rollDue ends holds at their deadlines with the same operation that begins an epoch.
func rollDue(x *fixture) {
	x.openIn("acme", 100, daily(10, 50))
	x.hold("acme", 70, 30, budget.WithHoldTTL(march(2).Sub(noon)-time.Millisecond))
	x.openIn("globex", 100, daily(10, 50))
	x.hold("globex", 70, 30, budget.WithHoldTTL(march(2).Sub(noon)))
	x.openIn("initech", 10, daily(10, 5))
	x.hold("initech", 10, 0, budget.WithHoldTTL(march(2).Sub(noon)+time.Hour))
	x.openIn("hooli", 10, daily(10, 5))
	x.hold("hooli", 10, 0, budget.WithHoldTTL(march(3).Sub(noon)))
	x.at(march(2))
	x.current("acme", march(2), march(3), figures{60, 60}, 0)
	x.past("acme", noon, march(2), figures{50, 50})
	x.hold("globex", 60, 0)
	x.current("globex", march(2), march(3), figures{60, 0, 60}, 0)
	x.past("globex", noon, march(2), figures{50, 50})
	x.current("hooli", march(2), march(3), figures{10, 10}, 10)
	x.at(march(3)) // after an epoch without an operation, which had more than the cap to pass on
	x.current("initech", march(3), march(4), figures{15, 15}, 0)
	x.past("initech", noon, march(2), figures{5, 5})
	x.current("hooli", march(3), march(4), figures{15, 15}, 0) // the hold ended before the boundary
	x.past("hooli", march(2), march(3), figures{10, 10})
	x.past("hooli", noon, march(2), figures{5, 5})
	if holds := x.holds("initech"); len(holds) != 0 {
		x.t.Fatalf("got the holds %+v", holds)
	}
}

// rollEdges carries amounts up to the largest, also through epochs without an operation: the
// part that would not fit 64 bits together with the overdraft stays behind.
func rollEdges(x *fixture) {
	const days = 5
	type account struct {
		tenant       budget.TenantID
		amount, room budget.Microcents
		read         bool // daily
	}
	var accounts []account
	for i, edge := range edges {
		for _, overdraft := range []budget.Microcents{0, 1, 1000} {
			for _, read := range []bool{false, true} {
				a := account{budget.TenantID(fmt.Sprintf("edge-%d-%d-%t", i, overdraft, read)), edge, budget.MaxMicrocents - edge - overdraft, read}
				if a.room >= 0 {
					x.openIn(a.tenant, edge, daily(0, budget.CarryAll), budget.Overdraft(overdraft))
					x.spend(a.tenant, 1)
					accounts = append(accounts, a)
				}
			}
		}
	}
	for day := 2; day <= days; day++ {
		x.at(march(day))
		for _, a := range accounts {
			remaining, first := a.amount-1, min(a.amount-1, a.room)
			for range day - 1 {
				remaining = a.amount + min(remaining, a.room)
			}
			if a.read || day == days {
				x.current(a.tenant, march(day), march(day+1), figures{remaining, remaining}, 0)
			}
			if a.read && day == 2 || !a.read && day == days {
				x.past(a.tenant, noon, march(2), figures{a.amount - first, a.amount - 1 - first, 0, 1})
			}
		}
	}
	x.openIn("hours", budget.MaxMicrocents, budget.Window{Period: budget.Hour, Carry: budget.CarryAll})
	x.at(march(400))
	x.current("hours", march(400), march(400).Add(time.Hour), figures{budget.MaxMicrocents, budget.MaxMicrocents}, 0)
}

func rollAdjusted(x *fixture) {
	x.openIn("acme", 100, daily(50, 20))
	expect(x, granted(110))(x.engine.Grant(x.ctx, "acme", 10))
	expect(x, withdrawn(105))(x.engine.Withdraw(x.ctx, "acme", 5))
	x.at(march(2))
	expect(x, lacking(70, 71))(x.engine.Withdraw(x.ctx, "acme", 71))
	expect(x, withdrawn(60))(x.engine.Withdraw(x.ctx, "acme", 10))
	expect(x, granted(65))(x.engine.Grant(x.ctx, "acme", 5))
	x.current("acme", march(2), march(3), figures{65, 65}, 0)
	x.past("acme", noon, march(2), figures{85, 85})
	x.at(march(3))
	x.current("acme", march(3), march(4), figures{70, 70}, 0) // the amount is as before
	expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, "acme", 70))
	x.at(march(4))
	x.current("acme", march(4), march(5), figures{50, 50}, 0)
	x.past("acme", march(3), march(4), figures{})
	x.past("acme", march(2), march(3), figures{45, 45})
}
