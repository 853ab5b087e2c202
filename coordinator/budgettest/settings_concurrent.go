package budgettest

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// concurrentSettingChecks are the checks of settings with many callers.
func concurrentSettingChecks() []check {
	return []check{
		{name: "concurrent commits use an overdraft to its limit", run: concurrentOverdraft},
		{name: "concurrent commits use overdrafts of two levels to the lower limit", levels: true, run: concurrentOverdraftLevels},
		{name: "no reserve succeeds after a freeze", run: concurrentFreeze},
		{name: "no reserve below succeeds after a freeze", levels: true, run: concurrentFreezeLevels},
		{name: "no reserve or grant succeeds after a close", run: concurrentClose},
		{name: "concurrent reserves fill caps and exceed none", run: concurrentCaps},
		{name: "caps are kept while holds end", run: concurrentCapsKept},
		{name: "caps of an ancestor are kept while holds end", levels: true, run: concurrentCapsKeptLevels},
		{name: "concurrent changes of settings keep each other", run: concurrentConfigure},
	}
}

func concurrentOverdraft(x *fixture) {
	x.open("acme", 320, budget.Overdraft(100))
	x.overdraw(100, "acme")
	x.balance("acme", 320, -100, 0, 420)
}

func concurrentOverdraftLevels(x *fixture) {
	tenants := make([]budget.TenantID, callers)
	x.open(root, 320, budget.Overdraft(100))
	x.open(middle, 320, budget.Overdraft(1000))
	for i := range tenants {
		tenants[i] = budget.TenantID(fmt.Sprintf("%s/key-%d", middle, i))
		x.open(tenants[i], 20, budget.Overdraft(200))
	}
	x.overdraw(100, tenants...)
	x.balance(root, 320, -100, 0, 420)
	x.balance(middle, 320, -100, 0, 420)
}

// overdraw holds all of the 320 that the tenants have, and commits 4 for each held 1: in full
// while the overdraft lasts, then the rest that it covers.
func (x *fixture) overdraw(overdraft budget.Microcents, tenants ...budget.TenantID) {
	const each, actual = 20, 4
	ids := make([][]budget.ReservationID, callers)
	for i := range callers * each {
		tenant := tenants[i%len(tenants)]
		res, err := x.engine.TryReserve(x.ctx, tenant, 1)
		if err != nil || res.Outcome != budget.Reserved {
			x.t.Fatalf("got %+v, %v; want reserved", res, err)
		}
		ids[i%callers] = append(ids[i%callers], res.ID)
	}
	var full, paid, shortfall atomic.Int64
	all := barrier{callers: callers}
	atOnce(callers, func(caller int) {
		var left []budget.ReservationID
		for _, id := range ids[caller] {
			res, err := x.engine.Commit(x.ctx, id, actual)
			switch {
			case x.failed("commit", err):
			case res.Outcome == budget.Committed && res.Actual == actual && res.Remaining < 0:
				full.Add(1)
			case res.Outcome == budget.Overrun && res.Remaining <= 0:
				left = append(left, id)
			default:
				x.t.Errorf("got %+v", res)
			}
		}
		all.wait()
		for _, id := range left {
			res, err := x.engine.CommitAvailable(x.ctx, id, actual)
			if !x.failed("commit available", err) && (res.Outcome != budget.Committed || res.Actual+res.Shortfall != actual || res.Actual < 1) {
				x.t.Errorf("got %+v", res)
			}
			paid.Add(int64(res.Actual - 1))
			shortfall.Add(int64(res.Shortfall))
		}
	})
	excess := budget.Microcents(full.Load() * (actual - 1))
	if excess > overdraft || excess <= overdraft-(actual-1) || excess+budget.Microcents(paid.Load()) != overdraft {
		x.t.Errorf("commits spent %d and then %d of the overdraft, want exactly %d in all", excess, paid.Load(), overdraft)
	}
	if want := callers*each*(actual-1) - int64(overdraft); shortfall.Load() != want {
		x.t.Errorf("the shortfalls sum up to %d, want %d", shortfall.Load(), want)
	}
}

func concurrentFreeze(x *fixture) { x.freezes("acme", "acme") }

func concurrentFreezeLevels(x *fixture) {
	x.freezes(root, leaf, twin, aside, root)
}

// The phases of freezes: those in which an operation runs are odd.
const (
	phaseOpen = iota
	phaseFreezing
	phaseFrozen
	phaseUnfreezing
	phases
)

// freezes freezes and unfreezes an account again and again, while callers reserve and release.
// A call that began and ended in one phase shows whether the phase was kept.
func (x *fixture) freezes(account budget.TenantID, reserving ...budget.TenantID) {
	const rounds, callsEach = 6, 20
	for _, tenant := range append(reserving, account) {
		if !slices.Contains(x.tenants, tenant) {
			x.open(tenant, 1000)
		}
	}
	var phase, calls atomic.Int64
	var done atomic.Bool
	reserve := func(tenant budget.TenantID) {
		before := phase.Load()
		res, err := x.engine.TryReserve(x.ctx, tenant, 1)
		same := before == phase.Load()
		calls.Add(1)
		if x.failed("reserve", err) {
			return
		}
		if same && before%phases == phaseOpen && res.Outcome != budget.Reserved || same && before%phases == phaseFrozen && res.Outcome != budget.Frozen {
			x.t.Errorf("in phase %d got %+v", before%phases, res)
		}
		if res.Outcome != budget.Reserved {
			return
		}
		settled, err := x.engine.Release(x.ctx, res.ID)
		if !x.failed("release", err) && settled.Outcome != budget.Released {
			x.t.Errorf("a release returned %+v", settled)
		}
	}
	wait := func() {
		for target := calls.Load() + callsEach; calls.Load() < target; {
			runtime.Gosched()
		}
	}
	atOnce(callers, func(caller int) {
		if caller > 0 {
			for i := caller; !done.Load(); i++ {
				reserve(reserving[i%len(reserving)])
			}
			return
		}
		defer done.Store(true)
		for range rounds {
			wait()
			phase.Add(1)
			res, err := x.engine.FreezeTenant(x.ctx, account)
			if x.failed("freeze", err) || res != configured(budget.Settings{Frozen: true}) {
				x.t.Errorf("a freeze returned %+v", res)
			}
			phase.Add(1)
			wait()
			phase.Add(1)
			res, err = x.engine.UnfreezeTenant(x.ctx, account)
			if x.failed("unfreeze", err) || res != configured(budget.Settings{}) {
				x.t.Errorf("an unfreeze returned %+v", res)
			}
			phase.Add(1)
		}
	})
	for _, tenant := range x.tenants {
		x.balance(tenant, 1000, 1000, 0, 0)
	}
}

func concurrentClose(x *fixture) {
	x.open("acme", 1000)
	var closing, closed atomic.Bool
	var reserved, granted atomic.Int64
	atOnce(callers, func(caller int) {
		if caller == 0 {
			for reserved.Load() < 40 {
				runtime.Gosched()
			}
			closing.Store(true)
			res, err := x.engine.CloseTenant(x.ctx, "acme")
			if x.failed("close", err) || res != configured(budget.Settings{Closed: true}) {
				x.t.Errorf("a close returned %+v", res)
			}
			closed.Store(true)
			return
		}
		for last := false; !last; {
			last = closed.Load()
			res, err := x.engine.TryReserve(x.ctx, "acme", 1)
			x.failed("reserve", err)
			grant, err := x.engine.Grant(x.ctx, "acme", 1)
			x.failed("grant", err)
			if last && (res.Outcome != budget.Closed || grant.Outcome != budget.Closed) {
				x.t.Errorf("after the close got %+v and %+v", res, grant)
			}
			if !closing.Load() && (res.Outcome != budget.Reserved || grant.Outcome != budget.Granted) {
				x.t.Errorf("before the close got %+v and %+v", res, grant)
			}
			if res.Outcome == budget.Reserved {
				reserved.Add(1)
			}
			if grant.Outcome == budget.Granted {
				granted.Add(1)
			}
		}
	})
	x.settings["acme"] = budget.Settings{Closed: true}
	grants, holds := budget.Microcents(granted.Load()), budget.Microcents(reserved.Load())
	x.balance("acme", 1000+grants, 1000+grants-holds, holds, 0)
}

// concurrentCaps reserves with many callers until the caps refuse, and no fewer.
func concurrentCaps(x *fixture) {
	const each, cost = 25, 3
	for _, c := range []struct {
		tenant  budget.TenantID
		setting budget.Setting
		refusal budget.Reservation
		holds   int64
	}{
		{"by-amount", budget.CapReserved(200), cappedAt("", budget.ReservedCap, 200), 66},
		{"by-number", budget.CapHolds(77), cappedAt("", budget.HoldsCap, 77), 77},
	} {
		x.open(c.tenant, 100_000, c.setting)
		var reserved atomic.Int64
		atOnce(callers, func(int) {
			for range each {
				res, err := x.engine.TryReserve(x.ctx, c.tenant, cost)
				if !x.failed("reserve", err) && res.Outcome == budget.Reserved {
					reserved.Add(1)
				} else if res != c.refusal {
					x.t.Errorf("got %+v, want %+v", res, c.refusal)
				}
			}
		})
		if reserved.Load() != c.holds {
			x.t.Errorf("%d holds were reserved, want %d", reserved.Load(), c.holds)
		}
		held := budget.Microcents(c.holds * cost)
		x.balance(c.tenant, 100_000, 100_000-held, held, 0)
	}
}

func concurrentCapsKept(x *fixture) {
	x.open("acme", 100_000, budget.CapReserved(40), budget.CapHolds(6), budget.CapHold(15))
	x.keepsCaps("acme", "acme")
}

func concurrentCapsKeptLevels(x *fixture) {
	x.open(root, 100_000, budget.CapReserved(40), budget.CapHolds(6), budget.CapHold(15))
	for _, tenant := range []budget.TenantID{middle, leaf, twin, aside} {
		x.open(tenant, 100_000)
	}
	x.keepsCaps(root, leaf, twin, aside, middle, root)
}

// keepsCaps reserves and settles in many ways, and reads the holds of the capped account all
// the time. It also counts the holds between the end of their reserve and the beginning of
// their settle, which are open for certain.
func (x *fixture) keepsCaps(capped budget.TenantID, reserving ...budget.TenantID) {
	const each = 40
	limits := x.settings[capped]
	stop := make(chan struct{})
	var observer sync.WaitGroup
	observer.Go(func() {
		for {
			list, err := x.engine.Holds(x.ctx, capped)
			if !x.failed("holds", err) && (list.Balance.Reserved > limits.CapReserved || int64(len(list.Holds)) > limits.CapHolds) {
				x.t.Errorf("%q has %s in %d holds, above its caps %+v", capped, list.Balance.Reserved, len(list.Holds), limits)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	var spent, reserves, refusals, held, holds atomic.Int64
	atOnce(callers, func(caller int) {
		for i := range each {
			tenant, cost := reserving[(caller+i)%len(reserving)], budget.Microcents(1+(caller+3*i)%18)
			res, err := x.engine.TryReserve(x.ctx, tenant, cost)
			if x.failed("reserve", err) {
				return
			}
			if res.Outcome == budget.Capped && (cost > limits.CapHold) == (res.Cap == budget.HoldCap) {
				refusals.Add(1)
				continue
			}
			if res.Outcome != budget.Reserved || cost > limits.CapHold {
				x.t.Errorf("a reserve of %d returned %+v", cost, res)
				continue
			}
			reserves.Add(1)
			if sum, n := held.Add(int64(cost)), holds.Add(1); sum > int64(limits.CapReserved) || n > limits.CapHolds {
				x.t.Errorf("%d microcents in %d holds are open, above the caps %+v", sum, n, limits)
			}
			runtime.Gosched()
			held.Add(-int64(cost))
			holds.Add(-1)
			var settled budget.Settlement
			switch i % 3 {
			case 0:
				settled, err = x.engine.Commit(x.ctx, res.ID, 30)
			case 1:
				settled, err = x.engine.CommitAvailable(x.ctx, res.ID, cost/2)
			default:
				settled, err = x.engine.Release(x.ctx, res.ID)
			}
			if !x.failed("settle", err) && settled.Outcome.Err() != nil {
				x.t.Errorf("a settle returned %+v", settled)
			}
			spent.Add(int64(settled.Actual))
		}
	})
	close(stop)
	observer.Wait()
	if reserves.Load() == 0 || refusals.Load() == 0 {
		x.t.Errorf("%d reserves and %d refusals, want some of each", reserves.Load(), refusals.Load())
	}
	x.balance(capped, 100_000, 100_000-budget.Microcents(spent.Load()), 0, budget.Microcents(spent.Load()))
}

// concurrentConfigure has each caller change a setting of its own: none must be lost.
func concurrentConfigure(x *fixture) {
	x.open("acme", 1000)
	const each = 20
	for round := range int64(4) {
		atOnce(6, func(caller int) {
			for i := range int64(each) {
				value := 1 + round*each + i
				setting := []budget.Setting{
					budget.Overdraft(budget.Microcents(value)), budget.CapHold(budget.Microcents(value)), budget.CapReserved(budget.Microcents(value)),
					budget.CapHolds(value), budget.AtThresholds(int(value)),
				}
				var res budget.Configuration
				var err error
				switch {
				case caller < len(setting):
					res, err = x.engine.Configure(x.ctx, "acme", setting[caller])
				case i%2 == 0:
					res, err = x.engine.FreezeTenant(x.ctx, "acme")
				default:
					res, err = x.engine.UnfreezeTenant(x.ctx, "acme")
				}
				if !x.failed("configure", err) && res.Outcome != budget.Configured {
					x.t.Errorf("got %+v", res)
				}
			}
		})
		last := (round + 1) * each
		x.settings["acme"] = budget.Settings{
			Overdraft: budget.Microcents(last), CapHold: budget.Microcents(last), CapReserved: budget.Microcents(last),
			CapHolds: last, Thresholds: thresholds(int(last)),
		}
		x.balance("acme", 1000, 1000, 0, 0)
	}
}
