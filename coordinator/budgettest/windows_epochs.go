package budgettest

import (
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// epochChecks are the checks of ended epochs, and of the settings that concern several epochs.
func epochChecks() []check {
	return []check{
		{name: "the last three ended epochs are kept", run: epochsKept},
		{name: "an ended epoch with holds is kept", run: epochsHeld},
		{name: "holds of several epochs end each in its own", run: epochsApart},
		{name: "the epoch at a time", run: epochsAt},
		{name: "holds of all epochs are listed", ttl: 72 * time.Hour, run: epochsListed},
		{name: "caps count the holds of all epochs", run: epochsCapped},
		{name: "thresholds can be crossed in each epoch", run: epochsThresholds},
		{name: "a late settle crosses thresholds of the current epoch", run: epochsLateThresholds},
		{name: "an account with holds of an ended epoch is not deleted", levels: true, run: epochsDeleted},
		{name: "concurrent operations begin an epoch once", run: epochsConcurrent},
	}
}

func epochsKept(x *fixture) {
	x.openIn("acme", 100, daily(100, 0))
	x.spend("acme", 1)
	for day := 2; day <= 8; day++ {
		x.at(march(day))
		x.spend("acme", budget.Microcents(day))
		x.current("acme", march(day), march(day+1), figures{100, budget.Microcents(100 - day), 0, budget.Microcents(day)}, 0)
		for ended := day - 1; ended >= max(day-3, 1); ended-- {
			spent := budget.Microcents(ended)
			x.past("acme", later(march(ended), noon), march(ended+1), figures{100, 100 - spent, 0, spent})
		}
		if day > 4 {
			x.noEpoch("acme", later(march(day-4), noon), march(day-3).Add(-time.Millisecond))
		}
	}
	x.at(march(20)) // the epochs between have had no operation
	x.current("acme", march(20), march(21), figures{100, 100}, 0)
	x.past("acme", march(8), march(9), figures{100, 92, 0, 8})
	x.past("acme", march(6), march(7), figures{100, 94, 0, 6})
	x.noEpoch("acme", march(5), march(9), march(19), march(20).Add(-time.Millisecond))
}

func epochsHeld(x *fixture) {
	x.openIn("acme", 100, daily(100, 0))
	first := x.hold("acme", 10, 90)
	var second budget.ReservationID
	for day := 2; day <= 9; day++ {
		x.at(march(day))
		if day == 3 {
			second = x.hold("acme", 20, 80)
		} else {
			x.hold("acme", 1, 99)
		}
		x.past("acme", noon, march(2), figures{100, 90, 10})
	}
	x.current("acme", march(9), march(10), figures{100, 99, 1}, 36)
	x.past("acme", march(3), march(4), figures{100, 80, 20})
	expect(x, committed(99, 100))(x.engine.Commit(x.ctx, first, 100))
	expect(x, released(99, 20))(x.engine.Release(x.ctx, second))
	x.past("acme", noon, march(2), figures{100, 0, 0, 100}) // until the next epoch
	x.past("acme", march(3), march(4), figures{100, 100})
	x.at(march(10))
	x.current("acme", march(10), march(11), figures{100, 100}, 7)
	x.noEpoch("acme", noon, march(3))
	for _, day := range []int{2, 4, 5, 6, 7, 8, 9} {
		x.past("acme", march(day), march(day+1), figures{100, 99, 1})
	}
	for _, h := range x.holds("acme") {
		expect(x, committed(100, 0))(x.engine.Commit(x.ctx, h.ID, 0))
	}
	x.at(march(11))
	x.current("acme", march(11), march(12), figures{100, 100}, 0)
	x.noEpoch("acme", march(2), march(4), march(5), march(6), march(7))
	for _, day := range []int{8, 9, 10} {
		x.past("acme", march(day), march(day+1), figures{100, 100})
	}
}

// epochsApart has a hold at the first and at the last millisecond of each epoch.
func epochsApart(x *fixture) {
	x.openIn("acme", 1000, daily(1000, 0))
	ids := make(map[int][2]budget.ReservationID)
	for day := 1; day <= 6; day++ {
		first := x.hold("acme", budget.Microcents(day), budget.Microcents(1000-day))
		x.at(march(day + 1).Add(-time.Millisecond))
		ids[day] = [2]budget.ReservationID{first, x.hold("acme", 100, budget.Microcents(900-day))}
		x.at(march(day + 1))
	}
	x.at(march(7).Add(time.Hour))
	x.current("acme", march(7), march(8), figures{1000, 1000}, 621)
	for day := 6; day >= 1; day-- {
		start, held := later(march(day), noon), budget.Microcents(day)
		expect(x, committed(1000, 101))(x.engine.Commit(x.ctx, ids[day][1], 101))
		x.past("acme", start, march(day+1), figures{1000, 899 - held, held, 101})
		expect(x, released(1000, held))(x.engine.Release(x.ctx, ids[day][0]))
		x.past("acme", start, march(day+1), figures{1000, 899, 0, 101})
	}
	x.current("acme", march(7), march(8), figures{1000, 1000}, 0)
}

func epochsAt(x *fixture) {
	x.open("none", 100)
	x.openIn("acme", 100, daily(100, 0))
	x.at(march(2).Add(time.Hour))
	x.hold("acme", 10, 90)
	x.at(march(4).Add(time.Hour))
	x.current("acme", march(4), march(5), figures{100, 100}, 10)
	read := func(at time.Time) budget.Balance {
		x.t.Helper()
		b, err := x.engine.Balance(x.ctx, "acme", budget.AtEpoch(at))
		if err != nil {
			x.t.Fatal(err)
		}
		return b
	}
	first := figures{100, 100}.balance(noon, march(2), x.settings["acme"])
	second := figures{100, 90, 10}.balance(march(2), march(3), x.settings["acme"])
	for at, want := range map[time.Time]budget.Balance{
		noon: first, noon.Add(time.Hour): first, march(2).Add(-time.Millisecond): first, march(2).Add(-time.Nanosecond): first,
		march(2): second, march(2).Add(time.Nanosecond): second, march(3).Add(-time.Millisecond): second,
		march(2).In(time.FixedZone("", 3600)): second,
	} {
		if got := read(at); got != want {
			x.t.Fatalf("at %s: got %+v, want %+v", at, got, want)
		}
	}
	x.noEpoch("acme", noon.Add(-time.Millisecond), march(3), march(4).Add(-time.Millisecond), march(5), march(800), time.Unix(1, 0))
	for _, tenant := range []budget.TenantID{"ghost", "acme/search"} {
		expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, tenant, budget.AtEpoch(noon)))
	}
	for _, tenant := range invalidTenants {
		refused[budget.Balance](x, budget.ErrInvalidTenant, "an epoch of "+string(tenant))(x.engine.Balance(x.ctx, tenant, budget.AtEpoch(noon)))
	}
	x.noEpoch("none", noon, march(4), march(4).Add(time.Hour))
	expect(x, budget.Balance{Outcome: budget.Found, Granted: 100, Remaining: 100})(x.engine.Balance(x.ctx, "none", budget.AtEpoch(time.Time{})))
	last := figures{100, 90, 10}.balance(march(2), march(3), x.settings["acme"])
	expect(x, last)(x.engine.Balance(x.ctx, "acme", budget.AtEpoch(noon), budget.AtEpoch(march(2)))) // the last option counts
	x.at(march(5))                                                                                   // the read is the first operation of an epoch
	expect(x, figures{100, 100}.balance(march(4), march(5), x.settings["acme"]))(x.engine.Balance(x.ctx, "acme", budget.AtEpoch(march(4))))
}

func epochsListed(x *fixture) {
	x.openIn("acme", 100, daily(100, budget.CarryAll))
	var want []budget.Hold
	note := func(held, remaining budget.Microcents) budget.ReservationID {
		x.t.Helper()
		made := x.clock.instant()
		id := x.hold("acme", held, remaining)
		want = append(want, budget.Hold{ID: id, Held: held, Made: made, Deadline: made.Add(72 * time.Hour)})
		return id
	}
	list := func(ended budget.Microcents) {
		x.t.Helper()
		got := x.holds("acme")
		if len(got) != len(want) {
			x.t.Fatalf("got the holds %+v, want %+v", got, want)
		}
		for _, h := range want {
			fate, err := x.engine.Lookup(x.ctx, h.ID)
			if err != nil || (fate != budget.Fate{Outcome: budget.Reserved, Amount: h.Held, At: h.Made, Deadline: h.Deadline}) {
				x.t.Fatalf("got %+v, %v; want %+v", fate, err, h)
			}
			found := false
			for _, g := range got {
				found = found || g == h
			}
			if !found {
				x.t.Fatalf("got the holds %+v, want %+v", got, want)
			}
		}
		all, err := x.engine.Holds(x.ctx, "acme")
		b, err2 := x.engine.Balance(x.ctx, "acme")
		if err != nil || err2 != nil || all.Balance != b || b.Ended != ended {
			x.t.Fatalf("got %+v, %v and %+v, %v; want %d of ended epochs", all.Balance, err, b, err2, ended)
		}
	}
	note(10, 90)
	first := note(5, 85)
	list(0)
	x.at(march(2))
	list(15)
	note(20, 165)
	list(15)
	x.at(march(3))
	list(35)
	expect(x, committed(266, 4))(x.engine.Commit(x.ctx, first, 4))
	want = append(want[:1], want[2:]...)
	list(30)
	x.at(noon.Add(72*time.Hour - time.Millisecond))
	list(30)
	x.at(noon.Add(72 * time.Hour))
	want = want[1:]
	list(20)
	x.at(march(5))
	want = nil
	list(0)
}

func epochsCapped(x *fixture) {
	x.openIn("sum", 100, daily(100, 0), budget.CapReserved(100))
	x.openIn("number", 100, daily(100, 0), budget.CapHolds(2))
	first, second := x.hold("sum", 60, 40), x.hold("number", 1, 99)
	x.at(march(2))
	expect(x, cappedAt("", budget.ReservedCap, 100))(x.engine.TryReserve(x.ctx, "sum", 41))
	third := x.hold("sum", 40, 60)
	expect(x, cappedAt("", budget.ReservedCap, 100))(x.engine.TryReserve(x.ctx, "sum", 1))
	fourth := x.hold("number", 1, 99)
	expect(x, cappedAt("", budget.HoldsCap, 2))(x.engine.TryReserve(x.ctx, "number", 1))
	x.at(march(3))
	expect(x, cappedAt("", budget.ReservedCap, 100))(x.engine.TryReserve(x.ctx, "sum", 1))
	expect(x, cappedAt("", budget.HoldsCap, 2))(x.engine.TryReserve(x.ctx, "number", 1))
	expect(x, committed(100, 100))(x.engine.Commit(x.ctx, first, 100))
	expect(x, cappedAt("", budget.ReservedCap, 100))(x.engine.TryReserve(x.ctx, "sum", 61))
	x.hold("sum", 60, 40)
	expect(x, cappedAt("", budget.ReservedCap, 100))(x.engine.TryReserve(x.ctx, "sum", 1))
	expect(x, released(100, 1))(x.engine.Release(x.ctx, fourth))
	x.hold("number", 50, 50)
	expect(x, cappedAt("", budget.HoldsCap, 2))(x.engine.TryReserve(x.ctx, "number", 1))
	expect(x, released(50, 1))(x.engine.Release(x.ctx, second))
	expect(x, released(40, 40))(x.engine.Release(x.ctx, third))
	x.hold("number", 1, 49)
	x.hold("sum", 40, 0)
	x.current("sum", march(3), march(4), figures{100, 0, 100}, 0)
}

func epochsThresholds(x *fixture) {
	event := func(percent int, committed, granted budget.Microcents) budget.Crossing {
		return budget.Crossing{Tenant: "acme", Percent: percent, Committed: committed, Granted: granted}
	}
	x.openIn("acme", 100, daily(100, budget.CarryAll), budget.AtThresholds(50, 100))
	id := x.hold("acme", 10, 90)
	x.spend("acme", 60)
	x.reached("acme", 50)
	events := []budget.Crossing{event(50, 60, 100)}
	x.crossings(events...)
	x.at(march(2))
	x.reached("acme")
	x.spend("acme", 64) // of 130
	x.reached("acme")
	x.spend("acme", 1)
	x.reached("acme", 50)
	events = append(events, event(50, 65, 130))
	x.crossings(events...)
	x.spend("acme", 65)
	x.reached("acme", 50, 100)
	events = append(events, event(100, 130, 130))
	x.crossings(events...)
	x.at(march(4)) // after an epoch without an operation
	x.spend("acme", 100)
	x.reached("acme", 50)
	events = append(events, event(50, 100, 200))
	x.crossings(events...)
	x.setWindow("acme", daily(210, 0), 210) // to 310
	x.reached("acme")
	x.spend("acme", 55)
	events = append(events, event(50, 155, 310))
	expect(x, committed(155, 10))(x.engine.Commit(x.ctx, id, 10))
	x.lastCrossing(events...)
}

func epochsLateThresholds(x *fixture) {
	event := func(committed, granted budget.Microcents) budget.Crossing {
		return budget.Crossing{Tenant: "acme", Percent: 50, Committed: committed, Granted: granted}
	}
	x.openIn("acme", 100, daily(100, budget.CarryAll), budget.AtThresholds(50))
	first, second := x.hold("acme", 30, 70), x.hold("acme", 50, 20)
	x.at(march(2))
	x.spend("acme", 58) // of 120
	x.reached("acme")
	x.crossings()
	expect(x, committed(42, 50))(x.engine.Commit(x.ctx, first, 50)) // its epoch has committed 50 of its 100
	x.reached("acme", 50)
	x.crossings(event(58, 100))
	expect(x, released(92, 50))(x.engine.Release(x.ctx, second))
	x.reached("acme")
	x.spend("acme", 17)
	x.reached("acme", 50)
	x.current("acme", march(2), march(3), figures{150, 75, 0, 75}, 0)
	x.past("acme", noon, march(2), figures{50, 0, 0, 50})
	x.lastCrossing(event(58, 100), event(75, 150))
}

func epochsDeleted(x *fixture) {
	x.openIn(root, 100, daily(100, 0))
	x.openIn(leaf, 100, daily(100, 20))
	id := x.holdAt(leaf, 10, 90, leaf)
	x.at(march(2))
	for tenant, granted := range map[budget.TenantID]budget.Microcents{root: 100, leaf: 120} {
		want := figures{granted, granted}.balance(march(2), march(3), x.settings[tenant])
		want.Outcome, want.Ended = budget.HoldsOpen, 10
		expect(x, want)(x.delete(tenant))
	}
	expect(x, settlementAt(released(100, 10), root))(x.engine.Release(x.ctx, id))
	x.at(march(3)) // the delete is the first operation of an epoch
	for _, tenant := range []budget.TenantID{leaf, root} {
		granted := 100 + x.settings[tenant].Window.Carry
		want := figures{granted, granted}.balance(march(3), march(4), x.settings[tenant])
		want.Outcome = budget.Deleted
		expect(x, want)(x.delete(tenant))
		x.noMissing(tenant)
	}
	x.open(leaf, 50)
	x.balance(leaf, 50, 50, 0, 0)
	x.noEpoch(leaf, noon, march(2), march(3))
	x.openIn(root, 50, daily(0, 0))
	x.current(root, march(3), march(4), figures{50, 50}, 0)
	x.noEpoch(root, noon, march(2))
}

// noMissing checks that a deleted tenant has no epoch.
func (x *fixture) noMissing(tenant budget.TenantID) {
	x.t.Helper()
	for _, at := range []time.Time{noon, march(2), march(3)} {
		expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, tenant, budget.AtEpoch(at)))
	}
}

// epochsConcurrent has all callers make the first operation after a boundary, several times.
func epochsConcurrent(x *fixture) {
	const cost = 3
	x.openIn("acme", 100, daily(100, 50))
	remaining := budget.Microcents(100)
	for day := 2; day <= 10; day++ {
		x.at(march(day))
		want := 100 + min(remaining, 50)
		var reserved atomic.Int64
		atOnce(callers, func(caller int) {
			for range caller + 1 {
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
		spent := cost * budget.Microcents(reserved.Load())
		remaining = want - spent
		x.current("acme", march(day), march(day+1), figures{want, remaining, 0, spent}, 0)
		if expected := min(callers*(callers+1)/2, int64(want)/cost); reserved.Load() != expected {
			x.t.Errorf("%d reserves of %d succeeded, want %d", reserved.Load(), cost, expected)
		}
	}
}
