package budgettest

import (
	"fmt"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
)

// openDayMonth creates a tenant with a limit by the day and one by the month.
func (x *fixture) openDayMonth(tenant budget.TenantID, base, day, month budget.Microcents, settings ...budget.Setting) {
	x.t.Helper()
	x.open(tenant, base, append(settings, limits(per(budget.Day, day), per(budget.Month, month))...)...)
}

// allLimits checks the terms of the base limit, and those of the limits by day and month.
func (x *fixture) allLimits(tenant budget.TenantID, base, day, month figures) {
	x.t.Helper()
	x.terms(tenant, base)
	x.limitTerms(tenant, budget.Day, day)
	x.limitTerms(tenant, budget.Month, month)
}

func limitSettles(x *fixture) {
	x.openDayMonth("acme", 1000, 100, 500)
	first, second, third := x.holdIn("acme", 20, 80, budget.Day), x.holdIn("acme", 30, 50, budget.Day), x.holdIn("acme", 10, 40, budget.Day)
	x.allLimits("acme", figures{1000, 940, 60}, figures{100, 40, 60}, figures{500, 440, 60})
	expect(x, inLimit(committed(48, 12), budget.Day))(x.engine.Commit(x.ctx, first, 12))
	x.allLimits("acme", figures{1000, 948, 40, 12}, figures{100, 48, 40, 12}, figures{500, 448, 40, 12})
	expect(x, inLimit(committed(38, 40), budget.Day))(x.engine.Commit(x.ctx, second, 40))
	x.allLimits("acme", figures{1000, 938, 10, 52}, figures{100, 38, 10, 52}, figures{500, 438, 10, 52})
	expect(x, inLimit(released(48, 10), budget.Day))(x.engine.Release(x.ctx, third))
	x.allLimits("acme", figures{1000, 948, 0, 52}, figures{100, 48, 0, 52}, figures{500, 448, 0, 52})
	expect(x, inLimit(committed(48, 0), budget.Day))(x.engine.Commit(x.ctx, x.holdIn("acme", 48, 0, budget.Day), 0))
	expect(x, inLimit(committed(40, 8), budget.Day))(x.engine.CommitAvailable(x.ctx, x.holdIn("acme", 48, 0, budget.Day), 8))
	x.allLimits("acme", figures{1000, 940, 0, 60}, figures{100, 40, 0, 60}, figures{500, 440, 0, 60})
}

func limitExpires(x *fixture) {
	calls := map[string]func(tenant budget.TenantID) error{
		"reserve": func(tenant budget.TenantID) error {
			_, err := x.engine.TryReserve(x.ctx, tenant, 0)
			return err
		},
		"remaining": func(tenant budget.TenantID) error {
			_, err := x.engine.Remaining(x.ctx, tenant)
			return err
		},
		"balance of a limit": func(tenant budget.TenantID) error {
			_, err := x.engine.Balance(x.ctx, tenant, budget.OfLimit(budget.Month))
			return err
		},
		"limits": func(tenant budget.TenantID) error {
			_, err := x.engine.Limits(x.ctx, tenant)
			return err
		},
		"configure": func(tenant budget.TenantID) error {
			_, err := x.engine.Configure(x.ctx, tenant, budget.CapHolds(0))
			return err
		},
	}
	for what := range calls {
		tenant := budget.TenantID(what)
		x.openDayMonth(tenant, 1000, 100, 100)
		x.holdIn(tenant, 60, 40, budget.Day)
		x.holdIn(tenant, 30, 10, budget.Day, budget.WithHoldTTL(0))
	}
	x.advance(holdTTL)
	for what, call := range calls {
		tenant := budget.TenantID(what)
		if err := call(tenant); err != nil {
			x.t.Fatalf("%s: %v", what, err)
		}
		x.allLimits(tenant, figures{1000, 970, 30}, figures{100, 70, 30}, figures{100, 70, 30})
		x.holdIn(tenant, 70, 0, budget.Day)
	}
}

func limitExcess(x *fixture) {
	x.openDayMonth("acme", 1000, 100, 200)
	id := x.holdIn("acme", 10, 90, budget.Day)
	lacks := func(remaining, actual budget.Microcents, p budget.Period) {
		x.t.Helper()
		x.unchanged("acme", func() {
			expect(x, inLimit(overrun(remaining), p))(x.engine.Commit(x.ctx, id, actual))
			expect(x, inLimit(overrun(remaining), p))(x.engine.Commit(x.ctx, id, budget.MaxMicrocents))
		})
	}
	lacks(90, 101, budget.Day)
	x.spend("acme", 20)
	lacks(70, 81, budget.Day)
	x.configure("acme", budget.SetLimit(per(budget.Day, 400)))
	lacks(170, 181, budget.Month)
	expect(x, withdrawn(60))(x.engine.Withdraw(x.ctx, "acme", 910))
	lacks(60, 71, budget.NoPeriod)
	expect(x, committed(0, 70))(x.engine.Commit(x.ctx, id, 70))
	x.allLimits("acme", figures{90, 0, 0, 90}, figures{400, 310, 0, 90}, figures{200, 110, 0, 90})
}

// limitOverdraft has an overdraft of one limit at a time, and then of all.
func limitOverdraft(x *fixture) {
	overdrawn := func(l budget.Limit, overdraft budget.Microcents) budget.Limit {
		l.Overdraft = overdraft
		return l
	}
	x.openDayMonth("base", 100, 100, 100, budget.Overdraft(50))
	x.open("day", 100, limits(overdrawn(per(budget.Day, 100), 50), per(budget.Month, 100))...)
	x.open("month", 200, limits(per(budget.Day, 200), overdrawn(per(budget.Month, 100), 50))...)
	x.open("all", 100, append(limits(overdrawn(per(budget.Day, 100), 50), overdrawn(per(budget.Month, 100), 30)), budget.Overdraft(40))...)
	base, day := x.hold("base", 20, 80), x.hold("day", 20, 80)
	expect(x, inLimit(overrun(80), budget.Day))(x.engine.Commit(x.ctx, base, 101))
	expect(x, overrun(80))(x.engine.Commit(x.ctx, day, 101))
	expect(x, committed(0, 100))(x.engine.Commit(x.ctx, base, 100))
	expect(x, committed(0, 100))(x.engine.Commit(x.ctx, day, 100))

	month := x.holdIn("month", 20, 80, budget.Month)
	expect(x, byLimit(until(insufficient(80, 81), march(32)), budget.Month))(x.engine.TryReserve(x.ctx, "month", 81)) // never by an overdraft
	expect(x, inLimit(overrun(80), budget.Month))(x.engine.Commit(x.ctx, month, 151))
	expect(x, inLimit(committed(-50, 150), budget.Month))(x.engine.Commit(x.ctx, month, 150))
	x.allLimits("month", figures{200, 50, 0, 150}, figures{200, 50, 0, 150}, figures{100, -50, 0, 150})
	expect(x, byLimit(until(insufficient(0, 1), march(32)), budget.Month))(x.engine.TryReserve(x.ctx, "month", 1))
	expect(x, leftIn(0, budget.Month, march(32)))(x.engine.Remaining(x.ctx, "month"))

	all := x.hold("all", 20, 80)
	expect(x, inLimit(overrun(80), budget.Month))(x.engine.Commit(x.ctx, all, 131))
	expect(x, committed(-30, 130))(x.engine.Commit(x.ctx, all, 130))
	x.allLimits("all", figures{100, -30, 0, 130}, figures{100, -30, 0, 130}, figures{100, -30, 0, 130})
	x.at(march(2)) // the day pays its debt, and the month keeps it
	x.limit("all", budget.Day, march(2), march(3), figures{70, 70}, 0)
	x.limit("all", budget.Month, noon, march(32), figures{100, -30, 0, 130}, 0)
	x.limit("month", budget.Month, noon, march(32), figures{100, -50, 0, 150}, 0)
	x.at(march(32))
	x.limit("month", budget.Month, march(32), march(62), figures{50, 50}, 0)
	x.limitEnded("month", budget.Month, noon, march(32), figures{150, 0, 0, 150})
}

func limitAvailable(x *fixture) {
	x.openDayMonth("acme", 1000, 100, 200)
	expect(x, inLimit(short(0, 100, 900), budget.Day))(x.engine.CommitAvailable(x.ctx, x.holdIn("acme", 10, 90, budget.Day), 1000))
	x.allLimits("acme", figures{1000, 900, 0, 100}, figures{100, 0, 0, 100}, figures{200, 100, 0, 100})
	x.at(march(2))
	expect(x, inLimit(committed(80, 20), budget.Day))(x.engine.CommitAvailable(x.ctx, x.holdIn("acme", 30, 70, budget.Day), 20))
	x.configure("acme", budget.SetLimit(per(budget.Day, 1000)))
	expect(x, inLimit(short(0, 80, 1), budget.Month))(x.engine.CommitAvailable(x.ctx, x.holdIn("acme", 30, 50, budget.Month), 81))
	x.allLimits("acme", figures{1000, 800, 0, 200}, figures{1000, 900, 0, 100}, figures{200, 0, 0, 200})

	x.openDayMonth("base", 50, 100, 200)
	expect(x, short(0, 50, 5))(x.engine.CommitAvailable(x.ctx, x.hold("base", 10, 40), 55))
	x.allLimits("base", figures{50, 0, 0, 50}, figures{100, 50, 0, 50}, figures{200, 150, 0, 50})

	debt := per(budget.Day, 100) // beyond the overdraft that it had
	debt.Overdraft = 30
	x.open("debt", 1000, budget.SetLimit(debt))
	first, second := x.holdIn("debt", 10, 90, budget.Day), x.holdIn("debt", 20, 70, budget.Day)
	expect(x, inLimit(committed(-30, 110), budget.Day))(x.engine.Commit(x.ctx, first, 110))
	x.configure("debt", budget.SetLimit(per(budget.Day, 100)))
	expect(x, inLimit(overrun(-30), budget.Day))(x.engine.Commit(x.ctx, second, 21))
	expect(x, inLimit(short(-30, 20, 1), budget.Day))(x.engine.CommitAvailable(x.ctx, second, 21))
	x.limitTerms("debt", budget.Day, figures{100, -30, 0, 130})
}

func limitRepeated(x *fixture) {
	x.openDayMonth("acme", 1000, 100, 200)
	first, second := x.holdIn("acme", 40, 60, budget.Day), x.holdIn("acme", 30, 30, budget.Day)
	expect(x, inLimit(committed(45, 25), budget.Day))(x.engine.Commit(x.ctx, first, 25))
	expect(x, inLimit(released(75, 30), budget.Day))(x.engine.Release(x.ctx, second))
	x.unchanged("acme", func() {
		for range 2 {
			expect(x, missing(budget.Committed))(x.engine.Commit(x.ctx, first, 25))
			expect(x, missing(budget.Committed))(x.engine.CommitAvailable(x.ctx, first, 99))
			expect(x, missing(budget.Committed))(x.engine.Release(x.ctx, first))
			expect(x, missing(budget.Released))(x.engine.Commit(x.ctx, second, 1))
			expect(x, missing(budget.Released))(x.engine.Release(x.ctx, second))
			expect(x, budget.Settlement{Outcome: budget.InvalidAmount})(x.engine.Commit(x.ctx, second, -1))
			expect(x, insufficient(0, 0))(x.engine.TryReserve(x.ctx, "acme", 0))
		}
	})
	x.allLimits("acme", figures{1000, 975, 0, 25}, figures{100, 75, 0, 25}, figures{200, 175, 0, 25})
}

// limitRefusedBefore has limits that would refuse, too, and caps that count a hold once.
func limitRefusedBefore(x *fixture) {
	x.openDayMonth("acme", 1000, 50, 60, budget.CapHold(40), budget.CapHolds(2), budget.CapReserved(45))
	expect(x, cappedAt("", budget.HoldCap, 40))(x.engine.TryReserve(x.ctx, "acme", 51))
	first := x.holdIn("acme", 20, 30, budget.Day)
	expect(x, cappedAt("", budget.ReservedCap, 45))(x.engine.TryReserve(x.ctx, "acme", 31))
	expect(x, cappedAt("", budget.ReservedCap, 45))(x.engine.TryReserve(x.ctx, "acme", 26))
	second := x.holdIn("acme", 25, 5, budget.Day)
	x.configure("acme", budget.CapReserved(0))
	expect(x, cappedAt("", budget.HoldsCap, 2))(x.engine.TryReserve(x.ctx, "acme", 6))
	x.freeze("acme")
	expect(x, frozenAt(""))(x.engine.TryReserve(x.ctx, "acme", 6))
	expect(x, inLimit(committed(10, 15), budget.Day))(x.engine.Commit(x.ctx, first, 15))
	x.close("acme")
	expect(x, closedAt(""))(x.engine.TryReserve(x.ctx, "acme", 1000))
	expect(x, inLimit(released(35, 25), budget.Day))(x.engine.Release(x.ctx, second))
	x.allLimits("acme", figures{1000, 985, 0, 15}, figures{50, 35, 0, 15}, figures{60, 45, 0, 15})
	expect(x, budget.Reservation{Outcome: budget.MissingTenant})(x.engine.TryReserve(x.ctx, "ghost", 1))
}

func limitAdjusted(x *fixture) {
	x.openDayMonth("acme", 100, 100, 200)
	expect(x, granted(150))(x.engine.Grant(x.ctx, "acme", 50))
	x.allLimits("acme", figures{150, 150}, figures{100, 100}, figures{200, 200})
	x.holdIn("acme", 90, 10, budget.Day)
	expect(x, lacking(60, 61))(x.engine.Withdraw(x.ctx, "acme", 61))
	expect(x, withdrawn(0))(x.engine.Withdraw(x.ctx, "acme", 60))
	x.allLimits("acme", figures{90, 0, 90}, figures{100, 10, 90}, figures{200, 110, 90})
	expect(x, granted(budget.MaxMicrocents-90))(x.engine.Grant(x.ctx, "acme", budget.MaxMicrocents-90))
	if holds := x.holds("acme"); len(holds) != 1 || holds[0].Held != 90 {
		x.t.Fatalf("got the holds %+v, want one of 90", holds)
	}
	x.balance("acme", budget.MaxMicrocents, budget.MaxMicrocents-90, 90, 0)
}

func limitEdges(x *fixture) {
	const most = budget.MaxMicrocents
	for i, edge := range edges {
		day, month := per(budget.Day, edge), per(budget.Month, edge)
		month.Overdraft = most - edge
		tenant := budget.TenantID(fmt.Sprintf("edge-%d", i))
		x.open(tenant, most, limits(day, month)...)
		if edge < most {
			expect(x, byLimit(until(insufficient(edge, edge+1), march(2)), budget.Day))(x.engine.TryReserve(x.ctx, tenant, edge+1))
		}
		least := budget.Day
		if edge == most {
			least = budget.NoPeriod
		}
		id := x.holdIn(tenant, edge, 0, least)
		if edge < most {
			expect(x, inLimit(overrun(0), least))(x.engine.Commit(x.ctx, id, edge+1))
		}
		expect(x, inLimit(committed(1, edge-1), least))(x.engine.Commit(x.ctx, id, edge-1))
		x.allLimits(tenant, figures{most, most - edge + 1, 0, edge - 1}, figures{edge, 1, 0, edge - 1}, figures{edge, 1, 0, edge - 1})
		id = x.holdIn(tenant, 1, 0, least)
		x.configure(tenant, budget.RemoveLimit(budget.Day)) // the month's overdraft then covers all
		if edge < most {
			expect(x, inLimit(committed(edge-most, most-edge+1), budget.Month))(x.engine.Commit(x.ctx, id, most-edge+1))
			x.limitTerms(tenant, budget.Month, figures{edge, edge - most, 0, most})
		}
	}
}

// reachedIn checks the thresholds that a limit of acme has reached.
func (x *fixture) reachedIn(p budget.Period, percents ...int) {
	x.t.Helper()
	b, err := x.engine.Balance(x.ctx, "acme", budget.OfLimit(p))
	if err != nil || b.Crossed() != thresholds(percents...) || !slices.Equal(b.Crossed().Percents(), percents) {
		x.t.Fatalf("the limit by %s with %+v has reached %s%%, %v; want %d", p, b, b.Crossed(), err, percents)
	}
}
