package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// must returns the result of an operation that must not fail.
func must[T any](t *testing.T) func(res T, err error) T {
	return func(res T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
}

func (e *Engine) mustConfigure(t *testing.T, tenant budget.TenantID, settings ...budget.Setting) {
	t.Helper()
	if res, err := e.Configure(t.Context(), tenant, settings...); err != nil || res.Outcome != budget.Configured {
		t.Fatalf("configure %q: %+v, %v", tenant, res, err)
	}
}

func (e *Engine) mustBalance(t *testing.T, tenant budget.TenantID) budget.Balance {
	t.Helper()
	b, err := e.Balance(t.Context(), tenant)
	if err != nil || !b.Conserved() {
		t.Fatalf("balance of %q: %+v, %v", tenant, b, err)
	}
	return b
}

// TestOverdraftAtTwoLevels commits excesses of 1 at once: as many succeed as the root can pay,
// which is less than its tenants can.
func TestOverdraftAtTwoLevels(t *testing.T) {
	t.Parallel()
	const holds, affordable, below = 100, 70, 50
	e, _ := newFamily(t, "acme/search", "acme/ads")
	if _, err := e.EnsureTenant(t.Context(), "acme", 2*holds, budget.Overdraft(affordable)); err != nil {
		t.Fatal(err)
	}
	overdrafts := map[budget.TenantID]budget.Microcents{"acme": affordable, "acme/search": below, "acme/ads": below}
	var committed atomic.Int64
	var group sync.WaitGroup
	start := make(chan struct{})
	for _, tenant := range []budget.TenantID{"acme/search", "acme/ads"} {
		e.mustConfigure(t, tenant, budget.Overdraft(below))
		for range holds {
			res := must[budget.Reservation](t)(e.TryReserve(t.Context(), tenant, 1, budget.WithHoldTTL(0)))
			group.Go(func() {
				<-start
				settled, err := e.Commit(context.Background(), res.ID, 2)
				switch {
				case err == nil && settled.Outcome == budget.Committed:
					committed.Add(1)
				case err != nil || settled.Outcome != budget.Overrun || settled.Remaining != -overdrafts[settled.Level]:
					t.Errorf("%+v, %v; want an overrun of a level that has spent its overdraft", settled, err)
				}
			})
		}
	}
	close(start)
	group.Wait()
	if n := committed.Load(); n != affordable {
		t.Errorf("%d commits succeeded, want %d", n, affordable)
	}
	a, b, root := e.mustBalance(t, "acme/search"), e.mustBalance(t, "acme/ads"), e.mustBalance(t, "acme")
	if root.Remaining != -affordable || a.Remaining < -below || b.Remaining < -below || a.Remaining+b.Remaining != -affordable {
		t.Errorf("the root has %d, the tenants %d and %d", root.Remaining, a.Remaining, b.Remaining)
	}
}

// TestFreezeRacesReserves freezes the tenant, or an ancestor, while a caller reserves and commits
// the same cost. Nothing is held or committed that was not held when the freeze returned.
func TestFreezeRacesReserves(t *testing.T) {
	const rounds = 200
	for _, c := range []struct{ tenant, level budget.TenantID }{{"acme", "acme"}, {"acme/search", "acme/search"}, {"acme/search", "acme"}} {
		t.Run(fmt.Sprintf("%s at %s", c.tenant, c.level), func(t *testing.T) {
			e, _ := newFamily(t, c.level, c.tenant)
			for _, tenant := range []budget.TenantID{c.level, c.tenant} {
				must[budget.Adjustment](t)(e.Grant(t.Context(), tenant, budget.MaxMicrocents/4))
			}
			for range rounds {
				done := make(chan budget.Reservation)
				go func() {
					for {
						res, err := e.TryReserve(context.Background(), c.tenant, 1)
						if err != nil || res.Outcome != budget.Reserved {
							done <- res
							return
						}
						_, _ = e.Commit(context.Background(), res.ID, 1)
					}
				}()
				for before := e.taken(t, c.tenant); e.taken(t, c.tenant) == before; {
					runtime.Gosched()
				}
				must[budget.Configuration](t)(e.FreezeTenant(t.Context(), c.level))
				taken := e.taken(t, c.tenant)
				if res := <-done; res != (budget.Reservation{Outcome: budget.Frozen, Level: c.level}) {
					t.Fatalf("a reserve after the freeze: %+v", res)
				}
				if now := e.taken(t, c.tenant); now != taken {
					t.Fatalf("%d were taken when the freeze returned, and %d later", taken, now)
				}
				must[budget.Configuration](t)(e.UnfreezeTenant(t.Context(), c.level))
			}
		})
	}
}

// taken returns the amount that is reserved or committed.
func (e *Engine) taken(t *testing.T, tenant budget.TenantID) budget.Microcents {
	t.Helper()
	b := e.mustBalance(t, tenant)
	return b.Reserved + b.Committed
}

// TestCapsAtOnce reserves and ends holds of two tenants at once, while their root caps the
// number of holds, and one tenant its reserved amount. Some holds are older than the caps.
func TestCapsAtOnce(t *testing.T) {
	t.Parallel()
	const capHolds, capReserved, cycles = 5, 20, 2000
	e, now := newFamily(t, "acme", "acme/search", "acme/ads")
	for range 3 {
		e.mustReserve(t, "acme/search")
	}
	e.mustConfigure(t, "acme", budget.CapHolds(capHolds))
	must[budget.Adjustment](t)(e.Grant(t.Context(), "acme/search", 1000))
	must[budget.Adjustment](t)(e.Grant(t.Context(), "acme", 1000))
	e.mustConfigure(t, "acme/search", budget.CapReserved(capReserved))
	now.Add(10) // the old holds expire
	var callers, observers sync.WaitGroup
	for k, tenant := range []budget.TenantID{"acme/search", "acme/ads", "acme"} {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(k), 8))
			for range cycles {
				res, err := e.TryReserve(context.Background(), tenant, budget.Microcents(1+random.IntN(9)))
				if err != nil {
					t.Error(err)
				}
				switch random.IntN(8) {
				case 0:
					now.Add(1)
				case 1, 2: // left to expire
				default:
					if _, err := e.Release(context.Background(), res.ID); res.Outcome == budget.Reserved && err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	done := make(chan struct{})
	observers.Go(func() {
		for {
			root, _ := e.Holds(context.Background(), "acme")
			b, _ := e.Balance(context.Background(), "acme/search")
			if len(root.Holds) > capHolds || b.Reserved > capReserved {
				t.Errorf("the root has %d holds of at most %d, the tenant %d reserved of at most %d", len(root.Holds), capHolds, b.Reserved, capReserved)
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
	now.Add(10)
	for i := range capHolds {
		if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), "acme/ads", 1)); res.Outcome != budget.Reserved {
			t.Fatalf("with %d open holds: %+v", i, res)
		}
	}
	want := budget.Reservation{Outcome: budget.Capped, Level: "acme", Cap: budget.HoldsCap, CapLimit: capHolds}
	if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), "acme/ads", 1)); res != want {
		t.Errorf("with as many as allowed: %+v, want %+v", res, want)
	}
}

// TestDebtIsPaidFirst returns 25 to an account with a debt of 20, in every way.
func TestDebtIsPaidFirst(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]func(e *Engine, id budget.ReservationID, now *atomic.Int64) error{
		"release": func(e *Engine, id budget.ReservationID, _ *atomic.Int64) error {
			_, err := e.Release(context.Background(), id)
			return err
		},
		"surplus": func(e *Engine, id budget.ReservationID, _ *atomic.Int64) error {
			_, err := e.Commit(context.Background(), id, 0)
			return err
		},
		"expiry": func(_ *Engine, _ budget.ReservationID, now *atomic.Int64) error {
			now.Add(10)
			return nil
		},
		"grant": func(e *Engine, id budget.ReservationID, _ *atomic.Int64) error {
			_, err := e.Grant(context.Background(), id.Tenant(), 25)
			return err
		},
	} {
		for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
			t.Run(name+" "+string(tenant), func(t *testing.T) {
				t.Parallel()
				e, now := newFamily(t, tenant)
				e.mustConfigure(t, tenant, budget.Overdraft(50))
				first := e.mustReserve(t, tenant)
				second := must[budget.Reservation](t)(e.TryReserve(t.Context(), tenant, 25)).ID
				if res, err := e.Commit(t.Context(), first, 95); err != nil || res.Outcome != budget.Committed || res.Remaining != -20 {
					t.Fatalf("%+v, %v; want a debt of 20", res, err)
				}
				none := budget.Reservation{Outcome: budget.Insufficient, Level: tenant, Required: 1}
				if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), tenant, 1)); res != none {
					t.Errorf("a reserve: %+v, want %+v", res, none)
				}
				if res := must[budget.Adjustment](t)(e.Withdraw(t.Context(), tenant, 1)); res.Outcome != budget.Insufficient || res.Remaining != 0 {
					t.Errorf("a withdrawal: %+v", res)
				}
				if res := must[budget.Remainder](t)(e.Remaining(t.Context(), tenant)); res.Remaining != 0 {
					t.Errorf("remaining: %+v, want 0", res)
				}
				if err := back(e, second, now); err != nil {
					t.Fatal(err)
				}
				if b := e.mustBalance(t, tenant); b.Remaining != 5 {
					t.Errorf("after 25 came back: %+v, want 5 remaining", b)
				}
			})
		}
	}
}

// TestLoweredOverdraft lowers an overdraft of 50 to 10 while the debt is 40.
func TestLoweredOverdraft(t *testing.T) {
	t.Parallel()
	e, _ := newFamily(t, "acme", "acme/search")
	must[budget.Adjustment](t)(e.Grant(t.Context(), "acme/search", 1000))
	e.mustConfigure(t, "acme", budget.Overdraft(50))
	var ids []budget.ReservationID
	for range 5 {
		ids = append(ids, e.mustReserve(t, "acme/search"))
	}
	settle := func(commit func(context.Context, budget.ReservationID, budget.Microcents) (budget.Settlement, error), id budget.ReservationID, actual budget.Microcents, want budget.Settlement) {
		t.Helper()
		want.Level = "acme"
		if res, err := commit(t.Context(), id, actual); err != nil || res != want {
			t.Errorf("%+v, %v; want %+v", res, err, want)
		}
	}
	settle(e.Commit, ids[0], 100, budget.Settlement{Outcome: budget.Committed, Remaining: -40, Actual: 100})
	e.mustConfigure(t, "acme", budget.Overdraft(10))
	settle(e.Commit, ids[1], 11, budget.Settlement{Outcome: budget.Overrun, Remaining: -40})
	settle(e.Commit, ids[1], 10, budget.Settlement{Outcome: budget.Committed, Remaining: -40, Actual: 10})
	settle(e.CommitAvailable, ids[2], 17, budget.Settlement{Outcome: budget.Committed, Remaining: -40, Actual: 10, Shortfall: 7})
	settle(e.Commit, ids[3], 7, budget.Settlement{Outcome: budget.Committed, Remaining: -37, Actual: 7})
	e.mustConfigure(t, "acme", budget.Overdraft(50))
	settle(e.CommitAvailable, ids[4], 30, budget.Settlement{Outcome: budget.Committed, Remaining: -50, Actual: 23, Shortfall: 7})
	if fate := must[budget.Fate](t)(e.Lookup(t.Context(), ids[4])); fate.Outcome != budget.Committed || fate.Amount != 23 {
		t.Errorf("the last: %+v, want it committed at 23", fate)
	}
}

// TestCrossings calls back into the engine from the callback, which needs every lock free.
func TestCrossings(t *testing.T) {
	t.Parallel()
	var got []budget.Crossing
	var e *Engine
	e, err := New(WithOnThreshold(func(c budget.Crossing) {
		for tenant := c.Tenant; tenant != ""; tenant = tenant.Parent() {
			e.mustBalance(t, tenant)
		}
		got = append(got, c)
	}))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(step string, want ...budget.Crossing) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", step, got, want)
		}
		got = nil
	}
	spend := func(amount budget.Microcents) {
		t.Helper()
		id := must[budget.Reservation](t)(e.TryReserve(t.Context(), "acme/search", amount)).ID
		must[budget.Settlement](t)(e.Commit(t.Context(), id, amount))
	}
	must[budget.Ensured](t)(e.EnsureTenant(t.Context(), "acme", 1000, budget.AtThresholds(10, 50)))
	must[budget.Ensured](t)(e.EnsureTenant(t.Context(), "acme/search", 100, budget.AtThresholds(50, 100)))
	spend(99)
	expect("99 of 100", budget.Crossing{Tenant: "acme/search", Percent: 50, Committed: 99, Granted: 100})
	spend(1)
	expect("100 of 100", budget.Crossing{Tenant: "acme/search", Percent: 100, Committed: 100, Granted: 100},
		budget.Crossing{Tenant: "acme", Percent: 10, Committed: 100, Granted: 1000})
	must[budget.Adjustment](t)(e.Grant(t.Context(), "acme/search", 50))
	expect("a grant")
	spend(50)
	expect("150 of 150", budget.Crossing{Tenant: "acme/search", Percent: 100, Committed: 150, Granted: 150})
	must[budget.Adjustment](t)(e.Withdraw(t.Context(), "acme", 700))
	expect("a withdrawal", budget.Crossing{Tenant: "acme", Percent: 50, Committed: 150, Granted: 300})
	e.mustConfigure(t, "acme", budget.AtThresholds(25, 50))
	expect("a new threshold", budget.Crossing{Tenant: "acme", Percent: 25, Committed: 150, Granted: 300})
}

// TestRefusalsInOrder restricts a family in every way, and lifts one restriction after the
// other, as far as that is possible.
func TestRefusalsInOrder(t *testing.T) {
	t.Parallel()
	e, _ := newFamily(t, "acme", "acme/search", "acme/search/key-7")
	reserve := func(want budget.Reservation) {
		t.Helper()
		if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), "acme/search/key-7", 200)); res != want {
			t.Errorf("%+v, want %+v", res, want)
		}
	}
	e.mustConfigure(t, "acme", budget.CapReserved(150))
	e.mustConfigure(t, "acme/search/key-7", budget.CapHold(199))
	must[budget.Configuration](t)(e.FreezeTenant(t.Context(), "acme/search"))
	reserve(budget.Reservation{Outcome: budget.Frozen, Level: "acme/search"})
	must[budget.Configuration](t)(e.UnfreezeTenant(t.Context(), "acme/search"))
	reserve(budget.Reservation{Outcome: budget.Capped, Level: "acme/search/key-7", Cap: budget.HoldCap, CapLimit: 199})
	e.mustConfigure(t, "acme/search/key-7", budget.CapHold(0))
	reserve(budget.Reservation{Outcome: budget.Capped, Level: "acme", Cap: budget.ReservedCap, CapLimit: 150})
	e.mustConfigure(t, "acme", budget.CapReserved(0))
	reserve(budget.Reservation{Outcome: budget.Insufficient, Level: "acme/search/key-7", Remaining: 100, Required: 200})
	if a := e.accounts.find("acme"); a.managed != nil || a.word.Load() != 100 {
		t.Errorf("without settings, the root's word is %d, want its remaining amount", a.word.Load())
	}

	id := e.mustReserve(t, "acme/search/key-7")
	must[budget.Configuration](t)(e.FreezeTenant(t.Context(), "acme/search/key-7"))
	must[budget.Configuration](t)(e.CloseTenant(t.Context(), "acme"))
	reserve(budget.Reservation{Outcome: budget.Closed, Level: "acme"})
	closed := budget.Settings{Closed: true}
	if res := must[budget.Configuration](t)(e.CloseTenant(t.Context(), "acme")); res != (budget.Configuration{Outcome: budget.Configured, Settings: closed}) {
		t.Errorf("closed again: %+v", res)
	}
	if res := must[budget.Configuration](t)(e.Configure(t.Context(), "acme", budget.Overdraft(budget.MaxMicrocents))); res != (budget.Configuration{Outcome: budget.Closed}) {
		t.Errorf("configured while closed: %+v", res)
	}
	if res := must[budget.Adjustment](t)(e.Grant(t.Context(), "acme", budget.MaxMicrocents)); res != (budget.Adjustment{Outcome: budget.Closed}) {
		t.Errorf("a grant while closed: %+v", res)
	}
	if res := must[budget.Settlement](t)(e.Commit(t.Context(), id, 15)); res.Outcome != budget.Committed {
		t.Errorf("a commit while closed: %+v", res)
	}
	if res := must[budget.Adjustment](t)(e.Withdraw(t.Context(), "acme", 85)); res != (budget.Adjustment{Outcome: budget.Withdrawn}) {
		t.Errorf("a withdrawal while closed: %+v", res)
	}
}

func TestOverdraftThatDoesNotFit(t *testing.T) {
	t.Parallel()
	e, _ := newFamily(t, "acme")
	const room = budget.MaxMicrocents - 100
	if res, err := e.Configure(t.Context(), "acme", budget.Overdraft(room+1)); !errors.Is(err, budget.ErrOverflow) || res != (budget.Configuration{}) {
		t.Errorf("configured: %+v, %v", res, err)
	}
	if res, err := e.EnsureTenant(t.Context(), "acme", 101, budget.Overdraft(room)); !errors.Is(err, budget.ErrOverflow) || res != (budget.Ensured{}) {
		t.Errorf("created: %+v, %v", res, err)
	}
	id := e.mustReserve(t, "acme")
	e.mustConfigure(t, "acme", budget.Overdraft(room))
	if res, err := e.Grant(t.Context(), "acme", 1); !errors.Is(err, budget.ErrOverflow) || res != (budget.Adjustment{}) {
		t.Errorf("granted: %+v, %v", res, err)
	}
	if res, err := e.CommitAvailable(t.Context(), id, budget.MaxMicrocents); err != nil || res.Shortfall != 0 || res.Remaining != -room {
		t.Errorf("the largest commit: %+v, %v", res, err)
	}
	if b := e.mustBalance(t, "acme"); b.Committed != budget.MaxMicrocents || b.Debt() != room {
		t.Errorf("all is spent: %+v", b)
	}
	// The debt leaves no amount that could be taken for a word or for missing.
	if res := must[budget.Ensured](t)(e.EnsureTenant(t.Context(), "acme", 0)); res != (budget.Ensured{Outcome: budget.Exists, Remaining: -room}) {
		t.Errorf("ensured again: %+v", res)
	}
}

// TestDebtsAreNotWords has debts of 1 and 2, the words of a missing account and of one with
// settings, and removes the overdraft.
func TestDebtsAreNotWords(t *testing.T) {
	t.Parallel()
	for debt := range budget.Microcents(4) {
		for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
			e, _ := newFamily(t, tenant)
			e.mustConfigure(t, tenant, budget.Overdraft(debt))
			if res := must[budget.Settlement](t)(e.Commit(t.Context(), e.mustReserve(t, tenant), 100+debt)); res.Outcome != budget.Committed {
				t.Fatalf("%+v", res)
			}
			e.mustConfigure(t, tenant, budget.Overdraft(0))
			want := budget.Balance{Outcome: budget.Found, Granted: 100, Remaining: -debt, Committed: 100 + debt}
			if b := e.mustBalance(t, tenant); b != want {
				t.Errorf("%+v, want %+v", b, want)
			}
			none := budget.Reservation{Outcome: budget.Insufficient, Level: tenant, Required: 1}
			if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), tenant, 1)); res != none {
				t.Errorf("a reserve: %+v, want %+v", res, none)
			}
		}
	}
}

func TestSettingsEndWithTheAccount(t *testing.T) {
	t.Parallel()
	e, _ := newFamily(t)
	settings := []budget.Setting{budget.Overdraft(5), budget.CapHold(6), budget.CapHolds(7), budget.AtThresholds(50)}
	if res, err := e.EnsureTenant(t.Context(), "acme", 100, settings...); err != nil || res.Outcome != budget.Created {
		t.Fatalf("%+v, %v", res, err)
	}
	change, err := budget.NewChange(settings...)
	if err != nil {
		t.Fatal(err)
	}
	must[budget.Configuration](t)(e.CloseTenant(t.Context(), "acme"))
	want := budget.ChangeClosed.Apply(change.Apply(budget.Settings{}))
	if b := must[budget.Balance](t)(e.DeleteTenant(t.Context(), "acme")); b.Outcome != budget.Deleted || b.Settings != want {
		t.Errorf("deleted: %+v, want the settings %+v", b, want)
	}
	if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), "acme", 10)); res.Outcome != budget.MissingTenant {
		t.Errorf("a reserve of the deleted tenant: %+v", res)
	}
	must[budget.Ensured](t)(e.EnsureTenant(t.Context(), "acme", 100))
	e.mustReserve(t, "acme")
	if b := e.mustBalance(t, "acme"); b.Settings != (budget.Settings{}) {
		t.Errorf("created again: %+v, want no settings", b)
	}
}

func TestSettingsAllocateNothing(t *testing.T) {
	e, _ := newFamily(t, "acme", "acme/search")
	for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
		must[budget.Adjustment](t)(e.Grant(t.Context(), tenant, budget.Dollar))
		e.mustConfigure(t, tenant, budget.Overdraft(5), budget.CapHolds(100), budget.AtThresholds(1, 1000))
		id := must[budget.Reservation](t)(e.TryReserve(t.Context(), tenant, budget.Dollar/20)).ID
		must[budget.Settlement](t)(e.Commit(t.Context(), id, budget.Dollar/20))
	}
	ctx := t.Context()
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
			"a refused reserve": func() bool {
				res, _ := e.TryReserve(ctx, tenant, budget.MaxMicrocents)
				return res.Outcome == budget.Insufficient
			},
		} {
			if n := testing.AllocsPerRun(500, func() {
				if !op() {
					t.Fatalf("%s: the measured operation failed", name)
				}
			}); n != 0 {
				t.Errorf("%q, %s: %v allocations, want none", tenant, name, n)
			}
		}
	}
}

// TestSettingsAtOnce changes the settings of all levels of a family, and uses and audits them,
// while levels come and go and deadlines pass.
func TestSettingsAtOnce(t *testing.T) {
	t.Parallel()
	const cycles, overdraft = 10_000, 200
	tenants := []budget.TenantID{"acme", "acme/search", "acme/search/key-7", "acme/search/key-8", "acme/ads/a/b"}
	e, now := newFamily(t, tenants...)
	var callers, observers sync.WaitGroup
	for caller := range 4 {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(caller), 9))
			for range cycles {
				if err := settingsCycle(e, tenants[random.IntN(len(tenants))], random, overdraft); err != nil {
					t.Error(err)
				}
				if random.IntN(8) == 0 {
					now.Add(1)
				}
				if err := e.accounts.find(tenants[random.IntN(len(tenants))]).checkBelow(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	observers.Go(func() {
		for {
			for _, tenant := range tenants {
				list, err := e.Holds(context.Background(), tenant)
				if err == nil && list.Outcome == budget.Found {
					err = list.Audit()
				}
				if err != nil || list.Balance.Remaining < -overdraft {
					t.Errorf("%q: %v, %+v", tenant, err, list.Balance)
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
}

// checkBelow checks the number of holds of tenants below.
func (a *account) checkBelow() (err error) {
	remaining := a.open()
	defer a.close(remaining)
	if a.settings().CapHolds > 0 && a.managed.below != a.countBelow() {
		return fmt.Errorf("%d holds below are counted, want %d", a.managed.below, a.countBelow())
	}
	return nil
}

// settingsCycle uses a tenant at random.
func settingsCycle(e *Engine, tenant budget.TenantID, random *rand.Rand, overdraft int) (err error) {
	ctx := context.Background()
	amount := budget.Microcents(1 + random.IntN(60))
	setting := []budget.Setting{
		budget.Overdraft(budget.Microcents(random.IntN(overdraft))), budget.CapHolds(random.Int64N(9)),
		budget.CapReserved(budget.Microcents(random.IntN(400))), budget.AtThresholds(50, 100), budget.Overdraft(0), budget.CapHolds(10 + random.Int64N(9)),
	}[random.IntN(6)]
	switch random.IntN(20) {
	case 0:
		_, err = e.DeleteTenant(ctx, tenant)
	case 1, 2, 3:
		_, err = e.EnsureTenant(ctx, tenant, 20*amount, setting)
	case 4, 5:
		_, err = e.Grant(ctx, tenant, amount)
	case 6:
		_, err = e.Withdraw(ctx, tenant, amount)
	case 7:
		_, err = e.Configure(ctx, tenant, setting)
	case 8:
		_, err = e.FreezeTenant(ctx, tenant)
	case 9, 10, 11, 12:
		_, err = e.UnfreezeTenant(ctx, tenant)
	default:
		var res budget.Reservation
		if res, err = e.TryReserve(ctx, tenant, amount, budget.WithHoldTTL(time.Duration(1+random.IntN(9))*time.Millisecond)); err != nil || res.Outcome != budget.Reserved {
			return err
		}
		switch random.IntN(4) {
		case 0:
			_, err = e.Release(ctx, res.ID)
		case 1:
			_, err = e.Commit(ctx, res.ID, 2*amount)
		case 2:
			_, err = e.CommitAvailable(ctx, res.ID, 3*amount)
		}
	}
	return err
}
