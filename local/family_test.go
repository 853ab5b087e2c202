package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// grace is the time for which a test waits for a goroutine that must not get further, so a
// test that finds nothing wrong takes it.
const grace = 30 * time.Millisecond

// newFamily returns an engine with these tenants, each with 100, and its clock.
func newFamily(t *testing.T, tenants ...budget.TenantID) (e *Engine, now *atomic.Int64) {
	t.Helper()
	now = new(atomic.Int64)
	e, err := New(WithClock(func() time.Time { return time.UnixMilli(now.Load()) }), WithHoldTTL(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range tenants {
		if _, err := e.EnsureTenant(t.Context(), tenant, 100); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Balance(t.Context(), tenant); err != nil { // so that nothing but a later time locks the root
			t.Fatal(err)
		}
	}
	return e, now
}

func (e *Engine) mustReserve(t *testing.T, tenant budget.TenantID) budget.ReservationID {
	t.Helper()
	res, err := e.TryReserve(t.Context(), tenant, 10)
	if err != nil || res.Outcome != budget.Reserved {
		t.Fatalf("reserve for %q: %+v, %v", tenant, res, err)
	}
	return res.ID
}

// TestLocksFromRootToTenant checks that no operation holds the lock of a tenant while it
// waits for that of an ancestor.
func TestLocksFromRootToTenant(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(e *Engine, id budget.ReservationID){
		"reserve":   func(e *Engine, id budget.ReservationID) { _, _ = e.TryReserve(context.Background(), id.Tenant(), 1) },
		"commit":    func(e *Engine, id budget.ReservationID) { _, _ = e.Commit(context.Background(), id, 1) },
		"release":   func(e *Engine, id budget.ReservationID) { _, _ = e.Release(context.Background(), id) },
		"remaining": func(e *Engine, id budget.ReservationID) { _, _ = e.Remaining(context.Background(), id.Tenant()) },
		"expiry": func(e *Engine, id budget.ReservationID) {
			e.accounts.find("acme").advance(e.clock.now() + 10)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, _ := newFamily(t, "acme", "acme/search", "acme/search/key-7")
			id := e.mustReserve(t, "acme/search/key-7")
			for _, ancestor := range []budget.TenantID{"acme", "acme/search"} {
				a := e.accounts.find(ancestor)
				remaining := a.open()
				done := make(chan struct{})
				go func() {
					run(e, id)
					close(done)
				}()
				time.Sleep(grace)
				if word := e.accounts.find("acme/search/key-7").word.Load(); word < 0 {
					t.Errorf("the tenant is locked while %q is awaited", ancestor)
				}
				a.close(remaining)
				<-done
			}
		})
	}
}

// TestLevelCreatedMeanwhile creates a level between the moment at which a reserve looks for
// the existing ones and the moment at which it has locked them.
func TestLevelCreatedMeanwhile(t *testing.T) {
	t.Parallel()
	e, _ := newFamily(t, "acme", "acme/search/key-7")
	root := e.accounts.find("acme")
	remaining := root.open()
	reserved := make(chan budget.Reservation)
	go func() {
		res, _ := e.TryReserve(context.Background(), "acme/search/key-7", 10)
		reserved <- res
	}()
	time.Sleep(grace)
	if res, err := e.EnsureTenant(t.Context(), "acme/search", 12); err != nil || res.Outcome != budget.Created {
		t.Fatalf("%+v, %v", res, err)
	}
	root.close(remaining)
	if res := <-reserved; res.Outcome != budget.Reserved || res.Remaining != 2 || res.Level != "acme/search" {
		t.Errorf("a reserve after the level was created: %+v, want it to debit the level", res)
	}
	if b, err := e.Balance(t.Context(), "acme/search"); err != nil || b.Reserved != 10 {
		t.Errorf("the level: %+v, %v; want 10 reserved", b, err)
	}
}

// TestExpiryIsAwaited reads a tenant whose hold is due while another goroutine is ending the
// due holds of the family, and has not come to this one yet.
func TestExpiryIsAwaited(t *testing.T) {
	t.Parallel()
	e, now := newFamily(t, "acme", "acme/search", "acme/search/key-7", "acme/ads")
	e.mustReserve(t, "acme/search/key-7")
	e.mustReserve(t, "acme/ads")
	now.Add(10)
	first := e.accounts.find("acme/search")
	remaining := first.open()
	var group sync.WaitGroup
	group.Go(func() { _, _ = e.Balance(context.Background(), "acme") })
	time.Sleep(grace)
	balance := make(chan budget.Balance, 1)
	group.Go(func() {
		b, _ := e.Balance(context.Background(), "acme/ads")
		balance <- b
	})
	time.Sleep(grace)
	first.close(remaining)
	if b := <-balance; b.Reserved != 0 || b.Remaining != 100 {
		t.Errorf("after the deadline: %+v, want nothing reserved", b)
	}
	group.Wait()
}

// TestDueIsRaised checks that the family's bounds are later than its time, so that the
// family is not searched again before something is due.
func TestDueIsRaised(t *testing.T) {
	t.Parallel()
	e, now := newFamily(t, "acme/search/key-7", "acme/search/key-8")
	for range 5 {
		id := e.mustReserve(t, "acme/search/key-7")
		e.mustReserve(t, "acme/search/key-8")
		if _, err := e.Commit(t.Context(), id, 1); err != nil {
			t.Fatal(err)
		}
		now.Add(10)
		if _, err := e.Balance(t.Context(), "acme/search/key-8"); err != nil {
			t.Fatal(err)
		}
		f := e.accounts.find("acme/search/key-7").family
		if least := f.earliest.least(); least <= now.Load() {
			t.Fatalf("at %d something may be due by %d", now.Load(), least)
		}
		for i, m := range *f.members.Load() {
			if m.due != f.earliest[0][i] || m.due > m.holds.earliest.least() {
				t.Fatalf("%q has a due of %d, in the family %d, its holds of %d", m.tenant, m.due, f.earliest[0][i], m.holds.earliest.least())
			}
		}
	}
}

// TestDeadlinesBelowMissingRootAtOnce has members of a family, whose root doesn't exist and so
// isn't locked by a reserve, make holds that end in any order.
func TestDeadlinesBelowMissingRootAtOnce(t *testing.T) {
	t.Parallel()
	const members, cycles = 4, 2000
	e, now := newFamily(t)
	var group sync.WaitGroup
	for m := range members {
		tenant := budget.TenantID(fmt.Sprintf("acme/key-%d", m))
		if _, err := e.EnsureTenant(t.Context(), tenant, 1000); err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(m), 6))
			for range cycles {
				ttl := time.Duration(1+random.IntN(20)) * time.Millisecond
				if _, err := e.TryReserve(context.Background(), tenant, 1, budget.WithHoldTTL(ttl)); err != nil {
					t.Error(err)
				}
				if random.IntN(4) == 0 {
					now.Add(1)
				}
				at := now.Load()
				list, err := e.Holds(context.Background(), tenant)
				if err == nil {
					err = list.Audit()
				}
				if err != nil {
					t.Error(err)
				}
				for _, h := range list.Holds {
					if h.Deadline.UnixMilli() <= at {
						t.Errorf("at %d %q has a hold that was due by %d", at, tenant, h.Deadline.UnixMilli())
					}
				}
			}
		})
	}
	group.Wait()
}
