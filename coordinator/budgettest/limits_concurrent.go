package budgettest

import (
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// concurrentLimitChecks are the checks of limits with several callers.
func concurrentLimitChecks() []check {
	return []check{
		{name: "concurrent reserves spend a limit and no more", run: limitConcurrent},
		{name: "concurrent operations begin the epoch of a limit once", run: limitConcurrentEpochs},
		{name: "limits are of one instant", run: limitsConcurrentList},
		{name: "no reserve exceeds a limit once it is set", run: limitConcurrentSet},
		{name: "concurrent changes of limits keep each other", run: limitConcurrentChanges},
	}
}

// limitConcurrent has callers reserve and settle against limits, of which one has the least.
func limitConcurrent(x *fixture) {
	const cost, covered, each = 7, 200, 25 // 400 reserves of 7
	for _, least := range []budget.Period{budget.NoPeriod, budget.Day, budget.Month, budget.Last24Hours} {
		tenant := budget.TenantID("least-" + least.String())
		amount := func(p budget.Period) budget.Microcents {
			if p == least {
				return covered*cost + 3
			}
			return covered*cost + 100
		}
		x.open(tenant, amount(budget.NoPeriod),
			limits(per(budget.Day, amount(budget.Day)), per(budget.Month, amount(budget.Month)), per(budget.Last24Hours, amount(budget.Last24Hours)))...)
		var reserved atomic.Int64
		atOnce(callers, func(caller int) {
			for i := range each {
				res, err := x.engine.TryReserve(x.ctx, tenant, cost)
				switch {
				case x.failed("reserve", err):
				case res.Outcome == budget.Reserved:
					if (caller+i)%3 > 0 { // a release lets another caller reserve
						reserved.Add(1)
						continue
					}
					released, err := x.engine.Release(x.ctx, res.ID)
					if !x.failed("release", err) && released.Outcome != budget.Released {
						x.t.Errorf("got %+v, want released", released)
					}
				case res.Outcome != budget.Insufficient || res.Limit != least:
					x.t.Errorf("got %+v, want a refusal by %s", res, least)
				}
			}
		})
		held := cost * budget.Microcents(reserved.Load())
		if reserved.Load() > covered {
			x.t.Errorf("%d reserves of %d from a limit of %d", reserved.Load(), cost, covered*cost+3)
		}
		x.terms(tenant, figures{amount(budget.NoPeriod), amount(budget.NoPeriod) - held, held})
		for _, p := range []budget.Period{budget.Day, budget.Month, budget.Last24Hours} {
			x.limitTerms(tenant, p, figures{amount(p), amount(p) - held, held})
		}
	}
}

// limitConcurrentEpochs has all callers make the first operation after a boundary of two limits.
func limitConcurrentEpochs(x *fixture) {
	const cost = 3
	day := per(budget.Day, 100)
	day.Window.Carry = 50
	x.open("acme", 100_000, limits(per(budget.Hour, 90), day)...)
	remaining := budget.Microcents(100)
	for n := 2; n <= 8; n++ {
		x.at(march(n))
		want := 100 + min(remaining, 50)
		var reserved atomic.Int64
		atOnce(callers, func(caller int) {
			for range caller + 1 {
				res, err := x.engine.TryReserve(x.ctx, "acme", cost)
				if x.failed("reserve", err) {
					return
				}
				if res.Outcome == budget.Reserved {
					reserved.Add(1)
					_, err = x.engine.Commit(x.ctx, res.ID, cost)
					x.failed("commit", err)
				}
			}
		})
		spent := cost * budget.Microcents(reserved.Load())
		remaining = want - spent
		x.limit("acme", budget.Day, march(n), march(n+1), figures{want, remaining, 0, spent}, 0)
		x.limit("acme", budget.Hour, march(n), march(n).Add(time.Hour), figures{90, 90 - spent, 0, spent}, 0)
		if reserved.Load() != 30 {
			x.t.Errorf("%d reserves of %d succeeded, want 30", reserved.Load(), cost)
		}
	}
}

// limitsConcurrentList lists the limits while holds are made and settled: all limits have the same
// reserved and committed amounts.
func limitsConcurrentList(x *fixture) {
	x.openDayMonth("acme", 100_000, 100_000, 100_000)
	var done atomic.Bool
	atOnce(callers, func(caller int) {
		if caller == 0 {
			defer done.Store(true)
			for range 100 {
				list, err := x.engine.Limits(x.ctx, "acme")
				if x.failed("limits", err) {
					return
				}
				for _, b := range list.Limits {
					if base := list.Limits[0]; len(list.Limits) != 3 || b.Reserved != base.Reserved || b.Committed != base.Committed || !b.Conserved() {
						x.t.Errorf("the limits are of several instants: %+v", list)
						return
					}
				}
			}
			return
		}
		for i := 0; !done.Load() && i < 5000; i++ {
			res, err := x.engine.TryReserve(x.ctx, "acme", 2)
			if x.failed("reserve", err) || res.Outcome != budget.Reserved {
				return
			}
			_, err = x.engine.Commit(x.ctx, res.ID, budget.Microcents(i%2))
			x.failed("commit", err)
		}
	})
}

// limitConcurrentSet sets and removes a limit while callers reserve: a reserve that began after
// it was set must find it.
func limitConcurrentSet(x *fixture) {
	const amount = 40
	x.open("acme", 100_000)
	var set atomic.Bool
	var before, after atomic.Int64
	atOnce(callers, func(caller int) {
		if caller == 0 {
			for before.Load() < 100 && !x.t.Failed() {
				time.Sleep(10 * time.Microsecond)
			}
			res, err := x.engine.Configure(x.ctx, "acme", budget.SetLimit(per(budget.Day, amount)))
			if x.failed("configure", err) || res.Outcome != budget.Configured {
				x.t.Errorf("got %+v, want configured", res)
			}
			set.Store(true)
			return
		}
		for done := false; !done; {
			late := set.Load()
			res, err := x.engine.TryReserve(x.ctx, "acme", 1)
			switch {
			case x.failed("reserve", err):
				return
			case late && res.Outcome == budget.Reserved:
				if after.Add(1) > amount {
					x.t.Errorf("more reserves than a limit of %d after it was set", amount)
					return
				}
			case res.Outcome == budget.Reserved:
				before.Add(1)
				// The others could reserve all of the budget before the limit is set.
				_, err = x.engine.Release(x.ctx, res.ID)
				done = x.failed("release", err)
			case res.Outcome == budget.Insufficient && res.Limit == budget.Day:
				done = true
			default:
				x.t.Errorf("got %+v", res)
				return
			}
		}
	})
	x.limitTerms("acme", budget.Day, figures{amount, 0, amount})
}

// limitConcurrentChanges has each caller set and remove a limit of its own: none must be lost, and
// a fifth is never accepted.
func limitConcurrentChanges(x *fixture) {
	periods := []budget.Period{budget.Hour, budget.Day, budget.Last24Hours}
	x.open("acme", 1000, budget.SetLimit(per(budget.Month, 500)))
	for round := range budget.Microcents(4) {
		atOnce(len(periods)+2, func(caller int) {
			for i := range budget.Microcents(20) {
				switch {
				case caller < len(periods):
					settings := budget.SetLimit(per(periods[caller], 100+20*round+i))
					if i%4 == 1 {
						settings = budget.RemoveLimit(periods[caller])
					}
					res, err := x.engine.Configure(x.ctx, "acme", settings)
					if !x.failed("configure", err) && (res.Outcome != budget.Configured || res.Settings.Limits.Has(periods[caller]) == (i%4 == 1)) {
						x.t.Errorf("got %+v", res)
					}
				case caller == len(periods):
					_, err := x.engine.Configure(x.ctx, "acme", budget.Overdraft(20*round+i+1))
					x.failed("configure", err)
				default:
					list, err := x.engine.Limits(x.ctx, "acme")
					if !x.failed("limits", err) && (len(list.Limits) < 2 || len(list.Limits) != 1+list.Limits[0].Settings.Limits.Len()) {
						x.t.Errorf("the limits are %+v", list)
					}
				}
			}
		})
		x.listed(budget.Hour, budget.Day, budget.Month, budget.Last24Hours)
		refused[budget.Configuration](x, budget.ErrTooManyLimits, "a fifth limit")(x.engine.Configure(x.ctx, "acme", budget.SetLimit(per(budget.Week, 1))))
		for _, p := range periods {
			b, err := x.engine.Balance(x.ctx, "acme", budget.OfLimit(p))
			if err != nil || b.Settings.Window.Amount != 100+20*round+19 {
				x.t.Errorf("the limit by %s is %+v, %v", p, b, err)
			}
		}
	}
	b, err := x.engine.Balance(x.ctx, "acme")
	if err != nil || b.Settings.Overdraft != 80 {
		x.t.Errorf("got %+v, %v; want an overdraft of 80", b, err)
	}
}
