package coordinator

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/calybris/bursar/bench/duel"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// BenchmarkRepair reports what the repair costs a node that needs none: bytes of its
// memory for each reservation that it retains, for how long a batch's callers wait at
// the most while as many are noted as there is room for, and the speed of one hot tenant
// with the repair over that without, in interleaved rounds. Run it with -benchtime=1x.
func BenchmarkRepair(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			var kept retained
			before := heapBytes()
			const entries = 300_000
			for i := range uint64(entries) {
				kept.keep(budget.NewReservationID("acme", 1, i), retainedHold{state: stateOpen, amount: 1, at: 1})
			}
			b.ReportMetric(float64(heapBytes()-before)/entries, "B/reservation")
			runtime.KeepAlive(kept)
		}
	})
	b.Run("pause", func(b *testing.B) {
		for b.Loop() {
			b.ReportMetric(float64(longestKeep().Microseconds()), "µs/longest")
		}
	})
	b.Run("speed", func(b *testing.B) {
		server := redistest.Start(b)
		with, without := node(b, server.Client()), node(b, server.Client(), WithRepair(0, 0))
		ensure(b, with, "acme", 1<<55)
		side := func(c *Coordinator) duel.Side {
			return duel.Side{Callers: 256, Each: 2, Work: func(int) error { return cycle(c, "acme") }}
		}
		for b.Loop() {
			b.ReportMetric(play(b, 3*benchRounds, side(with), side(without)).Ratio, "ratio")
		}
	})
	b.Run("merge", func(b *testing.B) {
		server := redistest.Start(b)
		for b.Loop() {
			mergeAll(b, server)
		}
	})
}

// mergeAll lets Redis lose 20,000 committed holds, and reports how fast they come back.
func mergeAll(b *testing.B, server *redistest.Server) {
	b.Helper()
	client, ctx := server.Client(), context.Background()
	c := node(b, client)
	const holds = 20_000
	client.FlushAll(ctx)
	ensure(b, c, "acme", 1<<55)
	reserve(b, c, 1)
	old := client.Dump(ctx, acmeBooks).Val()
	timers := client.Dump(ctx, acmeTimers).Val()
	spread(64, holds, func(int) {
		if _, err := c.Commit(ctx, reserve(b, c, 1), 1); err != nil {
			b.Error(err)
		}
	})
	client.RestoreReplace(ctx, acmeBooks, 0, old)
	client.RestoreReplace(ctx, acmeTimers, 0, timers)
	began := time.Now()
	if _, err := c.Remaining(ctx, "acme"); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(holds/time.Since(began).Seconds(), "merged/s")
	if r, err := c.Balance(ctx, "acme"); err != nil || r.Committed != holds {
		b.Fatalf("%+v, %v", r, err)
	}
}

// longestKeep fills the default's memory in batches.
func longestKeep() (longest time.Duration) {
	var kept retained
	for n := range uint64(DefaultRepairBytes / retainedBytes / luascripts.MaxOperations) {
		began := time.Now()
		for i := range uint64(luascripts.MaxOperations) {
			kept.keep(budget.NewReservationID("acme", n, i), retainedHold{state: stateOpen, amount: 1, at: 1})
		}
		longest = max(longest, time.Since(began))
	}
	return longest
}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
