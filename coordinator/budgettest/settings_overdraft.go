package budgettest

import (
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
)

// overdraftChecks are the checks of overdrafts, of debt, and of CommitAvailable.
func overdraftChecks() []check {
	return []check{
		{name: "an overdraft covers an excess up to its limit", run: overdraftLimit},
		{name: "an overdraft is not for reserves", run: overdraftReserves},
		{name: "every return of money pays the debt first", ttl: holdTTL, run: overdraftRepaid},
		{name: "an overdraft below the debt", run: overdraftLowered},
		{name: "overdrafts exact at every edge", run: overdraftEdges},
		{name: "commit available charges the available amount", run: availableCharges},
		{name: "commit available is otherwise a commit", ttl: holdTTL, run: availableCommits},
		{name: "commit available beyond an overdraft", run: availableOverdraft},
		{name: "an overdraft covers at every level, or moves nothing", levels: true, run: overdraftAtLevels},
		{name: "the debt of each level", levels: true, run: overdraftDebts},
		{name: "a level that is created later lends nothing", levels: true, run: overdraftCreatedLater},
		{name: "commit available charges the least amount of all levels", levels: true, run: availableAtLevels},
	}
}

func short(remaining, actual, shortfall budget.Microcents) budget.Settlement {
	return budget.Settlement{Outcome: budget.Committed, Remaining: remaining, Actual: actual, Shortfall: shortfall}
}

func overdraftLimit(x *fixture) {
	x.open("acme", 100, budget.Overdraft(30))
	first, second := x.hold("acme", 60, 40), x.hold("acme", 20, 20)
	expect(x, overrun(20))(x.engine.Commit(x.ctx, first, 111))
	expect(x, overrun(20))(x.engine.Commit(x.ctx, first, budget.MaxMicrocents))
	x.balance("acme", 100, 20, 80, 0)
	expect(x, committed(-1, 81))(x.engine.Commit(x.ctx, first, 81))
	x.balance("acme", 100, -1, 20, 81)
	expect(x, overrun(-1))(x.engine.Commit(x.ctx, second, 50))
	expect(x, committed(-30, 49))(x.engine.Commit(x.ctx, second, 49))
	b, err := x.engine.Balance(x.ctx, "acme")
	if err != nil || b.Debt() != 30 || !b.Conserved() {
		x.t.Fatalf("got %+v, %v; want a debt of 30", b, err)
	}
	x.balance("acme", 100, -30, 0, 130)
	expect(x, budget.Ensured{Outcome: budget.Exists, Remaining: -30})(x.engine.EnsureTenant(x.ctx, "acme", 100))

	x.open("globex", 10) // an overdraft of a tenant that has holds
	id := x.hold("globex", 10, 0)
	expect(x, overrun(0))(x.engine.Commit(x.ctx, id, 11))
	x.configure("globex", budget.Overdraft(1))
	expect(x, overrun(0))(x.engine.Commit(x.ctx, id, 12))
	expect(x, committed(-1, 11))(x.engine.Commit(x.ctx, id, 11))
	x.balance("globex", 10, -1, 0, 11)
}

func overdraftReserves(x *fixture) {
	x.open("acme", 10, budget.Overdraft(100))
	expect(x, insufficient(10, 11))(x.engine.TryReserve(x.ctx, "acme", 11))
	expect(x, lacking(10, 11))(x.engine.Withdraw(x.ctx, "acme", 11))
	id := x.hold("acme", 10, 0)
	expect(x, insufficient(0, 1))(x.engine.TryReserve(x.ctx, "acme", 1))
	expect(x, committed(-5, 15))(x.engine.Commit(x.ctx, id, 15))
	for _, cost := range []budget.Microcents{1, 5, 95, budget.MaxMicrocents} {
		expect(x, insufficient(0, cost))(x.engine.TryReserve(x.ctx, "acme", cost))
		expect(x, lacking(0, cost))(x.engine.Withdraw(x.ctx, "acme", cost))
	}
	expect(x, leftAt(0, ""))(x.engine.Remaining(x.ctx, "acme"))
	x.balance("acme", 10, -5, 0, 15)
}

// overdraftRepaid returns money in each way to an account in debt: reserves find none until
// the debt is paid.
func overdraftRepaid(x *fixture) {
	x.open("acme", 100, budget.Overdraft(100))
	spent, kept := x.hold("acme", 10, 90), x.hold("acme", 20, 70)
	surplus, excess := x.hold("acme", 20, 50), x.hold("acme", 20, 30)
	x.hold("acme", 30, 0) // until its deadline
	expect(x, committed(-100, 110))(x.engine.Commit(x.ctx, spent, 110))
	broke := func(remaining budget.Microcents) {
		x.t.Helper()
		expect(x, insufficient(0, 1))(x.engine.TryReserve(x.ctx, "acme", 1))
		expect(x, lacking(0, 1))(x.engine.Withdraw(x.ctx, "acme", 1))
		expect(x, leftAt(0, ""))(x.engine.Remaining(x.ctx, "acme"))
		expect(x, budget.Ensured{Outcome: budget.Exists, Remaining: remaining})(x.engine.EnsureTenant(x.ctx, "acme", 1))
	}
	broke(-100)
	expect(x, released(-80, 20))(x.engine.Release(x.ctx, kept))
	broke(-80)
	expect(x, committed(-65, 5))(x.engine.Commit(x.ctx, surplus, 5))
	broke(-65)
	expect(x, granted(-55))(x.engine.Grant(x.ctx, "acme", 10))
	broke(-55)
	expect(x, committed(-56, 21))(x.engine.Commit(x.ctx, excess, 21))
	x.advance(holdTTL)
	broke(-26)
	x.balance("acme", 110, -26, 0, 136)
	expect(x, granted(0))(x.engine.Grant(x.ctx, "acme", 26))
	broke(0)
	expect(x, granted(2))(x.engine.Grant(x.ctx, "acme", 2))
	expect(x, insufficient(2, 3))(x.engine.TryReserve(x.ctx, "acme", 3))
	x.hold("acme", 1, 1)
	expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, "acme", 1))
	x.balance("acme", 137, 0, 1, 136)
}

// overdraftLowered lowers an overdraft below the debt: no excess is paid, but every hold can
// still settle at its own amount.
func overdraftLowered(x *fixture) {
	x.open("acme", 100, budget.Overdraft(50))
	var ids []budget.ReservationID
	for i := range budget.Microcents(5) {
		ids = append(ids, x.hold("acme", 20, 80-20*i))
	}
	expect(x, committed(-50, 70))(x.engine.Commit(x.ctx, ids[0], 70))
	x.configure("acme", budget.Overdraft(10))
	x.balance("acme", 100, -50, 80, 70)
	expect(x, overrun(-50))(x.engine.Commit(x.ctx, ids[1], 21))
	expect(x, committed(-50, 20))(x.engine.Commit(x.ctx, ids[1], 20))
	expect(x, committed(-49, 19))(x.engine.Commit(x.ctx, ids[2], 19))
	expect(x, overrun(-49))(x.engine.Commit(x.ctx, ids[3], 21))
	expect(x, short(-49, 20, 5))(x.engine.CommitAvailable(x.ctx, ids[3], 25))
	x.configure("acme", budget.Overdraft(0))
	expect(x, granted(-1))(x.engine.Grant(x.ctx, "acme", 48))
	expect(x, overrun(-1))(x.engine.Commit(x.ctx, ids[4], 21))
	expect(x, granted(1))(x.engine.Grant(x.ctx, "acme", 2))
	expect(x, overrun(1))(x.engine.Commit(x.ctx, ids[4], 22))
	expect(x, committed(0, 21))(x.engine.Commit(x.ctx, ids[4], 21))
	x.balance("acme", 150, 0, 0, 150)
}

func overdraftEdges(x *fixture) {
	for i, edge := range edges[:len(edges)-1] {
		overdraft := budget.MaxMicrocents - edge
		tenant := budget.TenantID(fmt.Sprintf("edge-%d", i))
		x.open(tenant, edge, budget.Overdraft(overdraft))
		expect(x, insufficient(edge, edge+1))(x.engine.TryReserve(x.ctx, tenant, edge+1))
		id := x.hold(tenant, edge, 0)
		x.configure(tenant, budget.Overdraft(overdraft-1))
		expect(x, overrun(0))(x.engine.Commit(x.ctx, id, budget.MaxMicrocents))
		x.configure(tenant, budget.Overdraft(overdraft))
		expect(x, committed(-overdraft, budget.MaxMicrocents))(x.engine.Commit(x.ctx, id, budget.MaxMicrocents))
		x.balance(tenant, edge, -overdraft, 0, budget.MaxMicrocents)
		expect(x, insufficient(0, 1))(x.engine.TryReserve(x.ctx, tenant, 1))

		tenant = budget.TenantID(fmt.Sprintf("available-%d", i))
		x.open(tenant, edge, budget.Overdraft(overdraft-1))
		id = x.hold(tenant, edge, 0)
		expect(x, short(1-overdraft, budget.MaxMicrocents-1, 1))(x.engine.CommitAvailable(x.ctx, id, budget.MaxMicrocents))
		x.balance(tenant, edge, 1-overdraft, 0, budget.MaxMicrocents-1)
		if overdraft > 1 {
			x.configure(tenant, budget.Overdraft(0))
			expect(x, granted(0))(x.engine.Grant(x.ctx, tenant, overdraft-1))
		}
	}
}

func availableCharges(x *fixture) {
	x.open("acme", 100)
	first, second, third := x.hold("acme", 60, 40), x.hold("acme", 10, 30), x.hold("acme", 20, 10)
	expect(x, short(0, 70, 31))(x.engine.CommitAvailable(x.ctx, first, 101))
	x.balance("acme", 100, 0, 30, 70)
	fate, err := x.engine.Lookup(x.ctx, first)
	if err != nil || fate.Outcome != budget.Committed || fate.Amount != 70 {
		x.t.Fatalf("got %+v, %v; want the 70 that were committed", fate, err)
	}
	expect(x, short(0, 10, budget.MaxMicrocents-10))(x.engine.CommitAvailable(x.ctx, second, budget.MaxMicrocents))
	expect(x, committed(5, 15))(x.engine.CommitAvailable(x.ctx, third, 15))
	x.balance("acme", 100, 5, 0, 95)
}

func availableCommits(x *fixture) {
	x.open("acme", 100)
	first, second, third, fourth := x.hold("acme", 10, 90), x.hold("acme", 10, 80), x.hold("acme", 10, 70), x.hold("acme", 10, 60)
	ids := append(fabricated("acme", "ghost", "acme/search"), first)
	for _, id := range ids {
		for _, actual := range []budget.Microcents{-1, smallest} {
			expect(x, budget.Settlement{Outcome: budget.InvalidAmount})(x.engine.CommitAvailable(x.ctx, id, actual))
		}
	}
	for _, id := range ids[:len(ids)-1] {
		expect(x, missing(budget.Unknown))(x.engine.CommitAvailable(x.ctx, id, 0))
	}
	refused[budget.Settlement](x, budget.ErrInvalidReservationID, "the zero id")(x.engine.CommitAvailable(x.ctx, budget.ReservationID{}, 1))
	for _, tenant := range invalidTenants {
		if tenant != "" {
			refused[budget.Settlement](x, nil, "an id of "+string(tenant))(x.engine.CommitAvailable(x.ctx, budget.NewReservationID(tenant, 1, 2), 1))
		}
	}
	expect(x, committed(70, 0))(x.engine.CommitAvailable(x.ctx, first, 0))
	expect(x, committed(70, 10))(x.engine.CommitAvailable(x.ctx, second, 10))
	expect(x, committed(0, 80))(x.engine.CommitAvailable(x.ctx, third, 80))
	x.balance("acme", 100, 0, 10, 90)
	for _, id := range []budget.ReservationID{first, second, third} {
		expect(x, missing(budget.Committed))(x.engine.CommitAvailable(x.ctx, id, 1))
		expect(x, missing(budget.Committed))(x.engine.Commit(x.ctx, id, 1))
		expect(x, missing(budget.Committed))(x.engine.Release(x.ctx, id))
	}
	x.advance(holdTTL)
	expect(x, missing(budget.Expired))(x.engine.CommitAvailable(x.ctx, fourth, 1))
	fifth := x.hold("acme", 1, 9)
	expect(x, released(10, 1))(x.engine.Release(x.ctx, fifth))
	expect(x, missing(budget.Released))(x.engine.CommitAvailable(x.ctx, fifth, 1))
	x.balance("acme", 100, 10, 0, 90)
}

func availableOverdraft(x *fixture) {
	x.open("acme", 100, budget.Overdraft(30))
	first, second, third := x.hold("acme", 60, 40), x.hold("acme", 20, 20), x.hold("acme", 10, 10)
	expect(x, committed(-30, 100))(x.engine.CommitAvailable(x.ctx, first, 100))
	expect(x, short(-30, 20, 1))(x.engine.CommitAvailable(x.ctx, second, 21))
	x.configure("acme", budget.Overdraft(29))
	expect(x, short(-30, 10, 1))(x.engine.CommitAvailable(x.ctx, third, 11)) // not less than the hold
	x.balance("acme", 100, -30, 0, 130)
}

// overdraftAtLevels has each level in turn refuse the excess of a commit that the others
// would cover, some of them by an overdraft.
func overdraftAtLevels(x *fixture) {
	x.open(root, 100, budget.Overdraft(20))
	x.open(middle, 70)
	x.open(leaf, 60, budget.Overdraft(10))
	id := x.holdAt(leaf, 50, 10, leaf)
	commit := func(want budget.Settlement, level budget.TenantID, actual budget.Microcents) {
		x.t.Helper()
		expect(x, settlementAt(want, level))(x.engine.Commit(x.ctx, id, actual))
	}
	// What each can pay: the root 70, the middle 20, the tenant 20.
	commit(overrun(10), leaf, 71)
	x.configure(leaf, budget.Overdraft(11))
	commit(overrun(20), middle, 71)
	x.configure(middle, budget.Overdraft(100))
	commit(overrun(10), leaf, 72)
	x.configure(leaf, budget.Overdraft(200))
	commit(overrun(50), root, 121)
	x.configure(middle, budget.Overdraft(50)) // as much as the root
	commit(overrun(20), middle, 121)
	x.balance(root, 100, 50, 50, 0)
	x.balance(middle, 70, 20, 50, 0)
	x.balance(leaf, 60, 10, 50, 0)
	commit(committed(-60, 120), leaf, 120)
	x.balance(root, 100, -20, 0, 120)
	x.balance(middle, 70, -50, 0, 120)
	x.balance(leaf, 60, -60, 0, 120)
	expect(x, reservationAt(insufficient(0, 1), leaf))(x.engine.TryReserve(x.ctx, leaf, 1))
}

// overdraftDebts repays the debts of three levels one by one. The least remaining amount is
// compared with its sign, also by the results that return 0 for it.
func overdraftDebts(x *fixture) {
	x.open(root, 40, budget.Overdraft(100))
	x.open(middle, 30, budget.Overdraft(100))
	x.open(leaf, 50, budget.Overdraft(100))
	first, second, third := x.holdAt(leaf, 10, 20, middle), x.holdAt(leaf, 10, 10, middle), x.holdAt(middle, 10, 0, middle)
	expect(x, settlementAt(committed(-60, 70), middle))(x.engine.Commit(x.ctx, first, 70)) // the root -50, the leaf -30
	expect(x, leftAt(0, middle))(x.engine.Remaining(x.ctx, leaf))
	expect(x, reservationAt(insufficient(0, 1), middle))(x.engine.TryReserve(x.ctx, leaf, 1))
	expect(x, granted(-40))(x.engine.Grant(x.ctx, middle, 20))
	expect(x, leftAt(0, root))(x.engine.Remaining(x.ctx, leaf))
	expect(x, reservationAt(insufficient(0, 1), root))(x.engine.TryReserve(x.ctx, leaf, 1))
	expect(x, settlementAt(released(-40, 10), root))(x.engine.Release(x.ctx, second))
	expect(x, granted(-30))(x.engine.Grant(x.ctx, root, 10))
	expect(x, leftAt(0, middle))(x.engine.Remaining(x.ctx, leaf)) // equal to the root
	expect(x, settlementAt(committed(-21, 1), middle))(x.engine.Commit(x.ctx, third, 1))
	x.balance(root, 50, -21, 0, 71)
	x.balance(middle, 50, -21, 0, 71)
	x.balance(leaf, 50, -20, 0, 70)
	expect(x, granted(4))(x.engine.Grant(x.ctx, root, 25))
	expect(x, granted(4))(x.engine.Grant(x.ctx, middle, 25))
	expect(x, leftAt(0, leaf))(x.engine.Remaining(x.ctx, leaf))
	expect(x, leftAt(4, middle))(x.engine.Remaining(x.ctx, middle))
	expect(x, granted(3))(x.engine.Grant(x.ctx, leaf, 23))
	x.holdAt(leaf, 3, 0, leaf)
}

func overdraftCreatedLater(x *fixture) {
	x.open(leaf, 10, budget.Overdraft(5))
	first, second := x.holdAt(leaf, 4, 6, leaf), x.holdAt(leaf, 4, 2, leaf)
	x.open(root, 1, budget.Overdraft(1000)) // takes no part in the holds
	x.open(middle, 0)
	expect(x, settlementAt(overrun(2), leaf))(x.engine.Commit(x.ctx, first, 12))
	expect(x, settlementAt(committed(-4, 10), leaf))(x.engine.Commit(x.ctx, first, 10))
	expect(x, settlementAt(short(-5, 5, 3), leaf))(x.engine.CommitAvailable(x.ctx, second, 8))
	x.balance(root, 1, 1, 0, 0)
	x.balance(middle, 0, 0, 0, 0)
	x.balance(leaf, 10, -5, 0, 15)
}

func availableAtLevels(x *fixture) {
	x.open(root, 100)
	x.open(middle, 60, budget.Overdraft(5))
	x.open(leaf, 50)
	ids := []budget.ReservationID{x.holdAt(leaf, 10, 40, leaf), x.holdAt(leaf, 10, 30, leaf), x.holdAt(leaf, 10, 20, leaf)}
	x.configure(leaf, budget.Overdraft(1000))
	// What each can pay: the root 70, the middle 35, the tenant 1020.
	expect(x, settlementAt(short(-15, 45, 5), leaf))(x.engine.CommitAvailable(x.ctx, ids[0], 50))
	x.balance(root, 100, 35, 20, 45)
	x.balance(middle, 60, -5, 20, 45)
	x.balance(leaf, 50, -15, 20, 45)
	x.configure(middle, budget.Overdraft(500))
	expect(x, granted(1))(x.engine.Grant(x.ctx, middle, 6))
	expect(x, withdrawn(3))(x.engine.Withdraw(x.ctx, root, 32))
	expect(x, settlementAt(short(-18, 13, 4), leaf))(x.engine.CommitAvailable(x.ctx, ids[1], 17)) // the root pays 3
	expect(x, settlementAt(short(-18, 10, 1), leaf))(x.engine.CommitAvailable(x.ctx, ids[2], 11)) // and nothing
	x.balance(root, 68, 0, 0, 68)
	x.balance(middle, 66, -2, 0, 68)
	x.balance(leaf, 50, -18, 0, 68)
}
