package budgettest

import (
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
)

func commitChecks() []check {
	return []check{
		{name: "the surplus returns", run: commitSurplus},
		{name: "zero means zero", run: commitZero},
		{name: "a negative amount is checked first", run: commitNegative},
		{name: "above the hold", run: commitAbove},
		{name: "above the remaining amount, then less", run: commitOverrunThenLess},
		{name: "above the remaining amount, then release", run: commitOverrunThenRelease},
		{name: "above the remaining amount, then after a grant", run: commitOverrunThenGranted},
		{name: "exact at every edge", run: commitExact},
	}
}

func commitSurplus(x *fixture) {
	x.open("acme", 100)
	first, second := x.hold("acme", 60, 40), x.hold("acme", 40, 0)
	expect(x, committed(35, 25))(x.engine.Commit(x.ctx, first, 25))
	x.balance("acme", 100, 35, 40, 25)
	expect(x, committed(35, 40))(x.engine.Commit(x.ctx, second, 40))
	x.balance("acme", 100, 35, 0, 65)
}

func commitZero(x *fixture) {
	x.open("acme", 100)
	id := x.hold("acme", 60, 40)
	expect(x, committed(100, 0))(x.engine.Commit(x.ctx, id, 0))
	x.balance("acme", 100, 100, 0, 0)
	expect(x, missing(budget.Committed))(x.engine.Commit(x.ctx, id, 0))
}

func commitNegative(x *fixture) {
	invalid := budget.Settlement{Outcome: budget.InvalidAmount}
	x.open("acme", 100)
	open, settled := x.hold("acme", 60, 40), x.hold("acme", 10, 30)
	expect(x, released(40, 10))(x.engine.Release(x.ctx, settled))
	ids := append(fabricated("acme", "ghost", "acme/search"), open, settled)
	for _, id := range ids {
		for _, actual := range []budget.Microcents{-1, -exactFloat - 1, smallest} {
			expect(x, invalid)(x.engine.Commit(x.ctx, id, actual))
		}
	}
	x.balance("acme", 100, 40, 60, 0)
	expect(x, committed(40, 60))(x.engine.Commit(x.ctx, open, 60))
}

func commitAbove(x *fixture) {
	x.open("acme", 100)
	first, second := x.hold("acme", 30, 70), x.hold("acme", 10, 60)
	expect(x, committed(59, 31))(x.engine.Commit(x.ctx, first, 31))
	x.balance("acme", 100, 59, 10, 31)
	expect(x, committed(0, 69))(x.engine.Commit(x.ctx, second, 69))
	x.balance("acme", 100, 0, 0, 100)
}

// refuseOverrun holds 60 of 100 and checks that commits of more than 100 are refused and
// change nothing, in particular not the hold.
func refuseOverrun(x *fixture) budget.ReservationID {
	x.open("acme", 100)
	id := x.hold("acme", 60, 40)
	for _, actual := range []budget.Microcents{101, 102, exactFloat, budget.MaxMicrocents} {
		expect(x, overrun(40))(x.engine.Commit(x.ctx, id, actual))
		x.balance("acme", 100, 40, 60, 0)
	}
	if holds := x.holds("acme"); len(holds) != 1 || holds[0].ID != id || holds[0].Held != 60 {
		x.t.Fatalf("after an overrun the holds are %+v, want the one of 60", holds)
	}
	return id
}

func commitOverrunThenLess(x *fixture) {
	id := refuseOverrun(x)
	expect(x, committed(0, 100))(x.engine.Commit(x.ctx, id, 100))
	x.balance("acme", 100, 0, 0, 100)
	expect(x, missing(budget.Committed))(x.engine.Commit(x.ctx, id, 101))
}

func commitOverrunThenRelease(x *fixture) {
	id := refuseOverrun(x)
	expect(x, released(100, 60))(x.engine.Release(x.ctx, id))
	x.balance("acme", 100, 100, 0, 0)
}

func commitOverrunThenGranted(x *fixture) {
	id := refuseOverrun(x)
	expect(x, budget.Adjustment{Outcome: budget.Granted, Remaining: 41})(x.engine.Grant(x.ctx, "acme", 1))
	expect(x, overrun(41))(x.engine.Commit(x.ctx, id, 102))
	expect(x, committed(0, 101))(x.engine.Commit(x.ctx, id, 101))
	x.balance("acme", 101, 0, 0, 101)
}

func commitExact(x *fixture) {
	for i, edge := range edges {
		tenant := budget.TenantID(fmt.Sprintf("edge-%d", i))
		x.open(tenant, budget.MaxMicrocents)
		rest := budget.MaxMicrocents - edge
		id := x.hold(tenant, edge, rest)
		expect(x, committed(rest+1, edge-1))(x.engine.Commit(x.ctx, id, edge-1))
		x.balance(tenant, budget.MaxMicrocents, rest+1, 0, edge-1)
		id = x.hold(tenant, 1, rest)
		if edge > 1 {
			expect(x, overrun(rest))(x.engine.Commit(x.ctx, id, rest+2))
		}
		expect(x, committed(0, rest+1))(x.engine.Commit(x.ctx, id, rest+1))
		x.balance(tenant, budget.MaxMicrocents, 0, 0, budget.MaxMicrocents)
	}
}
