package budgettest

import (
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// limitReadChecks are the checks of reading limits.
func limitReadChecks() []check {
	return []check{
		{name: "limits are listed in the order of their periods", run: limitsListed},
		{name: "the balance of a limit that a tenant doesn't have", run: limitAbsent},
		{name: "the epoch of a limit at a time", run: limitEpochs},
		{name: "limits are listed as of their present epochs", run: limitsListedRolled},
	}
}

// listed checks that Limits returns the balances of acme's limits by these periods.
func (x *fixture) listed(periods ...budget.Period) {
	x.t.Helper()
	const tenant = "acme"
	var want []budget.Balance
	for _, p := range append([]budget.Period{budget.NoPeriod}, periods...) {
		b, err := x.engine.Balance(x.ctx, tenant, budget.OfLimit(p))
		if err != nil {
			x.t.Fatal(err)
		}
		want = append(want, b)
	}
	list, err := x.engine.Limits(x.ctx, tenant)
	if err != nil || list.Outcome != budget.Found || !slices.Equal(list.Limits, want) {
		x.t.Fatalf("the limits of %q are %+v, %v; want %+v", tenant, list, err, want)
	}
}

func limitsListed(x *fixture) {
	x.open("acme", 100)
	x.listed()
	x.configure("acme", limits(per(budget.Last30Days, 10), per(budget.Day, 20))...)
	x.listed(budget.Day, budget.Last30Days)
	x.holdIn("acme", 3, 7, budget.Last30Days)
	x.configure("acme", budget.CapHold(50), budget.Overdraft(1), budget.AtThresholds(3), budget.SetLimit(per(budget.Week, 15)), budget.SetLimit(per(budget.Hour, 5)))
	x.freeze("acme")
	x.listed(budget.Hour, budget.Day, budget.Week, budget.Last30Days)
	x.limit("acme", budget.Week, noon, march(8), figures{15, 15}, 0) // without the settings of the tenant
	x.limit("acme", budget.Day, noon, march(2), figures{20, 17, 3}, 0)
	x.close("acme")
	x.listed(budget.Hour, budget.Day, budget.Week, budget.Last30Days)
	x.limitRolled("acme", budget.Last30Days, figures{10, 7, 3})
	x.balance("acme", 100, 97, 3, 0)
	if list, err := x.engine.Limits(x.ctx, "ghost"); err != nil || list.Outcome != budget.MissingTenant || len(list.Limits) > 0 {
		x.t.Fatalf("got %+v, %v; want no tenant", list, err)
	}
	for _, tenant := range invalidTenants {
		if list, err := x.engine.Limits(x.ctx, tenant); err == nil || list.Outcome != budget.Unknown || len(list.Limits) > 0 {
			x.t.Fatalf("the limits of %q: got %+v, %v; want an error", tenant, list, err)
		}
	}
}

func limitAbsent(x *fixture) {
	x.openIn("acme", 100, daily(100, 0), budget.SetLimit(per(budget.Day, 10)))
	x.openIn("none", 100, daily(100, 0))
	x.noLimit("acme", budget.Hour, budget.Week, budget.Month, budget.Last24Hours, budget.Last7Days, budget.Last30Days)
	x.noLimit("none", allPeriods...)
	refused[budget.Balance](x, budget.ErrNoLimit, "before ErrNoEpoch")(
		x.engine.Balance(x.ctx, "acme", budget.OfLimit(budget.Month), budget.AtEpoch(march(50))))
	for _, p := range append([]budget.Period{budget.NoPeriod}, allPeriods...) {
		expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, "ghost", budget.OfLimit(p)))
		expect(x, budget.Balance{Outcome: budget.MissingTenant})(x.engine.Balance(x.ctx, "ghost", budget.OfLimit(p), budget.AtEpoch(noon)))
	}
	base, err := x.engine.Balance(x.ctx, "acme", budget.OfLimit(budget.NoPeriod))
	expect(x, base)(x.engine.Balance(x.ctx, "acme"))
	expect(x, base)(x.engine.Balance(x.ctx, "acme", budget.OfLimit(budget.Day), budget.OfLimit(budget.NoPeriod))) // the last counts
	if err != nil || base.Granted != 100 || base.Limit != budget.NoPeriod {
		x.t.Fatalf("got %+v, %v; want the base limit", base, err)
	}
	refused[budget.Balance](x, budget.ErrInvalidSetting, "no period")(x.engine.Balance(x.ctx, "acme", budget.OfLimit(255)))
}

func limitEpochs(x *fixture) {
	x.openIn("acme", 1000, budget.Window{Period: budget.Month}, limits(per(budget.Hour, 10), per(budget.Day, 20))...)
	x.spend("acme", 5)
	x.at(hour(1))
	x.limit("acme", budget.Hour, hour(1), hour(2), figures{10, 10}, 0)
	x.spend("acme", 6)
	x.at(march(2))
	x.limit("acme", budget.Hour, march(2), march(2).Add(time.Hour), figures{10, 10}, 0)
	x.limitEnded("acme", budget.Hour, hour(1), hour(2), figures{10, 4, 0, 6})
	x.limitEnded("acme", budget.Hour, noon, hour(1), figures{10, 5, 0, 5})
	x.noEpochOf("acme", budget.Hour, noon.Add(-time.Millisecond), hour(2), march(2).Add(-time.Millisecond))
	x.limit("acme", budget.Day, march(2), march(3), figures{20, 20}, 0)
	x.limitEnded("acme", budget.Day, noon, march(2), figures{20, 9, 0, 11})
	x.current("acme", noon, march(32), figures{1000, 989, 0, 11}, 0)
}

// limitsListedRolled lists the limits as the first operation after a boundary.
func limitsListedRolled(x *fixture) {
	x.openIn("acme", 100, daily(100, 0), limits(per(budget.Hour, 10), per(budget.Day, 20), per(budget.Last24Hours, 30))...)
	x.spend("acme", 10)
	for _, c := range []struct {
		at   time.Time
		want []budget.Microcents // remaining
	}{{hour(1), []budget.Microcents{90, 10, 10, 20}}, {march(2), []budget.Microcents{100, 10, 20, 20}}, {hour(25), []budget.Microcents{100, 10, 20, 30}}} {
		x.at(c.at)
		list, err := x.engine.Limits(x.ctx, "acme")
		var got []budget.Microcents
		for _, b := range list.Limits {
			got = append(got, b.Remaining)
		}
		if err != nil || !slices.Equal(got, c.want) {
			x.t.Fatalf("at %s the limits have %v, %v; want %v", c.at, got, err, c.want)
		}
	}
}
