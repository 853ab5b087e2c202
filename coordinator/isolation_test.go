package coordinator

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

// neighbour returns another tenant of the same partition.
func neighbour(tenant budget.TenantID) budget.TenantID {
	for i := 0; ; i++ {
		if other := numbered("neighbour", i); store.PartitionOf(other, DefaultPartitions) == store.PartitionOf(tenant, DefaultPartitions) {
			return other
		}
	}
}

// neighbours returns two other tenants of the same partition.
func neighbours(tenant budget.TenantID) (budget.TenantID, budget.TenantID) {
	first := neighbour(tenant)
	for i := 0; ; i++ {
		if other := numbered("another", i); store.PartitionOf(other, DefaultPartitions) == store.PartitionOf(tenant, DefaultPartitions) {
			return first, other
		}
	}
}

// callerCount is the number of acme's callers: 256, and 10,000 more whose calls are queued at
// any time.
const callerCount = 10_000 + 256

// startCallers lets callers reserve and commit for acme without a pause until stop is called.
func startCallers(t testing.TB, c *Coordinator, callers int, reserved func(budget.ReservationID)) (stop func()) {
	t.Helper()
	var stopped atomic.Bool
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for !stopped.Load() {
				r, err := c.TryReserve(context.Background(), "acme", 100)
				if err != nil || r.Outcome != budget.Reserved {
					t.Errorf("TryReserve: %+v, %v", r, err)
					return
				}
				reserved(r.ID)
				if s, err := c.Commit(context.Background(), r.ID, 90); err != nil || s.Outcome != budget.Committed {
					t.Errorf("Commit: %+v, %v", s, err)
					return
				}
			}
		})
	}
	return func() {
		stopped.Store(true)
		wg.Wait()
	}
}

// latencies returns the sorted latencies of one caller's operations.
func latencies(t testing.TB, c *Coordinator, tenant budget.TenantID, operations int) []time.Duration {
	t.Helper()
	took := make([]time.Duration, operations)
	for i := range took {
		began := time.Now()
		r, err := c.TryReserve(context.Background(), tenant, 1)
		if took[i] = time.Since(began); err != nil || r.Outcome != budget.Reserved {
			t.Fatal(r, err)
		}
	}
	slices.Sort(took)
	return took
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(q*float64(len(sorted)-1))]
}

func medianOf(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// A tenant with thousands of queued calls delays a neighbour by a batch or two: in order
// of arrival the neighbour's call would be about 20 batches behind. The test counts
// batches, since the machine may be busy.
func TestQueueOfATenantDelaysNoNeighbour(t *testing.T) {
	t.Parallel()
	c, client := startNode(t, WithCallTimeout(time.Minute))
	other := neighbour("acme")
	ensure(t, c, "acme", 1<<55)
	ensure(t, c, other, 1<<40)
	var last atomic.Uint64 // batch that was answered
	stop := startCallers(t, c, callerCount, func(id budget.ReservationID) {
		_, batch := store.MakerOf(id)
		for known := last.Load(); known < batch && !last.CompareAndSwap(known, batch); known = last.Load() {
		}
	})
	defer stop()
	eventually(t, "calls are queued", func() bool { queued, _ := c.node.LaneOf("acme").Calls(); return queued > callerCount/2 })
	var behind []float64
	for range 101 {
		before := last.Load()
		r, err := c.TryReserve(t.Context(), other, 1)
		if err != nil || r.Outcome != budget.Reserved {
			t.Fatal(r, err)
		}
		_, batch := store.MakerOf(r.ID)
		behind = append(behind, float64(batch-before))
	}
	stop()
	median := medianOf(behind)
	t.Logf("the neighbour's call is in the %.0fth batch after the last answered, at most in the %.0fth", median, behind[len(behind)-1])
	if median > 3 {
		t.Errorf("the neighbour's call is %.0f batches behind the last answered, want at most 3", median)
	}
	audit(t, client)
}

// BenchmarkIsolation reports the p99 of one caller while another tenant has 256 callers
// and 10,000 more queued calls, in the caller's partition (near) and in another one
// (far), in turns. Run it with -benchtime=1x.
func BenchmarkIsolation(b *testing.B) {
	c := node(b, redistest.Start(b).Client(), WithMaxHolds(0), WithCallTimeout(time.Minute))
	tenants := [2]budget.TenantID{neighbour("acme"), elsewhere("acme")}
	ensure(b, c, "acme", 1<<55)
	for _, tenant := range tenants {
		ensure(b, c, tenant, 1<<40)
	}
	defer startCallers(b, c, callerCount, func(budget.ReservationID) {})()
	for b.Loop() {
		var p99 [2][]float64
		var ratios []float64
		for range 9 {
			var round [2]float64
			for i, tenant := range tenants {
				round[i] = quantile(latencies(b, c, tenant, 500), 0.99).Seconds() * 1e3
				p99[i] = append(p99[i], round[i])
			}
			ratios = append(ratios, round[0]/round[1])
		}
		b.ReportMetric(medianOf(p99[0]), "near-p99-ms")
		b.ReportMetric(medianOf(p99[1]), "far-p99-ms")
		b.ReportMetric(medianOf(ratios), "ratio")
	}
}

func TestQueueLimitOfATenantRejectsNoNeighbour(t *testing.T) {
	t.Parallel()
	const limit = 64
	c, client := startNode(t, WithQueueLimits(limit, 100*limit))
	other := neighbour("acme")
	ensure(t, c, "acme", 1<<40)
	ensure(t, c, other, 1<<40)
	var stopped atomic.Bool
	var rejected atomic.Int64
	var wg sync.WaitGroup
	for range 16 * limit {
		wg.Go(func() {
			for !stopped.Load() {
				if _, err := c.TryReserve(t.Context(), "acme", 1); errors.Is(err, ErrOverloaded) {
					rejected.Add(1)
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	eventually(t, "acme is at its limit", func() bool { return rejected.Load() > 1000 })
	before := rejected.Load()
	spread(limit, 100*limit, func(int) {
		if r, err := c.TryReserve(t.Context(), other, 1); err != nil || r.Outcome != budget.Reserved {
			t.Errorf("a neighbour of a tenant at its limit: %+v, %v", r, err)
		}
	})
	if rejected.Load() == before {
		t.Error("acme was not at its limit")
	}
	stopped.Store(true)
	wg.Wait()
	audit(t, client)
}

// Rejections of one tenant's calls do not delay the removal of another's abandoned calls.
func TestAbandonedCallsMakeRoomNextToATenantAtItsLimit(t *testing.T) {
	t.Parallel()
	const limit = 8
	server := redistest.Start(t)
	at := time.Now()
	c := node(t, server.Client(), WithQueueLimits(limit, 10*limit), func(c *config) { c.now = func() time.Time { return at } })
	other := neighbour("acme")
	ensure(t, c, "acme", 1000)
	ensure(t, c, other, 1000)
	lane := c.node.LaneOf("acme")
	eventually(t, "the lane is idle", func() bool { _, inFlight := lane.Calls(); return inFlight == 0 })
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	tryReserve := func(ctx context.Context, tenant budget.TenantID) { _, _ = c.TryReserve(ctx, tenant, 1) }
	wg.Go(func() { tryReserve(ctx, "acme") })
	eventually(t, "a batch is in flight", func() bool { _, inFlight := lane.Calls(); return inFlight == 1 })
	for range limit {
		wg.Go(func() { tryReserve(ctx, "acme") })
	}
	abandoned, abandon := context.WithCancel(t.Context())
	for range limit {
		wg.Go(func() { tryReserve(abandoned, other) })
	}
	eventually(t, "both queues are full", func() bool { queued, _ := lane.Calls(); return queued == 2*limit })
	abandon()
	eventually(t, "the neighbour's callers gave up", func() bool { return c.node.InFlight() == limit+1 })
	_, err := c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "beyond acme's limit", err, ErrOverloaded)
	answer := make(chan error, 1)
	go func() {
		_, err := c.TryReserve(t.Context(), other, 1)
		answer <- err
	}()
	eventually(t, "an answer or a queued call", func() bool { return len(answer) > 0 || c.node.InFlight() == limit+2 })
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Errorf("a neighbour without callers of its own: %v", err)
	}
	wg.Wait()
}
