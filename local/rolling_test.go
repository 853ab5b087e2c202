package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

var rollingPeriods = []budget.Period{budget.Last24Hours, budget.Last7Days, budget.Last30Days}

// rolling returns the setting of a rolling window.
func rolling(period budget.Period, amount budget.Microcents) budget.Setting {
	return budget.InWindow(budget.Window{Period: period, Amount: amount})
}

// spend commits a cost.
func (e *Engine) spend(t *testing.T, tenant budget.TenantID, cost budget.Microcents) {
	t.Helper()
	e.commit(t, e.mustHold(t, tenant, cost, 0), cost)
}

func (e *Engine) commit(t *testing.T, id budget.ReservationID, actual budget.Microcents) {
	t.Helper()
	if res, err := e.Commit(t.Context(), id, actual); err != nil || res.Outcome != budget.Committed || res.Actual != actual {
		t.Fatalf("commit %d: %+v, %v", actual, res, err)
	}
}

// renews returns when the tenant's budget renews.
func (e *Engine) renews(t *testing.T, tenant budget.TenantID) budget.Instant {
	t.Helper()
	return must[budget.Remainder](t)(e.Remaining(t.Context(), tenant)).Renews
}

// TestPartsLeaveToTheMillisecond spends in three parts, and in each a millisecond before it is the
// next one, of an account with a root or without.
func TestPartsLeaveToTheMillisecond(t *testing.T) {
	t.Parallel()
	for _, period := range rollingPeriods {
		for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
			n, length := period.Parts()
			for _, began := range []int64{0, -3 * 24 * time.Hour.Milliseconds()} { // a part begins at each
				e, now := newAt(t, "2026-03-31T22:30")
				now.Store(began)
				e.mustEnsure(t, tenant, 100, rolling(period, 0))
				for _, cost := range []budget.Microcents{20, 30, 50} {
					now.Add(length.Milliseconds() - 1)
					e.spend(t, tenant, cost)
					now.Add(1)
				}
				left := budget.Microcents(0)
				for i, cost := range []budget.Microcents{20, 30, 50} {
					leaves := began + int64(n+1+i)*length.Milliseconds()
					now.Store(leaves - 1)
					refused := budget.Reservation{
						Outcome: budget.Insufficient, Remaining: left, Level: tenant, Required: left + 1, Renews: budget.Instant(leaves),
					}
					if res := must[budget.Reservation](t)(e.TryReserve(t.Context(), tenant, left+1)); res != refused {
						t.Errorf("%s: %+v, want %+v", period, res, refused)
					}
					now.Store(leaves)
					left += cost
					must[budget.Settlement](t)(e.Release(t.Context(), e.mustHold(t, tenant, left, 0)))
				}
				if at := e.renews(t, tenant); at != 0 {
					t.Errorf("%s: it renews at %s with nothing committed", period, at)
				}
			}
		}
	}
}

// TestSlideOverWholeWindow spends, and has nothing happen for as long as the window or longer.
func TestSlideOverWholeWindow(t *testing.T) {
	t.Parallel()
	for _, period := range rollingPeriods {
		n, length := period.Parts()
		for _, parts := range []int{n, n + 1, n + 2, 2 * n, 1000 * n} {
			e, now := newAt(t, "2026-03-31T00:00")
			e.mustEnsure(t, "acme", 100, rolling(period, 0))
			e.spend(t, "acme", 10)
			now.Add(length.Milliseconds())
			e.spend(t, "acme", 20)
			now.Add(int64(parts) * length.Milliseconds())
			e.spend(t, "acme", 5)
			want := terms{100, 95, 0, 5, 0}
			if parts == n {
				want = terms{100, 75, 0, 25, 0}
			}
			e.expect(t, "acme", "", want)
			if err := e.accounts.find("acme").checkEpochs(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestCommitCountsWhereItsHoldWasMade commits at three levels after parts have passed.
func TestCommitCountsWhereItsHoldWasMade(t *testing.T) {
	t.Parallel()
	const key, search, acme = "acme/search/key-7", "acme/search", "acme"
	e, now := newAt(t, "2026-03-02T10:30")
	e.mustEnsure(t, acme, 1000, rolling(budget.Last30Days, 0))
	e.mustEnsure(t, search, 500, rolling(budget.Last7Days, 0))
	e.mustEnsure(t, key, 100, rolling(budget.Last24Hours, 0))
	first, second, third := e.mustHold(t, key, 10, 0), e.mustHold(t, key, 20, 0), e.mustHold(t, key, 30, 0)
	now.Store(at("2026-03-03T10:59")) // the part of the holds is the oldest of the day's window
	e.commit(t, first, 15)
	e.expect(t, key, "", terms{100, 35, 50, 15, 0})
	if got := e.renews(t, key); int64(got) != at("2026-03-03T11:00") {
		t.Errorf("it renews at %s", got)
	}
	now.Store(at("2026-03-03T11:00"))
	settlement := budget.Settlement{Outcome: budget.Committed, Remaining: 70, Level: key, Actual: 25}
	if res := must[budget.Settlement](t)(e.Commit(t.Context(), second, 25)); res != settlement {
		t.Errorf("%+v, want %+v", res, settlement)
	}
	e.expect(t, key, "", terms{100, 70, 30, 0, 0})
	e.expect(t, search, "", terms{500, 430, 30, 40, 0})
	now.Store(at("2026-03-09T11:59"))
	e.expect(t, search, "", terms{500, 430, 30, 40, 0})
	now.Store(at("2026-03-09T12:00"))
	e.commit(t, third, 7)
	e.expect(t, key, "", terms{100, 100, 0, 0, 0})
	e.expect(t, search, "", terms{500, 500, 0, 0, 0})
	e.expect(t, acme, "", terms{1000, 953, 0, 47, 0})
	now.Store(at("2026-04-02T00:00"))
	e.expect(t, acme, "", terms{1000, 1000, 0, 0, 0})
}

// TestExcessOutsideOfWindow commits excesses of holds that the windows of some levels don't contain
// any more. Those pay nothing, whatever they have, so they limit nothing.
func TestExcessOutsideOfWindow(t *testing.T) {
	t.Parallel()
	const excess = budget.MaxMicrocents
	day := rolling(budget.Last24Hours, 0)
	hour := budget.InWindow(budget.Window{Period: budget.Hour})
	for name, c := range map[string]struct {
		above, own []budget.Setting
		limit      budget.TenantID   // the level that limits the excess, "" for none
		room       budget.Microcents // largest excess
	}{
		"both":             {above: []budget.Setting{day}, own: []budget.Setting{day}},
		"the own, flat":    {own: []budget.Setting{day}, limit: "acme", room: 40},
		"above, flat":      {above: []budget.Setting{day}, limit: "acme/search", room: 30},
		"the own, epoch":   {above: []budget.Setting{hour}, own: []budget.Setting{day}, limit: "acme", room: 50},
		"above, longer":    {above: []budget.Setting{day}, own: []budget.Setting{rolling(budget.Last7Days, 0)}, limit: "acme/search", room: 30},
		"above, overdraft": {above: []budget.Setting{day}, own: []budget.Setting{budget.Overdraft(5)}, limit: "acme/search", room: 35},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, now := newAt(t, "2026-03-31T22:30")
			e.mustEnsure(t, "acme", 70, c.above...)
			e.mustEnsure(t, "acme/search", 60, c.own...)
			first, second := e.mustHold(t, "acme/search", 10, 0), e.mustHold(t, "acme/search", 10, 0)
			now.Store(at("2026-04-01T23:00"))
			e.mustHold(t, "acme/search", 10, 0)
			if c.limit == "" {
				e.commit(t, first, excess)
				e.commit(t, second, 11)
				e.expect(t, "acme", "", terms{70, 60, 10, 0, 0})
				e.expect(t, "acme/search", "", terms{60, 50, 10, 0, 0})
				return
			}
			res := must[budget.Settlement](t)(e.Commit(t.Context(), first, 10+c.room+1))
			if res.Outcome != budget.Overrun || res.Level != c.limit {
				t.Errorf("%+v, want an overrun of %q", res, c.limit)
			}
			res = must[budget.Settlement](t)(e.CommitAvailable(t.Context(), first, excess))
			if res.Outcome != budget.Committed || res.Actual != 10+c.room || res.Shortfall != excess-res.Actual {
				t.Errorf("%+v, want an excess of %d committed", res, c.room)
			}
			for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
				if err := e.accounts.find(tenant).checkEpochs(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestHoldsFromBeforeTheWindow has holds of an account that had no window when they were made.
func TestHoldsFromBeforeTheWindow(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T00:30")
	e.mustEnsure(t, "acme", 100)
	old := e.mustHold(t, "acme", 10, 0)
	e.spend(t, "acme", 20)
	now.Add(20 * time.Hour.Milliseconds())
	recent := e.mustHold(t, "acme", 30, 0)
	now.Store(at("2026-04-01T01:30"))
	e.mustConfigure(t, "acme", rolling(budget.Last24Hours, 0))
	e.expect(t, "acme", "", terms{100, 40, 40, 20, 0})
	e.commit(t, old, 11)
	e.commit(t, recent, 31)
	e.expect(t, "acme", "", terms{100, 49, 0, 51, 0})
	now.Store(at("2026-04-01T21:00")) // 20:00 to 21:00 has left
	e.expect(t, "acme", "", terms{100, 80, 0, 20, 0})
	if got := e.renews(t, "acme"); int64(got) != at("2026-04-02T02:00") {
		t.Errorf("it renews at %s, want 24 hours after the part in which the window was set", got)
	}
}

// TestRollingChanges changes a window between rolling ones, those of the calendar, and none.
func TestRollingChanges(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	expect := func(step string, window budget.Window, epoch budget.Epoch, renews string, want terms) {
		t.Helper()
		if b := e.mustBalance(t, "acme"); b.Settings != (budget.Settings{Window: window}) || b.Epoch != epoch {
			t.Errorf("%s: window %+v, epoch %+v; want %+v, %+v", step, b.Settings.Window, b.Epoch, window, epoch)
		}
		var at budget.Instant
		if err := at.UnmarshalText([]byte(renews)); err != nil {
			t.Fatal(err)
		}
		if got := e.renews(t, "acme"); got != at {
			t.Errorf("%s: it renews at %s, want %s", step, got, at)
		}
		e.expect(t, "acme", "", want)
		if err := e.accounts.find("acme").checkEpochs(); err != nil {
			t.Errorf("%s: %v", step, err)
		}
	}
	instant := func(text string) budget.Instant { return budget.Instant(at(text)) }
	hour := budget.Window{Period: budget.Hour, Zone: "UTC", Amount: 100, Carry: budget.CarryAll}
	e.mustEnsure(t, "acme", 100, budget.InWindow(hour))
	old := e.mustHold(t, "acme", 10, 0)
	e.mustHold(t, "acme", 5, 0)
	now.Store(at("2026-03-31T23:30"))
	e.spend(t, "acme", 20)
	expect("by the hour", hour, budget.Epoch{Start: instant("2026-03-31T23:00"), End: instant("2026-04-01T00:00")}, "2026-04-01T00:00:00Z", terms{185, 165, 0, 20, 15})

	day := budget.Window{Period: budget.Last24Hours, Amount: 60}
	e.mustConfigure(t, "acme", budget.InWindow(day))
	expect("rolling, with less", day, budget.Epoch{}, "2026-04-02T00:00:00Z", terms{145, 125, 0, 20, 15})
	e.expectNoEpoch(t, "2026-03-31T23:30")
	e.expect(t, "acme", "2026-03-31T22:30", terms{15, 0, 15, 0, 0})
	now.Store(at("2026-04-01T00:30"))
	e.expectNoEpoch(t, "2026-04-01T00:30")
	e.commit(t, old, 2) // the ended epoch keeps the surplus
	e.expect(t, "acme", "2026-03-31T22:30", terms{15, 8, 5, 2, 0})
	e.spend(t, "acme", 30)
	e.mustConfigure(t, "acme", rolling(budget.Last24Hours, 0))
	e.mustConfigure(t, "acme", budget.Overdraft(0))
	expect("repeated", day, budget.Epoch{}, "2026-04-02T00:00:00Z", terms{145, 95, 0, 50, 5})

	week := budget.Window{Period: budget.Last7Days, Amount: 80}
	e.mustConfigure(t, "acme", budget.InWindow(week))
	expect("for a week, with more", week, budget.Epoch{}, "2026-04-08T06:00:00Z", terms{165, 115, 0, 50, 5})
	week.Amount = 70
	e.mustConfigure(t, "acme", budget.InWindow(week))
	expect("lowered", week, budget.Epoch{}, "2026-04-08T06:00:00Z", terms{155, 105, 0, 50, 5})

	hour.Amount = 50
	e.mustConfigure(t, "acme", budget.InWindow(hour))
	expect("by the hour again", hour, budget.Epoch{Start: instant("2026-03-31T23:00"), End: instant("2026-04-01T01:00")}, "2026-04-01T01:00:00Z", terms{155, 105, 0, 50, 5})
	now.Store(at("2026-04-01T01:00"))
	expect("in the next hour", hour, budget.Epoch{Start: instant("2026-04-01T01:00"), End: instant("2026-04-01T02:00")}, "2026-04-01T02:00:00Z", terms{155, 155, 0, 0, 5})
	e.expect(t, "acme", "2026-04-01T00:59", terms{50, 0, 0, 50, 0})

	day.Amount = 50
	e.mustConfigure(t, "acme", budget.InWindow(day))
	e.spend(t, "acme", 7)
	e.mustConfigure(t, "acme", budget.InWindow(budget.Window{}))
	now.Store(at("2026-04-09T00:00"))
	expect("removed", budget.Window{}, budget.Epoch{Start: instant("2026-04-01T01:00")}, "", terms{155, 148, 0, 7, 5})

	e.mustEnsure(t, "globex", 10, rolling(budget.Last30Days, 10))
	e.mustConfigure(t, "globex", budget.InWindow(budget.Window{}))
	if a := e.accounts.find("globex"); a.managed != nil {
		t.Error("without its window, it is still managed")
	}
}

// TestDebtOfAnEndedEpoch has an excess in a kept ended epoch be paid by an account with a rolling
// window, in whose ring it doesn't count.
func TestDebtOfAnEndedEpoch(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme", 100, budget.Overdraft(50), budget.InWindow(budget.Window{Period: budget.Hour}))
	first, second := e.mustHold(t, "acme", 50, 0), e.mustHold(t, "acme", 40, 0)
	now.Store(at("2026-03-31T23:30"))
	e.mustConfigure(t, "acme", rolling(budget.Last24Hours, 0))
	e.commit(t, first, 90)
	e.expect(t, "acme", "2026-03-31T22:30", terms{130, 0, 40, 90, 0})
	e.expect(t, "acme", "", terms{70, 70, 0, 0, 40})
	now.Store(at("2026-04-02T00:00")) // no window of 24 hours contains the second hold
	if res := must[budget.Settlement](t)(e.Commit(t.Context(), second, 61)); res.Outcome != budget.Overrun {
		t.Errorf("%+v, want an overrun", res)
	}
	e.commit(t, second, 60)
	e.expect(t, "acme", "2026-03-31T22:30", terms{150, 0, 0, 150, 0})
	e.expect(t, "acme", "", terms{50, 50, 0, 0, 0})
	if err := e.accounts.find("acme").checkEpochs(); err != nil {
		t.Error(err)
	}
}

// TestRollingAmounts sets amounts whose differences need all 64 bits, and returns from there.
func TestRollingAmounts(t *testing.T) {
	t.Parallel()
	const largest = budget.MaxMicrocents
	day := func(amount budget.Microcents) budget.Setting { return rolling(budget.Last24Hours, amount) }
	e, _ := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "umbrella", 100)
	e.spend(t, "umbrella", 70)
	e.mustConfigure(t, "umbrella", day(60))
	e.expect(t, "umbrella", "", terms{60, -10, 0, 70, 0})

	e.mustEnsure(t, "acme", largest)
	must[budget.Adjustment](t)(e.Withdraw(t.Context(), "acme", 3))
	e.mustConfigure(t, "acme", day(largest))
	e.mustHold(t, "acme", largest, 0)
	e.mustConfigure(t, "acme", day(1))
	e.expect(t, "acme", "", terms{1, 1 - largest, largest, 0, 0})
	if res := must[budget.Adjustment](t)(e.Withdraw(t.Context(), "acme", 1)); res.Outcome != budget.Insufficient {
		t.Errorf("withdrawn from a debt: %+v", res)
	}
	e.mustConfigure(t, "acme", day(largest))
	e.expect(t, "acme", "", terms{largest, 0, largest, 0, 0})
	if _, err := e.Grant(t.Context(), "acme", 1); !errors.Is(err, budget.ErrOverflow) {
		t.Errorf("granted more than fits: %v", err)
	}

	// Withdrawals and then an amount that is lowered leave less than nothing granted.
	e.mustEnsure(t, "globex", largest, day(0))
	must[budget.Adjustment](t)(e.Withdraw(t.Context(), "globex", largest))
	e.mustConfigure(t, "globex", day(1))
	e.expect(t, "globex", "", terms{1 - largest, 1 - largest, 0, 0, 0})
	e.mustConfigure(t, "globex", budget.InWindow(budget.Window{}))
	e.expect(t, "globex", "", terms{1 - largest, 1 - largest, 0, 0, 0})
	e.mustConfigure(t, "globex", day(0))
	if b := e.mustBalance(t, "globex"); b.Settings.Window.Amount != 0 || b.Remaining != 1-largest {
		t.Errorf("%+v, want an amount of 0", b)
	}
	e.mustConfigure(t, "globex", budget.InWindow(budget.Window{}))
	e.mustConfigure(t, "globex", day(largest))
	e.expect(t, "globex", "", terms{largest, largest, 0, 0, 0})

	// Granted 10 more than the amount, so that the largest amount doesn't fit.
	e.mustEnsure(t, "initech", 100, day(0), budget.Overdraft(5))
	must[budget.Adjustment](t)(e.Grant(t.Context(), "initech", 10))
	for _, amount := range []budget.Microcents{largest, largest - 14} {
		if res, err := e.Configure(t.Context(), "initech", day(amount)); !errors.Is(err, budget.ErrOverflow) || res != (budget.Configuration{}) {
			t.Errorf("an amount of %d: %+v, %v", amount, res, err)
		}
	}
	e.expect(t, "initech", "", terms{110, 110, 0, 0, 0})
	e.mustConfigure(t, "initech", day(largest-15))
	e.expect(t, "initech", "", terms{largest - 5, largest - 5, 0, 0, 0})
}

// TestThresholdsOfRollingWindow crosses a threshold again after parts have left, and one because the
// amount is lowered.
func TestThresholdsOfRollingWindow(t *testing.T) {
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
	e.mustEnsure(t, "acme", 100, budget.AtThresholds(50), rolling(budget.Last24Hours, 0))
	e.spend(t, "acme", 10)
	old := e.mustHold(t, "acme", 60, 0)
	now.Store(at("2026-03-31T23:30"))
	e.spend(t, "acme", 25)
	expect("35 of 100")
	now.Store(at("2026-04-01T23:00"))
	e.commit(t, old, 60)
	expect("25 of 100, and 60 outside of the window")
	e.spend(t, "acme", 25)
	expect("50 of 100", budget.Crossing{Tenant: "acme", Percent: 50, Committed: 50, Granted: 100})
	now.Store(at("2026-04-02T00:00"))
	e.spend(t, "acme", 20)
	expect("45 of 100")
	e.mustConfigure(t, "acme", rolling(budget.Last24Hours, 90))
	expect("45 of 90", budget.Crossing{Tenant: "acme", Percent: 50, Committed: 45, Granted: 90})
	now.Store(at("2026-04-03T00:00"))
	e.spend(t, "acme", 30)
	expect("50 of 90, with one operation", budget.Crossing{Tenant: "acme", Percent: 50, Committed: 50, Granted: 90})
}

// TestCreatedAgainWithoutRing deletes an account that has spent.
func TestCreatedAgainWithoutRing(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	for range 2 {
		e.mustEnsure(t, "acme", 100, rolling(budget.Last24Hours, 100))
		e.spend(t, "acme", 40)
		now.Add(time.Hour.Milliseconds())
		e.expect(t, "acme", "", terms{100, 60, 0, 40, 0})
		if b := must[budget.Balance](t)(e.DeleteTenant(t.Context(), "acme")); b.Outcome != budget.Deleted || b.Committed != 40 {
			t.Errorf("%+v", b)
		}
	}
	if _, err := e.EnsureTenant(t.Context(), "acme", 100, rolling(budget.Last24Hours, 99)); !errors.Is(err, budget.ErrInvalidSetting) {
		t.Errorf("an amount other than the budget: %v", err)
	}
}

// TestHoldAtTheTimeOfTheSlide has the family's time pass into the next part between the slide and
// the hold of a reserve, which is possible if the root doesn't exist.
func TestHoldAtTheTimeOfTheSlide(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme/search", 100, rolling(budget.Last24Hours, 0))
	a := e.accounts.find("acme/search")
	var p path
	p.openExisting(a, false)
	before := a.time()
	a.advance(at("2026-03-31T23:00"))
	p.roll(before)
	slot, generation, ok := p.hold(10, before, 0)
	if !ok {
		t.Fatal("the root must be locked")
	}
	p.close()
	now.Store(at("2026-03-31T23:00"))
	e.commit(t, a.id(slot, generation), 10)
	if got := e.renews(t, "acme/search"); int64(got) != at("2026-04-01T23:00") {
		t.Errorf("it renews at %s, want 24 hours after the part of the hold", got)
	}
}

// spending is what callers have committed for a tenant.
type spending struct {
	mu    sync.Mutex
	total budget.Microcents
	since map[int64]budget.Microcents // by the part in which the hold was made
}

func (s *spending) add(part int64, amount budget.Microcents) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total += amount
	s.since[part] += amount
}

// TestSlidesAtOnce has callers spend at three levels, of which the first has a rolling window, the
// second one of the calendar, and the third none, in turn, while the clock passes the boundaries of
// parts and epochs, and holds leave the window. Others audit all levels. In the end the ring of the
// first has what was committed for holds of each part, the second what it was granted less all that
// was spent, and so the third.
func TestSlidesAtOnce(t *testing.T) {
	t.Parallel()
	const amount, flat, overdraft = 8000, 1_000_000, 100
	windows := [3]budget.Window{
		{Period: budget.Last24Hours, Amount: amount}, {Period: budget.Day, Zone: "Europe/Berlin", Carry: budget.CarryAll, Amount: amount}, {},
	}
	for order := range windows {
		t.Run(fmt.Sprintf("rolling at level %d", order), func(t *testing.T) {
			t.Parallel()
			tenants := [3]budget.TenantID{"acme", "acme/search", "acme/search/key-7"}
			rolls, byDay, without := tenants[order], tenants[(order+1)%3], tenants[(order+2)%3]
			e, now := newAt(t, "2026-03-27T22:40")
			began := time.UnixMilli(now.Load())
			e.mustEnsure(t, rolls, amount, budget.InWindow(windows[0]), budget.Overdraft(overdraft))
			e.mustEnsure(t, byDay, amount, budget.InWindow(windows[1]), budget.Overdraft(overdraft))
			e.mustEnsure(t, without, flat)
			spent := spending{since: make(map[int64]budget.Microcents)}
			var outside atomic.Int64 // commits after the part of their hold has left the window
			var callers, observers sync.WaitGroup
			for caller := range 4 {
				callers.Go(func() {
					random := rand.New(rand.NewPCG(uint64(caller), 12))
					if err := e.slideCycles(tenants[2], random, now, &spent, &outside); err != nil {
						t.Error(err)
					}
				})
			}
			done := make(chan struct{})
			observers.Go(func() {
				for {
					for _, tenant := range tenants {
						if err := e.accounts.find(tenant).checkEpochs(); err != nil {
							t.Error(err)
							return
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

			e.mustBalance(t, rolls)
			r := e.accounts.find(rolls).managed.epochs.ring
			sum := budget.Microcents(0)
			for i, got := range r.parts {
				part := r.newest - int64(len(r.parts)-1-i)
				if sum += got; got != spent.since[part] {
					t.Errorf("part %d has %d, want %d", part, got, spent.since[part])
				}
			}
			e.expect(t, rolls, "", terms{amount, amount - sum, 0, sum, 0})
			if sum == 0 || sum == spent.total || outside.Load() == 0 {
				t.Errorf("%d of %d were committed in the window, and %d holds left it; want some of each", sum, spent.total, outside.Load())
			}
			e.expect(t, without, "", terms{flat, flat - spent.total, 0, spent.total, 0})
			boundaries, err := windows[1].Boundaries(began, 1000)
			if err != nil {
				t.Fatal(err)
			}
			granted := budget.Microcents(amount)
			for i := 0; boundaries[i].UnixMilli() <= now.Load(); i++ {
				granted += amount
			}
			if b := e.mustBalance(t, byDay); b.Remaining+spent.total != granted || b.Reserved+b.Ended != 0 {
				t.Errorf("%q was granted %d, of which %d were committed: %+v", byDay, granted, spent.total, b)
			}
			for _, tenant := range tenants {
				if err := e.accounts.find(tenant).checkEpochs(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// slideCycles makes holds, lets time pass, and settles them after some more holds. Most are of the
// same hours, and some older than the window.
func (e *Engine) slideCycles(tenant budget.TenantID, random *rand.Rand, now *atomic.Int64, spent *spending, outside *atomic.Int64) error {
	const cycles, open = 1500, 6
	ctx := context.Background()
	var holds []budget.ReservationID
	for cycle := range cycles + open {
		if cycle < cycles {
			res, err := e.TryReserve(ctx, tenant, budget.Microcents(1+random.IntN(60)))
			if err != nil {
				return err
			}
			if res.Outcome == budget.Reserved {
				holds = append(holds, res.ID)
			}
			if random.IntN(3) == 0 {
				now.Add(random.Int64N(60 * 60_000))
			}
			if cycle < cycles-100 && len(holds) > 0 && random.IntN(100) == 0 {
				now.Add((25 + random.Int64N(10)) * 60 * 60_000)
			}
		}
		if len(holds) == 0 || cycle < cycles && len(holds) < open && random.IntN(2) == 0 {
			continue
		}
		i := random.IntN(len(holds))
		id := holds[i]
		holds = slices.Delete(holds, i, i+1)
		fate, err := e.Lookup(ctx, id)
		if err != nil || fate.Outcome != budget.Reserved {
			return fmt.Errorf("%+v, %w", fate, err)
		}
		var res budget.Settlement
		switch actual := budget.Microcents(random.IntN(120)); random.IntN(4) {
		case 0:
			res, err = e.CommitAvailable(ctx, id, 3*actual)
		case 1:
			res, err = e.Release(ctx, id)
		default:
			if res, err = e.Commit(ctx, id, actual); res.Outcome == budget.Overrun {
				res, err = e.CommitAvailable(ctx, id, actual)
			}
		}
		if err != nil || res.Outcome != budget.Committed && res.Outcome != budget.Released {
			return fmt.Errorf("%+v, %w", res, err)
		}
		part := fate.At.UnixMilli() / time.Hour.Milliseconds()
		if spent.add(part, res.Actual); now.Load()/time.Hour.Milliseconds()-part > 24 {
			outside.Add(1)
		}
	}
	return nil
}
