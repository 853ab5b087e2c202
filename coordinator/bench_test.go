package coordinator

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

const (
	benchRounds = 5
	benchRound  = 500 * time.Millisecond
)

// rate runs work on many goroutines for one round and returns operations a second.
func rate(callers int, work func(caller int)) float64 {
	var wg sync.WaitGroup
	counts := make([]int, callers)
	began := time.Now()
	end := began.Add(benchRound)
	for k := range callers {
		wg.Go(func() {
			for time.Now().Before(end) {
				work(k)
				counts[k]++
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(began).Seconds()
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// BenchmarkAgainstIncr compares decisions a second with go-redis' INCR, one call
// each from as many callers, its best of three pool sizes, in interleaved rounds
// on one server. Run it with -benchtime=1x.
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
			var pools []*redis.Client
			for _, size := range []int{10, 64, 256} {
				opts := server.Options()
				opts.PoolSize = size
				client := redis.NewClient(opts)
				defer client.Close()
				pools = append(pools, client)
			}
			turns := make([]int, callers)
			cycle := func(k int) {
				turns[k]++
				tenant := names[(k*131+turns[k]*7)%len(names)]
				r, err := c.TryReserve(context.Background(), tenant, 100)
				if err != nil || r.Outcome != budget.Reserved {
					b.Error(r, err)
					return
				}
				if s, err := c.Commit(context.Background(), r.ID, 90); err != nil || s.Outcome != budget.Committed {
					b.Error(s, err)
				}
			}
			rate(callers, cycle) // warm
			for b.Loop() {
				var ours, theirs, ratios []float64
				for range benchRounds {
					best := 0.0
					for _, client := range pools {
						best = max(best, rate(callers, func(int) { client.Incr(context.Background(), "counter") }))
					}
					decisions := 2 * rate(callers, cycle)
					ours, theirs, ratios = append(ours, decisions), append(theirs, best), append(ratios, decisions/best)
				}
				b.ReportMetric(median(ours), "decisions/s")
				b.ReportMetric(median(theirs), "incr/s")
				b.ReportMetric(median(ratios), "ratio")
			}
		})
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
	cycle := func(int) {
		r, err := c.TryReserve(context.Background(), "acme", 100)
		if err == nil {
			_, err = c.Commit(context.Background(), r.ID, 90)
		}
		if err != nil {
			b.Error(err)
		}
	}
	rate(1, cycle)
	for b.Loop() {
		var ours, theirs, ratios []float64
		for range benchRounds {
			bare := 1e6 / rate(1, func(int) { client.EvalSha(context.Background(), script.Hash(), nil) })
			operation := 1e6 / (2 * rate(1, cycle))
			ours, theirs, ratios = append(ours, operation), append(theirs, bare), append(ratios, operation/bare)
		}
		b.ReportMetric(median(ours), "us/operation")
		b.ReportMetric(median(theirs), "us/evalsha")
		b.ReportMetric(median(ratios), "ratio")
	}
}

// BenchmarkHoldMemory reports what an open hold costs Redis, from used_memory
// before and after 100,000 of them. Run it with -benchtime=1x.
func BenchmarkHoldMemory(b *testing.B) {
	const holds, callers = 100_000, 500
	server := redistest.Start(b)
	client := server.Client()
	c := node(b, client)
	ensure(b, c, "acme", 1<<55)
	reserve(b, c, 1)
	for b.Loop() {
		before := usedMemory(b, client)
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range holds / callers {
					reserve(b, c, budget.Dollar)
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(usedMemory(b, client)-before)/holds, "B/hold")
	}
}

func usedMemory(b *testing.B, client *redis.Client) int64 {
	b.Helper()
	info, err := client.Info(context.Background(), "memory").Result()
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "used_memory:")
	digits, _, _ := strings.Cut(rest, "\r")
	bytes, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return bytes
}
