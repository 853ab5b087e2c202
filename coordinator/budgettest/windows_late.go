package budgettest

import (
	"fmt"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// lateChecks are the checks of holds that end after their epoch.
func lateChecks() []check {
	return []check{
		{name: "a commit one and two boundaries later", run: lateCommits},
		{name: "a late surplus passes on as far as the window says", run: lateSurplus},
		{name: "a late release and expiry are a surplus, too", ttl: 36 * time.Hour, run: lateReleases},
		{name: "a late surplus pays the debt that was passed on", run: lateRepays},
		{name: "a late surplus stays behind if there is no room", run: lateRoom},
		{name: "a late surplus after an overdraft was lowered", run: lateLowered},
		{name: "a late excess is covered by its epoch and the current one", run: lateExcess},
		{name: "a late excess with an overdraft", run: lateOverdraft},
		{name: "a late excess is paid by its own epoch first", run: lateOwnFirst},
		{name: "a late excess beyond 64 bits of its epoch", run: lateBeyond},
		{name: "a late commit of the available amount", run: lateAvailable},
		{name: "late commits exact at every edge", run: lateEdges},
	}
}

func lateCommits(x *fixture) {
	x.openIn("acme", 100, daily(100, 0))
	first, second, third := x.hold("acme", 40, 60), x.hold("acme", 20, 40), x.hold("acme", 10, 30)
	x.at(march(2).Add(time.Hour))
	fourth := x.hold("acme", 25, 75)
	expect(x, committed(75, 25))(x.engine.Commit(x.ctx, first, 25))
	x.current("acme", march(2), march(3), figures{100, 75, 25}, 30)
	x.past("acme", noon, march(2), figures{100, 45, 30, 25})
	x.at(march(3))
	expect(x, committed(100, 20))(x.engine.Commit(x.ctx, second, 20))
	expect(x, committed(100, 30))(x.engine.Commit(x.ctx, fourth, 30))
	x.current("acme", march(3), march(4), figures{100, 100}, 10)
	x.past("acme", march(2), march(3), figures{100, 70, 0, 30})
	x.past("acme", noon, march(2), figures{100, 45, 10, 45})
	expect(x, committed(100, 55))(x.engine.Commit(x.ctx, third, 55))
	x.past("acme", noon, march(2), figures{100, 0, 0, 100})
	x.current("acme", march(3), march(4), figures{100, 100}, 0)
	for _, id := range []budget.ReservationID{second, third, fourth} { // an engine may have forgotten the first
		expect(x, missing(budget.Committed))(x.engine.Commit(x.ctx, id, 1))
	}
}

func lateSurplus(x *fixture) {
	cases := []struct {
		tenant       budget.TenantID
		carry        budget.Microcents
		begun, early budget.Microcents // what the current epoch has at the boundary, and after a surplus of 15
		first        figures           // of the ended epoch
		second       figures
		next, last   budget.Microcents // what the second next epoch has, and after another surplus of 10
		third        figures
	}{
		{"none", 0, 100, 100, figures{100, 30, 70}, figures{100, 45, 30, 25}, 100, 100, figures{100, 55, 0, 45}},
		{"all", budget.CarryAll, 130, 145, figures{70, 0, 70}, figures{55, 0, 30, 25}, 245, 255, figures{45, 0, 0, 45}},
		{"capped", 40, 130, 140, figures{70, 0, 70}, figures{60, 5, 30, 25}, 140, 140, figures{60, 15, 0, 45}},
		{"reached", 30, 130, 130, figures{70, 0, 70}, figures{70, 15, 30, 25}, 130, 130, figures{70, 25, 0, 45}},
		{"exactly", 45, 130, 145, figures{70, 0, 70}, figures{55, 0, 30, 25}, 145, 145, figures{55, 10, 0, 45}},
	}
	ids := make(map[budget.TenantID][2]budget.ReservationID)
	for _, c := range cases {
		x.openIn(c.tenant, 100, daily(100, c.carry))
		ids[c.tenant] = [2]budget.ReservationID{x.hold(c.tenant, 40, 60), x.hold(c.tenant, 30, 30)}
	}
	x.at(march(2))
	for _, c := range cases {
		x.current(c.tenant, march(2), march(3), figures{c.begun, c.begun}, 70)
		x.past(c.tenant, noon, march(2), c.first)
		expect(x, committed(c.early, 25))(x.engine.Commit(x.ctx, ids[c.tenant][0], 25))
		x.current(c.tenant, march(2), march(3), figures{c.early, c.early}, 30)
		x.past(c.tenant, noon, march(2), c.second)
	}
	x.at(march(3))
	for _, c := range cases {
		x.current(c.tenant, march(3), march(4), figures{c.next, c.next}, 30)
		expect(x, committed(c.last, 20))(x.engine.Commit(x.ctx, ids[c.tenant][1], 20))
		x.current(c.tenant, march(3), march(4), figures{c.last, c.last}, 0)
		x.past(c.tenant, noon, march(2), c.third)
	}
}

func lateReleases(x *fixture) {
	x.openIn("acme", 100, daily(100, 40))
	first := x.hold("acme", 25, 75)
	x.hold("acme", 30, 45, budget.WithHoldTTL(24*time.Hour))
	x.hold("acme", 35, 10) // until the end of the next epoch
	x.at(march(2))
	x.current("acme", march(2), march(3), figures{110, 110}, 90)
	expect(x, released(135, 25))(x.engine.Release(x.ctx, first))
	x.past("acme", noon, march(2), figures{65, 0, 65})
	x.at(march(2).Add(12*time.Hour - time.Millisecond))
	x.current("acme", march(2), march(3), figures{135, 135}, 65)
	x.at(march(2).Add(12 * time.Hour))
	expect(x, granted(141))(x.engine.Grant(x.ctx, "acme", 1)) // 5 of the 30 that returned, too
	x.past("acme", noon, march(2), figures{60, 25, 35})
	x.current("acme", march(2), march(3), figures{141, 141}, 35)
	x.at(march(3))
	x.current("acme", march(3), march(4), figures{140, 140}, 0)
	x.past("acme", noon, march(2), figures{60, 60})
	x.past("acme", march(2), march(3), figures{101, 101})
	if holds := x.holds("acme"); len(holds) != 0 {
		x.t.Fatalf("got the holds %+v", holds)
	}
}

func lateRepays(x *fixture) {
	x.openIn("acme", 100, daily(100, 0), budget.Overdraft(50))
	first, second, third := x.hold("acme", 20, 80), x.hold("acme", 40, 40), x.hold("acme", 30, 10)
	expect(x, committed(-50, 90))(x.engine.Commit(x.ctx, third, 90))
	x.at(march(2))
	x.current("acme", march(2), march(3), figures{50, 50}, 60)
	x.past("acme", noon, march(2), figures{150, 0, 60, 90})
	expect(x, released(70, 20))(x.engine.Release(x.ctx, first))
	x.past("acme", noon, march(2), figures{130, 0, 40, 90})
	expect(x, committed(100, 3))(x.engine.Commit(x.ctx, second, 3)) // 30 of the 37 that return were missing
	x.past("acme", noon, march(2), figures{100, 7, 0, 93})
	x.current("acme", march(2), march(3), figures{100, 100}, 0)

	x.openIn("globex", 10, daily(10, budget.CarryAll), budget.Overdraft(50)) // the debt of several epochs
	fourth, fifth := x.hold("globex", 5, 5), x.hold("globex", 5, 0)
	expect(x, committed(-50, 55))(x.engine.Commit(x.ctx, fourth, 55))
	x.at(march(4))
	x.current("globex", march(4), march(5), figures{-30, -30}, 5)
	expect(x, released(-25, 5))(x.engine.Release(x.ctx, fifth))
	x.past("globex", march(2), march(3), figures{55, 0, 0, 55})
	x.current("globex", march(4), march(5), figures{-25, -25}, 0)
}

func lateRoom(x *fixture) {
	const most = budget.MaxMicrocents
	x.openIn("acme", 100, daily(100, budget.CarryAll), budget.Overdraft(7))
	first, second, third := x.hold("acme", 40, 60), x.hold("acme", 30, 30), x.hold("acme", 30, 0)
	x.at(march(2))
	expect(x, granted(most-17))(x.engine.Grant(x.ctx, "acme", most-117))
	expect(x, released(most-7, 40))(x.engine.Release(x.ctx, first)) // room for 10 of the 40
	x.past("acme", noon, march(2), figures{90, 30, 60})
	expect(x, released(most-7, 30))(x.engine.Release(x.ctx, second))
	x.past("acme", noon, march(2), figures{90, 60, 30})
	refused[budget.Adjustment](x, budget.ErrOverflow, "a grant")(x.engine.Grant(x.ctx, "acme", 1))
	expect(x, withdrawn(most-12))(x.engine.Withdraw(x.ctx, "acme", 5))
	expect(x, committed(most-7, 10))(x.engine.Commit(x.ctx, third, 10))
	x.past("acme", noon, march(2), figures{85, 75, 0, 10})
	x.current("acme", march(2), march(3), figures{most - 7, most - 7}, 0)
	x.at(march(3))
	x.current("acme", march(3), march(4), figures{most - 7, most - 7}, 0)
	x.past("acme", march(2), march(3), figures{100, 100})
}

// lateLowered removes the overdraft that a debt used, so that what the current epoch may be
// granted is more than 64 bits above it.
func lateLowered(x *fixture) {
	x.openIn("acme", 100, daily(100, budget.CarryAll), budget.Overdraft(250))
	first, second := x.hold("acme", 50, 50), x.hold("acme", 50, 0)
	expect(x, committed(-250, 300))(x.engine.Commit(x.ctx, first, 300))
	x.at(march(2))
	x.configure("acme", budget.Overdraft(0))
	x.current("acme", march(2), march(3), figures{-150, -150}, 50)
	expect(x, overrun(-150))(x.engine.Commit(x.ctx, second, 51))
	expect(x, committed(-110, 10))(x.engine.Commit(x.ctx, second, 10))
	x.current("acme", march(2), march(3), figures{-110, -110}, 0)
	x.past("acme", noon, march(2), figures{310, 0, 0, 310})
	x.configure("acme", budget.Overdraft(budget.MaxMicrocents-100))
	x.at(march(3))
	x.current("acme", march(3), march(4), figures{-10, -10}, 0)
}

func lateExcess(x *fixture) {
	lacks := func(tenant budget.TenantID, id budget.ReservationID, remaining, actual budget.Microcents) {
		x.t.Helper()
		before, err := x.engine.Balance(x.ctx, tenant)
		if err != nil {
			x.t.Fatal(err)
		}
		expect(x, overrun(remaining))(x.engine.Commit(x.ctx, id, actual))
		expect(x, overrun(remaining))(x.engine.Commit(x.ctx, id, budget.MaxMicrocents))
		expect(x, before)(x.engine.Balance(x.ctx, tenant))
	}
	ids := make(map[budget.TenantID]budget.ReservationID)
	for tenant, carry := range map[budget.TenantID]budget.Microcents{
		"all": budget.CarryAll, "busy": budget.CarryAll, "poor": budget.CarryAll, "none": 0, "spent": 0, "capped": 20, "cut": 20,
	} {
		x.openIn(tenant, 100, daily(100, carry))
		ids[tenant] = x.hold(tenant, 40, 60)
	}
	x.at(march(2))
	lacks("all", ids["all"], 160, 101) // its epoch had 60
	expect(x, committed(100, 100))(x.engine.Commit(x.ctx, ids["all"], 100))
	x.current("all", march(2), march(3), figures{100, 100}, 0)
	x.past("all", noon, march(2), figures{100, 0, 0, 100})

	x.hold("busy", 130, 30)
	lacks("busy", ids["busy"], 30, 71) // and the current one has spent the amount passed on
	expect(x, committed(0, 70))(x.engine.Commit(x.ctx, ids["busy"], 70))
	x.current("busy", march(2), march(3), figures{130, 0, 130}, 0)
	x.past("busy", noon, march(2), figures{70, 0, 0, 70})

	expect(x, withdrawn(5))(x.engine.Withdraw(x.ctx, "poor", 155))
	lacks("poor", ids["poor"], 5, 46)
	expect(x, granted(10))(x.engine.Grant(x.ctx, "poor", 5))
	expect(x, committed(0, 50))(x.engine.Commit(x.ctx, ids["poor"], 50))

	x.hold("none", 100, 0)
	lacks("none", ids["none"], 0, 101)
	expect(x, committed(0, 100))(x.engine.Commit(x.ctx, ids["none"], 100)) // its epoch has it
	x.current("none", march(2), march(3), figures{100, 0, 100}, 0)
	x.past("none", noon, march(2), figures{100, 0, 0, 100})

	x.hold("capped", 115, 5)
	lacks("capped", ids["capped"], 5, 86) // 40 of its own, and 5 of the 20 that it passed on
	expect(x, committed(0, 85))(x.engine.Commit(x.ctx, ids["capped"], 85))
	x.current("capped", march(2), march(3), figures{115, 0, 115}, 0)
	x.past("capped", noon, march(2), figures{85, 0, 0, 85})

	expect(x, committed(120, 80))(x.engine.Commit(x.ctx, ids["cut"], 80)) // all of it is its own
	x.current("cut", march(2), march(3), figures{120, 120}, 0)
	x.past("cut", noon, march(2), figures{80, 0, 0, 80})

	x.at(march(4))
	lacks("spent", ids["spent"], 100, 101) // the current epoch would have it
	expect(x, committed(100, 99))(x.engine.Commit(x.ctx, ids["spent"], 99))
	x.past("spent", noon, march(2), figures{100, 1, 0, 99})
}

func lateOverdraft(x *fixture) {
	ids := make(map[budget.TenantID]budget.ReservationID)
	for _, tenant := range []budget.TenantID{"acme", "debt", "beyond", "owed"} {
		x.openIn(tenant, 100, daily(100, 0), budget.Overdraft(30))
		ids[tenant] = x.hold(tenant, 40, 60)
	}
	expect(x, committed(-20, 80))(x.engine.Commit(x.ctx, x.hold("owed", 10, 50), 80))
	x.at(march(2))
	expect(x, overrun(100))(x.engine.Commit(x.ctx, ids["acme"], 131))
	expect(x, committed(70, 130))(x.engine.Commit(x.ctx, ids["acme"], 130))
	x.current("acme", march(2), march(3), figures{70, 70}, 0)
	x.past("acme", noon, march(2), figures{130, 0, 0, 130})
	for _, tenant := range []budget.TenantID{"debt", "beyond"} {
		expect(x, committed(-20, 120))(x.engine.Commit(x.ctx, x.hold(tenant, 100, 0), 120))
	}
	expect(x, overrun(-20))(x.engine.Commit(x.ctx, ids["debt"], 111)) // the current epoch can pay 10
	expect(x, committed(-30, 110))(x.engine.Commit(x.ctx, ids["debt"], 110))
	x.current("debt", march(2), march(3), figures{90, -30, 0, 120}, 0)
	x.past("debt", noon, march(2), figures{110, 0, 0, 110})

	x.configure("beyond", budget.Overdraft(10))
	expect(x, overrun(-20))(x.engine.Commit(x.ctx, ids["beyond"], 101))
	expect(x, committed(-20, 100))(x.engine.Commit(x.ctx, ids["beyond"], 100)) // of its own epoch
	x.current("beyond", march(2), march(3), figures{100, -20, 0, 120}, 0)
	x.past("beyond", noon, march(2), figures{100, 0, 0, 100})

	expect(x, overrun(80))(x.engine.Commit(x.ctx, ids["owed"], 51)) // 20 of the overdraft are used
	expect(x, committed(70, 50))(x.engine.Commit(x.ctx, ids["owed"], 50))
	x.past("owed", noon, march(2), figures{130, 0, 0, 130})
}

// lateOwnFirst has a current epoch without money, and ended epochs that kept more than the
// carry-over would let them keep: it was raised, or there was no room for what returned.
func lateOwnFirst(x *fixture) {
	const most = budget.MaxMicrocents
	x.openIn("raised", 100, daily(100, 0))
	x.openIn("room", 100, daily(100, budget.CarryAll))
	raised := x.hold("raised", 40, 60)
	first, second := x.hold("room", 40, 60), x.hold("room", 30, 30)
	x.at(march(2))
	x.setWindow("raised", daily(0, budget.CarryAll), 100)
	x.hold("raised", 100, 0)
	expect(x, overrun(0))(x.engine.Commit(x.ctx, raised, 101))
	expect(x, committed(0, 60))(x.engine.Commit(x.ctx, raised, 60))
	x.current("raised", march(2), march(3), figures{100, 0, 100}, 0)
	x.past("raised", noon, march(2), figures{100, 40, 0, 60})

	expect(x, granted(most))(x.engine.Grant(x.ctx, "room", most-130))
	expect(x, released(most, 40))(x.engine.Release(x.ctx, first))
	expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, "room", most))
	x.past("room", noon, march(2), figures{70, 40, 30})
	expect(x, overrun(0))(x.engine.Commit(x.ctx, second, 71))
	expect(x, committed(0, 70))(x.engine.Commit(x.ctx, second, 70))
	x.current("room", march(2), march(3), figures{}, 0)
	x.past("room", noon, march(2), figures{70, 0, 0, 70})
}

// lateBeyond has an overdraft that would let an ended epoch commit more than 64 bits.
func lateBeyond(x *fixture) {
	const most = budget.MaxMicrocents
	x.openIn("acme", most, daily(1, 0))
	first, second := x.hold("acme", 10, most-10), x.hold("acme", 5, most-15)
	x.spend("acme", most-17)
	x.at(march(2))
	x.configure("acme", budget.Overdraft(most-1))
	x.past("acme", noon, march(2), figures{most, 2, 15, most - 17})
	expect(x, overrun(1))(x.engine.Commit(x.ctx, first, 13))
	expect(x, committed(1, 12))(x.engine.Commit(x.ctx, first, 12))
	expect(x, short(1, 5, 1))(x.engine.CommitAvailable(x.ctx, second, 6))
	x.current("acme", march(2), march(3), figures{1, 1}, 0)
	x.past("acme", noon, march(2), figures{most, 0, 0, most})
}

func lateAvailable(x *fixture) {
	ids := make(map[budget.TenantID]budget.ReservationID)
	for tenant, carry := range map[budget.TenantID]budget.Microcents{"acme": 20, "busy": 20, "owed": 20, "surplus": budget.CarryAll} {
		x.openIn(tenant, 100, daily(100, carry))
		ids[tenant] = x.hold(tenant, 40, 60)
	}
	x.configure("owed", budget.Overdraft(20))
	expect(x, committed(-20, 80))(x.engine.Commit(x.ctx, x.hold("owed", 10, 50), 80))
	x.at(march(2))
	expect(x, short(100, 100, 900))(x.engine.CommitAvailable(x.ctx, ids["acme"], 1000)) // as its epoch had
	x.current("acme", march(2), march(3), figures{100, 100}, 0)
	x.past("acme", noon, march(2), figures{100, 0, 0, 100})
	fate, err := x.engine.Lookup(x.ctx, ids["acme"])
	if err != nil || fate.Outcome != budget.Committed || fate.Amount != 100 {
		x.t.Fatalf("got %+v, %v; want the 100 that were committed", fate, err)
	}
	x.hold("busy", 115, 5)
	expect(x, short(0, 85, 15))(x.engine.CommitAvailable(x.ctx, ids["busy"], 100))
	x.past("busy", noon, march(2), figures{85, 0, 0, 85})

	x.configure("owed", budget.Overdraft(5))
	expect(x, overrun(80))(x.engine.Commit(x.ctx, ids["owed"], 41))
	expect(x, short(80, 40, 1))(x.engine.CommitAvailable(x.ctx, ids["owed"], 41))
	x.past("owed", noon, march(2), figures{120, 0, 0, 120})

	expect(x, committed(165, 35))(x.engine.CommitAvailable(x.ctx, ids["surplus"], 35))
	x.past("surplus", noon, march(2), figures{35, 0, 0, 35})
}

func lateEdges(x *fixture) {
	const most = budget.MaxMicrocents
	ids := make(map[budget.TenantID]budget.ReservationID)
	names := func(i int) (none, all, excess budget.TenantID) {
		return budget.TenantID(fmt.Sprintf("none-%d", i)), budget.TenantID(fmt.Sprintf("all-%d", i)), budget.TenantID(fmt.Sprintf("excess-%d", i))
	}
	for i, edge := range edges {
		none, all, excess := names(i)
		x.openIn(none, edge, daily(edge, 0))
		x.openIn(all, edge, daily(1, budget.CarryAll))
		x.openIn(excess, edge, daily(edge, 0), budget.Overdraft(most-edge))
		for _, tenant := range []budget.TenantID{none, all, excess} {
			ids[tenant] = x.hold(tenant, edge, 0)
		}
	}
	x.at(march(2))
	for i, edge := range edges {
		none, all, excess := names(i)
		expect(x, committed(edge, 1))(x.engine.Commit(x.ctx, ids[none], 1))
		x.past(none, noon, march(2), figures{edge, edge - 1, 0, 1})
		passes := min(edge, most-1)
		expect(x, committed(1+passes, 0))(x.engine.Commit(x.ctx, ids[all], 0))
		x.past(all, noon, march(2), figures{edge - passes, edge - passes})
		overdraft := most - edge
		if overdraft > 0 {
			x.configure(excess, budget.Overdraft(overdraft-1))
			expect(x, overrun(edge))(x.engine.Commit(x.ctx, ids[excess], most))
			x.configure(excess, budget.Overdraft(overdraft))
		}
		expect(x, committed(edge-overdraft, most))(x.engine.Commit(x.ctx, ids[excess], most))
		x.current(excess, march(2), march(3), figures{edge - overdraft, edge - overdraft}, 0)
		x.past(excess, noon, march(2), figures{most, 0, 0, most})
	}
}
