package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// TestAsleep compares an account that is read in each epoch with one that sleeps for some.
func TestAsleep(t *testing.T) {
	t.Parallel()
	const amount = 100
	for i, carry := range []budget.Microcents{0, 350, budget.CarryAll, 0, 350, budget.CarryAll} {
		for _, spent := range []budget.Microcents{30, 100, 450} { // the last leaves a debt of 350
			for _, hours := range []int64{1, 2, 7, 8, 9, 10, 16, 17, 18, 1000} {
				began := []string{"2026-03-28T22:30", "2026-03-28T22:00"}[i/3]
				e, now := newAt(t, began)
				setting := budget.InWindow(budget.Window{Period: budget.Hour, Zone: "Europe/Berlin", Carry: carry})
				for _, tenant := range []budget.TenantID{"asleep", "awake"} {
					e.mustEnsure(t, tenant, amount, setting, budget.Overdraft(500))
					must[budget.Settlement](t)(e.Commit(t.Context(), e.mustHold(t, tenant, 1, 0), spent))
				}
				for range hours {
					now.Add(time.Hour.Milliseconds())
					e.mustBalance(t, "awake")
				}
				want := amount + min(carry, amount-spent+budget.Microcents(hours-1)*amount)
				asleep, awake := e.mustBalance(t, "asleep"), e.mustBalance(t, "awake")
				if asleep != awake || asleep.Granted != want || asleep.Remaining != want {
					t.Errorf("carry %d, %d spent, %d hours: asleep %+v, awake %+v, want %d", carry, spent, hours, asleep, awake, want)
				}
				if start := budget.Instant(at("2026-03-28T22:00") + hours*60*60_000); asleep.Epoch != (budget.Epoch{Start: start, End: start + 60*60_000}) {
					t.Errorf("%d hours after %s the epoch is %s to %s", hours, began, asleep.Epoch.Start, asleep.Epoch.End)
				}
			}
		}
	}
}

// TestStoppedAccountsRoll closes or freezes an account before a boundary, and lists its tree.
func TestStoppedAccountsRoll(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	hour := budget.InWindow(budget.Window{Period: budget.Hour})
	e.mustEnsure(t, "acme", 100, hour)
	e.mustEnsure(t, "acme/search", 200, hour)
	e.mustHold(t, "acme/search", 40, 0)
	must[budget.Configuration](t)(e.CloseTenant(t.Context(), "acme"))
	must[budget.Configuration](t)(e.FreezeTenant(t.Context(), "acme/search"))
	for range 2 {
		now.Add(time.Hour.Milliseconds())
		tree := must[budget.Tree](t)(e.Tree(t.Context(), "acme"))
		if len(tree.Accounts) != 2 {
			t.Fatalf("%+v, want two accounts", tree)
		}
		for i, account := range tree.Accounts {
			if b := account.Balance; b.Ended != 40 || b.Reserved != 0 || b.Remaining != budget.Microcents(100*(i+1)) || int64(b.Epoch.End) != now.Load()+30*60_000 {
				t.Errorf("%+v, want it rolled", account)
			}
		}
	}
}

// failure returns the error of an operation.
func failure[T any](_ T, err error) error { return err }

// TestOperationsRoll makes one operation after a boundary of epochs, and of parts.
func TestOperationsRoll(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	type operation func(e *Engine, tenant budget.TenantID, id budget.ReservationID) error
	rolls := map[string]operation{
		"ensure": func(e *Engine, tenant budget.TenantID, _ budget.ReservationID) error {
			return failure(e.EnsureTenant(ctx, tenant, 1))
		},
		"reserve": func(e *Engine, tenant budget.TenantID, _ budget.ReservationID) error {
			return failure(e.TryReserve(ctx, tenant, 500))
		},
		"commit": func(e *Engine, _ budget.TenantID, id budget.ReservationID) error {
			return failure(e.Commit(ctx, id, 500))
		},
		"release": func(e *Engine, _ budget.TenantID, id budget.ReservationID) error {
			return failure(e.Release(ctx, id))
		},
		"remaining": func(e *Engine, tenant budget.TenantID, _ budget.ReservationID) error {
			return failure(e.Remaining(ctx, tenant))
		},
		"balance": func(e *Engine, tenant budget.TenantID, _ budget.ReservationID) error {
			return failure(e.Balance(ctx, tenant))
		},
		"holds": func(e *Engine, tenant budget.TenantID, _ budget.ReservationID) error {
			return failure(e.Holds(ctx, tenant))
		},
		"grant": func(e *Engine, tenant budget.TenantID, _ budget.ReservationID) error {
			return failure(e.Grant(ctx, tenant, 1))
		},
		"withdraw": func(e *Engine, tenant budget.TenantID, _ budget.ReservationID) error {
			return failure(e.Withdraw(ctx, tenant, 500))
		},
		"configure": func(e *Engine, tenant budget.TenantID, _ budget.ReservationID) error {
			return failure(e.Configure(ctx, tenant))
		},
		"tree": func(e *Engine, tenant budget.TenantID, _ budget.ReservationID) error {
			return failure(e.Tree(ctx, tenant))
		},
		"delete": func(e *Engine, tenant budget.TenantID, _ budget.ReservationID) error {
			return failure(e.DeleteTenant(ctx, tenant))
		},
	}
	stays := map[string]operation{
		"lookup": func(e *Engine, _ budget.TenantID, id budget.ReservationID) error {
			return failure(e.Lookup(ctx, id))
		},
		"reserve of nothing": func(e *Engine, tenant budget.TenantID, _ budget.ReservationID) error {
			return failure(e.TryReserve(ctx, tenant, 0))
		},
		"reserve for a missing": func(e *Engine, tenant budget.TenantID, _ budget.ReservationID) error {
			return failure(e.TryReserve(ctx, tenant+"/missing", 1))
		},
		"read of another": func(e *Engine, _ budget.TenantID, _ budget.ReservationID) error {
			return failure(e.Balance(ctx, "acme/ads"))
		},
	}
	test := func(name string, run operation, begins bool) {
		for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
			for _, period := range []budget.Period{budget.Hour, budget.Last24Hours} {
				e, now := newAt(t, "2026-03-31T22:00")
				e.mustEnsure(t, tenant, 100, budget.InWindow(budget.Window{Period: period}))
				e.mustEnsure(t, "acme/ads", 100)
				e.mustEnsure(t, tenant+"/missing", 100)
				must[budget.Balance](t)(e.DeleteTenant(t.Context(), tenant+"/missing"))
				id := e.mustHold(t, tenant, 10, 0)
				e.mustHold(t, tenant, 1, 40*time.Minute)
				now.Store(at("2026-03-31T23:30"))
				if err := run(e, tenant, id); err != nil {
					t.Error(err)
				}
				epochs := e.accounts.find(tenant).managed.epochs
				want, start := at("2026-03-31T22:00"), epochs.start
				if begins {
					want = at("2026-03-31T23:00")
				}
				if r := epochs.ring; r != nil {
					start = r.newest * r.length
				}
				if start != want {
					t.Errorf("%s, %q, %s: the epoch or the last part starts at %s, want %s", name, tenant, period, instant(start), instant(want))
				}
			}
		}
	}
	for name, run := range rolls {
		test(name, run, true)
	}
	for name, run := range stays {
		test(name, run, false)
	}
}

// TestLargeTreeRolls lists more accounts than are read at one instant.
func TestLargeTreeRolls(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	hour := budget.InWindow(budget.Window{Period: budget.Hour, Carry: budget.CarryAll})
	e.mustEnsure(t, "acme", 100, hour)
	for i := range budget.MaxTreeInstant {
		e.mustEnsure(t, budget.TenantID(fmt.Sprintf("acme/%d", i)), 100, hour)
	}
	now.Store(at("2026-03-31T23:30"))
	tree := must[budget.Tree](t)(e.Tree(t.Context(), "acme"))
	if tree.Instant || len(tree.Accounts) != budget.MaxTreeInstant+1 {
		t.Fatalf("%d accounts, of one instant: %t", len(tree.Accounts), tree.Instant)
	}
	for _, account := range tree.Accounts {
		if account.Balance.Remaining != 200 {
			t.Fatalf("%+v, want it rolled", account)
		}
	}
}

// TestHoldAtTheTimeOfTheRoll has the family's time pass a boundary between the roll and the hold of
// a reserve, which is possible if the root doesn't exist.
func TestHoldAtTheTimeOfTheRoll(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	for _, tenant := range []budget.TenantID{"acme/search", "acme/search/key-7"} {
		e.mustEnsure(t, tenant, 100, budget.InWindow(budget.Window{Period: budget.Hour}))
	}
	a := e.accounts.find("acme/search/key-7")
	var p path
	p.openExisting(a, false)
	before := a.time()
	a.advance(at("2026-03-31T23:00"))
	p.roll(before)
	if _, _, ok := p.hold(10, before, 0); !ok {
		t.Fatal("the root must be locked")
	}
	p.close()
	now.Store(at("2026-03-31T23:00"))
	for _, tenant := range []budget.TenantID{"acme/search", "acme/search/key-7"} {
		e.expect(t, tenant, "2026-03-31T22:30", terms{100, 90, 10, 0, 0})
		if err := e.accounts.find(tenant).checkEpochs(); err != nil {
			t.Error(err)
		}
	}
}

// checkEpochs checks the invariants of all epochs of all limits of the account.
func (a *account) checkEpochs() error {
	remaining := a.openCurrent()
	defer a.close(remaining)
	if remaining == missing {
		return nil
	}
	type held struct {
		by *account
		numbered
	}
	var holds []held
	add := func(m *account, levels uint64) {
		for _, h := range m.holds.list(levels) {
			holds = append(holds, held{m, h})
		}
	}
	add(a, ownSet)
	a.visitBelow(add)
	all := make([]slot, len(holds))
	for i, h := range holds {
		all[i] = h.slot
	}
	err := a.check(remaining, all, a.time())
	var periods budget.Periods
	for _, l := range a.limits() {
		var counted []slot
		for _, h := range holds {
			if l.counts(h.by, &h.slot) {
				counted = append(counted, h.slot)
			}
		}
		l.roll(a.time())
		err = errors.Join(err, l.check(l.managed.remaining, counted, a.time()))
		periods = periods.With(l.period())
	}
	if limits := a.settings().Limits; periods != limits {
		err = errors.Join(err, fmt.Errorf("%q: the limits are %s, in the settings %s", a.tenant, periods, limits))
	}
	return err
}

// check checks the invariants of all epochs of a limit that counts these holds.
func (l *ledger) check(remaining budget.Microcents, holds []slot, now int64) error {
	var kept []epoch
	next := int64(never)
	if l.managed != nil && l.managed.epochs != nil {
		kept, next = l.managed.epochs.ended, l.managed.epochs.next()
	}
	reserved := make([]budget.Microcents, len(kept)+1) // the current epoch comes last
	for _, h := range holds {
		i, end := len(kept), next
		if l.managed != nil {
			if e := l.managed.epochs.endedAt(h.since); e != nil {
				for i = 0; &kept[i] != e; i++ {
				}
				end = e.end
			}
		}
		if reserved[i] += h.held; h.since >= end {
			return fmt.Errorf("%s: a hold made at %d is in an epoch that ended at %d", l.name(), h.since, end)
		}
		if r := l.rolling(); r != nil && r.part(h.since) > r.newest {
			return fmt.Errorf("%s: a hold was made in part %d, after the last one, %d", l.name(), r.part(h.since), r.newest)
		}
	}
	for i, e := range kept {
		if e.remaining < 0 || e.granted < 0 || e.committed < 0 || e.remaining+e.reserved+e.committed != e.granted || e.reserved != reserved[i] {
			return fmt.Errorf("%s: ended epoch %+v, with holds of %d", l.name(), e, reserved[i])
		}
		if i > 0 && e.start < kept[i-1].end || e.end > l.managed.epochs.start || e.start >= e.end {
			return fmt.Errorf("%s: the epochs overlap: %+v", l.name(), kept)
		}
	}
	if remaining+l.reserved+l.committed != l.granted || l.reserved != reserved[len(kept)] {
		return fmt.Errorf("%s: %d + %d + %d of %d, with holds of %d", l.name(), remaining, l.reserved, l.committed, l.granted, reserved[len(kept)])
	}
	return l.checkRing(now)
}

// checkRing checks the invariants of the ring of a rolling window.
func (l *ledger) checkRing(now int64) error {
	r := l.rolling()
	if rolls := l.settings().Window.Period.Rolling(); rolls != (r != nil) {
		return fmt.Errorf("%s: a rolling window: %t; a ring: %t", l.name(), rolls, r != nil)
	}
	if r == nil {
		return nil
	}
	sum := budget.Microcents(0)
	for _, amount := range r.parts {
		if sum += amount; amount < 0 {
			return fmt.Errorf("%s: a negative part of %v", l.name(), r.parts)
		}
	}
	n, length := l.settings().Window.Period.Parts()
	if sum != l.committed || len(r.parts) != n+1 || r.length != length.Milliseconds() || r.newest > r.part(now) || l.managed.epochs.next() != never {
		return fmt.Errorf("%s: %+v with %d committed, at %d", l.name(), r, l.committed, now)
	}
	return nil
}

// TestRollsAtOnce has callers reserve, settle and let expire while the clock passes boundaries of
// three levels, and others audit the epochs of all. All windows pass on what remains, so in the end
// each level has been granted its amount once an epoch, and that is what was committed and remains.
func TestRollsAtOnce(t *testing.T) {
	t.Parallel()
	const amount, overdraft, cycles = 300, 100, 1500
	windows := map[budget.TenantID]budget.Window{
		"acme":              {Period: budget.Week, Zone: "Asia/Kolkata"},
		"acme/search":       {Period: budget.Day, Zone: "Europe/Berlin"},
		"acme/search/key-7": {Period: budget.Hour},
		"acme/search/key-8": {Period: budget.Hour, Zone: "Australia/Adelaide"},
	}
	for _, withRoot := range []bool{true, false} {
		t.Run(fmt.Sprintf("root %t", withRoot), func(t *testing.T) {
			t.Parallel()
			e, now := newAt(t, "2026-03-27T22:40")
			began := time.UnixMilli(now.Load())
			spent := make(map[budget.TenantID]*atomic.Int64)
			for tenant, w := range windows {
				if w.Carry = budget.CarryAll; withRoot || tenant.Parent() != "" {
					spent[tenant] = new(atomic.Int64)
					e.mustEnsure(t, tenant, amount, budget.InWindow(w), budget.Overdraft(overdraft), budget.CapHolds(50))
				}
			}
			var callers, observers sync.WaitGroup
			for caller := range 4 {
				tenant := budget.TenantID(fmt.Sprintf("acme/search/key-%d", 7+caller%2))
				callers.Go(func() {
					random := rand.New(rand.NewPCG(uint64(caller), 10))
					for range cycles {
						actual, err := e.rollCycle(tenant, random, now)
						if err != nil {
							t.Error(err)
						}
						for level := tenant; level != ""; level = level.Parent() {
							if spent[level] != nil {
								spent[level].Add(int64(actual))
							}
						}
					}
				})
			}
			done := make(chan struct{})
			observers.Go(func() {
				for {
					for tenant := range spent {
						a := e.accounts.find(tenant)
						for _, err := range []error{a.checkEpochs(), a.checkBelow()} {
							if err != nil {
								t.Error(err)
								return
							}
						}
						if b, err := e.Balance(context.Background(), tenant); err != nil || b.Remaining < -overdraft {
							t.Errorf("%q: %+v, %v", tenant, b, err)
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
			now.Add(budget.MaxHoldTTL.Milliseconds())
			for tenant, sum := range spent {
				boundaries, err := windows[tenant].Boundaries(began, 10_000)
				if err != nil {
					t.Fatal(err)
				}
				granted := budget.Microcents(amount)
				for i := 0; boundaries[i].UnixMilli() <= now.Load(); i++ {
					granted += amount
				}
				b := e.mustBalance(t, tenant)
				if taken := budget.Microcents(sum.Load()); b.Remaining+taken != granted || b.Reserved+b.Ended != 0 {
					t.Errorf("%q was granted %d, of which %d were committed and %d remain: %+v", tenant, granted, taken, b.Remaining, b)
				}
				if err := e.accounts.find(tenant).checkEpochs(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// rollCycle makes a hold, may let time pass, and ends the hold or not. It returns what was
// committed.
func (e *Engine) rollCycle(tenant budget.TenantID, random *rand.Rand, now *atomic.Int64) (actual budget.Microcents, err error) {
	ctx := context.Background()
	cost := budget.Microcents(1 + random.IntN(60))
	ttl := time.Duration(1+random.IntN(180)) * time.Minute
	res, err := e.TryReserve(ctx, tenant, cost, budget.WithHoldTTL(ttl))
	if random.IntN(3) == 0 {
		now.Add(random.Int64N(20 * 60_000))
	}
	if err != nil || res.Outcome != budget.Reserved {
		return 0, err
	}
	var settled budget.Settlement
	switch random.IntN(6) {
	case 0:
		settled, err = e.Release(ctx, res.ID)
	case 1, 2:
		settled, err = e.Commit(ctx, res.ID, budget.Microcents(random.IntN(120)))
	case 3:
		settled, err = e.CommitAvailable(ctx, res.ID, 3*cost)
	}
	return settled.Actual, err
}

// TestWindowChangesAtOnce changes windows, of which half are rolling ones, overdrafts and levels at
// random while they are used.
func TestWindowChangesAtOnce(t *testing.T) {
	t.Parallel()
	const cycles = 4000
	tenants := []budget.TenantID{"acme", "acme/search", "acme/search/key-7", "acme/search/key-8"}
	e, now := newAt(t, "2026-03-27T22:40")
	for _, tenant := range tenants {
		e.mustEnsure(t, tenant, 200)
	}
	var group sync.WaitGroup
	for caller := range 4 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(caller), 11))
			for range cycles {
				tenant := tenants[random.IntN(len(tenants))]
				window := budget.Window{
					Period: budget.Period(1 + random.IntN(3)), // Hour to Week
					Amount: budget.Microcents(random.IntN(3) * 200), Carry: []budget.Microcents{0, 100, budget.CarryAll}[random.IntN(3)],
				}
				switch random.IntN(8) {
				case 0, 1:
					window = budget.Window{}
				case 2, 3, 4:
					window.Period, window.Carry = budget.Last24Hours+budget.Period(random.IntN(3)), 0
				}
				var err error
				switch random.IntN(24) {
				case 0:
					_, err = e.DeleteTenant(context.Background(), tenant)
				case 1:
					window.Amount = 0
					_, err = e.EnsureTenant(context.Background(), tenant, 300, budget.InWindow(window))
				case 2:
					_, err = e.Configure(context.Background(), tenant, budget.InWindow(window), budget.Overdraft(budget.Microcents(random.IntN(90))))
				case 3:
					_, err = e.Withdraw(context.Background(), tenant, 10)
				case 4:
					_, err = e.Tree(context.Background(), "acme")
				default:
					_, err = e.rollCycle(tenant, random, now)
				}
				a := e.accounts.find(tenants[random.IntN(len(tenants))])
				for _, err := range []error{err, a.checkEpochs(), a.checkBelow()} {
					if err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	group.Wait()
}

func TestRollingWindowsAllocateNothing(t *testing.T) {
	e, now := newAt(t, "2026-03-31T22:30")
	ctx := t.Context()
	for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
		e.mustEnsure(t, tenant, budget.Dollar, rolling(budget.Last24Hours, 0))
	}
	for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
		if n := testing.AllocsPerRun(500, func() {
			now.Add(30 * 60_000)
			res, _ := e.TryReserve(ctx, tenant, 100)
			if s, _ := e.Commit(ctx, res.ID, 90); s.Outcome != budget.Committed {
				t.Fatal("the measured operation failed")
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations, want none", tenant, n)
		}
	}
}
