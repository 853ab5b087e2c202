package coordinator

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

const (
	benchRounds = 5
	benchRound  = 500 * time.Millisecond
)

// cycle reserves and commits once.
func cycle(c *Coordinator, tenant budget.TenantID) error {
	r, err := c.TryReserve(context.Background(), tenant, 100)
	if err != nil || r.Outcome != budget.Reserved {
		return fmt.Errorf("reserve: %+v, %w", r, err)
	}
	if s, err := c.Commit(context.Background(), r.ID, 90); err != nil || s.Outcome != budget.Committed {
		return fmt.Errorf("commit: %+v, %w", s, err)
	}
	return nil
}

// play warms up with ours, then measures both sides in the given number of rounds.
func play(b *testing.B, rounds int, ours metrics.Case, theirs ...metrics.Case) metrics.Comparison {
	b.Helper()
	if _, err := ours.Rate(benchRound); err != nil {
		b.Fatal(err)
	}
	got, err := metrics.Compare(rounds, benchRound, ours, theirs...)
	if err != nil {
		b.Fatal(err)
	}
	return got
}

// BenchmarkAgainstIncr compares the rate of decisions with the rate of INCRs through
// go-redis at the best of three pool sizes, with the same number of callers, in
// interleaved rounds on one server. Run it with -benchtime=1x.
func BenchmarkAgainstIncr(b *testing.B) {
	for _, load := range []struct {
		name    string
		tenants int
	}{{"hot", 1}, {"tenants_1000", 1000}} {
		b.Run(load.name, func(b *testing.B) {
			const callers = 256
			server := redistest.Start(b)
			c := node(b, server.Client())
			names := make([]budget.TenantID, load.tenants)
			for i := range names {
				names[i] = numbered("tenant", i)
				ensure(b, c, names[i], 1<<55)
			}
			var theirs []metrics.Case
			for _, size := range []int{10, 64, 256} {
				opts := server.Options()
				opts.PoolSize = size
				client := redis.NewClient(opts)
				defer client.Close()
				theirs = append(theirs, metrics.Case{Callers: callers, Each: 1, Work: func(int) error {
					return client.Incr(context.Background(), "counter").Err()
				}})
			}
			turns := make([]int, callers)
			ours := metrics.Case{Callers: callers, Each: 2, Work: func(k int) error {
				turns[k]++
				return cycle(c, names[(k*131+turns[k]*7)%len(names)])
			}}
			for b.Loop() {
				got := play(b, benchRounds, ours, theirs...)
				b.ReportMetric(got.Ours, "decisions/s")
				b.ReportMetric(got.Theirs, "incr/s")
				b.ReportMetric(got.Ratio, "ratio")
			}
		})
	}
}

// BenchmarkManyTenants compares creating 100,000 tenants, and a fresh node's first
// decision on each of them, with as many INCRs, by 256 callers, in five rounds on one
// server. Run it with -benchtime=1x.
func BenchmarkManyTenants(b *testing.B) {
	server := redistest.Start(b)
	client := server.Client()
	rate := func(do func(i int)) float64 {
		began := time.Now()
		spread(manyCallers, manyTenants, do)
		return manyTenants / time.Since(began).Seconds()
	}
	var incrs, created, decided []float64
	for b.Loop() {
		for range benchRounds {
			opts := server.Options()
			opts.PoolSize = 64
			pool := redis.NewClient(opts)
			incr := rate(func(int) {
				if err := pool.Incr(context.Background(), "counter").Err(); err != nil {
					b.Error(err)
				}
			})
			_ = pool.Close()
			maker, user := node(b, client), node(b, client)
			create := rate(func(i int) { ensureOnce(b, maker, numbered("tenant", i)) })
			decide := rate(func(i int) { reserveOnce(b, user, numbered("tenant", i)) })
			incrs, created, decided = append(incrs, incr), append(created, create/incr), append(decided, decide/incr)
			client.FlushAll(context.Background())
		}
		b.ReportMetric(medianOf(incrs), "incr/s")
		b.ReportMetric(medianOf(created), "created/incr")
		b.ReportMetric(medianOf(decided), "decided/incr")
	}
}

// BenchmarkOneCaller compares the latency of one caller's operation with that of
// EVALSHA "return 1", in interleaved rounds. Run it with -benchtime=1x.
func BenchmarkOneCaller(b *testing.B) {
	server := redistest.Start(b)
	client := server.Client()
	c := node(b, client)
	ensure(b, c, "acme", 1<<55)
	script := redis.NewScript("return 1")
	script.Load(context.Background(), client)
	ours := metrics.Case{Callers: 1, Each: 2, Work: func(int) error { return cycle(c, "acme") }}
	bare := metrics.Case{Callers: 1, Each: 1, Work: func(int) error {
		return client.EvalSha(context.Background(), script.Hash(), nil).Err()
	}}
	for b.Loop() {
		got := play(b, benchRounds, ours, bare)
		b.ReportMetric(1e6/got.Ours, "us/operation")
		b.ReportMetric(1e6/got.Theirs, "us/evalsha")
		b.ReportMetric(1/got.Ratio, "ratio")
	}
}
