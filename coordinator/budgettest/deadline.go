package budgettest

import (
	"fmt"
	"sync"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

const holdTTL = 10 * time.Second

func deadlineChecks() []check {
	return []check{
		{name: "every operation finds the hold ended at its deadline, and not before", ttl: holdTTL, run: deadlineExact},
		{name: "a settle at the deadline returns expired", ttl: holdTTL, run: deadlineSettle},
		{name: "a settle in the last millisecond", ttl: holdTTL, run: deadlineLastMillisecond},
		{name: "a call's own time to live", ttl: holdTTL, run: deadlineOfCall},
		{name: "no deadline", run: deadlineNone},
		{name: "one after the other", run: deadlineStaggered},
		{name: "fifteen hundred at once", ttl: holdTTL, run: deadlineMany},
		{name: "fifteen hundred at once, of another tenant of the family", ttl: holdTTL, run: deadlineManyOfFamily},
		{name: "a clock that runs backwards", ttl: holdTTL, run: deadlineBackwards},
	}
}

// deadlineExact calls each operation on a tenant of its own, one millisecond before a
// hold's deadline and at it, so that the operation is the first on the tenant to see the
// hold expire.
func deadlineExact(x *fixture) {
	type probe func(tenant budget.TenantID, free budget.Microcents)
	probes := []probe{
		func(tenant budget.TenantID, free budget.Microcents) {
			expect(x, budget.Remainder{Outcome: budget.Found, Remaining: free})(x.engine.Remaining(x.ctx, tenant))
		},
		func(tenant budget.TenantID, free budget.Microcents) { x.balance(tenant, 100, free, 100-free, 0) },
		func(tenant budget.TenantID, free budget.Microcents) {
			if holds := x.holds(tenant); len(holds) != int(100-free)/60 {
				x.t.Fatalf("%q has the holds %+v", tenant, holds)
			}
		},
		func(tenant budget.TenantID, free budget.Microcents) {
			expect(x, budget.Ensured{Outcome: budget.Exists, Remaining: free})(x.engine.EnsureTenant(x.ctx, tenant, 1))
		},
		func(tenant budget.TenantID, free budget.Microcents) {
			expect(x, insufficient(free, 101))(x.engine.TryReserve(x.ctx, tenant, 101))
		},
		func(tenant budget.TenantID, free budget.Microcents) {
			expect(x, lacking(free, 101))(x.engine.Withdraw(x.ctx, tenant, 101))
		},
	}
	tenant := func(i int) budget.TenantID { return budget.TenantID(fmt.Sprintf("tenant-%d", i)) }
	for i := range probes {
		x.open(tenant(i), 100)
		x.hold(tenant(i), 60, 40)
	}
	x.advance(holdTTL - time.Millisecond)
	for i, probeTenant := range probes {
		probeTenant(tenant(i), 40)
	}
	x.advance(time.Millisecond)
	for i, probeTenant := range probes {
		probeTenant(tenant(i), 100)
		x.balance(tenant(i), 100, 100, 0, 0)
	}
}

func deadlineSettle(x *fixture) {
	expired := missing(budget.Expired)
	for _, tenant := range []budget.TenantID{"committed", "released", "granted", "reserved"} {
		x.open(tenant, 100)
	}
	first, second := x.hold("committed", 60, 40), x.hold("released", 60, 40)
	x.hold("granted", 60, 40)
	x.hold("reserved", 60, 40)
	x.advance(holdTTL)
	expect(x, budget.Settlement{Outcome: budget.InvalidAmount})(x.engine.Commit(x.ctx, first, -1))
	for range 2 {
		expect(x, expired)(x.engine.Commit(x.ctx, first, 60))
		expect(x, expired)(x.engine.Release(x.ctx, first))
		expect(x, expired)(x.engine.Release(x.ctx, second))
		expect(x, expired)(x.engine.Commit(x.ctx, second, 0))
	}
	expect(x, granted(101))(x.engine.Grant(x.ctx, "granted", 1))
	x.hold("reserved", 100, 0)
	x.balance("committed", 100, 100, 0, 0)
	x.balance("released", 100, 100, 0, 0)
}

func deadlineLastMillisecond(x *fixture) {
	x.open("acme", 100)
	first, second, third := x.hold("acme", 60, 40), x.hold("acme", 20, 20), x.hold("acme", 10, 10)
	x.advance(holdTTL - time.Millisecond)
	expect(x, overrun(10))(x.engine.Commit(x.ctx, third, 21))
	expect(x, committed(20, 50))(x.engine.Commit(x.ctx, first, 50))
	expect(x, released(40, 20))(x.engine.Release(x.ctx, second))
	x.advance(time.Millisecond) // an overrun doesn't extend the deadline
	expect(x, missing(budget.Expired))(x.engine.Commit(x.ctx, third, 1))
	expect(x, missing(budget.Committed))(x.engine.Release(x.ctx, first))
	expect(x, missing(budget.Released))(x.engine.Release(x.ctx, second))
	x.balance("acme", 100, 50, 0, 50)
}

func deadlineOfCall(x *fixture) {
	x.open("acme", 100)
	short := x.hold("acme", 1, 99, budget.WithHoldTTL(time.Millisecond))
	usual := x.hold("acme", 2, 97)
	long := x.hold("acme", 4, 93, budget.WithHoldTTL(time.Hour))
	never := x.hold("acme", 8, 85, budget.WithHoldTTL(0))
	x.balance("acme", 100, 85, 15, 0)
	x.advance(time.Millisecond)
	x.balance("acme", 100, 86, 14, 0)
	x.advance(holdTTL - time.Millisecond)
	x.balance("acme", 100, 88, 12, 0)
	x.advance(time.Hour - holdTTL - time.Millisecond)
	x.balance("acme", 100, 88, 12, 0)
	x.advance(time.Millisecond)
	x.balance("acme", 100, 92, 8, 0)
	x.advance(2 * budget.MaxHoldTTL)
	expect(x, committed(92, 8))(x.engine.Commit(x.ctx, never, 8))
	for _, id := range []budget.ReservationID{short, usual, long} {
		// The engine may have forgotten the outcome by now, but not that the hold ended.
		res, err := x.engine.Commit(x.ctx, id, 1)
		if res.Prior == budget.Unknown {
			res.Prior = budget.Expired
		}
		expect(x, missing(budget.Expired))(res, err)
	}
}

func deadlineNone(x *fixture) {
	x.open("acme", 100)
	id := x.hold("acme", 60, 40)
	x.hold("acme", 10, 30, budget.WithHoldTTL(holdTTL))
	x.advance(2 * budget.MaxHoldTTL)
	x.balance("acme", 100, 40, 60, 0)
	if holds := x.holds("acme"); len(holds) != 1 || !holds[0].Deadline.IsZero() {
		x.t.Fatalf("got the holds %+v, want one without a deadline", holds)
	}
	expect(x, released(100, 60))(x.engine.Release(x.ctx, id))
}

func deadlineStaggered(x *fixture) {
	const holds = 40
	x.open("acme", holds)
	for i := range holds {
		// The holds end in a different order than they are made.
		turn := 1 + i*7%holds
		x.hold("acme", 1, budget.Microcents(holds-i-1), budget.WithHoldTTL(time.Duration(turn)*time.Millisecond))
	}
	for ended := range budget.Microcents(holds) {
		x.balance("acme", holds, ended, holds-ended, 0)
		x.advance(time.Millisecond)
	}
	x.balance("acme", holds, holds, 0, 0)
}

// manyHolds is more than an engine may end in one operation.
const manyHolds = 1500

// holdMany makes manyHolds holds. It uses several callers, only to save time with an engine
// behind a network.
func holdMany(x *fixture, tenant budget.TenantID) {
	const callers = 15
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for range manyHolds / callers {
				res, err := x.engine.TryReserve(x.ctx, tenant, 1)
				if err != nil || res.Outcome != budget.Reserved {
					x.t.Errorf("got %+v and error %v, want reserved", res, err)
					return
				}
			}
		})
	}
	group.Wait()
	if x.t.Failed() {
		x.t.FailNow()
	}
	if holds := x.holds(tenant); len(holds) != manyHolds {
		x.t.Fatalf("there are %d holds, want %d", len(holds), manyHolds)
	}
}

func deadlineMany(x *fixture) {
	x.open("acme", manyHolds)
	holdMany(x, "acme")
	expect(x, insufficient(0, 1))(x.engine.TryReserve(x.ctx, "acme", 1))
	x.advance(holdTTL)
	x.hold("acme", manyHolds, 0) // takes all, so no expired hold may be left
	x.balance("acme", manyHolds, 0, manyHolds, 0)
}

func deadlineManyOfFamily(x *fixture) {
	x.open("acme/ads", 10)
	x.open("acme/search", manyHolds)
	holdMany(x, "acme/search")
	id := x.hold("acme/ads", 6, 4)
	x.advance(holdTTL)
	expect(x, missing(budget.Expired))(x.engine.Commit(x.ctx, id, 6))
	x.balance("acme/ads", 10, 10, 0, 0)
	x.balance("acme/search", manyHolds, manyHolds, 0, 0)
}

func deadlineBackwards(x *fixture) {
	x.open("acme", 100)
	first := x.hold("acme", 10, 90)
	x.advance(holdTTL)
	second := x.hold("acme", 20, 80) // the first hold has expired
	latest := x.clock.instant()
	x.clock.set(epoch.Add(-time.Hour))
	x.balance("acme", 100, 80, 20, 0)
	expect(x, missing(budget.Expired))(x.engine.Commit(x.ctx, first, 10))
	third := x.hold("acme", 30, 50)
	for _, h := range x.holds("acme") {
		if !h.Made.Equal(latest) || !h.Deadline.Equal(latest.Add(holdTTL)) {
			x.t.Fatalf("hold %+v, want one made at %s: time ran backwards", h, latest)
		}
	}
	x.clock.set(latest.Add(holdTTL - time.Millisecond))
	expect(x, released(70, 20))(x.engine.Release(x.ctx, second))
	x.advance(time.Millisecond)
	expect(x, missing(budget.Expired))(x.engine.Release(x.ctx, third))
	x.balance("acme", 100, 100, 0, 0)
}
