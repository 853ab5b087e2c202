package budgettest

import (
	"fmt"
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// limitChecks are the checks of several limits a tenant. Those with levels use the tenants of
// levelChecks.
func limitChecks() []check {
	return slices.Concat([]check{
		{name: "a day and a month: the day refuses, and the month is untouched", run: limitDayRefuses},
		{name: "a reserve debits every limit or none", run: limitAllOrNone},
		{name: "of equal limits the first is named", run: limitEqual},
		{name: "a refusal and a read name the limit and when it renews", run: limitRenews},
		{name: "a settle moves every limit", run: limitSettles},
		{name: "a hold expires in every limit", ttl: holdTTL, run: limitExpires},
		{name: "an excess is covered by every limit, or moves nothing", run: limitExcess},
		{name: "the overdraft of a limit is its own", run: limitOverdraft},
		{name: "commit available charges the least amount of all limits", run: limitAvailable},
		{name: "a settle is repeated", run: limitRepeated},
		{name: "closed, frozen and caps before limits", run: limitRefusedBefore},
		{name: "grants and withdrawals concern the base limit", run: limitAdjusted},
		{name: "limits exact at every edge", run: limitEdges},
	}, limitSettingChecks(), limitHoldChecks(), limitEpochChecks(), limitReadChecks(), limitLevelChecks(), concurrentLimitChecks())
}

// per returns a limit by a period of UTC.
func per(p budget.Period, amount budget.Microcents) budget.Limit {
	return budget.Limit{Window: budget.Window{Period: p, Amount: amount}}
}

// limits returns the settings of some limits.
func limits(all ...budget.Limit) (settings []budget.Setting) {
	for _, l := range all {
		settings = append(settings, budget.SetLimit(l))
	}
	return settings
}

// byLimit returns the result with a limit.
func byLimit(res budget.Reservation, p budget.Period) budget.Reservation {
	res.Limit = p
	return res
}

// inLimit returns the result with a limit.
func inLimit(res budget.Settlement, p budget.Period) budget.Settlement {
	res.Limit = p
	return res
}

// leftIn returns what Remaining must return if a limit has the least.
func leftIn(remaining budget.Microcents, p budget.Period, renews time.Time) budget.Remainder {
	r := leftUntil(remaining, renews)
	r.Limit = p
	return r
}

// holdIn is hold if a limit has the least.
func (x *fixture) holdIn(tenant budget.TenantID, cost, remaining budget.Microcents, p budget.Period, opts ...budget.ReserveOption) budget.ReservationID {
	x.t.Helper()
	res, err := x.engine.TryReserve(x.ctx, tenant, cost, opts...)
	id := res.ID
	res.ID = budget.ReservationID{}
	expect(x, budget.Reservation{Outcome: budget.Reserved, Remaining: remaining, Limit: p})(res, err)
	return id
}

// limit checks the current epoch of a limit; ended is the amount that holds of ended epochs
// reserve.
func (x *fixture) limit(tenant budget.TenantID, p budget.Period, start, end time.Time, f figures, ended budget.Microcents) {
	x.t.Helper()
	want := f.balance(start, end, x.limits[limitName{tenant, p}])
	want.Limit, want.Ended = p, ended
	expect(x, want)(x.engine.Balance(x.ctx, tenant, budget.OfLimit(p)))
	expect(x, want)(x.engine.Balance(x.ctx, tenant, budget.OfLimit(p), budget.AtEpoch(start)))
	expect(x, want)(x.engine.Balance(x.ctx, tenant, budget.AtEpoch(end.Add(-time.Millisecond)), budget.OfLimit(p)))
	x.noEpochOf(tenant, p, end)
	f.addUp(x)
}

// limitEnded checks an ended epoch of a limit.
func (x *fixture) limitEnded(tenant budget.TenantID, p budget.Period, start, end time.Time, f figures) {
	x.t.Helper()
	want := f.balance(start, end, x.limits[limitName{tenant, p}])
	want.Limit = p
	expect(x, want)(x.engine.Balance(x.ctx, tenant, budget.OfLimit(p), budget.AtEpoch(start)))
	expect(x, want)(x.engine.Balance(x.ctx, tenant, budget.OfLimit(p), budget.AtEpoch(end.Add(-time.Millisecond))))
	f.addUp(x)
}

// limitRolled checks a rolling limit, which has no epoch.
func (x *fixture) limitRolled(tenant budget.TenantID, p budget.Period, f figures) {
	x.t.Helper()
	want := f.balance(time.Time{}, time.Time{}, x.limits[limitName{tenant, p}])
	want.Limit = p
	expect(x, want)(x.engine.Balance(x.ctx, tenant, budget.OfLimit(p)))
	x.noEpochOf(tenant, p, x.clock.now())
	f.addUp(x)
}

// limitTerms checks the terms of a limit.
func (x *fixture) limitTerms(tenant budget.TenantID, p budget.Period, f figures) {
	x.t.Helper()
	b, err := x.engine.Balance(x.ctx, tenant, budget.OfLimit(p))
	if got := (figures{b.Granted, b.Remaining, b.Reserved, b.Committed}); err != nil || got != f || b.Limit != p {
		x.t.Fatalf("the limit of %q by %s has %+v, %v; want %v", tenant, p, b, err, f)
	}
	f.addUp(x)
}

func (f figures) addUp(x *fixture) {
	x.t.Helper()
	if f[1]+f[2]+f[3] != f[0] {
		x.t.Fatalf("the check expects %v, which doesn't add up", f)
	}
}

// noEpochOf checks that no epoch of a limit with these times is kept.
func (x *fixture) noEpochOf(tenant budget.TenantID, p budget.Period, times ...time.Time) {
	x.t.Helper()
	for _, at := range times {
		refused[budget.Balance](x, budget.ErrNoEpoch, "the epoch at "+at.String())(x.engine.Balance(x.ctx, tenant, budget.OfLimit(p), budget.AtEpoch(at)))
	}
}

// noLimit checks that a tenant has no limits by these periods.
func (x *fixture) noLimit(tenant budget.TenantID, periods ...budget.Period) {
	x.t.Helper()
	for _, p := range periods {
		refused[budget.Balance](x, budget.ErrNoLimit, "the limit by "+p.String())(x.engine.Balance(x.ctx, tenant, budget.OfLimit(p)))
		refused[budget.Balance](x, budget.ErrNoLimit, "an epoch of the limit by "+p.String())(x.engine.Balance(x.ctx, tenant, budget.OfLimit(p), budget.AtEpoch(noon)))
	}
}

// unchanged calls an operation, which must change no term of a tenant or of its limits.
func (x *fixture) unchanged(tenant budget.TenantID, call func()) {
	x.t.Helper()
	before, err := x.engine.Limits(x.ctx, tenant)
	if err != nil {
		x.t.Fatal(err)
	}
	call()
	after, err := x.engine.Limits(x.ctx, tenant)
	if err != nil || !slices.Equal(before.Limits, after.Limits) || before.Outcome != after.Outcome {
		x.t.Fatalf("%q has %+v, %v; want %+v as before", tenant, after, err, before)
	}
}

func limitDayRefuses(x *fixture) {
	x.open("acme", 1000, limits(per(budget.Month, 300), per(budget.Day, 20))...)
	id := x.holdIn("acme", 15, 5, budget.Day)
	refuse := func(remaining, cost budget.Microcents, p budget.Period, renews time.Time) {
		x.t.Helper()
		x.unchanged("acme", func() {
			expect(x, byLimit(until(insufficient(remaining, cost), renews), p))(x.engine.TryReserve(x.ctx, "acme", cost))
			expect(x, leftIn(remaining, p, renews))(x.engine.Remaining(x.ctx, "acme"))
		})
	}
	refuse(5, 6, budget.Day, march(2))
	x.balance("acme", 1000, 985, 15, 0)
	x.limit("acme", budget.Day, noon, march(2), figures{20, 5, 15}, 0)
	x.limit("acme", budget.Month, noon, march(32), figures{300, 285, 15}, 0)
	expect(x, inLimit(committed(7, 13), budget.Day))(x.engine.Commit(x.ctx, id, 13))
	refuse(7, 8, budget.Day, march(2))
	for day := 2; day <= 15; day++ {
		x.at(march(day))
		id := x.holdIn("acme", 20, 0, budget.Day)
		refuse(0, 1, budget.Day, march(day+1))
		expect(x, inLimit(committed(0, 20), budget.Day))(x.engine.Commit(x.ctx, id, 20))
	}
	x.at(march(16))
	x.limit("acme", budget.Month, noon, march(32), figures{300, 7, 0, 293}, 0)
	refuse(7, 8, budget.Month, march(32))
	x.holdIn("acme", 7, 0, budget.Month)
	refuse(0, 1, budget.Month, march(32))
	x.limit("acme", budget.Day, march(16), march(17), figures{20, 13, 7}, 0)
	x.at(march(32))
	x.balance("acme", 1000, 700, 7, 293)
	expect(x, withdrawn(19))(x.engine.Withdraw(x.ctx, "acme", 681))
	refuse(19, 20, budget.NoPeriod, time.Time{})
	x.limit("acme", budget.Day, march(32), march(33), figures{20, 20}, 7)
	x.limit("acme", budget.Month, march(32), march(62), figures{300, 300}, 7)
}

// allPeriods lists the periods in the order in which limits are checked and named.
var allPeriods = []budget.Period{budget.Hour, budget.Day, budget.Week, budget.Month, budget.Last24Hours, budget.Last7Days, budget.Last30Days}

// limitAllOrNone has limits by every four of the seven periods, one of which refuses.
func limitAllOrNone(x *fixture) {
	for i := range allPeriods {
		four := slices.Concat(allPeriods, allPeriods)[i : i+budget.MaxLimits]
		for j, least := range four {
			tenant := budget.TenantID(fmt.Sprintf("tenant-%d-%d", i, j))
			var settings []budget.Setting
			for k, p := range four {
				amount := budget.Microcents(100 + 10*k)
				if p == least {
					amount = 50
				}
				settings = append(settings, budget.SetLimit(per(p, amount)))
			}
			x.open(tenant, 1000, settings...)
			x.holdIn(tenant, 30, 20, least)
			res, err := x.engine.TryReserve(x.ctx, tenant, 21)
			res.Renews = 0
			expect(x, byLimit(insufficient(20, 21), least))(res, err)
			x.balance(tenant, 1000, 970, 30, 0)
			for k, p := range four {
				amount := budget.Microcents(100 + 10*k)
				if p == least {
					amount = 50
				}
				x.limitTerms(tenant, p, figures{amount, amount - 30, 30})
			}
		}
	}
	x.open("base", 25, limits(per(budget.Hour, 30), per(budget.Last30Days, 30))...)
	x.hold("base", 5, 20)
	expect(x, insufficient(20, 21))(x.engine.TryReserve(x.ctx, "base", 21))
	x.balance("base", 25, 20, 5, 0)
	x.limitTerms("base", budget.Hour, figures{30, 25, 5})
	x.limitTerms("base", budget.Last30Days, figures{30, 25, 5})
}

// limitEqual compares the base limit with each period, and each with those after it.
func limitEqual(x *fixture) {
	equal := func(tenant budget.TenantID, base budget.Microcents, want budget.Period, all ...budget.Limit) {
		x.t.Helper()
		slices.Reverse(all) // the order in which they are set doesn't matter
		x.open(tenant, base, limits(all...)...)
		id := x.holdIn(tenant, 10, 90, want)
		expect(x, inLimit(overrun(90), want))(x.engine.Commit(x.ctx, id, 101))
		res, err := x.engine.TryReserve(x.ctx, tenant, 91)
		res.Renews = 0
		expect(x, byLimit(insufficient(90, 91), want))(res, err)
		left, err := x.engine.Remaining(x.ctx, tenant)
		left.Renews = 0
		expect(x, leftIn(90, want, time.Time{}))(left, err)
		expect(x, inLimit(released(100, 10), want))(x.engine.Release(x.ctx, id))
		expect(x, inLimit(committed(95, 5), want))(x.engine.Commit(x.ctx, x.holdIn(tenant, 10, 90, want), 5))
		expect(x, inLimit(short(0, 95, 5), want))(x.engine.CommitAvailable(x.ctx, x.holdIn(tenant, 10, 85, want), 100))
	}
	for i, p := range allPeriods {
		equal(budget.TenantID("base-"+p.String()), 100, budget.NoPeriod, per(p, 100))
		for _, q := range allPeriods[i+1:] {
			equal(budget.TenantID(p.String()+"-"+q.String()), 1000, p, per(p, 100), per(q, 100))
		}
	}
	equal("all", 1000, budget.Day, per(budget.Hour, 101), per(budget.Day, 100), per(budget.Month, 100), per(budget.Last24Hours, 100))
	equal("base", 100, budget.NoPeriod, per(budget.Hour, 100), per(budget.Day, 100), per(budget.Month, 100), per(budget.Last24Hours, 100))
}

func limitRenews(x *fixture) {
	x.openIn("acme", 500, budget.Window{Period: budget.Week}, limits(per(budget.Hour, 100), per(budget.Month, 300), per(budget.Last24Hours, 250))...)
	refuse := func(remaining budget.Microcents, p budget.Period, renews time.Time) {
		x.t.Helper()
		expect(x, byLimit(until(insufficient(remaining, 1000), renews), p))(x.engine.TryReserve(x.ctx, "acme", 1000))
		expect(x, leftIn(remaining, p, renews))(x.engine.Remaining(x.ctx, "acme"))
	}
	spend := func(amount budget.Microcents) {
		x.t.Helper()
		x.spend("acme", amount)
	}
	refuse(100, budget.Hour, hour(1))
	spend(90)
	refuse(10, budget.Hour, hour(1))
	x.at(hour(1))
	refuse(100, budget.Hour, hour(2))
	spend(95)
	refuse(5, budget.Hour, hour(2))
	x.at(hour(2))
	refuse(65, budget.Last24Hours, hour(25)) // of 185, 90 leave
	x.holdIn("acme", 1, 64, budget.Last24Hours)
	x.at(hour(25))
	refuse(100, budget.Hour, hour(26))
	spend(100)
	x.at(hour(26))
	refuse(14, budget.Month, march(32))
	expect(x, withdrawn(4))(x.engine.Withdraw(x.ctx, "acme", 210))
	refuse(4, budget.NoPeriod, march(8))
	x.configure("acme", budget.InWindow(budget.Window{}))
	refuse(4, budget.NoPeriod, time.Time{})
	x.at(march(32))
	refuse(4, budget.NoPeriod, time.Time{})
}
