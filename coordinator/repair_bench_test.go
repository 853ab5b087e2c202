package coordinator

import (
	"context"
	"testing"
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/redistest"
)

// BenchmarkRepair reports the ratio of one hot tenant's speed with repair to that
// without, in interleaved rounds, and how many lost holds are restored a second. Package
// lane measures the memory of a journal. Run it with -benchtime=1x.
func BenchmarkRepair(b *testing.B) {
	b.Run("speed", func(b *testing.B) {
		server := redistest.Start(b)
		with, without := node(b, server.Client()), node(b, server.Client(), WithRepair(0, 0))
		ensure(b, with, "acme", 1<<55)
		side := func(c *Coordinator) metrics.Case {
			return metrics.Case{Callers: 256, Each: 2, Work: func(int) error { return cycle(c, "acme") }}
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

// mergeAll makes Redis lose 20,000 committed holds, and reports the speed of the repair.
func mergeAll(b *testing.B, server *redistest.Server) {
	b.Helper()
	client, ctx := server.Client(), context.Background()
	c := node(b, client)
	const holds = 20_000
	client.FlushAll(ctx)
	ensure(b, c, "acme", 1<<55)
	reserve(b, c, 1)
	old := client.Dump(ctx, acmeLedger).Val()
	timers := client.Dump(ctx, acmeTimers).Val()
	spread(64, holds, func(int) {
		if _, err := c.Commit(ctx, reserve(b, c, 1), 1); err != nil {
			b.Error(err)
		}
	})
	client.RestoreReplace(ctx, acmeLedger, 0, old)
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
