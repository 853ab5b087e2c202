package local

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

func limitOf(p budget.Period, amount budget.Microcents) budget.Setting {
	return budget.SetLimit(budget.Limit{Window: budget.Window{Period: p, Amount: amount}})
}

// expectLimit checks the terms of a limit, of the epoch that contains a time or of the current one.
func (e *Engine) expectLimit(t *testing.T, tenant budget.TenantID, p budget.Period, epoch string, want terms) {
	t.Helper()
	opts := []budget.BalanceOption{budget.OfLimit(p)}
	if epoch != "" {
		opts = append(opts, budget.AtEpoch(time.UnixMilli(at(epoch))))
	}
	b, err := e.Balance(t.Context(), tenant, opts...)
	got := terms{b.Granted, b.Remaining, b.Reserved, b.Committed, b.Ended}
	if err != nil || b.Outcome != budget.Found || b.Limit != p || !b.Conserved() || got != want {
		t.Errorf("%q by %s, epoch %q: %s %+v, %v; want %+v", tenant, p, epoch, b.Outcome, got, err, want)
	}
}

func expectEqual[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestDayRefuses spends the amounts of a day, of a month and of the base limit, each of which
// refuses by its name and leaves the others as they are.
func TestDayRefuses(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-29T22:30")
	e.mustEnsure(t, "acme", 260, limitOf(budget.Month, 240), limitOf(budget.Day, 100))
	reserve := func(cost budget.Microcents) budget.Reservation {
		t.Helper()
		return must[budget.Reservation](t)(e.TryReserve(t.Context(), "acme", cost))
	}
	refusal := func(p budget.Period, remaining, cost budget.Microcents, renews string) budget.Reservation {
		res := budget.Reservation{Outcome: budget.Insufficient, Remaining: remaining, Level: "acme", Limit: p, Required: cost}
		if renews != "" {
			res.Renews = budget.Instant(at(renews))
		}
		return res
	}
	expectEqual(t, reserve(101), refusal(budget.Day, 100, 101, "2026-03-30T00:00"))
	e.expectLimit(t, "acme", budget.Month, "", terms{240, 240, 0, 0, 0})
	e.expect(t, "acme", "", terms{260, 260, 0, 0, 0})

	res := reserve(100)
	expectEqual(t, res, budget.Reservation{Outcome: budget.Reserved, ID: res.ID, Level: "acme", Limit: budget.Day})
	found := budget.Remainder{Outcome: budget.Found, Level: "acme", Limit: budget.Day, Renews: budget.Instant(at("2026-03-30T00:00"))}
	expectEqual(t, must[budget.Remainder](t)(e.Remaining(t.Context(), "acme")), found)
	e.expectLimit(t, "acme", budget.Day, "", terms{100, 0, 100, 0, 0})
	e.expectLimit(t, "acme", budget.Month, "", terms{240, 140, 100, 0, 0})
	settled := budget.Settlement{Outcome: budget.Committed, Remaining: 0, Level: "acme", Limit: budget.Day, Actual: 100}
	expectEqual(t, must[budget.Settlement](t)(e.Commit(t.Context(), res.ID, 100)), settled)

	now.Store(at("2026-03-30T00:00"))
	e.spend(t, "acme", 100)
	now.Store(at("2026-03-31T12:00"))
	expectEqual(t, reserve(41), refusal(budget.Month, 40, 41, "2026-04-01T00:00"))
	e.expectLimit(t, "acme", budget.Day, "", terms{100, 100, 0, 0, 0})
	e.spend(t, "acme", 40)
	now.Store(at("2026-04-01T00:00"))
	expectEqual(t, reserve(21), refusal(budget.NoPeriod, 20, 21, ""))
	e.expectLimit(t, "acme", budget.Month, "", terms{240, 240, 0, 0, 0})
	e.expectLimit(t, "acme", budget.Month, "2026-03-31T00:00", terms{240, 0, 0, 240, 0})
	e.expectLimit(t, "acme", budget.Day, "2026-03-31T00:00", terms{100, 60, 0, 40, 0})
}

// TestChainOfLimits has equal amounts at all limits of two levels, and lowers them by one from
// the end of the chain: each is then the first that has the least.
func TestChainOfLimits(t *testing.T) {
	t.Parallel()
	e, _ := newAt(t, "2026-03-31T22:30")
	type spot struct {
		level  budget.TenantID
		period budget.Period
	}
	var chain []spot
	for _, level := range []budget.TenantID{"acme/search", "acme"} {
		e.mustEnsure(t, level, 100, limitOf(budget.Last7Days, 100), limitOf(budget.Day, 100), limitOf(budget.Hour, 100))
		for _, p := range []budget.Period{budget.NoPeriod, budget.Hour, budget.Day, budget.Last7Days} {
			chain = append(chain, spot{level, p})
		}
	}
	for i, amount := range []budget.Microcents{100, 99, 98, 97, 96, 95, 94, 93, 92} {
		want := chain[0]
		if i > 0 {
			want = chain[len(chain)-i]
			if want.period == budget.NoPeriod {
				must[budget.Adjustment](t)(e.Withdraw(t.Context(), want.level, 100-amount))
			} else {
				e.mustConfigure(t, want.level, budget.RemoveLimit(want.period))
				e.mustConfigure(t, want.level, limitOf(want.period, amount))
			}
		}
		expectEqual(t, must[budget.Remainder](t)(e.Remaining(t.Context(), "acme/search")).Remaining, amount)
		res := must[budget.Reservation](t)(e.TryReserve(t.Context(), "acme/search", amount+1))
		expectEqual(t, spot{res.Level, res.Limit}, want)
		res = must[budget.Reservation](t)(e.TryReserve(t.Context(), "acme/search", 10))
		expectEqual(t, spot{res.Level, res.Limit}, want)
		if settled := must[budget.Settlement](t)(e.Release(t.Context(), res.ID)); settled.Remaining != amount || settled.Level != want.level || settled.Limit != want.period {
			t.Errorf("%+v, want %+v with %d", settled, want, amount)
		}
	}
}

// TestLimitSetAgain removes and sets a limit of a root while holds are open, of the root and of
// tenants below it, with and without a millisecond between: it counts only those that were made
// after it was set last, however they end.
func TestLimitSetAgain(t *testing.T) {
	t.Parallel()
	tenants := []budget.TenantID{"acme", "acme/search", "acme/search/key-7"}
	ends := map[string]func(e *Engine, now func(ms int64), id budget.ReservationID) error{
		"commit": func(e *Engine, _ func(int64), id budget.ReservationID) error {
			return failure(e.Commit(t.Context(), id, 7))
		},
		"available": func(e *Engine, _ func(int64), id budget.ReservationID) error {
			return failure(e.CommitAvailable(t.Context(), id, 7))
		},
		"release": func(e *Engine, _ func(int64), id budget.ReservationID) error {
			return failure(e.Release(t.Context(), id))
		},
		"expiry": func(_ *Engine, now func(int64), _ budget.ReservationID) error { now(10_000); return nil },
	}
	for name, end := range ends {
		for _, pause := range []int64{0, 1} {
			t.Run(fmt.Sprintf("%s, %d ms", name, pause), func(t *testing.T) {
				t.Parallel()
				e, now := newAt(t, "2026-03-31T22:30")
				for _, tenant := range tenants {
					e.mustEnsure(t, tenant, 1000)
				}
				var ids []budget.ReservationID
				holdAll := func() {
					for _, tenant := range tenants {
						now.Add(pause)
						ids = append(ids, e.mustHold(t, tenant, 10, 5*time.Second))
					}
					now.Add(pause)
				}
				holdAll()
				e.mustConfigure(t, "acme", limitOf(budget.Day, 500))
				holdAll()
				e.expectLimit(t, "acme", budget.Day, "", terms{500, 470, 30, 0, 0})
				e.mustConfigure(t, "acme", budget.RemoveLimit(budget.Day))
				holdAll()
				e.mustConfigure(t, "acme", limitOf(budget.Day, 500))
				holdAll()
				e.expectLimit(t, "acme", budget.Day, "", terms{500, 470, 30, 0, 0})
				e.expect(t, "acme", "", terms{1000, 880, 120, 0, 0})
				e.expect(t, "acme/search", "", terms{1000, 920, 80, 0, 0})
				for i, id := range ids {
					if err := end(e, func(ms int64) { now.Store(at("2026-03-31T22:30") + ms) }, id); err != nil {
						t.Fatal(err)
					}
					if i == len(ids)-len(tenants)-1 && name != "expiry" {
						e.expectLimit(t, "acme", budget.Day, "", terms{500, 470, 30, 0, 0})
					}
				}
				spent := budget.Microcents(0)
				if name == "commit" || name == "available" {
					spent = 7
				}
				e.expectLimit(t, "acme", budget.Day, "", terms{500, 500 - 3*spent, 0, 3 * spent, 0})
				e.expect(t, "acme", "", terms{1000, 1000 - 12*spent, 0, 12 * spent, 0})
				e.expect(t, "acme/search", "", terms{1000, 1000 - 8*spent, 0, 8 * spent, 0})
			})
		}
	}
}

// TestResultsNameLimitsOfTheHold settles a hold that is older than the limit with the least.
func TestResultsNameLimitsOfTheHold(t *testing.T) {
	t.Parallel()
	e, _ := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme", 100, limitOf(budget.Month, 80))
	first, second := e.mustHold(t, "acme", 10, 0), e.mustHold(t, "acme", 10, 0)
	e.mustConfigure(t, "acme", limitOf(budget.Day, 5))
	over := budget.Settlement{Outcome: budget.Overrun, Remaining: 60, Level: "acme", Limit: budget.Month}
	expectEqual(t, must[budget.Settlement](t)(e.Commit(t.Context(), first, 71)), over)
	settled := budget.Settlement{Outcome: budget.Committed, Remaining: 50, Level: "acme", Limit: budget.Month, Actual: 20}
	expectEqual(t, must[budget.Settlement](t)(e.Commit(t.Context(), first, 20)), settled)
	settled = budget.Settlement{Outcome: budget.Released, Remaining: 60, Level: "acme", Limit: budget.Month, Returned: 10}
	expectEqual(t, must[budget.Settlement](t)(e.Release(t.Context(), second)), settled)
	e.expectLimit(t, "acme", budget.Day, "", terms{5, 5, 0, 0, 0})
	expectEqual(t, must[budget.Remainder](t)(e.Remaining(t.Context(), "acme")).Limit, budget.Day)
}

// TestLateInOneLimit settles holds of an hour that has ended, at both of two levels, and of a month
// that has not.
func TestLateInOneLimit(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	const key, acme = "acme/key-7", "acme"
	e.mustEnsure(t, acme, 1000, budget.SetLimit(budget.Limit{Window: budget.Window{Period: budget.Hour, Amount: 100, Carry: budget.CarryAll}}))
	e.mustEnsure(t, key, 1000, limitOf(budget.Hour, 100), limitOf(budget.Month, 500))
	first, second, third := e.mustHold(t, key, 60, 0), e.mustHold(t, key, 20, 0), e.mustHold(t, key, 10, 10*time.Minute+time.Hour)
	now.Store(at("2026-03-31T23:10"))
	e.expectLimit(t, key, budget.Hour, "", terms{100, 100, 0, 0, 90})
	e.expectLimit(t, key, budget.Hour, "2026-03-31T22:30", terms{100, 10, 90, 0, 0})
	e.expectLimit(t, key, budget.Month, "", terms{500, 410, 90, 0, 0})
	e.expectLimit(t, acme, budget.Hour, "", terms{110, 110, 0, 0, 90})

	over := budget.Settlement{Outcome: budget.Overrun, Remaining: 100, Level: key, Limit: budget.Hour}
	expectEqual(t, must[budget.Settlement](t)(e.Commit(t.Context(), first, 71)), over)
	settled := budget.Settlement{Outcome: budget.Committed, Remaining: 100, Level: key, Limit: budget.Hour, Actual: 65}
	expectEqual(t, must[budget.Settlement](t)(e.Commit(t.Context(), first, 65)), settled)
	e.expectLimit(t, key, budget.Hour, "2026-03-31T22:30", terms{100, 5, 30, 65, 0})
	e.expectLimit(t, key, budget.Month, "", terms{500, 405, 30, 65, 0})
	e.expectLimit(t, acme, budget.Hour, "", terms{105, 105, 0, 0, 30})

	settled = budget.Settlement{Outcome: budget.Committed, Remaining: 100, Level: key, Limit: budget.Hour, Actual: 25, Shortfall: 15}
	expectEqual(t, must[budget.Settlement](t)(e.CommitAvailable(t.Context(), second, 40)), settled)
	e.expectLimit(t, key, budget.Hour, "2026-03-31T22:30", terms{100, 0, 10, 90, 0})

	now.Store(at("2026-03-31T23:40"))
	if fate := must[budget.Fate](t)(e.Lookup(t.Context(), third)); fate.Outcome != budget.Expired {
		t.Errorf("%+v, want it expired", fate)
	}
	e.expectLimit(t, key, budget.Hour, "2026-03-31T22:30", terms{100, 10, 0, 90, 0})
	e.expectLimit(t, key, budget.Hour, "", terms{100, 100, 0, 0, 0})
	e.expectLimit(t, key, budget.Month, "", terms{500, 410, 0, 90, 0})
	e.expectLimit(t, acme, budget.Hour, "", terms{110, 110, 0, 0, 0})
	e.expectLimit(t, acme, budget.Hour, "2026-03-31T22:30", terms{90, 0, 0, 90, 0})
}

// TestRollingLimit has a rolling limit beside one of the calendar.
func TestRollingLimit(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme", 1000, limitOf(budget.Last24Hours, 100), limitOf(budget.Day, 90))
	e.spend(t, "acme", 70)
	id := e.mustHold(t, "acme", 10, 0)
	now.Store(at("2026-04-01T00:30"))
	res := must[budget.Reservation](t)(e.TryReserve(t.Context(), "acme", 21))
	expectEqual(t, res, budget.Reservation{
		Outcome: budget.Insufficient, Remaining: 20, Level: "acme", Limit: budget.Last24Hours, Required: 21,
		Renews: budget.Instant(at("2026-04-01T23:00")),
	})
	now.Store(at("2026-04-01T23:00"))
	settled := budget.Settlement{Outcome: budget.Overrun, Remaining: 90, Level: "acme", Limit: budget.Day}
	expectEqual(t, must[budget.Settlement](t)(e.Commit(t.Context(), id, 21)), settled)
	settled = budget.Settlement{Outcome: budget.Committed, Remaining: 90, Level: "acme", Limit: budget.Day, Actual: 20}
	expectEqual(t, must[budget.Settlement](t)(e.Commit(t.Context(), id, 20)), settled)
	e.expectLimit(t, "acme", budget.Last24Hours, "", terms{100, 100, 0, 0, 0})
	e.expectLimit(t, "acme", budget.Day, "2026-03-31T22:30", terms{90, 0, 0, 90, 0})
}

// TestOverdraftOfLimits commits excesses that the limit with the least remaining + overdraft pays.
func TestOverdraftOfLimits(t *testing.T) {
	t.Parallel()
	e, _ := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme", 100, budget.Overdraft(30),
		budget.SetLimit(budget.Limit{Window: budget.Window{Period: budget.Day, Amount: 20}, Overdraft: 50}), limitOf(budget.Month, 60))
	first, second := e.mustHold(t, "acme", 10, 0), e.mustHold(t, "acme", 10, 0)
	over := budget.Settlement{Outcome: budget.Overrun, Remaining: 40, Level: "acme", Limit: budget.Month}
	expectEqual(t, must[budget.Settlement](t)(e.Commit(t.Context(), first, 51)), over)
	settled := budget.Settlement{Outcome: budget.Committed, Remaining: -40, Level: "acme", Limit: budget.Day, Actual: 50}
	expectEqual(t, must[budget.Settlement](t)(e.Commit(t.Context(), first, 50)), settled)
	e.expectLimit(t, "acme", budget.Day, "", terms{20, -40, 10, 50, 0})
	e.mustConfigure(t, "acme", limitOf(budget.Month, 200))
	over = budget.Settlement{Outcome: budget.Overrun, Remaining: -40, Level: "acme", Limit: budget.Day}
	expectEqual(t, must[budget.Settlement](t)(e.Commit(t.Context(), second, 21)), over)
	if found := must[budget.Remainder](t)(e.Remaining(t.Context(), "acme")); found.Remaining != 0 || found.Limit != budget.Day {
		t.Errorf("%+v, want 0 by day", found)
	}
	e.mustConfigure(t, "acme", limitOf(budget.Day, 20))
	over.Remaining = -40
	expectEqual(t, must[budget.Settlement](t)(e.Commit(t.Context(), second, 11)), over)
	settled = budget.Settlement{Outcome: budget.Committed, Remaining: -40, Level: "acme", Limit: budget.Day, Actual: 10, Shortfall: 5}
	expectEqual(t, must[budget.Settlement](t)(e.CommitAvailable(t.Context(), second, 15)), settled)
}

// TestLimitChanges changes a limit of the calendar and a rolling one.
func TestLimitChanges(t *testing.T) {
	t.Parallel()
	e, now := newAt(t, "2026-03-31T22:30")
	e.mustEnsure(t, "acme", 1000, budget.RemoveLimit(budget.Hour), limitOf(budget.Day, 100))
	expectEqual(t, e.mustBalance(t, "acme").Settings.Limits, budget.Periods(0).With(budget.Day))
	e.mustHold(t, "acme", 40, 0)
	e.mustConfigure(t, "acme", limitOf(budget.Day, 150), limitOf(budget.Last7Days, 500))
	e.mustHold(t, "acme", 40, 0)
	e.expectLimit(t, "acme", budget.Day, "", terms{150, 70, 80, 0, 0})
	e.mustConfigure(t, "acme", limitOf(budget.Day, 50), limitOf(budget.Last7Days, 30))
	e.expectLimit(t, "acme", budget.Day, "", terms{150, 70, 80, 0, 0})
	e.expectLimit(t, "acme", budget.Last7Days, "", terms{30, -10, 40, 0, 0})
	now.Store(at("2026-04-01T00:00"))
	e.expectLimit(t, "acme", budget.Day, "", terms{50, 50, 0, 0, 80})
	e.mustConfigure(t, "acme", budget.SetLimit(budget.Limit{Window: budget.Window{Period: budget.Day, Amount: 50, Zone: "Asia/Tokyo"}, Overdraft: 7}))
	b := must[budget.Balance](t)(e.Balance(t.Context(), "acme", budget.OfLimit(budget.Day)))
	expectEqual(t, b.Epoch, budget.Epoch{Start: budget.Instant(at("2026-04-01T00:00")), End: budget.Instant(at("2026-04-01T15:00"))})
	expectEqual(t, b.Settings, budget.Settings{Overdraft: 7, Window: budget.Window{Period: budget.Day, Amount: 50, Zone: "Asia/Tokyo"}})
	now.Store(at("2026-04-01T15:00"))
	e.mustConfigure(t, "acme", limitOf(budget.Day, 60))
	e.expectLimit(t, "acme", budget.Day, "", terms{60, 60, 0, 0, 80})
	e.expectLimit(t, "acme", budget.Day, "2026-04-01T00:00", terms{50, 50, 0, 0, 0})
}

// TestLimitsThatDoNotFit has changes that must change nothing of all that they have.
func TestLimitsThatDoNotFit(t *testing.T) {
	t.Parallel()
	var events []budget.Crossing
	e, _ := newAt(t, "2026-03-31T22:30", WithOnThreshold(func(c budget.Crossing) { events = append(events, c) }))
	const all = budget.MaxMicrocents
	day := budget.Limit{Window: budget.Window{Period: budget.Day, Amount: all}}
	e.mustEnsure(t, "acme", 1000, budget.SetLimit(day), limitOf(budget.Hour, 1000))
	e.spend(t, "acme", 500)
	before := must[budget.LimitList](t)(e.Limits(t.Context(), "acme"))
	day.Window.Amount, day.Overdraft = 1, 1 // the amount counts from tomorrow
	for name, c := range map[string]struct {
		is       error
		text     string
		settings []budget.Setting
	}{
		"the overdraft of a limit": {budget.ErrOverflow, "limit by day", []budget.Setting{budget.SetLimit(day)}},
		"of the base limit":        {budget.ErrOverflow, "overdraft", []budget.Setting{budget.Overdraft(all)}},
		"too many":                 {budget.ErrTooManyLimits, "5 beside", []budget.Setting{limitOf(budget.Last24Hours, 1), limitOf(budget.Month, 1), limitOf(budget.Week, 1)}},
		"too many, and an overflow": {budget.ErrTooManyLimits, "5 beside", []budget.Setting{
			limitOf(budget.Last24Hours, 1), limitOf(budget.Month, 1), limitOf(budget.Week, 1), budget.Overdraft(all),
		}},
	} {
		c.settings = append(c.settings, budget.CapHolds(3), budget.AtThresholds(10), budget.RemoveLimit(budget.Last7Days),
			budget.SetLimit(budget.Limit{Window: budget.Window{Period: budget.Hour, Amount: 2000}, Thresholds: must[budget.Thresholds](t)(budget.NewThresholds(5))}))
		res, err := e.Configure(t.Context(), "acme", c.settings...)
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) || res != (budget.Configuration{}) {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
		after := must[budget.LimitList](t)(e.Limits(t.Context(), "acme"))
		if !slices.Equal(after.Limits, before.Limits) || len(events) > 0 {
			t.Errorf("%s: %+v, want %+v; events %v", name, after, before, events)
		}
	}
	if _, err := e.EnsureTenant(t.Context(), "new", 1, limitOf(budget.Hour, 1), limitOf(budget.Day, 1), limitOf(budget.Week, 1), limitOf(budget.Month, 1), limitOf(budget.Last24Hours, 1)); !errors.Is(err, budget.ErrTooManyLimits) {
		t.Errorf("five limits: %v", err)
	}
	full := must[budget.Configuration](t)(e.Configure(t.Context(), "acme", limitOf(budget.Last7Days, 1), limitOf(budget.Month, 1)))
	expectEqual(t, full.Settings.Limits.String(), "hour,day,month,7d")
	full = must[budget.Configuration](t)(e.Configure(t.Context(), "acme", budget.RemoveLimit(budget.Day), limitOf(budget.Week, 1)))
	expectEqual(t, full.Settings.Limits.String(), "hour,week,month,7d")
}

// TestLimitsOfStoppedTenants configures tenants that are missing, frozen and closed.
func TestLimitsOfStoppedTenants(t *testing.T) {
	t.Parallel()
	e, _ := newAt(t, "2026-03-31T22:30")
	configure := func() budget.Outcome {
		t.Helper()
		return must[budget.Configuration](t)(e.Configure(t.Context(), "acme", limitOf(budget.Day, 10))).Outcome
	}
	expectEqual(t, configure(), budget.MissingTenant)
	expectEqual(t, must[budget.LimitList](t)(e.Limits(t.Context(), "acme")).Outcome, budget.MissingTenant)
	e.mustEnsure(t, "acme/search", 1)
	expectEqual(t, configure(), budget.MissingTenant)
	expectEqual(t, must[budget.LimitList](t)(e.Limits(t.Context(), "acme")).Outcome, budget.MissingTenant)
	expectEqual(t, must[budget.Balance](t)(e.Balance(t.Context(), "acme", budget.OfLimit(budget.Day))), budget.Balance{Outcome: budget.MissingTenant})
	e.mustEnsure(t, "acme", 100)
	if _, err := e.Balance(t.Context(), "acme", budget.OfLimit(budget.Day), budget.AtEpoch(time.UnixMilli(1))); !errors.Is(err, budget.ErrNoLimit) {
		t.Errorf("without the limit: %v", err)
	}
	must[budget.Configuration](t)(e.FreezeTenant(t.Context(), "acme"))
	expectEqual(t, configure(), budget.Configured)
	res := must[budget.Reservation](t)(e.TryReserve(t.Context(), "acme", 11))
	expectEqual(t, res, budget.Reservation{Outcome: budget.Frozen, Level: "acme"})
	if _, err := e.Balance(t.Context(), "acme", budget.OfLimit(budget.Day), budget.AtEpoch(time.UnixMilli(1))); !errors.Is(err, budget.ErrNoEpoch) {
		t.Errorf("without the epoch: %v", err)
	}
	must[budget.Configuration](t)(e.CloseTenant(t.Context(), "acme"))
	if res := must[budget.Configuration](t)(e.Configure(t.Context(), "acme", budget.RemoveLimit(budget.Day))); res.Outcome != budget.Closed {
		t.Errorf("%+v, want it closed", res)
	}
	e.expectLimit(t, "acme", budget.Day, "", terms{10, 10, 0, 0, 0})
}
