package budgettest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// levelsConcurrentReserves has callers of many tenants reserve until the root, and one of
// two groups, is used up.
func levelsConcurrentReserves(x *fixture) {
	const each, cost = 40, 3
	x.open(root, 300*cost+1)
	x.open(middle, 100*cost+2)
	names := make([]budget.TenantID, callers)
	for i := range names {
		if names[i] = budget.TenantID(fmt.Sprintf("%s/key-%d", root, i)); i%2 == 0 {
			names[i] = budget.TenantID(fmt.Sprintf("%s/key-%d", middle, i))
		}
		x.open(names[i], each*cost)
	}
	var inMiddle, others atomic.Int64
	atOnce(callers, func(caller int) {
		for range each {
			res, err := x.engine.TryReserve(x.ctx, names[caller], cost)
			switch {
			case x.failed("reserve", err):
			case res.Outcome == budget.Reserved && caller%2 == 0:
				inMiddle.Add(1)
			case res.Outcome == budget.Reserved:
				others.Add(1)
			case res.Outcome == budget.Insufficient && res.Remaining < cost && res.Level != "":
			default:
				x.t.Errorf("got %+v", res)
			}
		}
	})
	if sum := inMiddle.Load() + others.Load(); sum != 300 || inMiddle.Load() > 100 {
		x.t.Errorf("%d were reserved, %d of them in the middle; want 300, and at most 100", sum, inMiddle.Load())
	}
	held := budget.Microcents(inMiddle.Load() * cost)
	x.balance(root, 300*cost+1, 1, 300*cost, 0)
	x.balance(middle, 100*cost+2, 100*cost+2-held, held, 0)
}

// levelsConcurrentMix has callers reserve and settle at all levels, while the middle ones
// are created and deleted, and counts what the root must have committed.
func levelsConcurrentMix(x *fixture) {
	const start, each = 3000, 60
	x.open(root, start)
	x.tenants = []budget.TenantID{root}
	levels := []budget.TenantID{root, middle, leaf, twin, aside}
	var spent, grantedAtRoot atomic.Int64
	stop := make(chan struct{})
	var observer sync.WaitGroup
	observer.Go(func() {
		for {
			for _, tenant := range levels {
				list, err := x.engine.Holds(x.ctx, tenant)
				if !x.failed("holds", err) && list.Outcome == budget.Found {
					if err := auditAnswer(tenant, list); err != nil {
						x.t.Errorf("tenant %q has %+v: %v", tenant, list.Balance, err)
					}
				}
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	atOnce(callers, func(caller int) {
		random := rand.New(rand.NewPCG(uint64(caller), 9))
		for range each {
			tenant := levels[random.IntN(len(levels))]
			switch random.IntN(8) {
			case 0, 1:
				_, err := x.engine.EnsureTenant(x.ctx, tenant, budget.Microcents(random.IntN(600)))
				x.failed("ensure", err)
			case 2:
				if tenant != root { // whose spending is counted
					_, err := x.engine.(levelled).DeleteTenant(x.ctx, tenant)
					x.failed("delete", err)
				}
			default:
				var m mix
				x.mixed(random, tenant, &m)
				spent.Add(m.spent.Load())
				if tenant == root {
					grantedAtRoot.Add(m.granted.Load())
				}
			}
		}
	})
	close(stop)
	observer.Wait()
	total, committed := start+budget.Microcents(grantedAtRoot.Load()), budget.Microcents(spent.Load())
	x.balance(root, total, total-committed, 0, committed)
	for _, tenant := range levels[1:] {
		if b, err := x.engine.Balance(x.ctx, tenant); !x.failed("balance", err) && b.Outcome == budget.Found {
			x.tenants = append(x.tenants, tenant)
		}
	}
}
