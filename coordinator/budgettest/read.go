package budgettest

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/coordinator/budget"
)

func readChecks() []check {
	return []check{
		{name: "a missing tenant", run: readMissing},
		{name: "the remaining amount", run: readRemaining},
		{name: "holds with their amounts and times", ttl: time.Minute, run: readHolds},
		{name: "the engine's own clock", ttl: budget.DefaultHoldTTL, ownClock: true, run: readOwnClock},
	}
}

func readMissing(x *fixture) {
	x.open("acme", 100)
	for _, tenant := range []budget.TenantID{"ghost", "acme/search"} {
		expect(x, budget.Remainder{Outcome: budget.MissingTenant})(x.engine.Remaining(x.ctx, tenant))
		expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, tenant))
		list, err := x.engine.Holds(x.ctx, tenant)
		if err != nil || list.Outcome != budget.MissingTenant || list.Holds != nil || list.Balance.Granted != 0 {
			x.t.Fatalf("holds of %q: got %+v and error %v, want missing_tenant", tenant, list, err)
		}
	}
}

func readRemaining(x *fixture) {
	found := func(remaining budget.Microcents) budget.Remainder {
		return budget.Remainder{Outcome: budget.Found, Remaining: remaining}
	}
	x.open("acme", exactFloat+1)
	expect(x, found(exactFloat+1))(x.engine.Remaining(x.ctx, "acme"))
	id := x.hold("acme", exactFloat, 1)
	expect(x, found(1))(x.engine.Remaining(x.ctx, "acme"))
	expect(x, committed(exactFloat-1, 2))(x.engine.Commit(x.ctx, id, 2))
	expect(x, found(exactFloat-1))(x.engine.Remaining(x.ctx, "acme"))
	expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, "acme", exactFloat-1))
	expect(x, found(0))(x.engine.Remaining(x.ctx, "acme"))
}

func readHolds(x *fixture) {
	x.open("acme", 1000)
	x.open("globex", 1000)
	if holds := x.holds("acme"); len(holds) != 0 {
		x.t.Fatalf("a new tenant has the holds %+v", holds)
	}
	var want []budget.Hold
	note := func(held, remaining budget.Microcents, ttl time.Duration, opts ...budget.ReserveOption) {
		h := budget.Hold{ID: x.hold("acme", held, remaining, opts...), Held: held, Made: x.clock.instant()}
		if ttl > 0 {
			h.Deadline = h.Made.Add(ttl)
		}
		want = append(want, h)
	}
	note(10, 990, time.Minute)
	x.advance(1500 * time.Microsecond)
	note(20, 970, time.Minute)
	note(30, 940, time.Millisecond*7, budget.WithHoldTTL(7*time.Millisecond))
	note(40, 900, 0, budget.WithHoldTTL(0))
	note(50, 850, budget.MaxHoldTTL, budget.WithHoldTTL(budget.MaxHoldTTL))
	x.hold("globex", 5, 995)
	slices.SortFunc(want, func(a, b budget.Hold) int { return compareIDs(a.ID, b.ID) })
	got := x.holds("acme")
	if !slices.Equal(want, got) {
		x.t.Fatalf("the holds differ (-want +got):\n%s", cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)))
	}
	expect(x, overrun(850))(x.engine.Commit(x.ctx, want[0].ID, 1000))
	if got := x.holds("acme"); !slices.Equal(want, got) {
		x.t.Fatalf("an overrun changed the holds to %+v, want %+v", got, want)
	}
	expect(x, released(850+want[0].Held, want[0].Held))(x.engine.Release(x.ctx, want[0].ID))
	if got := x.holds("acme"); !slices.Equal(want[1:], got) {
		x.t.Fatalf("after a release the holds are %+v, want %+v", got, want[1:])
	}
}

// readOwnClock checks the times of the engine's own clock. It can't predict them, but they
// must be recent and consistent.
func readOwnClock(x *fixture) {
	x.open("acme", 100)
	id := x.hold("acme", 60, 40)
	holds := x.holds("acme")
	if len(holds) != 1 || holds[0].ID != id || !holds[0].Made.After(epoch.AddDate(-10, 0, 0)) ||
		holds[0].Deadline.Sub(holds[0].Made) != budget.DefaultHoldTTL {
		x.t.Fatalf("got the holds %+v, want one that was made now and ends after %s", holds, budget.DefaultHoldTTL)
	}
	expect(x, committed(50, 50))(x.engine.Commit(x.ctx, id, 50))
}
