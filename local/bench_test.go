package local_test

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/local"
)

// BenchmarkCycle mirrors the benchmark of calybris-core, line by line: goroutines
// reserve 100 and commit 90, spread over the tenants. One operation is one such cycle
// of any goroutine.
func BenchmarkCycle(b *testing.B) {
	for _, c := range []struct {
		name       string
		goroutines int
		tenants    int
	}{
		{"hot_1", 1, 1},
		{"hot_2", 2, 1},
		{"hot_64", 64, 1},
		{"spread_1", 1, 1000},
		{"spread_64", 64, 1000},
	} {
		b.Run(c.name, func(b *testing.B) { cycle(b, c.goroutines, c.tenants) })
	}
}

func cycle(b *testing.B, goroutines, tenants int) {
	names := make([]budget.TenantID, 1000)
	for i := range names {
		names[i] = budget.TenantID(fmt.Sprintf("tenant-%d", i))
	}
	cycles(b, goroutines, tenants, names, nil)
}

// BenchmarkLimits is BenchmarkCycle for one tenant with limits.
func BenchmarkLimits(b *testing.B) {
	limits := []budget.Setting{
		limit(budget.Day), limit(budget.Month), limit(budget.Hour), limit(budget.Last24Hours),
	}
	for _, n := range []int{1, 2, 4} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			cycles(b, 1, 1, []budget.TenantID{"tenant-0"}, nil, limits[:n]...)
		})
	}
}

func limit(p budget.Period) budget.Setting {
	return budget.SetLimit(budget.Limit{Window: budget.Window{Period: p, Amount: 1_000_000_000_000_000}})
}

// BenchmarkLevels is BenchmarkCycle for tenants with ancestors: all levels of one tenant, or
// of 1,000 tenants in ten groups that share a root.
func BenchmarkLevels(b *testing.B) {
	for _, c := range []struct {
		name       string
		goroutines int
		tenants    int
		levels     int // that exist, counted from the tenant
	}{
		{"three_1", 1, 1, 3},
		{"three_64", 64, 1, 3},
		{"three_spread_1", 1, 1000, 3},
		{"shared_root_2", 2, 1000, 3},
		{"shared_root_64", 64, 1000, 3},
		{"no_ancestors_1", 1, 1, 1},
		{"no_ancestors_64", 64, 1000, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			names := make([]budget.TenantID, 1000)
			ancestors := make(map[budget.TenantID]bool)
			for i := range names {
				names[i] = budget.TenantID(fmt.Sprintf("acme/group-%d/tenant-%d", i%10, i))
				for k, up := 1, names[i].Parent(); k < c.levels; k, up = k+1, up.Parent() {
					ancestors[up] = true
				}
			}
			cycles(b, c.goroutines, c.tenants, names, slices.Collect(maps.Keys(ancestors)))
		})
	}
}

func cycles(b *testing.B, goroutines, tenants int, names, ancestors []budget.TenantID, settings ...budget.Setting) {
	ctx := context.Background()
	e, err := local.New()
	if err != nil {
		b.Fatal(err)
	}
	for _, tenant := range slices.Concat(names, ancestors) {
		if _, err := e.EnsureTenant(ctx, tenant, 1_000_000_000_000_000, settings...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	var group sync.WaitGroup
	for k := range goroutines {
		group.Go(func() {
			ids := make([]budget.TenantID, tenants)
			for i := range ids {
				ids[i] = budget.TenantID(strings.Clone(string(names[i])))
			}
			for j := range b.N / goroutines {
				res, err := e.TryReserve(ctx, ids[(j*7+k*131)%tenants], 100)
				if err != nil || res.Outcome != budget.Reserved {
					b.Errorf("reserve: %s, %v", res.Outcome, err)
					return
				}
				settled, err := e.Commit(ctx, res.ID, 90)
				if err != nil || settled.Outcome != budget.Committed {
					b.Errorf("commit: %s, %v", settled.Outcome, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// BenchmarkOpenHold opens holds of one tenant, leaves them open, and reports the heap
// bytes that each takes. Run it with -benchtime 1000000x.
func BenchmarkOpenHold(b *testing.B) {
	ctx := context.Background()
	e, err := local.New()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := e.EnsureTenant(ctx, "tenant-0", budget.MaxMicrocents); err != nil {
		b.Fatal(err)
	}
	before := heap()
	b.ResetTimer()
	for range b.N {
		if res, err := e.TryReserve(ctx, "tenant-0", 100); err != nil || res.Outcome != budget.Reserved {
			b.Fatalf("%+v, %v", res, err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(heap()-before)/float64(b.N), "B/hold")
	runtime.KeepAlive(e)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkLeaked runs one cycle per millisecond of the engine's clock on a tenant with
// 900,000 leaked holds, one of which expires each millisecond.
func BenchmarkLeaked(b *testing.B) {
	const leaked = 900_000
	ctx := context.Background()
	now := time.UnixMilli(0)
	e, err := local.New(local.WithClock(func() time.Time { return now }))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := e.EnsureTenant(ctx, "tenant-0", budget.MaxMicrocents); err != nil {
		b.Fatal(err)
	}
	for i := range leaked {
		ttl := time.Duration(1+i*7919%leaked) * time.Millisecond // 7919 is a prime, so each TTL occurs once
		if _, err := e.TryReserve(ctx, "tenant-0", 100, budget.WithHoldTTL(ttl)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		now = now.Add(time.Millisecond)
		res, err := e.TryReserve(ctx, "tenant-0", 100)
		if err != nil || res.Outcome != budget.Reserved {
			b.Fatalf("%+v, %v", res, err)
		}
		if _, err := e.Commit(ctx, res.ID, 90); err != nil {
			b.Fatal(err)
		}
	}
}
