package budgettest

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

const callers = 16

func concurrencyChecks() []check {
	return []check{
		{name: "as many are granted as the budget covers", run: concurrentReserves},
		{name: "a reservation settles once", run: concurrentSettles},
		{name: "a tenant is created once", run: concurrentEnsures},
		{name: "commits above their holds take no more than there is", run: concurrentOverruns},
		{name: "deadlines against commits", ttl: holdTTL, run: concurrentDeadlines},
		{name: "the invariant while all operations run", run: concurrentMix},
	}
}

// atOnce calls run from n goroutines that start together, and waits for them.
func atOnce(n int, run func(caller int)) {
	var group sync.WaitGroup
	begin := make(chan struct{})
	for caller := range n {
		group.Go(func() {
			<-begin
			run(caller)
		})
	}
	close(begin)
	group.Wait()
}

// failed reports an error of a caller. It must not end the caller's goroutine.
func (x *fixture) failed(what string, err error) bool {
	if err != nil {
		x.t.Errorf("%s: no answer: %v", what, err)
	}
	return err != nil
}

func concurrentReserves(x *fixture) {
	const cost, covered, each = 7, 200, 25 // 400 reserves of 7 from a budget of 1,403
	x.open("acme", covered*cost+3)
	var reserved, refusals atomic.Int64
	var mu sync.Mutex
	seen := make(map[budget.ReservationID]bool)
	atOnce(callers, func(int) {
		for range each {
			res, err := x.engine.TryReserve(x.ctx, "acme", cost)
			switch {
			case x.failed("reserve", err):
			case res.Outcome == budget.Reserved:
				reserved.Add(1)
				mu.Lock()
				seen[res.ID] = true
				mu.Unlock()
			case res.Outcome == budget.Insufficient && res.Remaining < cost:
				refusals.Add(1)
			default:
				x.t.Errorf("got %+v", res)
			}
		}
	})
	if reserved.Load() != covered || refusals.Load() != callers*each-covered || len(seen) != covered {
		x.t.Errorf("%d were reserved (%d ids) and %d refused, want %d and %d", reserved.Load(), len(seen), refusals.Load(), covered, callers*each-covered)
	}
	x.balance("acme", covered*cost+3, 3, covered*cost, 0)
}

// concurrentSettles has all callers settle the same hold at the same time.
func concurrentSettles(x *fixture) {
	const holds, cost, rivals = 150, 10, 4
	x.open("acme", holds*cost)
	ids := make([]budget.ReservationID, holds)
	for i := range ids {
		ids[i] = x.hold("acme", cost, budget.Microcents(cost*(holds-i-1)))
	}
	var commits, releases, late atomic.Int64
	all := barrier{callers: rivals}
	atOnce(rivals, func(caller int) {
		for _, id := range ids {
			all.wait()
			var res budget.Settlement
			var err error
			if caller%2 == 0 {
				res, err = x.engine.Commit(x.ctx, id, cost-1)
			} else {
				res, err = x.engine.Release(x.ctx, id)
			}
			switch {
			case x.failed("settle", err):
			case res.Outcome == budget.Committed && res.Actual == cost-1:
				commits.Add(1)
			case res.Outcome == budget.Released && res.Returned == cost:
				releases.Add(1)
			case res.Outcome == budget.MissingReservation:
				late.Add(1)
			default:
				x.t.Errorf("got %+v", res)
			}
		}
	})
	if commits.Load()+releases.Load() != holds || late.Load() != (rivals-1)*holds {
		x.t.Errorf("%d commits, %d releases, %d late; want each of %d settled once", commits.Load(), releases.Load(), late.Load(), holds)
	}
	spent := budget.Microcents(commits.Load() * (cost - 1))
	x.balance("acme", holds*cost, holds*cost-spent, 0, spent)
}

func concurrentEnsures(x *fixture) {
	var created atomic.Int64
	var amount atomic.Int64
	atOnce(callers, func(caller int) {
		for _, tenant := range []budget.TenantID{"acme", "acme/search", "globex"} {
			res, err := x.engine.EnsureTenant(x.ctx, tenant, budget.Microcents(100+caller))
			if x.failed("ensure", err) {
				return
			}
			if res.Outcome == budget.Created {
				created.Add(1)
				amount.Add(int64(res.Remaining))
			}
		}
	})
	if created.Load() != 3 {
		x.t.Errorf("created was returned %d times, want once for each of 3 tenants", created.Load())
	}
	x.tenants = []budget.TenantID{"acme", "acme/search", "globex"}
	var sum budget.Microcents
	for _, tenant := range x.tenants {
		res, err := x.engine.Balance(x.ctx, tenant)
		if x.failed("balance", err) {
			return
		}
		sum += res.Granted
	}
	if int64(sum) != amount.Load() {
		x.t.Errorf("the budgets sum up to %d, but the created ones to %d", sum, amount.Load())
	}
}

func concurrentOverruns(x *fixture) {
	const start = 500
	x.open("acme", start)
	var spent atomic.Int64
	atOnce(callers, func(int) {
		for range 20 {
			res, err := x.engine.TryReserve(x.ctx, "acme", 1)
			if x.failed("reserve", err) || res.Outcome != budget.Reserved {
				continue
			}
			settled, err := x.engine.Commit(x.ctx, res.ID, 5)
			if err == nil && settled.Outcome == budget.Overrun {
				settled, err = x.engine.Commit(x.ctx, res.ID, 1)
			}
			if !x.failed("commit", err) && settled.Outcome != budget.Committed {
				x.t.Errorf("got %+v, want the held amount committed", settled)
			}
			spent.Add(int64(settled.Actual))
		}
	})
	total := budget.Microcents(spent.Load())
	x.balance("acme", start, start-total, 0, total)
}

func concurrentDeadlines(x *fixture) {
	const holds, cost = 160, 10
	x.open("acme", holds*cost)
	ids := make([]budget.ReservationID, holds)
	for i := range ids {
		ids[i] = x.hold("acme", cost, budget.Microcents(cost*(holds-i-1)), budget.WithHoldTTL(time.Duration(i+1)*time.Millisecond))
	}
	var commits atomic.Int64
	atOnce(callers, func(caller int) {
		for i := caller; i < holds; i += callers {
			x.advance(time.Millisecond) // together, the callers advance the clock as fast as holds become due
			res, err := x.engine.Commit(x.ctx, ids[i], cost)
			switch {
			case x.failed("commit", err):
			case res.Outcome == budget.Committed:
				commits.Add(1)
			case res.Outcome == budget.MissingReservation && (res.Prior == budget.Expired || res.Prior == budget.Unknown):
			default:
				x.t.Errorf("got %+v", res)
			}
		}
	})
	x.advance(time.Minute)
	spent := budget.Microcents(commits.Load() * cost)
	x.balance("acme", holds*cost, holds*cost-spent, 0, spent)
}

// mix holds the granted and spent amounts of one tenant, as counted by the callers of
// concurrentMix.
type mix struct{ granted, spent atomic.Int64 }

func concurrentMix(x *fixture) {
	const start, each = 2000, 60
	totals := make(map[budget.TenantID]*mix)
	for _, tenant := range []budget.TenantID{"acme/ads", "acme/search", "globex"} {
		x.open(tenant, start)
		totals[tenant] = &mix{}
		totals[tenant].granted.Store(start)
	}
	stop := make(chan struct{})
	var observer sync.WaitGroup
	watched := make(chan struct{})
	observer.Go(func() { x.observe(watched, stop) })
	<-watched
	atOnce(callers, func(caller int) {
		random := rand.New(rand.NewPCG(uint64(caller), 2))
		for range each {
			tenant := x.tenants[random.IntN(len(x.tenants))]
			x.mixed(random, tenant, totals[tenant])
		}
	})
	close(stop)
	observer.Wait()
	for tenant, m := range totals {
		granted, spent := budget.Microcents(m.granted.Load()), budget.Microcents(m.spent.Load())
		x.balance(tenant, granted, granted-spent, 0, spent)
	}
}

// observe checks the invariant while callers run, at least once and until stop is closed.
func (x *fixture) observe(watched chan<- struct{}, stop <-chan struct{}) {
	for first := true; ; first = false {
		for _, tenant := range x.tenants {
			b, err := x.engine.Balance(x.ctx, tenant)
			if x.failed("balance", err) {
				break
			}
			if !b.Conserved() || b.Remaining < 0 || b.Reserved < 0 || b.Committed < 0 {
				x.t.Errorf("tenant %q has %+v: the balance doesn't add up", tenant, b)
			}
			list, err := x.engine.Holds(x.ctx, tenant)
			if x.failed("holds", err) {
				break
			}
			if err := auditAnswer(tenant, list); err != nil {
				x.t.Errorf("tenant %q has %+v: %v", tenant, list.Balance, err)
			}
		}
		if first {
			close(watched)
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// mixed performs a reserve and its settlement, a grant or a withdrawal.
func (x *fixture) mixed(random *rand.Rand, tenant budget.TenantID, total *mix) {
	amount := budget.Microcents(1 + random.IntN(40))
	switch random.IntN(8) {
	case 0:
		res, err := x.engine.Grant(x.ctx, tenant, amount)
		if !x.failed("grant", err) && res.Outcome == budget.Granted {
			total.granted.Add(int64(amount))
		}
		return
	case 1:
		res, err := x.engine.Withdraw(x.ctx, tenant, amount)
		if !x.failed("withdraw", err) && res.Outcome == budget.Withdrawn {
			total.granted.Add(-int64(amount))
		}
		return
	}
	res, err := x.engine.TryReserve(x.ctx, tenant, amount)
	if x.failed("reserve", err) || res.Outcome != budget.Reserved {
		return
	}
	settled, err := x.engine.Commit(x.ctx, res.ID, amount+budget.Microcents(random.IntN(80)-40))
	if err == nil && (settled.Outcome == budget.Overrun || settled.Outcome == budget.InvalidAmount) {
		settled, err = x.engine.Release(x.ctx, res.ID)
	}
	if !x.failed("settle", err) {
		total.spent.Add(int64(settled.Actual))
	}
}
