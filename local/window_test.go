package local

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// at returns a time in Unix ms.
func at(text string) int64 {
	t, err := time.Parse("2006-01-02T15:04", text)
	if err != nil {
		panic(err)
	}
	return t.UnixMilli()
}

// newAt returns an engine without tenants and its clock, which shows a time.
func newAt(t *testing.T, text string, opts ...Option) (e *Engine, now *atomic.Int64) {
	t.Helper()
	now = new(atomic.Int64)
	now.Store(at(text))
	e, err := New(append(opts, WithClock(func() time.Time { return time.UnixMilli(now.Load()) }), WithHoldTTL(0))...)
	if err != nil {
		t.Fatal(err)
	}
	return e, now
}

func (e *Engine) mustEnsure(t *testing.T, tenant budget.TenantID, amount budget.Microcents, settings ...budget.Setting) {
	t.Helper()
	if res, err := e.EnsureTenant(t.Context(), tenant, amount, settings...); err != nil || res.Outcome != budget.Created {
		t.Fatalf("create %q: %+v, %v", tenant, res, err)
	}
}

func (e *Engine) mustHold(t *testing.T, tenant budget.TenantID, cost budget.Microcents, ttl time.Duration) budget.ReservationID {
	t.Helper()
	res, err := e.TryReserve(t.Context(), tenant, cost, budget.WithHoldTTL(ttl))
	if err != nil || res.Outcome != budget.Reserved {
		t.Fatalf("reserve %d for %q: %+v, %v", cost, tenant, res, err)
	}
	return res.ID
}

// terms are those of an epoch.
type terms struct{ granted, remaining, reserved, committed, ended budget.Microcents }

// expect checks the terms of the epoch that contains a time, "" for the current one.
func (e *Engine) expect(t *testing.T, tenant budget.TenantID, epoch string, want terms) {
	t.Helper()
	var opts []budget.BalanceOption
	if epoch != "" {
		opts = append(opts, budget.AtEpoch(time.UnixMilli(at(epoch))))
	}
	b, err := e.Balance(t.Context(), tenant, opts...)
	got := terms{b.Granted, b.Remaining, b.Reserved, b.Committed, b.Ended}
	if err != nil || b.Outcome != budget.Found || !b.Conserved() || got != want {
		t.Errorf("%q, epoch %q: %s %+v, %v; want %+v", tenant, epoch, b.Outcome, got, err, want)
	}
}

// TestWindowsOfThreeLevels settles holds of an hour, a day and a month that have ended or not.
func TestWindowsOfThreeLevels(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	const key, search, acme = "acme/search/key-7", "acme/search", "acme"
	e.mustEnsure(t, acme, 1000, budget.InWindow(budget.Window{Period: budget.Month, Carry: budget.CarryAll}))
	e.mustEnsure(t, search, 300, budget.InWindow(budget.Window{Period: budget.Day}))
	e.mustEnsure(t, key, 100, budget.InWindow(budget.Window{Period: budget.Hour, Carry: 20}))
	first, second := e.mustHold(t, key, 60, 0), e.mustHold(t, key, 30, 0)
	renews := budget.Instant(at("2026-03-31T23:00"))
	refused := budget.Reservation{Outcome: budget.Insufficient, Remaining: 10, Level: key, Required: 11, Renews: renews}
	if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), key, 11)); res != refused {
		t.Errorf("%+v, want %+v", res, refused)
	}
	found := budget.Remainder{Outcome: budget.Found, Remaining: 10, Level: key, Renews: renews}
	if res := must[budget.Remainder](t)(e.Remaining(t.Context(), key)); res != found {
		t.Errorf("%+v, want %+v", res, found)
	}

	found = budget.Remainder{Outcome: budget.Found, Remaining: 910, Level: acme, Renews: budget.Instant(at("2026-04-01T00:00"))}
	if res := must[budget.Remainder](t)(e.Remaining(t.Context(), acme)); res != found {
		t.Errorf("%+v, want %+v", res, found)
	}

	now.Store(at("2026-03-31T23:10"))
	e.expect(t, key, "", terms{110, 110, 0, 0, 90})
	e.expect(t, key, "2026-03-31T22:30", terms{90, 0, 90, 0, 0})
	e.expect(t, search, "", terms{300, 210, 90, 0, 0})
	settlement := budget.Settlement{Outcome: budget.Committed, Remaining: 100, Level: key, Actual: 70}
	if res := must[budget.Settlement](t)(e.Commit(t.Context(), first, 70)); res != settlement {
		t.Errorf("%+v, want %+v", res, settlement)
	}
	e.expect(t, key, "", terms{100, 100, 0, 0, 30})
	e.expect(t, key, "2026-03-31T22:30", terms{100, 0, 30, 70, 0})
	e.expect(t, search, "", terms{300, 200, 30, 70, 0})
	settlement = budget.Settlement{Outcome: budget.Overrun, Remaining: 100, Level: key}
	if res := must[budget.Settlement](t)(e.Commit(t.Context(), second, 31)); res != settlement {
		t.Errorf("%+v, want %+v", res, settlement)
	}

	now.Store(at("2026-04-01T00:00"))
	settlement = budget.Settlement{Outcome: budget.Released, Remaining: 140, Level: key, Returned: 30}
	if res := must[budget.Settlement](t)(e.Release(t.Context(), second)); res != settlement {
		t.Errorf("%+v, want %+v", res, settlement)
	}
	e.expect(t, key, "", terms{140, 140, 0, 0, 0})
	e.expect(t, key, "2026-03-31T23:59", terms{80, 80, 0, 0, 0})
	e.expect(t, key, "2026-03-31T22:30", terms{80, 10, 0, 70, 0})
	e.expect(t, search, "", terms{300, 300, 0, 0, 0})
	e.expect(t, search, "2026-03-31T22:30", terms{300, 230, 0, 70, 0})
	e.expect(t, acme, "", terms{1930, 1930, 0, 0, 0})
	e.expect(t, acme, "2026-03-31T22:30", terms{70, 0, 0, 70, 0})
}

// TestExcessOfEndedEpoch commits excesses that the ended epoch could pay, if the current one had
// what has passed on to it.
func TestExcessOfEndedEpoch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ overdraft, largest budget.Microcents }{{0, 5}, {3, 8}} {
		for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
			e, now := newAt(t, "2026-03-31T22:30")
			e.mustEnsure(t, "acme", 100, budget.Overdraft(c.overdraft), budget.InWindow(budget.Window{Period: budget.Hour, Carry: budget.CarryAll}))
			if tenant != "acme" {
				e.mustEnsure(t, tenant, 1000)
			}
			first, second := e.mustHold(t, tenant, 10, 0), e.mustHold(t, tenant, 20, 0)
			now.Store(at("2026-03-31T23:30"))
			e.mustHold(t, tenant, 165, 0)
			overrun := budget.Settlement{Outcome: budget.Overrun, Remaining: 5, Level: "acme"}
			if res := must[budget.Settlement](t)(e.Commit(t.Context(), first, 11+c.largest)); res != overrun {
				t.Errorf("%q: %+v, want %+v", tenant, res, overrun)
			}
			committed := budget.Settlement{Outcome: budget.Committed, Remaining: -c.overdraft, Level: "acme", Actual: 10 + c.largest, Shortfall: 1}
			if res := must[budget.Settlement](t)(e.CommitAvailable(t.Context(), first, 11+c.largest)); res != committed {
				t.Errorf("%q: %+v, want %+v", tenant, res, committed)
			}
			e.expect(t, "acme", "2026-03-31T22:30", terms{30 + c.largest, 0, 20, 10 + c.largest, 0})
			e.expect(t, "acme", "", terms{170 - c.largest, -c.overdraft, 165, 0, 20})
			must[budget.Settlement](t)(e.Commit(t.Context(), second, 0))
			e.expect(t, "acme", "", terms{190 - c.largest, 20 - c.overdraft, 165, 0, 0})
		}
	}
}

// TestExcessIsPaidByItsEpochFirst raises the carry-over after an epoch that has kept 60.
func TestExcessIsPaidByItsEpochFirst(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme", 100, budget.InWindow(budget.Window{Period: budget.Hour}))
	id := e.mustHold(t, "acme", 40, 0)
	now.Store(at("2026-03-31T23:30"))
	e.mustConfigure(t, "acme", budget.InWindow(budget.Window{Period: budget.Hour, Carry: budget.CarryAll}))
	e.mustHold(t, "acme", 100, 0)
	if res := must[budget.Settlement](t)(e.Commit(t.Context(), id, 101)); res.Outcome != budget.Overrun {
		t.Errorf("%+v, want an overrun", res)
	}
	if res := must[budget.Settlement](t)(e.Commit(t.Context(), id, 100)); res.Outcome != budget.Committed || res.Remaining != 0 {
		t.Errorf("%+v, want it committed", res)
	}
	e.expect(t, "acme", "2026-03-31T22:30", terms{100, 0, 0, 100, 0})
	e.expect(t, "acme", "", terms{100, 0, 100, 0, 0})
}

// TestBoundaryToTheMillisecond reserves all a millisecond before a boundary, and again at it.
// The day in Berlin has 23 hours.
func TestBoundaryToTheMillisecond(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-28T23:00")
	for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
		e.mustEnsure(t, tenant, 100, budget.InWindow(budget.Window{Period: budget.Day, Zone: "Europe/Berlin"}))
	}
	now.Store(at("2026-03-29T22:00") - 1)
	before := e.mustHold(t, "acme/search", 100, 0)
	if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), "acme/search", 1)); res.Outcome != budget.Insufficient {
		t.Errorf("before the boundary: %+v", res)
	}
	now.Add(1)
	after := e.mustHold(t, "acme/search", 100, 0)
	must[budget.Settlement](t)(e.Commit(t.Context(), before, 70))
	must[budget.Settlement](t)(e.Commit(t.Context(), after, 90))
	for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
		e.expect(t, tenant, "2026-03-29T21:59", terms{100, 30, 0, 70, 0})
		e.expect(t, tenant, "2026-03-29T22:00", terms{100, 10, 0, 90, 0})
	}
}

// TestExpiryInEndedEpoch has holds end in their epochs, whether or not an operation was between
// the boundary and the deadline, below a root that exists or not.
func TestExpiryInEndedEpoch(t *testing.T) {
	t.Parallel()
	for _, tenants := range [][]budget.TenantID{{"acme"}, {"acme/search"}, {"acme", "acme/search", "acme/search/key-7"}} {
		for _, read := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s read %t", tenants, read), func(t *testing.T) {
				t.Parallel()
				e, now := newAt(t, "2026-03-31T22:30")
				windows := map[budget.TenantID]budget.Window{
					"acme":        {Period: budget.Hour, Carry: 85},
					"acme/search": {Period: budget.Hour, Carry: budget.CarryAll},
				}
				for _, tenant := range tenants {
					e.mustEnsure(t, tenant, 100, budget.CapHolds(4), budget.InWindow(windows[tenant]))
				}
				last := tenants[len(tenants)-1]
				e.mustHold(t, last, 10, 20*time.Minute)
				e.mustHold(t, last, 20, 35*time.Minute)
				now.Store(at("2026-03-31T23:00"))
				if read {
					for _, tenant := range tenants {
						e.mustBalance(t, tenant)
					}
					e.mustHold(t, last, 40, 10*time.Minute)
				}
				now.Store(at("2026-03-31T23:30"))
				if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), last, 500)); res.Outcome != budget.Insufficient {
					t.Errorf("%+v", res)
				}
				for _, tenant := range tenants {
					passes := min(100, windows[tenant].Carry)
					if windows[tenant].Period == budget.NoPeriod {
						e.expect(t, tenant, "", terms{100, 100, 0, 0, 0})
					} else {
						e.expect(t, tenant, "2026-03-31T22:30", terms{100 - passes, 100 - passes, 0, 0, 0})
						e.expect(t, tenant, "", terms{100 + passes, 100 + passes, 0, 0, 0})
					}
					if err := e.accounts.find(tenant).checkBelow(); err != nil {
						t.Errorf("%q: %v", tenant, err)
					}
				}
			})
		}
	}
}

// expectNoEpoch checks that acme keeps no epoch that contains a time.
func (e *Engine) expectNoEpoch(t *testing.T, epoch string) {
	t.Helper()
	b, err := e.Balance(t.Context(), "acme", budget.AtEpoch(time.UnixMilli(at(epoch))))
	if !errors.Is(err, budget.ErrNoEpoch) || b != (budget.Balance{}) || !strings.Contains(err.Error(), `"acme"`) || !strings.Contains(err.Error(), epoch) {
		t.Errorf("epoch %s: %+v, %v; want no epoch, with the tenant and the time", epoch, b, err)
	}
}

func TestKeptEpochs(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-01T12:00")
	day := func(d int) string { return fmt.Sprintf("2026-03-%02dT12:00", d) }
	e.mustEnsure(t, "acme", 100)
	e.expectNoEpoch(t, day(1))
	if b := must[budget.Balance](t)(e.Balance(t.Context(), "globex", budget.AtEpoch(time.UnixMilli(1)))); b != (budget.Balance{Outcome: budget.MissingTenant}) {
		t.Errorf("a missing tenant: %+v", b)
	}
	if b, err := e.Balance(t.Context(), "acme", nil); err == nil || b != (budget.Balance{}) {
		t.Errorf("a nil option: %+v, %v", b, err)
	}
	before := e.mustHold(t, "acme", 1, 0) // it belongs to the epoch that begins now
	now.Add(1)
	e.mustConfigure(t, "acme", budget.InWindow(budget.Window{Period: budget.Day, Carry: budget.CarryAll}))
	e.expectNoEpoch(t, day(1)) // the window was set a millisecond later
	var ids []budget.ReservationID
	for d := 2; d <= 9; d++ {
		if now.Store(at(day(d))); d == 7 {
			continue
		}
		e.mustBalance(t, "acme")
		if d == 3 {
			ids = append(ids, e.mustHold(t, "acme", 2, 0), e.mustHold(t, "acme", 3, 0))
		}
	}
	kept := []int{1, 3, 5, 6, 8, 9} // the holds keep the first two
	for d := 1; d <= 10; d++ {
		epoch := fmt.Sprintf("2026-03-%02dT13:00", d)
		if !slices.Contains(kept, d) {
			e.expectNoEpoch(t, epoch)
			continue
		}
		b, err := e.Balance(t.Context(), "acme", budget.AtEpoch(time.UnixMilli(at(epoch))))
		start := budget.Instant(at(fmt.Sprintf("2026-03-%02dT00:00", d)))
		if d == 1 {
			start = budget.Instant(at(day(1)) + 1)
		}
		if end := budget.Instant(at(fmt.Sprintf("2026-03-%02dT00:00", d+1))); err != nil || b.Epoch != (budget.Epoch{Start: start, End: end}) {
			t.Errorf("day %d: %s to %s, %v", d, b.Epoch.Start, b.Epoch.End, err)
		}
	}
	e.expect(t, "acme", day(1)[:11]+"13:00", terms{1, 0, 1, 0, 0})
	e.expect(t, "acme", day(3), terms{5, 0, 5, 0, 0})
	e.expectNoEpoch(t, "2026-03-07T00:00") // the end of day 6
	e.expect(t, "acme", "", terms{894, 894, 0, 0, 6})
	list := must[budget.HoldList](t)(e.Holds(t.Context(), "acme"))
	if err := list.Audit(); err != nil || len(list.Holds) != 3 {
		t.Errorf("%d holds, %v", len(list.Holds), err)
	}

	must[budget.Settlement](t)(e.Release(t.Context(), before))
	must[budget.Settlement](t)(e.Release(t.Context(), ids[0]))
	e.expect(t, "acme", day(1)[:11]+"13:00", terms{0, 0, 0, 0, 0}) // until the next boundary
	if b := must[budget.Balance](t)(e.DeleteTenant(t.Context(), "acme")); b.Outcome != budget.HoldsOpen || b.Ended != 3 || b.Reserved != 0 {
		t.Errorf("deleted with a hold of an ended epoch: %+v", b)
	}
	now.Store(at(day(10)))
	e.mustBalance(t, "acme")
	e.expectNoEpoch(t, "2026-03-01T13:00")
	e.expect(t, "acme", day(3), terms{3, 0, 3, 0, 0})
	must[budget.Settlement](t)(e.Commit(t.Context(), ids[1], 1))
	e.expect(t, "acme", day(3), terms{1, 0, 0, 1, 0})
	e.expect(t, "acme", "", terms{999, 999, 0, 0, 0})
	now.Store(at(day(11)))
	if b := must[budget.Balance](t)(e.DeleteTenant(t.Context(), "acme")); b.Outcome != budget.Deleted || b.Remaining != 1099 {
		t.Errorf("deleted: %+v", b)
	}
	e.mustEnsure(t, "acme", 7)
	e.expectNoEpoch(t, "2026-03-11T12:00")
	if a := e.accounts.find("acme"); a.managed != nil || a.word.Load() != 7 {
		t.Errorf("created again, its word is %d, want the remaining amount", a.word.Load())
	}
}

func TestWindowChanges(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-04T12:30") // a Wednesday
	began := budget.Instant(now.Load())
	e.mustEnsure(t, "acme", 100)
	id := e.mustHold(t, "acme", 10, 0)
	now.Add(1)
	set := func(w budget.Window) {
		t.Helper()
		e.mustConfigure(t, "acme", budget.InWindow(w))
	}
	expect := func(step string, start, end budget.Instant, w budget.Window, want terms) {
		t.Helper()
		b := e.mustBalance(t, "acme")
		if b.Epoch != (budget.Epoch{Start: start, End: end}) || b.Settings != (budget.Settings{Window: w}) {
			t.Errorf("%s: %s to %s with %+v, want %s to %s with %+v", step, b.Epoch.Start, b.Epoch.End, b.Settings.Window, start, end, w)
		}
		e.expect(t, "acme", "", want)
	}
	instant := func(text string) budget.Instant { return budget.Instant(at(text)) }
	set(budget.Window{Period: budget.Day})
	day := budget.Window{Period: budget.Day, Zone: "UTC", Amount: 100}
	expect("set", began+1, instant("2026-03-05T00:00"), day, terms{100, 90, 10, 0, 0})
	set(budget.Window{})
	expect("removed before a boundary", 0, 0, budget.Window{}, terms{100, 90, 10, 0, 0})
	if a := e.accounts.find("acme"); a.managed != nil {
		t.Error("removed before a boundary, it is still managed")
	}
	now.Add(1)
	day.Amount = 140
	set(day)
	expect("set again with more", began+2, instant("2026-03-05T00:00"), day, terms{140, 130, 10, 0, 0})
	now.Add(1)
	set(day)
	expect("repeated", began+2, instant("2026-03-05T00:00"), day, terms{140, 130, 10, 0, 0})
	day.Amount, day.Carry = 50, 5
	set(day)
	expect("lowered", began+2, instant("2026-03-05T00:00"), day, terms{140, 130, 10, 0, 0})

	now.Store(at("2026-03-05T12:30"))
	expect("the next day", instant("2026-03-05T00:00"), instant("2026-03-06T00:00"), day, terms{55, 55, 0, 0, 10})
	month := budget.Window{Period: budget.Month, Zone: "UTC", Day: 20, Carry: budget.CarryAll}
	set(month)
	month.Amount = 50
	expect("by the month", instant("2026-03-05T00:00"), instant("2026-03-20T00:00"), month, terms{55, 55, 0, 0, 10})
	month.Amount = 60
	set(month)
	expect("raised", instant("2026-03-05T00:00"), instant("2026-03-20T00:00"), month, terms{65, 65, 0, 0, 10})

	set(budget.Window{})
	now.Store(at("2026-06-01T00:00"))
	expect("removed", instant("2026-03-05T00:00"), 0, budget.Window{}, terms{65, 65, 0, 0, 10})
	e.expect(t, "acme", "2026-04-01T00:00", terms{65, 65, 0, 0, 10})
	current := e.mustHold(t, "acme", 1, 0)
	must[budget.Settlement](t)(e.Release(t.Context(), id))
	expect("after a surplus of an ended epoch", instant("2026-03-05T00:00"), 0, budget.Window{}, terms{65, 64, 1, 0, 0})
	now.Add(1)
	week := budget.Window{Period: budget.Week, Zone: "UTC", Weekday: time.Tuesday, Amount: 65}
	set(week)
	expect("set again", instant("2026-03-05T00:00"), instant("2026-06-02T00:00"), week, terms{65, 64, 1, 0, 0})
	must[budget.Settlement](t)(e.Release(t.Context(), current))
	expect("after the hold", instant("2026-03-05T00:00"), instant("2026-06-02T00:00"), week, terms{65, 65, 0, 0, 0})
}

// TestGrantsOfAnEpoch grants and withdraws in an epoch, with debt passed on.
func TestGrantsOfAnEpoch(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme", 100, budget.Overdraft(200), budget.InWindow(budget.Window{Period: budget.Hour}))
	must[budget.Settlement](t)(e.Commit(t.Context(), e.mustHold(t, "acme", 10, 0), 300))
	now.Store(at("2026-03-31T23:30"))
	e.expect(t, "acme", "2026-03-31T22:30", terms{300, 0, 0, 300, 0})
	e.expect(t, "acme", "", terms{-100, -100, 0, 0, 0})
	must[budget.Adjustment](t)(e.Grant(t.Context(), "acme", 150))
	must[budget.Adjustment](t)(e.Withdraw(t.Context(), "acme", 30))
	e.expect(t, "acme", "", terms{20, 20, 0, 0, 0})
	now.Store(at("2026-04-01T00:30"))
	e.expect(t, "acme", "", terms{100, 100, 0, 0, 0})
	e.expect(t, "acme", "2026-03-31T23:30", terms{20, 20, 0, 0, 0})
}

func TestWindowOverflow(t *testing.T) {
	t.Parallel()
	const largest = budget.MaxMicrocents
	hour := func(amount, carry budget.Microcents) budget.Setting {
		return budget.InWindow(budget.Window{Period: budget.Hour, Amount: amount, Carry: carry})
	}
	e, now := newAt(t, "2026-03-31T22:30")
	if res, err := e.EnsureTenant(t.Context(), "acme", 0, hour(11, 0), budget.Overdraft(largest-10)); !errors.Is(err, budget.ErrOverflow) || res != (budget.Ensured{}) {
		t.Errorf("created with an amount and an overdraft that don't fit: %+v, %v", res, err)
	}
	e.mustEnsure(t, "acme", largest, hour(10, budget.CarryAll))
	id := e.mustHold(t, "acme", 5, 0)
	now.Store(at("2026-03-31T23:30"))
	e.expect(t, "acme", "", terms{largest, largest, 0, 0, 5}) // 5 more than 10 didn't pass on
	e.expect(t, "acme", "2026-03-31T22:30", terms{10, 5, 5, 0, 0})
	for name, settings := range map[string][]budget.Setting{
		"an overdraft": {budget.Overdraft(1)}, "a raised amount": {hour(11, budget.CarryAll)},
	} {
		if res, err := e.Configure(t.Context(), "acme", settings...); !errors.Is(err, budget.ErrOverflow) || res != (budget.Configuration{}) {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
	if res, err := e.Grant(t.Context(), "acme", 1); !errors.Is(err, budget.ErrOverflow) || res != (budget.Adjustment{}) {
		t.Errorf("granted: %+v, %v", res, err)
	}
	must[budget.Settlement](t)(e.Release(t.Context(), id))
	e.expect(t, "acme", "", terms{largest, largest, 0, 0, 0})
	e.expect(t, "acme", "2026-03-31T22:30", terms{10, 10, 0, 0, 0})

	// Debt leaves more room for a grant than 64 bits.
	e.mustEnsure(t, "debtor", 10, hour(0, 0), budget.Overdraft(100))
	must[budget.Settlement](t)(e.Commit(t.Context(), e.mustHold(t, "debtor", 1, 0), 110))
	now.Store(at("2026-04-01T00:30"))
	e.expect(t, "debtor", "", terms{-90, -90, 0, 0, 0})
	if _, err := e.Grant(t.Context(), "debtor", largest-9); !errors.Is(err, budget.ErrOverflow) {
		t.Errorf("granted more than fits with the overdraft: %v", err)
	}
	e.mustConfigure(t, "debtor", budget.Overdraft(0))
	must[budget.Adjustment](t)(e.Grant(t.Context(), "debtor", largest))
	e.expect(t, "debtor", "", terms{largest - 90, largest - 90, 0, 0, 0})
}

// TestEndedOverflow has an overdraft that fits the current epoch, but not an ended one, and reserves
// that don't fit 64 bits with the holds of an ended epoch.
func TestEndedOverflow(t *testing.T) {
	t.Parallel()
	const largest = budget.MaxMicrocents
	e, now := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme", largest, budget.InWindow(budget.Window{Period: budget.Hour, Amount: 10}))
	id := e.mustHold(t, "acme", 10, 0)
	must[budget.Settlement](t)(e.Commit(t.Context(), e.mustHold(t, "acme", largest-10, 0), largest-10))
	now.Store(at("2026-03-31T23:30"))
	e.mustConfigure(t, "acme", budget.Overdraft(1000))
	if res := must[budget.Settlement](t)(e.Commit(t.Context(), id, 11)); res.Outcome != budget.Overrun {
		t.Errorf("more is committed than fits: %+v", res)
	}
	if res := must[budget.Settlement](t)(e.CommitAvailable(t.Context(), id, 11)); res.Actual != 10 || res.Shortfall != 1 {
		t.Errorf("%+v, want a shortfall of 1", res)
	}
	e.expect(t, "acme", "2026-03-31T22:30", terms{largest, 0, 0, largest, 0})

	e.mustEnsure(t, "globex", largest, budget.InWindow(budget.Window{Period: budget.Hour}), budget.CapReserved(largest))
	e.mustEnsure(t, "globex/search", 10)
	id = e.mustHold(t, "globex", largest-3, 0)
	now.Store(at("2026-04-01T00:30"))
	e.mustHold(t, "globex/search", 2, 0)
	if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), "globex", 2)); res.Cap != budget.ReservedCap {
		t.Errorf("%+v, want it capped", res)
	}
	e.mustConfigure(t, "globex", budget.CapReserved(0))
	renews := budget.Instant(at("2026-04-01T01:00"))
	for _, refused := range []budget.Reservation{
		{Outcome: budget.Insufficient, Remaining: largest - 2, Level: "globex", Required: 2, Renews: renews},
		{Outcome: budget.Insufficient, Remaining: 8, Level: "globex/search", Required: 2},
	} {
		if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), refused.Level, 2)); res != refused {
			t.Errorf("%+v, want %+v", res, refused)
		}
	}
	e.mustHold(t, "globex/search", 1, 0)
	if b := e.mustBalance(t, "globex"); b.Ended != largest-3 || b.Reserved != 3 {
		t.Errorf("%+v, want the largest amount in all epochs", b)
	}
	if b := must[budget.Balance](t)(e.DeleteTenant(t.Context(), "globex")); b.Outcome != budget.HoldsOpen {
		t.Errorf("deleted with open holds: %+v", b)
	}
	must[budget.Settlement](t)(e.Release(t.Context(), id))
	e.mustHold(t, "globex", largest-3, 0)
}

// TestCapsOfAllEpochs caps an account that has open holds in an ended epoch and the current one.
func TestCapsOfAllEpochs(t *testing.T) {
	t.Parallel()
	for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
		e, now := newAt(t, "2026-03-31T22:30")
		e.mustEnsure(t, "acme", 100, budget.InWindow(budget.Window{Period: budget.Hour}))
		if tenant != "acme" {
			e.mustEnsure(t, tenant, 1000)
		}
		old := e.mustHold(t, tenant, 60, 0)
		now.Store(at("2026-03-31T23:30"))
		e.mustConfigure(t, "acme", budget.CapReserved(90), budget.CapHolds(2))
		refused := budget.Reservation{Outcome: budget.Capped, Level: "acme", Cap: budget.ReservedCap, CapLimit: 90}
		if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), tenant, 31)); res != refused {
			t.Errorf("%q: %+v, want %+v", tenant, res, refused)
		}
		e.mustHold(t, tenant, 10, 0)
		refused.Cap, refused.CapLimit = budget.HoldsCap, 2
		if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), tenant, 1)); res != refused {
			t.Errorf("%q: %+v, want %+v", tenant, res, refused)
		}
		must[budget.Settlement](t)(e.Release(t.Context(), old))
		e.mustHold(t, tenant, 80, 0)
	}
}

// TestThresholdsOfEpochs crosses a threshold in each epoch, and one because an excess of an ended
// epoch is returned.
func TestThresholdsOfEpochs(t *testing.T) {
	t.Parallel()
	var got []budget.Crossing
	e, now := newAt(t, "2026-03-31T22:30", WithOnThreshold(func(c budget.Crossing) { got = append(got, c) }))
	expect := func(step string, want ...budget.Crossing) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", step, got, want)
		}
		got = nil
	}
	e.mustEnsure(t, "acme", 100, budget.AtThresholds(50), budget.InWindow(budget.Window{Period: budget.Hour, Carry: budget.CarryAll}))
	old := e.mustHold(t, "acme", 10, 0)
	must[budget.Settlement](t)(e.Commit(t.Context(), e.mustHold(t, "acme", 50, 0), 50))
	expect("50 of 100", budget.Crossing{Tenant: "acme", Percent: 50, Committed: 50, Granted: 100})
	now.Store(at("2026-03-31T23:30"))
	must[budget.Settlement](t)(e.Commit(t.Context(), e.mustHold(t, "acme", 60, 0), 60))
	expect("60 of 140")
	must[budget.Settlement](t)(e.Commit(t.Context(), old, 29))
	expect("60 of 121")
	now.Store(at("2026-04-01T00:30"))
	old, other := e.mustHold(t, "acme", 1, 0), e.mustHold(t, "acme", 1, 0)
	now.Store(at("2026-04-01T01:30"))
	must[budget.Settlement](t)(e.Commit(t.Context(), e.mustHold(t, "acme", 130, 0), 130))
	expect("130 of 259", budget.Crossing{Tenant: "acme", Percent: 50, Committed: 130, Granted: 259})
	now.Store(at("2026-04-01T02:30"))
	must[budget.Settlement](t)(e.Commit(t.Context(), e.mustHold(t, "acme", 110, 0), 110))
	expect("110 of 229")
	must[budget.Settlement](t)(e.Commit(t.Context(), old, 11))
	expect("110 of 219", budget.Crossing{Tenant: "acme", Percent: 50, Committed: 110, Granted: 219})
	must[budget.Settlement](t)(e.Commit(t.Context(), other, 2))
	expect("110 of 218")
}

func TestWindowsAllocateNothing(t *testing.T) {
	e, _ := newAt(t, "2026-03-31T22:30")
	ctx := t.Context()
	for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
		e.mustEnsure(t, tenant, budget.Dollar, budget.InWindow(budget.Window{Period: budget.Hour, Zone: "Europe/Berlin"}))
	}
	for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
		if n := testing.AllocsPerRun(500, func() {
			res, _ := e.TryReserve(ctx, tenant, 100)
			if s, _ := e.Commit(ctx, res.ID, 90); s.Outcome != budget.Committed {
				t.Fatal("the measured operation failed")
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations, want none", tenant, n)
		}
	}
}
