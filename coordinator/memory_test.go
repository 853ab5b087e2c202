package coordinator

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// BenchmarkMemory reports the memory of an item, from Redis' used_memory and the heap of
// the process before and after a fill: the figures of OPERATIONS.md. Run it with
// -benchtime=1x.
func BenchmarkMemory(b *testing.B) {
	b.Run("tenant", memoryOfTenants)
	b.Run("hold", memoryOfHolds)
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("ended/callers=%d", callers), func(b *testing.B) { memoryOfEndings(b, callers) })
	}
	b.Run("node", memoryOfNodes)
	b.Run("formula", memoryByTheFormula)
}

const (
	manyTenants = 100_000
	manyCallers = 256
)

// memoryOfTenants measures a tenant, and a level below it.
func memoryOfTenants(b *testing.B) {
	for b.Loop() {
		client := redistest.Start(b).Client()
		c := node(b, client)
		ensureOnce(b, c, "warm")
		fill := func(name string, tenant func(i int) budget.TenantID) {
			before := usedBytes(b, client)
			spread(manyCallers, manyTenants, func(i int) { ensureOnce(b, c, tenant(i)) })
			b.ReportMetric(float64(usedBytes(b, client)-before)/manyTenants, "B/"+name)
		}
		fill("tenant", func(i int) budget.TenantID { return numbered("tenant", i) })
		fill("level", func(i int) budget.TenantID { return numbered("tenant", i) + "/team" })
	}
}

// memoryOfHolds measures an open hold with a deadline.
func memoryOfHolds(b *testing.B) {
	for b.Loop() {
		const tenants, holds = 1000, 200_000
		client := redistest.Start(b).Client()
		c := node(b, client, WithRepair(0, 0))
		spread(manyCallers, tenants, func(i int) { ensureOnce(b, c, numbered("tenant", i)) })
		before := usedBytes(b, client)
		spread(manyCallers, holds, func(i int) { reserveOnce(b, c, numbered("tenant", i%tenants)) })
		b.ReportMetric(float64(usedBytes(b, client)-before)/holds, "B/hold")
	}
}

// memoryOfEndings measures a settled hold while it is remembered, and the bytes that an
// operation adds to the append-only file. A record of the ring names the holds that one
// batch settled: with one caller each batch has a record.
func memoryOfEndings(b *testing.B, callers int) {
	for b.Loop() {
		const tenants, settles = 1000, 40_000 // fewer than the rings hold
		client := redistest.Start(b, redistest.WithConfig("appendonly yes", "appendfsync no", "auto-aof-rewrite-percentage 0")).Client()
		c := node(b, client, WithRepair(0, 0), WithRetention(time.Hour, settles))
		spread(manyCallers, tenants, func(i int) { ensureOnce(b, c, numbered("tenant", i)) })
		before, written := usedBytes(b, client), infoFigure(b, client, "persistence", "aof_current_size")
		spread(callers, settles, func(i int) {
			id := reserveOnce(b, c, numbered("tenant", i%tenants))
			if s, err := c.Commit(context.Background(), id, 90); err != nil || s.Outcome != budget.Committed {
				b.Error(s, err)
			}
		})
		b.ReportMetric(float64(usedBytes(b, client)-before)/settles, "B/ended")
		written = infoFigure(b, client, "persistence", "aof_current_size") - written
		b.ReportMetric(float64(written)/(2*settles), "AOF-B/operation")
	}
}

// memoryOfNodes measures the cost of one more node that uses 100,000 tenants: in Redis,
// and in its own heap for each tenant, without a journal and with one.
func memoryOfNodes(b *testing.B) {
	for b.Loop() {
		client := redistest.Start(b).Client()
		first := node(b, client, WithRepair(0, 0))
		spread(manyCallers, manyTenants, func(i int) { ensureOnce(b, first, numbered("tenant", i)) })
		use := func(c *Coordinator, from, to int) {
			spread(manyCallers, to-from, func(i int) {
				if r, err := c.Balance(context.Background(), numbered("tenant", from+i)); err != nil || r.Outcome != budget.Found {
					b.Error(r, err)
				}
			})
		}
		before := usedBytes(b, client)
		second := node(b, client, WithRepair(0, 0))
		use(second, 0, manyTenants/10)
		heap := heapBytes()
		use(second, manyTenants/10, manyTenants)
		b.ReportMetric(float64(heapBytes()-heap)/(0.9*manyTenants), "heap-B/tenant")
		b.ReportMetric(float64(usedBytes(b, client)-before), "B/node")

		journaled := node(b, client)
		use(journaled, 0, manyTenants/10)
		heap = heapBytes()
		spread(manyCallers, manyTenants, func(i int) { reserveOnce(b, journaled, numbered("tenant", i)) })
		b.ReportMetric(float64(heapBytes()-heap)/manyTenants, "journal-B/reserve")
		runtime.KeepAlive(second)
	}
}

// memoryByTheFormula compares a mixed load's memory with the formula of OPERATIONS.md.
func memoryByTheFormula(b *testing.B) {
	for b.Loop() {
		const tenants, nodes, levels, open, settled = 1000, 3, 4, 60, 50
		client := redistest.Start(b).Client()
		var fleet [nodes]*Coordinator
		for i := range fleet {
			fleet[i] = node(b, client, WithRepair(0, 0))
		}
		before := usedBytes(b, client)
		spread(manyCallers, tenants, func(i int) {
			tenant := numbered("tenant", i)
			for range levels + 1 {
				ensureOnce(b, fleet[i%nodes], tenant)
				tenant += "/team"
			}
		})
		spread(manyCallers, tenants*(open+settled), func(i int) {
			c := fleet[i%nodes]
			id := reserveOnce(b, c, numbered("tenant", i%tenants))
			if i < tenants*open {
				return
			}
			if s, err := c.Release(context.Background(), id); err != nil || s.Outcome != budget.Released {
				b.Error(s, err)
			}
		})
		formula := tenants*150 + tenants*levels*170 + tenants*open*260 + tenants*settled*260 + DefaultPartitions*nodes*420
		used := float64(usedBytes(b, client) - before)
		b.ReportMetric(used/tenants, "B/tenant")
		b.ReportMetric(used/float64(formula), "of-the-formula")
	}
}

// heapBytes returns the heap in use after a collection that also empties the pools.
func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func ensureOnce(b testing.TB, c *Coordinator, tenant budget.TenantID) {
	if r, err := c.EnsureTenant(context.Background(), tenant, 100_000*budget.Dollar); err != nil {
		b.Error(r, err)
	}
}

func reserveOnce(b testing.TB, c *Coordinator, tenant budget.TenantID) budget.ReservationID {
	r, err := c.TryReserve(context.Background(), tenant, 50*budget.Cent)
	if err != nil || r.Outcome != budget.Reserved {
		b.Error(r, err)
	}
	return r.ID
}

// spread calls work for 0 to count-1, from the given number of callers.
func spread(callers, count int, work func(i int)) {
	var wg sync.WaitGroup
	for k := range callers {
		wg.Go(func() {
			for i := k; i < count; i += callers {
				work(i)
			}
		})
	}
	wg.Wait()
}

// usedBytes returns used_memory without the buffers of clients, which come and go.
func usedBytes(b *testing.B, client *redis.Client) int64 {
	b.Helper()
	return infoFigure(b, client, "memory", "used_memory") - infoFigure(b, client, "memory", "mem_clients_normal")
}

func infoFigure(b *testing.B, client *redis.Client, section, name string) int64 {
	b.Helper()
	info, err := client.Info(context.Background(), section).Result()
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "\n"+name+":")
	digits, _, _ := strings.Cut(rest, "\r")
	figure, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return figure
}
