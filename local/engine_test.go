package local_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/local"
)

// newEngine returns an engine with one tenant, acme.
func newEngine(t testing.TB, granted budget.Microcents, opts ...local.Option) *local.Engine {
	t.Helper()
	e, err := local.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.EnsureTenant(t.Context(), "acme", granted); err != nil {
		t.Fatal(err)
	}
	return e
}

func reserve(t testing.TB, e *local.Engine, cost budget.Microcents, opts ...budget.ReserveOption) budget.ReservationID {
	t.Helper()
	res, err := e.TryReserve(t.Context(), "acme", cost, opts...)
	if err != nil || res.Outcome != budget.Reserved {
		t.Fatalf("reserve of %d: %+v, %v", cost, res, err)
	}
	return res.ID
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, ttl := range []time.Duration{-time.Second, time.Microsecond, budget.MaxHoldTTL + time.Millisecond} {
		if e, err := local.New(local.WithHoldTTL(ttl)); err == nil || e != nil || !strings.Contains(err.Error(), ttl.String()) {
			t.Errorf("a hold TTL of %s: got the error %v, want one that names it", ttl, err)
		}
	}
	if e, err := local.New(local.WithHoldTTL(0), nil); err == nil || e != nil || !strings.Contains(err.Error(), "option 2 is nil") {
		t.Errorf("a nil option: got the error %v, want one that names it", err)
	}
}

// TestForeignIDs settles IDs of another engine whose tenant, account numbers and slot
// numbers are the same.
func TestForeignIDs(t *testing.T) {
	t.Parallel()
	ours, theirs := newEngine(t, 1000), newEngine(t, 1000)
	for range 100 {
		own, foreign := reserve(t, ours, 10), reserve(t, theirs, 10)
		hi, _ := own.Bits()
		if foreignHi, _ := foreign.Bits(); hi != foreignHi {
			t.Fatalf("the ids %s and %s name different slots, so this tests nothing", own, foreign)
		}
		if res, err := ours.Commit(t.Context(), foreign, 1); err != nil || res != (budget.Settlement{Outcome: budget.MissingReservation}) {
			t.Fatalf("a foreign id: %+v, %v", res, err)
		}
		if res, err := ours.Release(t.Context(), own); err != nil || res.Outcome != budget.Released {
			t.Fatalf("our own id: %+v, %v", res, err)
		}
		if res, err := ours.Release(t.Context(), foreign); err != nil || res != (budget.Settlement{Outcome: budget.MissingReservation}) {
			t.Fatalf("a foreign id of an ended hold: %+v, %v", res, err)
		}
		if _, err := theirs.Release(t.Context(), foreign); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOldIDs checks that a reused slot is settled only by its latest ID.
func TestOldIDs(t *testing.T) {
	t.Parallel()
	e := newEngine(t, 1000)
	old := reserve(t, e, 10)
	if _, err := e.Commit(t.Context(), old, 0); err != nil {
		t.Fatal(err)
	}
	place, _ := old.Bits()
	reused := false
	for range 200 {
		id := reserve(t, e, 10)
		if hi, _ := id.Bits(); hi == place {
			reused = true
			for _, settle := range []func() (budget.Settlement, error){
				func() (budget.Settlement, error) { return e.Commit(t.Context(), old, 10) },
				func() (budget.Settlement, error) { return e.Release(t.Context(), old) },
			} {
				if res, err := settle(); err != nil || res != (budget.Settlement{Outcome: budget.MissingReservation}) {
					t.Fatalf("the old id: %+v, %v", res, err)
				}
			}
		}
		if res, err := e.Release(t.Context(), id); err != nil || res.Outcome != budget.Released {
			t.Fatalf("the new id: %+v, %v", res, err)
		}
	}
	if !reused {
		t.Fatal("the slot was never reused, so this tests nothing")
	}
}

func TestCancelledContext(t *testing.T) {
	t.Parallel()
	e := newEngine(t, 100)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	res, err := e.TryReserve(ctx, "acme", 60)
	if err != nil || res.Outcome != budget.Reserved {
		t.Fatalf("reserve: %+v, %v", res, err)
	}
	if res, err := e.Commit(ctx, res.ID, 50); err != nil || res.Outcome != budget.Committed {
		t.Fatalf("commit: %+v, %v", res, err)
	}
}

func TestGrantOverflowSaysHowMuchFits(t *testing.T) {
	t.Parallel()
	e := newEngine(t, budget.MaxMicrocents-41)
	_, err := e.Grant(t.Context(), "acme", 42)
	if !errors.Is(err, budget.ErrOverflow) || !strings.Contains(err.Error(), `"acme"`) || !strings.Contains(err.Error(), "41 microcents") {
		t.Errorf("got the error %v, want an overflow that names the tenant and the largest grant", err)
	}
	if res, err := e.Grant(t.Context(), "acme", 41); err != nil || res.Remaining != budget.MaxMicrocents {
		t.Errorf("the largest grant: %+v, %v", res, err)
	}
}

// TestDueInBulk lets 100,000 holds expire, each at its own deadline.
func TestDueInBulk(t *testing.T) {
	t.Parallel()
	const holds = 100_000
	var now atomic.Int64
	e := newEngine(t, holds, local.WithClock(func() time.Time { return time.UnixMilli(now.Load()) }))
	ids := make([]budget.ReservationID, holds)
	for i := range ids {
		ids[i] = reserve(t, e, 1, budget.WithHoldTTL(time.Duration(i+1)*time.Millisecond))
	}
	if res, err := e.TryReserve(t.Context(), "acme", 1); err != nil || res.Outcome != budget.Insufficient {
		t.Fatalf("everything is held, but: %+v, %v", res, err)
	}
	for _, at := range []int64{1, 2, 64, 65, 5000, holds / 2, holds - 1, holds} {
		now.Store(at)
		if res, err := e.Remaining(t.Context(), "acme"); err != nil || res.Remaining != budget.Microcents(at) {
			t.Fatalf("at %d: %+v, %v", at, res, err)
		}
		list, err := e.Holds(t.Context(), "acme")
		if err == nil {
			err = list.Audit()
		}
		if err != nil || len(list.Holds) != int(holds-at) {
			t.Fatalf("at %d there are %d holds: %v", at, len(list.Holds), err)
		}
		if res, err := e.Commit(t.Context(), ids[at-1], 1); err != nil || res != (budget.Settlement{Outcome: budget.MissingReservation, Prior: budget.Expired}) {
			t.Fatalf("at %d, the last that was due: %+v, %v", at, res, err)
		}
	}
}

func TestAllocations(t *testing.T) {
	e := newEngine(t, budget.Dollar)
	ctx := t.Context()
	for name, op := range map[string]func() bool{
		"reserve and commit": func() bool {
			res, _ := e.TryReserve(ctx, "acme", 100)
			s, _ := e.Commit(ctx, res.ID, 90)
			return s.Outcome == budget.Committed
		},
		"reserve and release": func() bool {
			res, _ := e.TryReserve(ctx, "acme", 100)
			s, _ := e.Release(ctx, res.ID)
			return s.Outcome == budget.Released
		},
		"a refused reserve": func() bool {
			res, _ := e.TryReserve(ctx, "acme", budget.MaxMicrocents)
			return res.Outcome == budget.Insufficient
		},
		"remaining": func() bool { res, _ := e.Remaining(ctx, "acme"); return res.Outcome == budget.Found },
		"balance":   func() bool { res, _ := e.Balance(ctx, "acme"); return res.Conserved() },
	} {
		if n := testing.AllocsPerRun(500, func() {
			if !op() {
				t.Fatalf("%s: the measured operation failed", name)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

// TestReleaseOfManyAllocatesNothing checks that the reserves have allocated the memory that
// the releases need. One run of the function makes thousands of releases, so an average
// per run can't hide a single allocation.
func TestReleaseOfManyAllocatesNothing(t *testing.T) {
	e := newEngine(t, budget.Dollar)
	ctx := t.Context()
	var held []budget.ReservationID
	for range 10_000 {
		held = append(held, reserve(t, e, 1))
	}
	if n := testing.AllocsPerRun(1, func() {
		for _, id := range held[:len(held)/2] {
			if res, err := e.Release(ctx, id); err != nil || res.Outcome != budget.Released {
				t.Fatalf("release: %+v, %v", res, err)
			}
		}
		held = held[len(held)/2:]
	}); n != 0 {
		t.Errorf("2,500 releases after 5,000 others: %v allocations, want none", n)
	}
}

// TestObservers reads one tenant's holds and balance while callers reserve, settle in
// every way, grant, withdraw and let holds expire.
func TestObservers(t *testing.T) {
	t.Parallel()
	const cycles = 3000
	var now atomic.Int64
	e := newEngine(t, 5000, local.WithClock(func() time.Time { return time.UnixMilli(now.Load()) }), local.WithHoldTTL(3*time.Millisecond))
	ctx := t.Context()
	var callers, observers sync.WaitGroup
	for caller := range 4 {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(caller), 4))
			for range cycles {
				if err := randomCycle(ctx, e, random, &now); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	for range 2 {
		observers.Go(func() {
			for looks := 0; ; looks++ {
				list, err := e.Holds(ctx, "acme")
				if err == nil {
					err = list.Audit()
				}
				b, balanceErr := e.Balance(ctx, "acme")
				if err != nil || balanceErr != nil || !b.Conserved() || b.Remaining < 0 || b.Reserved < 0 || b.Committed < 0 {
					t.Errorf("seen: %v, %v, %+v", err, balanceErr, b)
					return
				}
				select {
				case <-done:
					if looks > 0 {
						return
					}
				default:
				}
			}
		})
	}
	callers.Wait()
	close(done)
	observers.Wait()
}

func randomCycle(ctx context.Context, e *local.Engine, random *rand.Rand, now *atomic.Int64) error {
	amount := budget.Microcents(1 + random.IntN(300))
	res, err := e.TryReserve(ctx, "acme", amount)
	if err != nil || res.Outcome != budget.Reserved {
		return err
	}
	switch random.IntN(6) {
	case 0:
		_, err = e.Release(ctx, res.ID)
	case 1:
		now.Add(1)
	case 2:
		_, err = e.Grant(ctx, "acme", amount)
	case 3:
		_, err = e.Withdraw(ctx, "acme", amount)
	default:
		_, err = e.Commit(ctx, res.ID, budget.Microcents(random.IntN(400)))
	}
	return err
}
