package local_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/local"
)

// TestDeadlineBelowMissingRoot makes holds with ever earlier deadlines below a root that
// doesn't exist: each must be known to the family, though no level above is debited.
func TestDeadlineBelowMissingRoot(t *testing.T) {
	t.Parallel()
	const holds = 100
	var now atomic.Int64
	e := newEngine(t, 0, local.WithClock(func() time.Time { return time.UnixMilli(now.Load()) }))
	ctx := t.Context()
	if _, err := e.EnsureTenant(ctx, "globex/search/key-7", holds); err != nil {
		t.Fatal(err)
	}
	for i := range holds {
		ttl := time.Duration(holds-i) * time.Millisecond
		if res, err := e.TryReserve(ctx, "globex/search/key-7", 1, budget.WithHoldTTL(ttl)); err != nil || res.Outcome != budget.Reserved {
			t.Fatalf("reserve for %s: %+v, %v", ttl, res, err)
		}
	}
	for at := range budget.Microcents(holds + 1) {
		now.Store(int64(at))
		want := budget.Remainder{Outcome: budget.Found, Remaining: at, Level: "globex/search/key-7"}
		if res, err := e.Remaining(ctx, "globex/search/key-7"); err != nil || res != want {
			t.Fatalf("at %d ms: %+v, %v; want %+v", at, res, err, want)
		}
	}
}

func TestLevelsAllocateNothing(t *testing.T) {
	e := newEngine(t, budget.Dollar)
	ctx := t.Context()
	for _, tenant := range []budget.TenantID{"acme/search", "acme/search/key-7"} {
		if _, err := e.EnsureTenant(ctx, tenant, budget.Dollar); err != nil {
			t.Fatal(err)
		}
	}
	for name, op := range map[string]func() bool{
		"reserve and commit": func() bool {
			res, _ := e.TryReserve(ctx, "acme/search/key-7", 100)
			s, _ := e.Commit(ctx, res.ID, 90)
			return s.Outcome == budget.Committed
		},
		"reserve and release": func() bool {
			res, _ := e.TryReserve(ctx, "acme/search/key-7", 100)
			s, _ := e.Release(ctx, res.ID)
			return s.Outcome == budget.Released
		},
		"a refused reserve": func() bool {
			res, _ := e.TryReserve(ctx, "acme/search/key-7", budget.MaxMicrocents)
			return res.Outcome == budget.Insufficient
		},
		"remaining": func() bool { res, _ := e.Remaining(ctx, "acme/search/key-7"); return res.Outcome == budget.Found },
	} {
		if n := testing.AllocsPerRun(500, func() {
			if !op() {
				t.Fatalf("%s: the measured operation failed", name)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

// tree is a family of which every level is used, created and deleted at once.
var tree = []budget.TenantID{"acme", "acme/search", "acme/search/key-7", "acme/search/key-8", "acme/ads", "acme/ads/a/b/c/d"}

// TestLevelsAtOnce uses and audits all levels of a family while levels come and go and
// deadlines pass. The root counts every hold, so the costs add up to its committed money.
func TestLevelsAtOnce(t *testing.T) {
	t.Parallel()
	const cycles = 2000
	var now, committed atomic.Int64
	e := newEngine(t, 5000, local.WithClock(func() time.Time { return time.UnixMilli(now.Load()) }), local.WithHoldTTL(3*time.Millisecond))
	ctx := t.Context()
	var callers, observers sync.WaitGroup
	for caller := range 4 {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(caller), 5))
			for range cycles {
				spent, err := levelCycle(ctx, e, random, &now)
				if err != nil {
					t.Error(err)
				}
				committed.Add(int64(spent))
			}
		})
	}
	done := make(chan struct{})
	observers.Go(func() {
		for {
			for _, tenant := range tree {
				list, err := e.Holds(ctx, tenant)
				if err == nil && list.Outcome == budget.Found {
					err = list.Audit()
				}
				if err != nil || list.Balance.Remaining < 0 {
					t.Errorf("%q: %v, %+v", tenant, err, list.Balance)
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
	now.Add(10)
	if b, err := e.Balance(ctx, "acme"); err != nil || int64(b.Committed) != committed.Load() || b.Reserved != 0 {
		t.Errorf("at the root: %+v, %v; want %d committed and nothing reserved", b, err, committed.Load())
	}
}

// levelCycle uses a random level at random, and returns the amount that it committed.
func levelCycle(ctx context.Context, e *local.Engine, random *rand.Rand, now *atomic.Int64) (spent budget.Microcents, err error) {
	tenant := tree[random.IntN(len(tree))]
	amount := budget.Microcents(1 + random.IntN(300))
	switch random.IntN(8) {
	case 0:
		if tenant == "acme" { // its record of spending is the measure
			return 0, nil
		}
		_, err = e.DeleteTenant(ctx, tenant)
		return 0, err
	case 1, 2:
		_, err = e.EnsureTenant(ctx, tenant, 10*amount)
		return 0, err
	case 3:
		_, err = e.Grant(ctx, tenant, amount)
		return 0, err
	case 4:
		now.Add(1)
	}
	res, err := e.TryReserve(ctx, tenant, amount)
	if err != nil || res.Outcome != budget.Reserved {
		return 0, err
	}
	if random.IntN(4) == 0 {
		_, err = e.Release(ctx, res.ID)
		return 0, err
	}
	settled, err := e.Commit(ctx, res.ID, budget.Microcents(random.IntN(400)))
	return settled.Actual, err
}
