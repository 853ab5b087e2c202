package coordinator

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// BenchmarkMemory reports what Redis' memory goes to, from used_memory before and
// after: the figures of OPERATIONS.md. Run it with -benchtime=1x.
func BenchmarkMemory(b *testing.B) {
	b.Run("idle_families", func(b *testing.B) { memoryOfFamilies(b) })
	b.Run("busy_families", func(b *testing.B) { memoryOfFamilies(b, "hash-max-listpack-entries 1") })
	for _, load := range []struct {
		name              string
		families, callers int
	}{{"one_family", 1, 256}, {"1000_families", 1000, 16}} {
		b.Run("holds_in_"+load.name, func(b *testing.B) { memoryOfHolds(b, load.families, load.callers) })
	}
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("settles_of_%d_callers", callers), func(b *testing.B) { memoryOfSettles(b, callers) })
	}
	b.Run("formula", memoryByFormula)
}

// memoryOfFamilies counts what a family without holds takes, with the session of
// the node that made it; then what the session of a further node adds; then a
// level below the root. Redis keeps a small hash as a list, and as a table for
// good once it has outgrown that, which every family does that settles: the
// configuration makes it one at once.
func memoryOfFamilies(b *testing.B, config ...string) {
	const families, levels = 10_000, 4
	client := redistest.Start(b, redistest.WithConfig(config...)).Client()
	first, second := node(b, client), node(b, client)
	ensureOnce(b, first, "warm")
	ensureOnce(b, second, "warm")
	for b.Loop() {
		each := func(name string, per int, work func(tenant budget.TenantID)) {
			before := usedBytes(b, client)
			spread(64, families, func(i int) { work(numbered("tenant", i)) })
			b.ReportMetric(float64(usedBytes(b, client)-before)/float64(families*per), "B/"+name)
		}
		each("family", 1, func(tenant budget.TenantID) { ensureOnce(b, first, tenant) })
		each("session", 1, func(tenant budget.TenantID) {
			if r, err := second.Remaining(context.Background(), tenant); err != nil || r.Outcome != budget.Found {
				b.Error(r, err)
			}
		})
		each("level", levels, func(tenant budget.TenantID) {
			for i := range levels {
				ensureOnce(b, second, tenant+budget.TenantID(fmt.Sprintf("/team-%d", i)))
			}
		})
	}
}

// memoryOfHolds counts what an open hold of a root tenant takes.
func memoryOfHolds(b *testing.B, families, callers int) {
	const holds = 100_000
	client := redistest.Start(b).Client()
	c := node(b, client)
	for i := range families {
		ensureOnce(b, c, numbered("tenant", i))
	}
	for b.Loop() {
		before := usedBytes(b, client)
		spread(callers, holds, func(i int) { reserveOnce(b, c, numbered("tenant", i%families)) })
		b.ReportMetric(float64(usedBytes(b, client)-before)/holds, "B/hold")
	}
}

// memoryOfSettles counts what a settled hold takes for as long as it is
// remembered. With one caller each settle has a record of its own in the ring; with
// many callers a batch's settles share one. It reports what an operation adds to
// the append-only file, too.
func memoryOfSettles(b *testing.B, callers int) {
	const families, settles = 4, 4096 // as many as a family remembers
	client := redistest.Start(b, redistest.WithConfig("appendonly yes", "appendfsync no", "auto-aof-rewrite-percentage 0")).Client()
	c := node(b, client)
	for i := range families {
		ensureOnce(b, c, numbered("tenant", i))
	}
	for b.Loop() {
		before, written := usedBytes(b, client), infoFigure(b, client, "persistence", "aof_current_size")
		for f := range families {
			tenant := numbered("tenant", f)
			spread(callers, settles, func(int) {
				r, err := c.Commit(context.Background(), reserveOnce(b, c, tenant), 90)
				if err != nil || r.Outcome != budget.Committed {
					b.Error(r, err)
				}
			})
		}
		b.ReportMetric(float64(usedBytes(b, client)-before)/(families*settles), "B/settle")
		written = infoFigure(b, client, "persistence", "aof_current_size") - written
		b.ReportMetric(float64(written)/(2*families*settles), "AOF-B/operation")
	}
}

// memoryByFormula compares the formula of OPERATIONS.md with a mixed load.
func memoryByFormula(b *testing.B) {
	const families, nodes, levels, holds, settles = 1000, 3, 4, 60, 100
	client := redistest.Start(b).Client()
	var fleet []*Coordinator
	for range nodes {
		fleet = append(fleet, node(b, client))
		ensureOnce(b, fleet[len(fleet)-1], "warm")
	}
	for b.Loop() {
		before := usedBytes(b, client)
		spread(32, families, func(i int) {
			root := numbered("tenant", i)
			ensureOnce(b, fleet[0], root)
			for k := range levels {
				ensureOnce(b, fleet[0], root+budget.TenantID(fmt.Sprintf("/team-%d", k)))
			}
			for k := range settles {
				c := fleet[k%nodes]
				if r, err := c.Commit(context.Background(), reserveOnce(b, c, root), 90); err != nil {
					b.Error(r, err)
				}
			}
			for k := range holds {
				reserveOnce(b, fleet[k%nodes], root)
			}
		})
		measured := usedBytes(b, client) - before
		formula := families * (1900 + 300*(nodes-1) + 110*levels + 285*holds + 265*settles)
		b.ReportMetric(float64(measured)/families, "B/family")
		b.ReportMetric(float64(measured)/float64(formula), "of-formula")
	}
}

func ensureOnce(b *testing.B, c *Coordinator, tenant budget.TenantID) {
	if r, err := c.EnsureTenant(context.Background(), tenant, 100_000*budget.Dollar); err != nil {
		b.Error(r, err)
	}
}

func reserveOnce(b *testing.B, c *Coordinator, tenant budget.TenantID) budget.ReservationID {
	r, err := c.TryReserve(context.Background(), tenant, 50*budget.Cent)
	if err != nil || r.Outcome != budget.Reserved {
		b.Error(r, err)
	}
	return r.ID
}

// spread calls work for 0 to count-1, from a number of callers.
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

// usedBytes is used_memory without the buffers of clients, which come and go.
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
