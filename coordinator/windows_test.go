package coordinator

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

// nodeWithClock returns a node with a clock, and functions that return its time and move it.
func nodeWithClock(t *testing.T) (c *Coordinator, at func() time.Time, advance func(time.Duration)) {
	t.Helper()
	var ms atomic.Int64
	ms.Store(time.Date(2026, time.March, 1, 10, 30, 0, 0, time.UTC).UnixMilli())
	at = func() time.Time { return time.UnixMilli(ms.Load()).UTC() }
	c, _ = startNode(t, WithHoldTTL(24*time.Hour), WithClock(at))
	return c, at, func(d time.Duration) { ms.Add(d.Milliseconds()) }
}

func ensureWindow(t *testing.T, c *Coordinator, tenant budget.TenantID, amount budget.Microcents, w budget.Window) {
	t.Helper()
	if r, err := c.EnsureTenant(t.Context(), tenant, amount, budget.InWindow(w)); err != nil || r.Outcome != budget.Created {
		t.Fatalf("EnsureTenant(%s) = %+v, %v", tenant, r, err)
	}
}

// A window that can't be granted with the overdraft creates nothing.
func TestEnsureTooLargeWindow(t *testing.T) {
	t.Parallel()
	c, _ := startNode(t)
	r, err := c.EnsureTenant(t.Context(), "acme", 100, budget.Overdraft(1), budget.InWindow(budget.Window{Period: budget.Day, Amount: budget.MaxMicrocents}))
	if !errors.Is(err, budget.ErrOverflow) {
		t.Errorf("EnsureTenant = %+v, %v", r, err)
	}
	if b, err := c.Balance(t.Context(), "acme"); err != nil || b.Outcome != budget.MissingTenant {
		t.Errorf("Balance = %+v, %v", b, err)
	}
}

// Tree shows accounts that have had no operation since a boundary as Balance does.
func TestTreeBeginsEpochs(t *testing.T) {
	t.Parallel()
	c, at, advance := nodeWithClock(t)
	hourly, daily := budget.Window{Period: budget.Hour}, budget.Window{Period: budget.Day, Carry: budget.CarryAll}
	ensureWindow(t, c, "acme", 100, hourly)
	for i := range 300 {
		ensureWindow(t, c, numbered("acme/key", i), 10, hourly)
	}
	ensureWindow(t, c, "acme/daily", 50, daily)
	ensure(t, c, "acme/flat", 7)
	if r, err := c.TryReserve(t.Context(), "acme/key-1", 4); err != nil || r.Err() != nil {
		t.Fatal(r, err)
	}
	for range 3 {
		advance(time.Hour)
		start := at().Truncate(time.Hour)
		tree, err := c.Tree(t.Context(), "acme")
		if err != nil || !tree.Instant || len(tree.Accounts) != 303 {
			t.Fatalf("Tree = %d accounts at one instant %t, %v", len(tree.Accounts), tree.Instant, err)
		}
		for _, a := range tree.Accounts {
			b, err := c.Balance(t.Context(), a.Tenant)
			if err != nil || b != a.Balance {
				t.Errorf("Tree has %+v of %s, Balance is %+v, %v", a.Balance, a.Tenant, b, err)
			}
			if b.Settings.Window.Period == budget.Hour && b.Epoch.Start != budget.InstantOf(start) {
				t.Errorf("the epoch of %s is %+v at %s", a.Tenant, b.Epoch, at())
			}
		}
	}
	tree, err := c.Tree(t.Context(), "acme/key-1")
	if err != nil || len(tree.Accounts) != 1 || tree.Accounts[0].Balance.Ended != 4 || tree.Accounts[0].Balance.Remaining != 10 {
		t.Errorf("the tree of a leaf is %+v, %v", tree, err)
	}
}

// Tree and Holds show an account whose rolling window has lost parts as Balance does, and read it
// once if it hasn't.
func TestReadsSlideRollingWindows(t *testing.T) {
	t.Parallel()
	c, _, advance := nodeWithClock(t)
	ensureWindow(t, c, "acme", 100, budget.Window{Period: budget.Last24Hours})
	id := reserve(t, c, 30)
	if s, err := c.Commit(t.Context(), id, 20); err != nil || s.Err() != nil {
		t.Fatal(s, err)
	}
	other := 0 // a tenant of the same partition
	for store.PartitionOf(numbered("other", other), DefaultPartitions) != acmePartition {
		other++
	}
	for _, want := range []struct {
		after     time.Duration
		committed budget.Microcents
		behind    bool
	}{{0, 20, false}, {29 * time.Minute, 20, false}, {time.Minute, 20, true}, {23 * time.Hour, 20, true}, {time.Hour, 0, true}} {
		advance(want.after)
		if _, err := c.TryReserve(t.Context(), numbered("other", other), 1); err != nil { // a batch at that time
			t.Fatal(err)
		}
		if _, behind, err := c.readAccounts(t.Context(), "acme"); err != nil || (len(behind) > 0) != want.behind {
			t.Errorf("after %s %q are behind, %v", want.after, behind, err)
		}
		tree, err1 := c.Tree(t.Context(), "acme")
		list, err2 := c.Holds(t.Context(), "acme")
		b, err3 := c.Balance(t.Context(), "acme")
		if err := errors.Join(err1, err2, err3); err != nil || len(tree.Accounts) != 1 || tree.Accounts[0].Balance != b || list.Balance != b || b.Committed != want.committed {
			t.Errorf("after %s Tree is %+v, Holds %+v and Balance %+v, %v", want.after, tree, list, b, err)
		}
		if _, behind, err := c.readAccounts(t.Context(), "acme"); err != nil || len(behind) > 0 {
			t.Errorf("after a read at %s %q are behind, %v", want.after, behind, err)
		}
	}
}

// The gauges of an observed tenant are those of its current epoch, and without a window there
// are none of epochs.
func TestGaugesOfEpochs(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, time.March, 1, 10, 30, 0, 0, time.UTC)
	c, reader, _ := telemetered(t, redistest.Start(t), WithObservedTenants("acme", "flat", "rolling"), WithHoldTTL(24*time.Hour),
		WithClock(func() time.Time { return now }))
	ensureWindow(t, c, "acme", 100, budget.Window{Period: budget.Hour, Amount: 70, Carry: 5})
	ensure(t, c, "flat", 7)
	ensureWindow(t, c, "rolling", 8, budget.Window{Period: budget.Last24Hours})
	reserve(t, c, 30)
	want := func(tenant string, values map[string]int64) {
		t.Helper()
		got, _ := read(t, reader)
		for name, value := range values {
			if v := got.of("bursar.tenant."+name, "bursar.tenant.id", tenant); v != value {
				t.Errorf("at %s bursar.tenant.%s of %s is %d, want %d", now, name, tenant, v, value)
			}
		}
		for _, p := range got["bursar.tenant.epoch.end"] {
			if of, _ := p.attributes.Value(tenantKey); of.AsString() != "acme" {
				t.Errorf("%s, which has no epochs, renews at %d", of.AsString(), p.value)
			}
		}
	}
	boundary := now.Add(30 * time.Minute).Unix()
	want("acme", map[string]int64{"granted": 100, "remaining": 70, "reserved": 30, "holds": 1, "ended": 0, "epoch.end": boundary})
	now = now.Add(time.Hour)
	want("acme", map[string]int64{"granted": 75, "remaining": 75, "reserved": 0, "holds": 1, "ended": 30, "epoch.end": boundary + 3600})
	want("flat", map[string]int64{"granted": 7, "remaining": 7})
	want("rolling", map[string]int64{"granted": 8, "remaining": 8})
}

// Holds lists the holds of all epochs with the present one's balance.
func TestHoldsOfEpochs(t *testing.T) {
	t.Parallel()
	c, _, advance := nodeWithClock(t)
	ensureWindow(t, c, "acme", 100, budget.Window{Period: budget.Hour})
	first := reserve(t, c, 10)
	advance(time.Hour)
	second := reserve(t, c, 20)
	for want := range 2 {
		list, err := c.Holds(t.Context(), "acme")
		if err != nil || list.Audit() != nil || len(list.Holds) != 2 {
			t.Fatalf("Holds = %+v, %v, %v", list, err, list.Audit())
		}
		b, err := c.Balance(t.Context(), "acme")
		if err != nil || b != list.Balance || b.Ended != []budget.Microcents{10, 30}[want] {
			t.Errorf("the balance is %+v, that of Holds %+v, %v", b, list.Balance, err)
		}
		advance(time.Hour)
	}
	for _, id := range []budget.ReservationID{first, second} {
		if s, err := c.Commit(t.Context(), id, 1); err != nil || s.Err() != nil {
			t.Error(s, err)
		}
	}
	if list, err := c.Holds(t.Context(), "acme"); err != nil || list.Audit() != nil || list.Balance.Ended != 0 || len(list.Holds) != 0 {
		t.Errorf("Holds = %+v, %v", list, err)
	}
}
