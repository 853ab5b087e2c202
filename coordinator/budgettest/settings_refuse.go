package budgettest

import (
	"fmt"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// refusalChecks are the checks of the operations that a frozen, closed or capped account
// rejects, and of those that it must not reject.
func refusalChecks() []check {
	return []check{
		{name: "a reserve checks closed, frozen, caps and money in this order", run: refuseInOrder},
		{name: "a frozen account refuses only reserves", run: refuseFrozen},
		{name: "a closed account refuses reserves, grants and settings", run: refuseClosed},
		{name: "holds end while an account is frozen, capped or closed", ttl: holdTTL, run: refuseNoEnd},
		{name: "a closed account is not frozen or opened", run: refuseReopening},
		{name: "each cap up to its limit", run: capLimits},
		{name: "a cap below the reserved amount", run: capBelowHeld},
		{name: "a hold counts for caps until it ends", ttl: holdTTL, run: capUntilEnd},
		{name: "caps exact at every edge", run: capEdges},
		{name: "each check is made at all levels before the next", levels: true, run: refuseAtLevels},
		{name: "the nearest level that refuses is named", levels: true, run: refuseNearest},
		{name: "a freeze stops the tenants below", levels: true, run: refuseBelowFrozen},
		{name: "a closed account stops the tenants below", levels: true, run: refuseBelowClosed},
		{name: "caps count the holds of the tenants below", ttl: holdTTL, levels: true, run: capBelow},
	}
}

// refuseInOrder removes the reasons for a refusal one by one.
func refuseInOrder(x *fixture) {
	reserve := func(want budget.Reservation) {
		x.t.Helper()
		expect(x, want)(x.engine.TryReserve(x.ctx, "acme", 50))
	}
	reserve(budget.Reservation{Outcome: budget.MissingTenant})
	x.open("acme", 40, budget.CapHold(10), budget.CapReserved(20), budget.CapHolds(1))
	x.hold("acme", 5, 35)
	x.freeze("acme")
	expect(x, insufficient(0, 0))(x.engine.TryReserve(x.ctx, "acme", 0))
	expect(x, insufficient(0, -1))(x.engine.TryReserve(x.ctx, "acme", -1))
	reserve(frozenAt(""))
	x.unfreeze("acme")
	reserve(cappedAt("", budget.HoldCap, 10))
	x.configure("acme", budget.CapHold(0))
	reserve(cappedAt("", budget.ReservedCap, 20))
	x.configure("acme", budget.CapReserved(0))
	reserve(cappedAt("", budget.HoldsCap, 1))
	x.configure("acme", budget.CapHolds(0))
	reserve(insufficient(35, 50))
	expect(x, granted(50))(x.engine.Grant(x.ctx, "acme", 15))
	x.hold("acme", 50, 0)
	x.freeze("acme")
	x.close("acme")
	reserve(closedAt(""))
	expect(x, insufficient(0, 0))(x.engine.TryReserve(x.ctx, "acme", 0))
	x.balance("acme", 55, 0, 55, 0)
}

func refuseFrozen(x *fixture) {
	x.open("acme", 100, budget.Overdraft(5))
	first, second, third := x.hold("acme", 10, 90), x.hold("acme", 20, 70), x.hold("acme", 30, 40)
	x.freeze("acme")
	for _, cost := range []budget.Microcents{1, 40, 41, budget.MaxMicrocents} {
		expect(x, frozenAt(""))(x.engine.TryReserve(x.ctx, "acme", cost))
	}
	expect(x, leftAt(40, ""))(x.engine.Remaining(x.ctx, "acme"))
	expect(x, committed(35, 15))(x.engine.Commit(x.ctx, first, 15))
	expect(x, released(55, 20))(x.engine.Release(x.ctx, second))
	expect(x, granted(60))(x.engine.Grant(x.ctx, "acme", 5))
	expect(x, withdrawn(50))(x.engine.Withdraw(x.ctx, "acme", 10))
	x.configure("acme", budget.CapHolds(5))
	expect(x, committed(49, 31))(x.engine.CommitAvailable(x.ctx, third, 31))
	x.balance("acme", 95, 49, 0, 46)
	x.unfreeze("acme")
	x.hold("acme", 49, 0)
	x.freeze("acme")
	expect(x, frozenAt(""))(x.engine.TryReserve(x.ctx, "acme", 1))
}

func refuseClosed(x *fixture) {
	x.open("acme", 100, budget.Overdraft(5))
	first, second := x.hold("acme", 10, 90), x.hold("acme", 20, 70)
	x.close("acme")
	for _, cost := range []budget.Microcents{1, 70, 71, budget.MaxMicrocents} {
		expect(x, closedAt(""))(x.engine.TryReserve(x.ctx, "acme", cost))
	}
	for _, amount := range []budget.Microcents{1, budget.MaxMicrocents} {
		expect(x, budget.Adjustment{Outcome: budget.Closed})(x.engine.Grant(x.ctx, "acme", amount))
	}
	refused[budget.Adjustment](x, budget.ErrInvalidAmount, "a grant of 0")(x.engine.Grant(x.ctx, "acme", 0))
	expect(x, lacking(70, 71))(x.engine.Withdraw(x.ctx, "acme", 71))
	expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, "acme", 70))
	expect(x, committed(-5, 15))(x.engine.Commit(x.ctx, first, 15)) // the overdraft is still there
	expect(x, leftAt(0, ""))(x.engine.Remaining(x.ctx, "acme"))
	expect(x, released(15, 20))(x.engine.Release(x.ctx, second))
	x.balance("acme", 30, 15, 0, 15)
	if holds := x.holds("acme"); len(holds) != 0 {
		x.t.Fatalf("got the holds %+v", holds)
	}
}

// refuseNoEnd ends holds in every way, in accounts with every setting that refuses reserves.
func refuseNoEnd(x *fixture) {
	for i, refuse := range []func(tenant budget.TenantID){
		x.freeze, x.close, func(tenant budget.TenantID) { x.freeze(tenant); x.close(tenant) },
		func(tenant budget.TenantID) { x.configure(tenant, budget.CapHold(1)) },
		func(tenant budget.TenantID) { x.configure(tenant, budget.CapReserved(1)) },
		func(tenant budget.TenantID) { x.configure(tenant, budget.CapHolds(1)) },
	} {
		tenant := budget.TenantID(fmt.Sprintf("tenant-%d", i))
		x.open(tenant, 100)
		var ids []budget.ReservationID
		for hold := range budget.Microcents(6) {
			ids = append(ids, x.hold(tenant, 10, 90-10*hold))
		}
		refuse(tenant)
		if res, err := x.engine.TryReserve(x.ctx, tenant, 2); err != nil || res.Outcome.Err() == nil {
			x.t.Fatalf("got %+v, %v; want a refusal", res, err)
		}
		expect(x, committed(45, 5))(x.engine.Commit(x.ctx, ids[0], 5))
		expect(x, committed(40, 15))(x.engine.Commit(x.ctx, ids[1], 15))
		expect(x, overrun(40))(x.engine.Commit(x.ctx, ids[2], 51))
		expect(x, released(50, 10))(x.engine.Release(x.ctx, ids[2]))
		expect(x, committed(45, 15))(x.engine.CommitAvailable(x.ctx, ids[3], 15))
		expect(x, budget.Settlement{Outcome: budget.Committed, Actual: 55, Shortfall: 5})(x.engine.CommitAvailable(x.ctx, ids[4], 60))
		x.balance(tenant, 100, 0, 10, 90)
	}
	x.advance(holdTTL)
	for _, tenant := range x.tenants {
		x.balance(tenant, 100, 10, 0, 90)
	}
}

func refuseReopening(x *fixture) {
	x.open("acme", 100)
	x.close("acme")
	calls := []string{"configure", "configure nothing", "configure beyond 64 bits", "freeze", "unfreeze"}
	refuseAll := func() {
		x.t.Helper()
		for _, call := range calls {
			expect(x, closedTenant)(settingCalls[call](x, "acme"))
			x.balance("acme", 100, 100, 0, 0)
		}
		expect(x, closedAt(""))(x.engine.TryReserve(x.ctx, "acme", 1))
	}
	refuseAll()
	x.close("acme")
	refuseAll()

	x.open("globex", 100)
	x.freeze("globex")
	x.close("globex") // and stays frozen
	expect(x, closedTenant)(x.engine.UnfreezeTenant(x.ctx, "globex"))
	x.balance("globex", 100, 100, 0, 0)
}

func capLimits(x *fixture) {
	x.open("acme", 1000, budget.CapHold(10))
	for _, cost := range []budget.Microcents{11, 1000, 1001, budget.MaxMicrocents} {
		expect(x, cappedAt("", budget.HoldCap, 10))(x.engine.TryReserve(x.ctx, "acme", cost))
	}
	x.hold("acme", 10, 990)
	x.hold("acme", 10, 980)

	x.configure("acme", budget.CapHold(0), budget.CapReserved(50))
	for _, cost := range []budget.Microcents{31, 1000, budget.MaxMicrocents} {
		expect(x, cappedAt("", budget.ReservedCap, 50))(x.engine.TryReserve(x.ctx, "acme", cost))
	}
	x.hold("acme", 29, 951)
	expect(x, cappedAt("", budget.ReservedCap, 50))(x.engine.TryReserve(x.ctx, "acme", 2))
	x.hold("acme", 1, 950)
	expect(x, cappedAt("", budget.ReservedCap, 50))(x.engine.TryReserve(x.ctx, "acme", 1))

	x.configure("acme", budget.CapReserved(0), budget.CapHolds(6))
	x.hold("acme", 900, 50)
	x.hold("acme", 1, 49)
	for _, cost := range []budget.Microcents{1, 49, 50} {
		expect(x, cappedAt("", budget.HoldsCap, 6))(x.engine.TryReserve(x.ctx, "acme", cost))
	}
	x.configure("acme", budget.CapHolds(7))
	x.hold("acme", 1, 48)
	x.configure("acme", budget.CapHolds(0))
	x.hold("acme", 48, 0)
	x.balance("acme", 1000, 0, 1000, 0)
}

// capBelowHeld lowers caps below what the account holds: nothing is reserved until enough
// has ended, and the settles go on.
func capBelowHeld(x *fixture) {
	x.open("acme", 100)
	var ids []budget.ReservationID
	for i := range budget.Microcents(5) {
		ids = append(ids, x.hold("acme", 10, 90-10*i))
	}
	capped := func(by budget.Cap, limit int64, cost budget.Microcents) {
		x.t.Helper()
		expect(x, cappedAt("", by, limit))(x.engine.TryReserve(x.ctx, "acme", cost))
	}
	x.configure("acme", budget.CapReserved(25), budget.CapHolds(2))
	x.balance("acme", 100, 50, 50, 0)
	capped(budget.ReservedCap, 25, 1)
	expect(x, committed(48, 12))(x.engine.Commit(x.ctx, ids[0], 12))
	expect(x, released(58, 10))(x.engine.Release(x.ctx, ids[1]))
	capped(budget.ReservedCap, 25, 1) // 30 are held
	expect(x, committed(60, 8))(x.engine.Commit(x.ctx, ids[2], 8))
	capped(budget.ReservedCap, 25, 6)
	capped(budget.HoldsCap, 2, 5) // two are open
	expect(x, released(70, 10))(x.engine.Release(x.ctx, ids[3]))
	capped(budget.ReservedCap, 25, 16)
	x.hold("acme", 15, 55)
	capped(budget.ReservedCap, 25, 1)
	x.balance("acme", 100, 55, 25, 20)
	x.configure("acme", budget.CapReserved(1))
	expect(x, released(65, 10))(x.engine.Release(x.ctx, ids[4]))
	capped(budget.ReservedCap, 1, 1)
	x.balance("acme", 100, 65, 15, 20)
}

// capUntilEnd fills both caps, and makes room with each end that a hold can have.
func capUntilEnd(x *fixture) {
	x.open("acme", 1000, budget.CapReserved(20), budget.CapHolds(2))
	full := func() {
		x.t.Helper()
		expect(x, cappedAt("", budget.ReservedCap, 20))(x.engine.TryReserve(x.ctx, "acme", 1))
	}
	first := x.hold("acme", 10, 990)
	x.hold("acme", 10, 980, budget.WithHoldTTL(2*time.Millisecond))
	full()
	expect(x, committed(985, 5))(x.engine.Commit(x.ctx, first, 5))
	second := x.hold("acme", 10, 975)
	full()
	expect(x, released(985, 10))(x.engine.Release(x.ctx, second))
	third := x.hold("acme", 10, 975)
	full()
	expect(x, committed(974, 11))(x.engine.CommitAvailable(x.ctx, third, 11))
	x.hold("acme", 10, 964)
	x.advance(time.Millisecond)
	full()
	x.advance(time.Millisecond) // the deadline of the first
	x.hold("acme", 10, 964)
	full()
	x.configure("acme", budget.CapReserved(0))
	expect(x, cappedAt("", budget.HoldsCap, 2))(x.engine.TryReserve(x.ctx, "acme", 1))
	x.advance(holdTTL)
	x.hold("acme", 1, 983)
	x.hold("acme", 1, 982)
	expect(x, cappedAt("", budget.HoldsCap, 2))(x.engine.TryReserve(x.ctx, "acme", 1))
}

func capEdges(x *fixture) {
	for i, edge := range edges {
		tenant := budget.TenantID(fmt.Sprintf("edge-%d", i))
		x.open(tenant, budget.MaxMicrocents, budget.CapHold(edge))
		if edge < budget.MaxMicrocents {
			expect(x, cappedAt("", budget.HoldCap, int64(edge)))(x.engine.TryReserve(x.ctx, tenant, edge+1))
		}
		all := x.hold(tenant, edge, budget.MaxMicrocents-edge)
		x.configure(tenant, budget.CapHold(0), budget.CapReserved(edge))
		expect(x, cappedAt("", budget.ReservedCap, int64(edge)))(x.engine.TryReserve(x.ctx, tenant, 1))
		expect(x, released(budget.MaxMicrocents, edge))(x.engine.Release(x.ctx, all))
		x.hold(tenant, 1, budget.MaxMicrocents-1)
		expect(x, cappedAt("", budget.ReservedCap, int64(edge)))(x.engine.TryReserve(x.ctx, tenant, edge))
		if edge > 1 {
			x.hold(tenant, edge-1, budget.MaxMicrocents-edge)
		}
		x.balance(tenant, budget.MaxMicrocents, budget.MaxMicrocents-edge, edge, 0)
	}
}

// refuseAtLevels gives every level another reason to refuse, and removes the reason that
// must be reported, one by one. A later check fails at a nearer level each time.
func refuseAtLevels(x *fixture) {
	x.open(root, 1000)
	x.open(middle, 1000, budget.CapHold(10))
	x.open(leaf, 20)
	x.freeze(leaf)
	x.freeze(middle)
	x.close(root)
	reserve := func(want budget.Reservation) {
		x.t.Helper()
		expect(x, want)(x.engine.TryReserve(x.ctx, leaf, 30))
	}
	missing := budget.Reservation{Outcome: budget.MissingTenant}
	expect(x, missing)(x.engine.TryReserve(x.ctx, twin, 30))
	reserve(closedAt(root))
	expect(x, budget.Balance{Outcome: budget.Deleted, Granted: 1000, Remaining: 1000, Settings: x.settings[root]})(x.delete(root))
	reserve(frozenAt(leaf))
	x.open(root, 15, budget.CapHolds(1))
	x.unfreeze(leaf)
	reserve(frozenAt(middle))
	x.unfreeze(middle)
	reserve(cappedAt(middle, budget.HoldCap, 10))
	x.configure(middle, budget.CapHold(0))
	x.holdAt(root, 1, 14, root)
	reserve(cappedAt(root, budget.HoldsCap, 1))
	x.configure(root, budget.CapHolds(2))
	reserve(reservationAt(insufficient(14, 30), root))
	expect(x, granted(40))(x.engine.Grant(x.ctx, root, 26))
	reserve(reservationAt(insufficient(20, 30), leaf))
	expect(x, granted(40))(x.engine.Grant(x.ctx, leaf, 20))
	x.holdAt(leaf, 30, 10, leaf)
	x.balance(root, 41, 10, 31, 0)
	x.balance(middle, 1000, 970, 30, 0)
}

func refuseNearest(x *fixture) {
	levels := []budget.TenantID{leaf, middle, root}
	for i, tenant := range levels {
		x.open(tenant, 100, budget.CapHold(budget.Microcents(10+i)), budget.CapReserved(20))
	}
	for i, tenant := range levels {
		expect(x, cappedAt(tenant, budget.HoldCap, int64(10+i)))(x.engine.TryReserve(x.ctx, leaf, 50))
		x.configure(tenant, budget.CapHold(0))
		if tenant != root { // the reserved cap of a nearer level comes before the hold cap of a farther one
			expect(x, cappedAt(tenant, budget.ReservedCap, 20))(x.engine.TryReserve(x.ctx, leaf, 50))
		}
		x.configure(tenant, budget.CapReserved(0))
	}
	id := x.holdAt(leaf, 50, 50, leaf)
	expect(x, settlementAt(released(100, 50), leaf))(x.engine.Release(x.ctx, id))
	for _, tenant := range levels {
		x.freeze(tenant)
	}
	for _, tenant := range levels {
		expect(x, frozenAt(tenant))(x.engine.TryReserve(x.ctx, leaf, 50))
		x.unfreeze(tenant)
	}
	for _, tenant := range []budget.TenantID{root, middle, leaf} {
		x.close(tenant)
		expect(x, closedAt(tenant))(x.engine.TryReserve(x.ctx, leaf, 50))
	}
	expect(x, closedAt(middle))(x.engine.TryReserve(x.ctx, middle, 50))
	expect(x, closedAt(root))(x.engine.TryReserve(x.ctx, root, 50))
}

func refuseBelowFrozen(x *fixture) {
	for _, tenant := range []budget.TenantID{root, leaf, twin, aside} {
		x.open(tenant, 100)
	}
	x.open(middle, 100)
	x.freeze(middle)
	for _, tenant := range []budget.TenantID{middle, leaf, twin} {
		expect(x, frozenAt(middle))(x.engine.TryReserve(x.ctx, tenant, 1))
		expect(x, leftAt(100, tenant))(x.engine.Remaining(x.ctx, tenant))
	}
	x.holdAt(root, 1, 99, root)
	id := x.holdAt(aside, 1, 98, root)
	expect(x, granted(101))(x.engine.Grant(x.ctx, leaf, 1))
	x.configure(leaf, budget.CapHolds(1))
	x.unfreeze(middle)
	below := x.holdAt(leaf, 1, 97, root)
	x.freeze(root)
	for _, tenant := range []budget.TenantID{root, middle, twin, aside} {
		expect(x, frozenAt(root))(x.engine.TryReserve(x.ctx, tenant, 1))
	}
	expect(x, settlementAt(committed(96, 2), root))(x.engine.Commit(x.ctx, below, 2))
	expect(x, settlementAt(released(97, 1), root))(x.engine.Release(x.ctx, id))
	x.unfreeze(root)
	x.holdAt(leaf, 1, 96, root)
	x.balance(root, 100, 96, 2, 2)
	x.balance(middle, 100, 97, 1, 2)
	x.balance(leaf, 101, 98, 1, 2)
}

func refuseBelowClosed(x *fixture) {
	for _, tenant := range []budget.TenantID{root, middle, leaf, aside} {
		x.open(tenant, 100)
	}
	id := x.holdAt(leaf, 10, 90, leaf)
	x.close(middle)
	expect(x, closedAt(middle))(x.engine.TryReserve(x.ctx, leaf, 1))
	expect(x, closedAt(middle))(x.engine.TryReserve(x.ctx, middle, 1))
	x.holdAt(aside, 1, 89, root)
	expect(x, granted(95))(x.engine.Grant(x.ctx, leaf, 5)) // its own account is open
	x.configure(leaf, budget.Overdraft(1))
	x.freeze(leaf)
	x.unfreeze(leaf)
	expect(x, budget.Adjustment{Outcome: budget.Closed})(x.engine.Grant(x.ctx, middle, 1))
	expect(x, settlementAt(committed(87, 12), root))(x.engine.Commit(x.ctx, id, 12))
	expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, middle, 88))
	want := budget.Balance{Outcome: budget.Deleted, Granted: 12, Committed: 12, Settings: budget.Settings{Closed: true}}
	expect(x, want)(x.delete(middle))
	x.holdAt(leaf, 1, 86, root)
}

func capBelow(x *fixture) {
	x.open(leaf, 1000)
	x.holdAt(leaf, 50, 950, leaf)
	x.open(root, 1000, budget.CapReserved(30), budget.CapHolds(3))
	x.open(aside, 1000)
	x.open(twin, 1000)
	first := x.holdAt(leaf, 10, 940, leaf) // the earlier hold does not count at the root
	second := x.holdAt(twin, 10, 980, root)
	expect(x, cappedAt(root, budget.ReservedCap, 30))(x.engine.TryReserve(x.ctx, aside, 11))
	expect(x, cappedAt(root, budget.ReservedCap, 30))(x.engine.TryReserve(x.ctx, root, 11))
	x.holdAt(aside, 1, 979, root)
	expect(x, cappedAt(root, budget.HoldsCap, 3))(x.engine.TryReserve(x.ctx, leaf, 9))
	x.open(middle, 1000, budget.CapHold(5), budget.CapHolds(1))
	expect(x, cappedAt(middle, budget.HoldCap, 5))(x.engine.TryReserve(x.ctx, leaf, 9))
	expect(x, settlementAt(released(989, 10), root))(x.engine.Release(x.ctx, second))
	third := x.holdAt(twin, 5, 984, root)
	expect(x, cappedAt(middle, budget.HoldsCap, 1))(x.engine.TryReserve(x.ctx, leaf, 5))
	expect(x, settlementAt(committed(978, 11), root))(x.engine.Commit(x.ctx, third, 11)) // above the cap
	expect(x, settlementAt(committed(945, 5), leaf))(x.engine.Commit(x.ctx, first, 5))
	x.holdAt(leaf, 5, 940, leaf)
	expect(x, cappedAt(middle, budget.HoldsCap, 1))(x.engine.TryReserve(x.ctx, twin, 1))
	x.balance(root, 1000, 978, 6, 16)
	x.advance(holdTTL)
	x.holdAt(twin, 5, 979, root)
	x.balance(middle, 1000, 984, 5, 11)
	x.balance(leaf, 1000, 995, 0, 5)
}
