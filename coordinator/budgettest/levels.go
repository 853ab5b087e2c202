package budgettest

import (
	"fmt"
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// levelChecks are the checks of tenants with ancestors. Most use these levels.
const (
	root   = budget.TenantID("acme")
	middle = budget.TenantID("acme/search")
	leaf   = budget.TenantID("acme/search/key-7")
	twin   = budget.TenantID("acme/search/key-8")
	aside  = budget.TenantID("acme/ads")
)

func levelChecks() []check {
	checks := []check{
		{name: "a reserve debits every level that exists", run: levelsReserve},
		{name: "a refusal names the level with the least and changes nothing", run: levelsRefuse},
		{name: "of equal levels the nearest is named", run: levelsEqual},
		{name: "the tenant must exist, its ancestors need not", run: levelsMissing},
		{name: "a settle returns the surplus at every level", run: levelsSurplus},
		{name: "an excess is covered at every level, or moves nothing", run: levelsExcess},
		{name: "a level that is created later has no part in a hold", ttl: holdTTL, run: levelsCreatedLater},
		{name: "a deadline is kept at every level by every operation", ttl: holdTTL, run: levelsDeadline},
		{name: "deadlines of many tenants below", ttl: holdTTL, run: levelsManyDeadlines},
		{name: "a level with open holds below it is not deleted", ttl: holdTTL, run: levelsDelete},
		{name: "a deleted level limits nothing", run: levelsDeleted},
		{name: "holds of the tenants below", ttl: holdTTL, run: levelsHolds},
		{name: "an id under the name of another level", run: levelsMoved},
		{name: "grants and withdrawals concern one account", run: levelsAdjust},
		{name: "the tree of a tenant", ttl: holdTTL, run: levelsTree},
		{name: "a tree is of one instant", run: levelsTreeInstant},
		{name: "six levels, exact at every edge", run: levelsExact},
		{name: "concurrent reserves are granted as far as every level covers them", run: levelsConcurrentReserves},
		{name: "the invariant while levels come and go", ttl: holdTTL, run: levelsConcurrentMix},
		{name: "every answer fits one order of events", run: linearizes},
	}
	for i := range checks {
		checks[i].levels = true
	}
	return checks
}

// reservationAt returns the result with a level.
func reservationAt(res budget.Reservation, level budget.TenantID) budget.Reservation {
	res.Level = level
	return res
}

// settlementAt returns the result with a level.
func settlementAt(res budget.Settlement, level budget.TenantID) budget.Settlement {
	res.Level = level
	return res
}

func leftAt(remaining budget.Microcents, level budget.TenantID) budget.Remainder {
	return budget.Remainder{Outcome: budget.Found, Remaining: remaining, Level: level}
}

// holdAt is hold for a check of levels.
func (x *fixture) holdAt(tenant budget.TenantID, cost, remaining budget.Microcents, level budget.TenantID, opts ...budget.ReserveOption) budget.ReservationID {
	x.t.Helper()
	res, err := x.engine.TryReserve(x.ctx, tenant, cost, opts...)
	id := res.ID
	res.ID = budget.ReservationID{}
	expect(x, budget.Reservation{Outcome: budget.Reserved, Remaining: remaining, Level: level})(res, err)
	if id.Tenant() != tenant || id.Validate() != nil {
		x.t.Fatalf("a reserve of %q returned the id %q", tenant, id)
	}
	return id
}

// delete deletes a tenant, and removes it from those that exist if it was.
func (x *fixture) delete(tenant budget.TenantID) (budget.Balance, error) {
	engine, ok := x.engine.(levelled)
	if !ok {
		return budget.Balance{}, fmt.Errorf("a %T can't delete tenants", x.engine)
	}
	b, err := engine.DeleteTenant(x.ctx, tenant)
	if b.Outcome == budget.Deleted {
		x.tenants = slices.DeleteFunc(x.tenants, func(t budget.TenantID) bool { return t == tenant })
		delete(x.settings, tenant)
	}
	return b, err
}

func levelsReserve(x *fixture) {
	x.open(root, 100)
	x.open(leaf, 50)
	x.holdAt(leaf, 10, 40, leaf)
	x.balance(root, 100, 90, 10, 0)
	x.open(middle, 20)
	x.holdAt(leaf, 15, 5, middle)
	x.holdAt(middle, 2, 3, middle)
	x.holdAt(root, 72, 1, root)
	x.holdAt(leaf, 1, 0, root)
	x.balance(root, 100, 0, 100, 0)
	x.balance(middle, 20, 2, 18, 0)
	x.balance(leaf, 50, 24, 26, 0)
}

func levelsRefuse(x *fixture) {
	x.open(root, 30)
	x.open(middle, 20)
	x.open(leaf, 10)
	refuse := func(cost, remaining budget.Microcents, level budget.TenantID) {
		x.t.Helper()
		expect(x, reservationAt(insufficient(remaining, cost), level))(x.engine.TryReserve(x.ctx, leaf, cost))
		expect(x, leftAt(remaining, level))(x.engine.Remaining(x.ctx, leaf))
	}
	refuse(11, 10, leaf)
	refuse(31, 10, leaf)
	expect(x, granted(25))(x.engine.Grant(x.ctx, leaf, 15))
	refuse(21, 20, middle)
	refuse(26, 20, middle)
	expect(x, granted(40))(x.engine.Grant(x.ctx, middle, 20))
	expect(x, withdrawn(15))(x.engine.Withdraw(x.ctx, root, 15))
	refuse(16, 15, root)
	refuse(budget.MaxMicrocents, 15, root)
	x.balance(root, 15, 15, 0, 0)
	x.balance(middle, 40, 40, 0, 0)
	x.balance(leaf, 25, 25, 0, 0)
	x.holdAt(leaf, 15, 0, root)
}

func levelsEqual(x *fixture) {
	for _, tenant := range []budget.TenantID{root, middle, leaf} {
		x.open(tenant, 20)
	}
	expect(x, leftAt(20, leaf))(x.engine.Remaining(x.ctx, leaf))
	expect(x, leftAt(20, middle))(x.engine.Remaining(x.ctx, middle))
	expect(x, leftAt(20, root))(x.engine.Remaining(x.ctx, root))
	expect(x, reservationAt(insufficient(20, 21), leaf))(x.engine.TryReserve(x.ctx, leaf, 21))
	id := x.holdAt(leaf, 5, 15, leaf)
	expect(x, settlementAt(overrun(15), leaf))(x.engine.Commit(x.ctx, id, 21))
	expect(x, settlementAt(committed(16, 4), leaf))(x.engine.Commit(x.ctx, id, 4))
	expect(x, granted(17))(x.engine.Grant(x.ctx, leaf, 1))
	expect(x, leftAt(16, middle))(x.engine.Remaining(x.ctx, leaf))
	id = x.holdAt(leaf, 3, 13, middle)
	expect(x, settlementAt(overrun(13), middle))(x.engine.Commit(x.ctx, id, 17))
	expect(x, settlementAt(released(16, 3), middle))(x.engine.Release(x.ctx, id))
}

func levelsMissing(x *fixture) {
	missingTenant := budget.Reservation{Outcome: budget.MissingTenant}
	x.open(root, 100)
	x.open(leaf, 100)
	for _, tenant := range []budget.TenantID{middle, twin, aside, leaf + "/a", leaf + "/a/b/c"} {
		expect(x, missingTenant)(x.engine.TryReserve(x.ctx, tenant, 1))
		expect(x, missingTenant)(x.engine.TryReserve(x.ctx, tenant, budget.MaxMicrocents))
		expect(x, budget.Remainder{Outcome: budget.MissingTenant})(x.engine.Remaining(x.ctx, tenant))
		expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, tenant))
		expect(x, budget.Adjustment{Outcome: budget.MissingTenant})(x.engine.Grant(x.ctx, tenant, 1))
		expect(x, budget.Adjustment{Outcome: budget.MissingTenant})(x.engine.Withdraw(x.ctx, tenant, 1))
		expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.delete(tenant))
		list, err := x.engine.Holds(x.ctx, tenant)
		if err != nil || list.Outcome != budget.MissingTenant || list.Holds != nil {
			x.t.Fatalf("holds of %q: got %+v and error %v, want missing_tenant", tenant, list, err)
		}
	}
	expect(x, insufficient(0, 0))(x.engine.TryReserve(x.ctx, leaf, 0))
	expect(x, insufficient(0, -1))(x.engine.TryReserve(x.ctx, middle, -1))
	x.balance(root, 100, 100, 0, 0)
	x.open("globex/a/b", 5)
	x.holdAt("globex/a/b", 2, 3, "globex/a/b")
	x.open("globex", 1)
	expect(x, reservationAt(insufficient(1, 2), "globex"))(x.engine.TryReserve(x.ctx, "globex/a/b", 2))
}

func levelsSurplus(x *fixture) {
	x.open(root, 100)
	x.open(middle, 80)
	x.open(leaf, 60)
	first, second, third := x.holdAt(leaf, 30, 30, leaf), x.holdAt(leaf, 20, 10, leaf), x.holdAt(middle, 10, 20, middle)
	expect(x, settlementAt(committed(35, 5), leaf))(x.engine.Commit(x.ctx, first, 5))
	x.balance(root, 100, 65, 30, 5)
	x.balance(middle, 80, 45, 30, 5)
	x.balance(leaf, 60, 35, 20, 5)
	expect(x, settlementAt(released(55, 20), leaf))(x.engine.Release(x.ctx, second))
	expect(x, settlementAt(committed(74, 1), middle))(x.engine.Commit(x.ctx, third, 1))
	x.balance(root, 100, 94, 0, 6)
	x.balance(middle, 80, 74, 0, 6)
	x.balance(leaf, 60, 55, 0, 5)
	for _, id := range []budget.ReservationID{first, third} {
		expect(x, missing(budget.Committed))(x.engine.Release(x.ctx, id))
	}
	expect(x, missing(budget.Released))(x.engine.Commit(x.ctx, second, 1))
}

// levelsExcess has each level in turn refuse the excess of a commit.
func levelsExcess(x *fixture) {
	for i, level := range []budget.TenantID{root, middle, leaf} {
		family := budget.TenantID(fmt.Sprintf("family-%d", i))
		under := func(tenant budget.TenantID) budget.TenantID { return family + tenant[len(root):] }
		for _, tenant := range []budget.TenantID{root, middle, leaf} {
			amount := budget.Microcents(100)
			if tenant == level {
				amount = 50
			}
			x.open(under(tenant), amount)
		}
		id := x.holdAt(under(leaf), 30, 20, under(level))
		for _, actual := range []budget.Microcents{51, 100, 101, budget.MaxMicrocents} {
			expect(x, settlementAt(overrun(20), under(level)))(x.engine.Commit(x.ctx, id, actual))
		}
		for _, tenant := range []budget.TenantID{root, middle, leaf} {
			if tenant == level {
				x.balance(under(tenant), 50, 20, 30, 0)
			} else {
				x.balance(under(tenant), 100, 70, 30, 0)
			}
		}
		expect(x, settlementAt(committed(0, 50), under(level)))(x.engine.Commit(x.ctx, id, 50))
		for _, tenant := range []budget.TenantID{root, middle, leaf} {
			if tenant != level {
				x.balance(under(tenant), 100, 50, 0, 50)
			}
		}
	}
}

func levelsCreatedLater(x *fixture) {
	x.open(leaf, 100)
	first, second, third, fourth := x.holdAt(leaf, 10, 90, leaf), x.holdAt(leaf, 10, 80, leaf), x.holdAt(leaf, 10, 70, leaf), x.holdAt(leaf, 10, 60, leaf)
	x.open(root, 1000)
	fifth := x.holdAt(leaf, 10, 50, leaf)
	x.open(middle, 5)
	x.balance(middle, 5, 5, 0, 0)
	x.balance(root, 1000, 990, 10, 0)
	expect(x, settlementAt(committed(55, 5), leaf))(x.engine.Commit(x.ctx, first, 5))
	expect(x, settlementAt(released(65, 10), leaf))(x.engine.Release(x.ctx, second))
	expect(x, settlementAt(overrun(65), leaf))(x.engine.Commit(x.ctx, third, 76))
	expect(x, settlementAt(committed(45, 30), leaf))(x.engine.Commit(x.ctx, third, 30)) // more than the middle has
	x.balance(middle, 5, 5, 0, 0)
	x.balance(root, 1000, 990, 10, 0)
	expect(x, settlementAt(committed(35, 20), leaf))(x.engine.Commit(x.ctx, fifth, 20))
	x.balance(middle, 5, 5, 0, 0)
	x.balance(root, 1000, 980, 0, 20)
	if holds := x.holds(root); len(holds) != 0 {
		x.t.Fatalf("the root has the holds %+v, none of which debited it", holds)
	}
	if holds := x.holds(leaf); len(holds) != 1 || holds[0].ID != fourth {
		x.t.Fatalf("the tenant has the holds %+v, want the fourth", holds)
	}
	x.advance(holdTTL)
	x.balance(middle, 5, 5, 0, 0)
	x.balance(root, 1000, 980, 0, 20)
	x.balance(leaf, 100, 45, 0, 55)
	expect(x, missing(budget.Expired))(x.engine.Commit(x.ctx, fourth, 1))
}

// levelsDeadline calls each operation on each level of a family of its own, one millisecond
// before the deadline of a hold of the lowest level and at it, so that the operation is the
// first of the family to see the hold expire.
func levelsDeadline(x *fixture) {
	type probe struct {
		at  budget.TenantID
		run func(tenant budget.TenantID, free budget.Microcents)
	}
	var probes []probe
	for _, at := range []budget.TenantID{root, middle, leaf, twin, aside} {
		upper := at
		switch at {
		case twin:
			upper = middle
		case aside:
			upper = root
		}
		level := func(tenant budget.TenantID) budget.TenantID { return tenant[:len(tenant)-len(at)+len(upper)] }
		probes = append(probes,
			probe{at, func(tenant budget.TenantID, free budget.Microcents) {
				expect(x, leftAt(free, level(tenant)))(x.engine.Remaining(x.ctx, tenant))
			}},
			probe{at, func(tenant budget.TenantID, free budget.Microcents) {
				expect(x, reservationAt(insufficient(free, 101), level(tenant)))(x.engine.TryReserve(x.ctx, tenant, 101))
			}})
		if at == upper {
			probes = append(probes,
				probe{at, func(tenant budget.TenantID, free budget.Microcents) { x.balance(tenant, 100, free, 100-free, 0) }},
				probe{at, func(tenant budget.TenantID, free budget.Microcents) {
					if holds := x.holds(tenant); len(holds) != int(100-free)/60 {
						x.t.Fatalf("%q has the holds %+v", tenant, holds)
					}
				}},
				probe{at, func(tenant budget.TenantID, free budget.Microcents) {
					expect(x, budget.Ensured{Outcome: budget.Exists, Remaining: free})(x.engine.EnsureTenant(x.ctx, tenant, 1))
				}},
				probe{at, func(tenant budget.TenantID, free budget.Microcents) {
					expect(x, lacking(free, 101))(x.engine.Withdraw(x.ctx, tenant, 101))
				}},
				probe{at, func(tenant budget.TenantID, free budget.Microcents) {
					want := budget.Balance{Outcome: budget.HoldsOpen, Granted: 100, Remaining: 40, Reserved: 60}
					if free == 100 {
						want = budget.Balance{Outcome: budget.Deleted, Granted: 100, Remaining: 100}
					}
					expect(x, want)(x.delete(tenant))
				}})
		}
	}
	name := func(i int, tenant budget.TenantID) budget.TenantID {
		return budget.TenantID(fmt.Sprintf("family-%d", i)) + tenant[len(root):]
	}
	for i := range probes {
		for _, tenant := range []budget.TenantID{root, middle, leaf} {
			x.open(name(i, tenant), 100)
		}
		for _, tenant := range []budget.TenantID{twin, aside} {
			x.open(name(i, tenant), 1000)
		}
		x.holdAt(name(i, leaf), 60, 40, name(i, leaf))
	}
	x.advance(holdTTL - time.Millisecond)
	for i, p := range probes {
		p.run(name(i, p.at), 40)
	}
	x.advance(time.Millisecond)
	for i, p := range probes {
		p.run(name(i, p.at), 100)
		for _, tenant := range []budget.TenantID{root, middle, leaf} {
			if slices.Contains(x.tenants, name(i, tenant)) {
				x.balance(name(i, tenant), 100, 100, 0, 0)
			}
		}
	}
}

// levelsManyDeadlines lets holds of many tenants below a root expire, each at its own time,
// and reads the root first.
func levelsManyDeadlines(x *fixture) {
	const tenants = 150
	x.open(root, tenants)
	x.open(middle, tenants)
	for i := range tenants {
		tenant := budget.TenantID(fmt.Sprintf("%s/key-%d", middle, i))
		x.open(tenant, 1000)
		left := budget.Microcents(tenants - i - 1)
		x.holdAt(tenant, 1, left, middle, budget.WithHoldTTL(time.Duration(1+i*7%tenants)*time.Millisecond))
	}
	for ended := range budget.Microcents(tenants + 1) {
		x.balance(root, tenants, ended, tenants-ended, 0)
		expect(x, leftAt(ended, middle))(x.engine.Remaining(x.ctx, middle))
		if holds := x.holds(root); len(holds) != int(tenants-ended) {
			x.t.Fatalf("at %d ms the root has %d holds", ended, len(holds))
		}
		x.advance(time.Millisecond)
	}
}

func levelsDelete(x *fixture) {
	open := func(granted, remaining, reserved, committed budget.Microcents) budget.Balance {
		return budget.Balance{Outcome: budget.HoldsOpen, Granted: granted, Remaining: remaining, Reserved: reserved, Committed: committed}
	}
	x.open(root, 100)
	x.open(leaf, 50)
	id := x.holdAt(leaf, 10, 40, leaf)
	x.open(middle, 20)
	expect(x, open(100, 90, 10, 0))(x.delete(root))
	expect(x, open(50, 40, 10, 0))(x.delete(leaf))
	expect(x, budget.Balance{Outcome: budget.Deleted, Granted: 20, Remaining: 20})(x.delete(middle)) // the hold has no part in it
	x.open(middle, 30)
	x.holdAt(leaf, 5, 25, middle)
	expect(x, open(30, 25, 5, 0))(x.delete(middle))
	expect(x, settlementAt(committed(39, 6), leaf))(x.engine.Commit(x.ctx, id, 6))
	expect(x, open(100, 89, 5, 6))(x.delete(root))
	x.advance(holdTTL)
	expect(x, budget.Balance{Outcome: budget.Deleted, Granted: 100, Remaining: 94, Committed: 6})(x.delete(root))
	expect(x, budget.Balance{Outcome: budget.Deleted, Granted: 30, Remaining: 30})(x.delete(middle))
	expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.delete(middle))
	x.balance(leaf, 50, 44, 0, 6)
	expect(x, missing(budget.Committed))(x.engine.Release(x.ctx, id))
}

func levelsDeleted(x *fixture) {
	x.open(root, 10)
	x.open(middle, 5)
	x.open(leaf, 100)
	id := x.holdAt(leaf, 2, 3, middle)
	expect(x, settlementAt(committed(4, 1), middle))(x.engine.Commit(x.ctx, id, 1))
	expect(x, budget.Balance{Outcome: budget.Deleted, Granted: 5, Remaining: 4, Committed: 1})(x.delete(middle))
	second := x.holdAt(leaf, 8, 1, root)
	expect(x, budget.Balance{Outcome: budget.HoldsOpen, Granted: 10, Remaining: 1, Reserved: 8, Committed: 1})(x.delete(root))
	x.open(middle, 7)
	x.balance(middle, 7, 7, 0, 0)
	expect(x, settlementAt(released(9, 8), root))(x.engine.Release(x.ctx, second))
	x.balance(middle, 7, 7, 0, 0)
	expect(x, budget.Balance{Outcome: budget.Deleted, Granted: 10, Remaining: 9, Committed: 1})(x.delete(root))
	third := x.holdAt(leaf, 7, 0, middle)
	expect(x, settlementAt(released(7, 7), middle))(x.engine.Release(x.ctx, third))
	expect(x, budget.Balance{Outcome: budget.Deleted, Granted: 100, Remaining: 99, Committed: 1})(x.delete(leaf))
	expect(x, budget.Reservation{Outcome: budget.MissingTenant})(x.engine.TryReserve(x.ctx, leaf, 1))
	for _, old := range []budget.ReservationID{id, second, third} {
		if res, err := x.engine.Release(x.ctx, old); err != nil || res.Outcome != budget.MissingReservation {
			x.t.Fatalf("a hold of a deleted tenant: %+v, %v", res, err)
		}
	}
	x.open(leaf, 3)
	x.balance(leaf, 3, 3, 0, 0)
	x.holdAt(leaf, 3, 0, leaf)
}

func levelsHolds(x *fixture) {
	for _, tenant := range []budget.TenantID{root, leaf, twin, aside} {
		x.open(tenant, 1000)
	}
	x.open("acme-2", 1000)
	note := make(map[budget.TenantID][]budget.Hold)
	add := func(tenant budget.TenantID, cost budget.Microcents, levels ...budget.TenantID) {
		x.t.Helper()
		res, err := x.engine.TryReserve(x.ctx, tenant, cost)
		if err != nil || res.Outcome != budget.Reserved {
			x.t.Fatalf("got %+v and error %v, want reserved", res, err)
		}
		made := x.clock.instant()
		for _, level := range append(levels, tenant) {
			note[level] = append(note[level], budget.Hold{ID: res.ID, Held: cost, Made: made, Deadline: made.Add(holdTTL)})
		}
		x.advance(time.Millisecond)
	}
	add(twin, 1, root)
	add(leaf, 2, root)
	add(root, 3)
	x.open(middle, 1000)
	add(leaf, 4, root, middle)
	add(aside, 5, root)
	add(middle, 6, root)
	add(twin, 7, root, middle)
	add("acme-2", 8)
	for _, tenant := range x.tenants {
		want := note[tenant]
		slices.SortFunc(want, func(a, b budget.Hold) int { return a.ID.Compare(b.ID) })
		if got := x.holds(tenant); !slices.Equal(got, want) {
			x.t.Fatalf("%q has the holds\n%+v, want\n%+v", tenant, got, want)
		}
	}
}

func levelsMoved(x *fixture) {
	levels := []budget.TenantID{root, middle, leaf}
	ids := make(map[budget.TenantID]budget.ReservationID)
	for i, tenant := range levels {
		x.open(tenant, budget.Microcents(300-i))
	}
	ids[root] = x.holdAt(root, 10, 290, root)
	ids[middle] = x.holdAt(middle, 10, 280, root)
	ids[leaf] = x.holdAt(leaf, 10, 270, root)
	for _, from := range levels {
		for _, to := range append(slices.Clone(levels), twin, aside, leaf+"/a") {
			if from == to {
				continue
			}
			hi, lo := ids[from].Bits()
			moved := budget.NewReservationID(to, hi, lo)
			expect(x, missing(budget.Unknown))(x.engine.Commit(x.ctx, moved, 1))
			expect(x, missing(budget.Unknown))(x.engine.Release(x.ctx, moved))
			expect(x, notKnown)(x.engine.Lookup(x.ctx, moved))
		}
	}
	x.balance(root, 300, 270, 30, 0)
	x.balance(middle, 299, 279, 20, 0)
	x.balance(leaf, 298, 288, 10, 0)
}

func levelsAdjust(x *fixture) {
	x.open(root, 10)
	x.open(leaf, 100) // more than its parent
	id := x.holdAt(leaf, 8, 2, root)
	expect(x, granted(192))(x.engine.Grant(x.ctx, leaf, 100))
	expect(x, withdrawn(2))(x.engine.Withdraw(x.ctx, leaf, 190)) // only its own remaining counts
	x.balance(root, 10, 2, 8, 0)
	expect(x, lacking(2, 3))(x.engine.Withdraw(x.ctx, root, 3))
	expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, root, 2))
	x.balance(leaf, 10, 2, 8, 0)
	expect(x, settlementAt(overrun(0), root))(x.engine.Commit(x.ctx, id, 9))
	expect(x, granted(1))(x.engine.Grant(x.ctx, root, 1))
	expect(x, settlementAt(committed(0, 9), root))(x.engine.Commit(x.ctx, id, 9))
	x.balance(root, 9, 0, 0, 9)
	x.balance(leaf, 10, 1, 0, 9)
	refused[budget.Adjustment](x, budget.ErrOverflow, "a grant")(x.engine.Grant(x.ctx, leaf, budget.MaxMicrocents))
}

func levelsExact(x *fixture) {
	for i, edge := range edges {
		var levels []budget.TenantID
		for tenant := budget.TenantID(fmt.Sprintf("edge-%d/2/3/4/5/6", i)); tenant != ""; tenant = tenant.Parent() {
			levels = append(levels, tenant)
			x.open(tenant, budget.MaxMicrocents)
		}
		tenant, rest := levels[0], budget.MaxMicrocents-edge
		all := func(remaining, reserved, committed budget.Microcents) {
			x.t.Helper()
			for _, level := range levels {
				x.balance(level, budget.MaxMicrocents, remaining, reserved, committed)
			}
		}
		id := x.holdAt(tenant, edge, rest, tenant)
		all(rest, edge, 0)
		expect(x, settlementAt(committed(rest+1, edge-1), tenant))(x.engine.Commit(x.ctx, id, edge-1))
		all(rest+1, 0, edge-1)
		id = x.holdAt(tenant, 1, rest, tenant)
		if edge > 1 {
			expect(x, settlementAt(overrun(rest), tenant))(x.engine.Commit(x.ctx, id, rest+2))
		}
		expect(x, settlementAt(committed(0, rest+1), tenant))(x.engine.Commit(x.ctx, id, rest+1))
		all(0, 0, budget.MaxMicrocents)
	}
}
