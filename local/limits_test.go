package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// TestLimitList reads all limits of a tenant at once.
func TestLimitList(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme/search", 1000, budget.CapHolds(9), limitOf(budget.Month, 500), limitOf(budget.Last24Hours, 100), limitOf(budget.Day, 90))
	e.spend(t, "acme/search", 30)
	e.mustHold(t, "acme/search", 5, 0)
	now.Store(at("2026-04-01T00:00"))
	list := must[budget.LimitList](t)(e.Limits(t.Context(), "acme/search"))
	want := []budget.Balance{e.mustBalance(t, "acme/search")}
	for _, p := range want[0].Settings.Limits.All() {
		want = append(want, must[budget.Balance](t)(e.Balance(t.Context(), "acme/search", budget.OfLimit(p))))
	}
	if list.Outcome != budget.Found || !slices.Equal(list.Limits, want) || len(want) != 4 {
		t.Errorf("%+v, want %+v", list, want)
	}
	day := budget.Balance{
		Outcome: budget.Found, Limit: budget.Day, Granted: 90, Remaining: 90, Ended: 5,
		Settings: budget.Settings{Window: budget.Window{Period: budget.Day, Zone: "UTC", Amount: 90}},
		Epoch:    budget.Epoch{Start: budget.Instant(at("2026-04-01T00:00")), End: budget.Instant(at("2026-04-02T00:00"))},
	}
	expectEqual(t, list.Limits[1], day)
}

// TestOtherOperations grants to and withdraws from a tenant with a limit.
func TestOtherOperations(t *testing.T) {
	t.Parallel()
	e, _ := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme", 100, limitOf(budget.Day, 10))
	expectEqual(t, must[budget.Adjustment](t)(e.Grant(t.Context(), "acme", 50)), budget.Adjustment{Outcome: budget.Granted, Remaining: 150})
	expectEqual(t, must[budget.Adjustment](t)(e.Withdraw(t.Context(), "acme", 100)), budget.Adjustment{Outcome: budget.Withdrawn, Remaining: 50})
	expectEqual(t, must[budget.Ensured](t)(e.EnsureTenant(t.Context(), "acme", 7, limitOf(budget.Day, 20), limitOf(budget.Hour, 1))), budget.Ensured{Outcome: budget.Exists, Remaining: 50})
	expectEqual(t, e.mustBalance(t, "acme").Settings.Limits, budget.Periods(0).With(budget.Day))
	e.expectLimit(t, "acme", budget.Day, "", terms{10, 10, 0, 0, 0})
}

// TestDeletedLimits deletes a tenant with limits and creates it again.
func TestDeletedLimits(t *testing.T) {
	t.Parallel()
	e, _ := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme", 100, limitOf(budget.Day, 10))
	id := e.mustHold(t, "acme", 5, 0)
	deleted := must[budget.Balance](t)(e.DeleteTenant(t.Context(), "acme"))
	expectEqual(t, deleted.Outcome, budget.HoldsOpen)
	e.expectLimit(t, "acme", budget.Day, "", terms{10, 5, 5, 0, 0})
	e.commit(t, id, 5)
	deleted = must[budget.Balance](t)(e.DeleteTenant(t.Context(), "acme"))
	expectEqual(t, deleted.Outcome, budget.Deleted)
	e.mustEnsure(t, "acme", 100)
	if list := must[budget.LimitList](t)(e.Limits(t.Context(), "acme")); len(list.Limits) != 1 || list.Limits[0] != e.mustBalance(t, "acme") {
		t.Errorf("%+v, want no further limit", list)
	}
	e.mustHold(t, "acme", 50, 0)
	e.mustConfigure(t, "acme", limitOf(budget.Day, 10))
	e.expectLimit(t, "acme", budget.Day, "", terms{10, 10, 0, 0, 0})
}

// TestWithoutLimitsAgain checks that an account whose last limit is removed is as if it never had
// one.
func TestWithoutLimitsAgain(t *testing.T) {
	t.Parallel()
	e, _ := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme", 100, limitOf(budget.Day, 50), limitOf(budget.Hour, 50))
	e.mustHold(t, "acme", 5, 0)
	e.mustConfigure(t, "acme", budget.RemoveLimit(budget.Day))
	a := e.accounts.find("acme")
	if word := a.word.Load(); word != managedWord || len(a.managed.limits) != 1 {
		t.Errorf("with one limit: the word is %d", word)
	}
	e.mustConfigure(t, "acme", budget.RemoveLimit(budget.Hour), budget.RemoveLimit(budget.Day))
	if word := a.word.Load(); word != 95 || a.managed != nil {
		t.Errorf("without limits: the word is %d, managed %v", word, a.managed)
	}
}

// TestRememberedHolders checks that a limit remembers no more than the holders of its millisecond.
func TestRememberedHolders(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme", 1000)
	for _, tenant := range []budget.TenantID{"acme/search", "acme/ads", "acme/none"} {
		e.mustEnsure(t, tenant, 100)
	}
	e.mustHold(t, "acme/search", 1, 0)
	e.mustHold(t, "acme", 1, 0)
	now.Add(1)
	id := e.mustHold(t, "acme", 1, 0)
	e.mustHold(t, "acme/ads", 1, 0)
	e.commit(t, id, 1)
	e.mustConfigure(t, "acme", limitOf(budget.Day, 10))
	e.mustHold(t, "acme/none", 1, 0)
	_, day := e.accounts.find("acme").limit(budget.Day)
	if ads := e.accounts.find("acme/ads"); len(day.older) != 1 || day.older[ads] != ads.generation&^setMask {
		t.Errorf("the limit remembers %v, want the generation of acme/ads alone", day.older)
	}
	now.Add(1)
	e.mustConfigure(t, "acme", limitOf(budget.Month, 10))
	if _, month := e.accounts.find("acme").limit(budget.Month); month.older != nil {
		t.Errorf("a limit without holds in its millisecond remembers %v", month.older)
	}
}

// TestCrossingsOfLimits crosses thresholds at two levels, by a commit and by changes.
func TestCrossingsOfLimits(t *testing.T) {
	t.Parallel()
	var events []budget.Crossing
	e, now := newAt(t, "2026-03-31T22:30", WithOnThreshold(func(c budget.Crossing) { events = append(events, c) }))
	expect := func(want ...budget.Crossing) {
		t.Helper()
		if !slices.Equal(events, want) {
			t.Errorf("%+v, want %+v", events, want)
		}
		events = nil
	}
	at50 := must[budget.Thresholds](t)(budget.NewThresholds(50))
	limit := func(p budget.Period, amount budget.Microcents) budget.Setting {
		return budget.SetLimit(budget.Limit{Window: budget.Window{Period: p, Amount: amount}, Thresholds: at50})
	}
	const key, acme = "acme/key-7", "acme"
	e.mustEnsure(t, acme, 100, budget.AtThresholds(50), limit(budget.Week, 100))
	e.mustEnsure(t, key, 100, budget.AtThresholds(40, 50), limit(budget.Last24Hours, 100), limit(budget.Day, 100), limitOf(budget.Month, 100))
	e.spend(t, key, 50)
	expect(
		budget.Crossing{Tenant: key, Percent: 40, Committed: 50, Granted: 100},
		budget.Crossing{Tenant: key, Percent: 50, Committed: 50, Granted: 100},
		budget.Crossing{Tenant: key, Limit: budget.Day, Percent: 50, Committed: 50, Granted: 100},
		budget.Crossing{Tenant: key, Limit: budget.Last24Hours, Percent: 50, Committed: 50, Granted: 100},
		budget.Crossing{Tenant: acme, Percent: 50, Committed: 50, Granted: 100},
		budget.Crossing{Tenant: acme, Limit: budget.Week, Percent: 50, Committed: 50, Granted: 100},
	)
	e.mustConfigure(t, key, limit(budget.Month, 100), budget.AtThresholds(30, 40), limit(budget.Last24Hours, 200), limit(budget.Hour, 1))
	expect(
		budget.Crossing{Tenant: key, Percent: 30, Committed: 50, Granted: 100},
		budget.Crossing{Tenant: key, Limit: budget.Month, Percent: 50, Committed: 50, Granted: 100},
	)
	now.Store(at("2026-04-01T00:00"))
	e.mustConfigure(t, key, limit(budget.Last24Hours, 100), limit(budget.Day, 100), budget.RemoveLimit(budget.Hour))
	expect(budget.Crossing{Tenant: key, Limit: budget.Last24Hours, Percent: 50, Committed: 50, Granted: 100})
}

// TestExpiryAroundLimits lets many holds expire at once, of which some are older than the limit.
func TestExpiryAroundLimits(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T23:59")
	e.mustEnsure(t, "acme", 10_000, budget.CapHolds(1000))
	e.mustEnsure(t, "acme/search", 10_000)
	tenants := []budget.TenantID{"acme", "acme/search"}
	for i := range 300 {
		if i == 100 || i == 150 {
			for _, tenant := range tenants {
				e.mustConfigure(t, tenant, limitOf(budget.Day, 2000), limitOf(budget.Last7Days, 3000))
			}
		}
		if i == 160 {
			now.Add(1)
		}
		if i == 200 {
			now.Store(at("2026-04-01T00:01"))
		}
		e.mustHold(t, tenants[i%2], 10, time.Hour)
	}
	e.expectLimit(t, "acme", budget.Last7Days, "", terms{3000, 1000, 2000, 0, 0})
	e.expectLimit(t, "acme", budget.Day, "", terms{2000, 1000, 1000, 0, 1000})
	for _, tenant := range tenants {
		if err := e.accounts.find(tenant).checkEpochs(); err != nil {
			t.Error(err)
		}
	}
	now.Store(at("2026-04-01T00:59") + 1)
	e.expectLimit(t, "acme", budget.Last7Days, "", terms{3000, 2000, 1000, 0, 0})
	e.expectLimit(t, "acme", budget.Day, "", terms{2000, 1000, 1000, 0, 0})
	e.expectLimit(t, "acme", budget.Day, "2026-03-31T23:59", terms{2000, 2000, 0, 0, 0})
	now.Store(at("2026-04-01T01:01"))
	for _, tenant := range tenants {
		e.expectLimit(t, tenant, budget.Last7Days, "", terms{3000, 3000, 0, 0, 0})
		e.expectLimit(t, tenant, budget.Day, "", terms{2000, 2000, 0, 0, 0})
		e.expect(t, tenant, "", terms{10_000, 10_000, 0, 0, 0})
		if err := e.accounts.find(tenant).checkBelow(); err != nil {
			t.Error(err)
		}
	}
}

func TestLimitsAllocateNothing(t *testing.T) {
	e, _ := newAt(t, "2026-03-31T22:30")
	ctx := t.Context()
	for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
		e.mustEnsure(t, tenant, budget.Dollar, limitOf(budget.Day, budget.Dollar), limitOf(budget.Month, budget.Dollar), limitOf(budget.Last24Hours, budget.Dollar))
	}
	for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
		for name, op := range map[string]func() bool{
			"reserve and commit": func() bool {
				res, _ := e.TryReserve(ctx, tenant, 100)
				s, _ := e.Commit(ctx, res.ID, 90)
				return s.Outcome == budget.Committed
			},
			"reserve and commit available": func() bool {
				res, _ := e.TryReserve(ctx, tenant, 100)
				s, _ := e.CommitAvailable(ctx, res.ID, 110)
				return s.Outcome == budget.Committed
			},
			"reserve and release": func() bool {
				res, _ := e.TryReserve(ctx, tenant, 100)
				s, _ := e.Release(ctx, res.ID)
				return s.Outcome == budget.Released
			},
			"a refused reserve": func() bool {
				res, _ := e.TryReserve(ctx, tenant, budget.MaxMicrocents)
				return res.Outcome == budget.Insufficient
			},
			"remaining": func() bool { res, _ := e.Remaining(ctx, tenant); return res.Outcome == budget.Found },
		} {
			if n := testing.AllocsPerRun(500, func() {
				if !op() {
					t.Fatalf("%q, %s: the measured operation failed", tenant, name)
				}
			}); n != 0 {
				t.Errorf("%q, %s: %v allocations, want none", tenant, name, n)
			}
		}
	}
}

// TestLimitsSetAtOnce reserves for tenants below a root while a limit of the root is removed and
// set again, with a clock that often stands still. The limit counts the holds whose reserve began
// after it was set last, and none whose reserve returned before it began to be set.
func TestLimitsSetAtOnce(t *testing.T) {
	t.Parallel()
	const callers, holds = 4, 400
	e, now := newAt(t, "2026-03-31T10:00")
	e.mustEnsure(t, "acme", budget.Dollar, limitOf(budget.Month, budget.Dollar))
	type held struct {
		id           budget.ReservationID
		began, ended int64
	}
	var turn atomic.Int64
	made := make([][]held, callers)
	var group sync.WaitGroup
	for i := range callers {
		tenant := []budget.TenantID{"acme", "acme/search", "acme/search/key-7", "acme/ads"}[i]
		if tenant != "acme" {
			e.mustEnsure(t, tenant, budget.Dollar)
		}
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 8))
			for range holds {
				h := held{began: turn.Add(1)}
				res, err := e.TryReserve(context.Background(), tenant, 1)
				if h.id, h.ended = res.ID, turn.Add(1); err != nil || res.Outcome != budget.Reserved {
					t.Errorf("%+v, %v", res, err)
					return
				}
				made[i] = append(made[i], h)
				if random.IntN(50) == 0 {
					now.Add(1)
				}
			}
		})
	}
	var began, ended int64
	for range 300 {
		e.mustConfigure(t, "acme", budget.RemoveLimit(budget.Day))
		began = turn.Add(1)
		e.mustConfigure(t, "acme", limitOf(budget.Day, budget.Dollar))
		ended = turn.Add(1)
		if turn.Load() > callers*holds {
			break
		}
		if err := e.accounts.find("acme").checkEpochs(); err != nil {
			t.Fatal(err)
		}
	}
	group.Wait()
	_, day := e.accounts.find("acme").limit(budget.Day)
	counted := budget.Microcents(0)
	for _, h := range slices.Concat(made...) {
		place, generation := h.id.Bits()
		holder := e.accounts.numbered(place>>slotBits, h.id.Tenant())
		s := holder.holds.at(place & slotMask)
		counts := day.counts(holder, s)
		if s.generation != generation || counts && h.ended < began || !counts && h.began > ended {
			t.Fatalf("a hold made from %d to %d, the limit from %d to %d: counted: %t", h.began, h.ended, began, ended, counts)
		}
		if counts {
			counted++
		}
	}
	e.expectLimit(t, "acme", budget.Day, "", terms{budget.Dollar, budget.Dollar - counted, counted, 0, 0})
	for _, h := range slices.Concat(made...) {
		e.commit(t, h.id, 2)
	}
	e.expectLimit(t, "acme", budget.Day, "", terms{budget.Dollar, budget.Dollar - 2*counted, 0, 2 * counted, 0})
	e.expectLimit(t, "acme", budget.Month, "", terms{budget.Dollar, budget.Dollar - 2*callers*holds, 0, 2 * callers * holds, 0})
}

// TestLimitsAtOnce has callers use all levels of a family below a root with limits, while limits
// and levels come and go, deadlines pass and epochs end. The root counts every hold, so its month
// and the month of the costs are the same.
func TestLimitsAtOnce(t *testing.T) {
	t.Parallel()
	const cycles = 1500
	var now, committed atomic.Int64
	now.Store(at("2026-04-01T00:00"))
	e, err := New(WithClock(func() time.Time { return time.UnixMilli(now.Load()) }), WithHoldTTL(20*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	e.mustEnsure(t, "acme", budget.Dollar, limitOf(budget.Month, budget.Dollar), limitOf(budget.Last30Days, budget.Dollar))
	tenants := []budget.TenantID{"acme", "acme/search", "acme/search/key-7", "acme/search/key-8", "acme/ads"}
	var callers, observers sync.WaitGroup
	for caller := range 4 {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(caller), 9))
			for range cycles {
				spent, err := e.limitCycle(tenants[random.IntN(len(tenants))], random, &now)
				if err != nil {
					t.Error(err)
				}
				committed.Add(int64(spent))
			}
		})
	}
	done := make(chan struct{})
	observers.Go(func() {
		for {
			for _, tenant := range tenants {
				if err := e.auditLimits(tenant); err != nil {
					t.Error(err)
					return
				}
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	callers.Wait()
	close(done)
	observers.Wait()
	if now.Load() >= at("2026-05-01T00:00") {
		t.Fatal("the month is over, so this tests nothing")
	}
	now.Add(21 * 60_000)
	spent := budget.Microcents(committed.Load())
	e.expectLimit(t, "acme", budget.Month, "", terms{budget.Dollar, budget.Dollar - spent, 0, spent, 0})
	e.expectLimit(t, "acme", budget.Last30Days, "", terms{budget.Dollar, budget.Dollar - spent, 0, spent, 0})
	e.expect(t, "acme", "", terms{budget.Dollar, budget.Dollar - spent, 0, spent, 0})
}

// auditLimits checks all limits of a tenant.
func (e *Engine) auditLimits(tenant budget.TenantID) error {
	list, err := e.Limits(context.Background(), tenant)
	if err != nil {
		return err
	}
	for _, b := range list.Limits {
		if !b.Conserved() || b.Reserved < 0 || b.Committed < 0 || b.Remaining < 0 {
			return fmt.Errorf("%q: %+v", tenant, b)
		}
	}
	if a := e.accounts.find(tenant); a != nil {
		a.advance(e.clock.now())
		return a.checkEpochs()
	}
	return nil
}

// limitCycle uses a tenant at random, and returns the amount that it committed.
func (e *Engine) limitCycle(tenant budget.TenantID, random *rand.Rand, now *atomic.Int64) (spent budget.Microcents, err error) {
	ctx := context.Background()
	amount := budget.Microcents(1 + random.IntN(60))
	period := []budget.Period{budget.Hour, budget.Last24Hours}[random.IntN(2)]
	switch random.IntN(16) {
	case 0:
		if tenant != "acme" { // its record of spending is the measure
			_, err = e.DeleteTenant(ctx, tenant)
		}
		return 0, err
	case 1, 2:
		_, err = e.EnsureTenant(ctx, tenant, 200*amount, limitOf(period, 20*amount))
		return 0, err
	case 3:
		_, err = e.Configure(ctx, tenant, budget.RemoveLimit(period))
		return 0, err
	case 4, 5:
		// A rolling limit that is lowered can be below 0, which the audit reports.
		if _, err = e.Configure(ctx, tenant, budget.RemoveLimit(period)); err == nil {
			_, err = e.Configure(ctx, tenant, limitOf(period, 20*amount))
		}
		return 0, err
	case 6:
		now.Add(random.Int64N(15 * 60_000))
	}
	res, err := e.TryReserve(ctx, tenant, amount)
	if err != nil || res.Outcome != budget.Reserved {
		return 0, err
	}
	var settled budget.Settlement
	switch random.IntN(5) {
	case 0:
		_, err = e.Release(ctx, res.ID)
	case 1: // it expires
	case 2:
		settled, err = e.CommitAvailable(ctx, res.ID, 2*amount)
	default:
		settled, err = e.Commit(ctx, res.ID, budget.Microcents(random.IntN(90)))
	}
	return settled.Actual, err
}
