package local_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/local"
)

// BenchmarkCycle mirrors the benchmark of the seed's engine, line by line: one
// reserve of 100 and one commit of 90, by some goroutines over some tenants. One
// operation is one cycle, whichever goroutine runs it.
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
	ctx := context.Background()
	e, err := local.New()
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		if _, err := e.EnsureTenant(ctx, budget.TenantID(fmt.Sprintf("tenant-%d", i)), 1_000_000_000_000_000); err != nil {
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
				ids[i] = budget.TenantID(fmt.Sprintf("tenant-%d", i))
			}
			for j := range b.N / goroutines {
				res, err := e.TryReserve(ctx, ids[(j*7+k*131)%tenants], 100)
				if err != nil || res.Outcome != budget.Reserved {
					b.Errorf("reserve: %+v, %v", res, err)
					return
				}
				settled, err := e.Commit(ctx, res.ID, 90)
				if err != nil || settled.Outcome != budget.Committed {
					b.Errorf("commit: %+v, %v", settled, err)
					return
				}
			}
		})
	}
	group.Wait()
}
