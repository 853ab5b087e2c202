//go:build faults

package faults

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// cost is what a decision costs Redis.
type cost struct {
	commands  float64 // that the scripts call
	bytes     float64 // over the wire, both ways
	usec      float64 // of script time
	decisions int
}

func (c cost) String() string {
	return fmt.Sprintf("%.2f commands, %.0f bytes, %.0f µs a decision", c.commands, c.bytes, c.usec)
}

// measure lets one caller, whose batches carry one operation each, reserve and commit.
func measure(t *testing.T, client *redis.Client, c *coordinator.Coordinator) cost {
	t.Helper()
	const cycles = 300
	before := meters(t, client)
	for range cycles {
		r, err := c.TryReserve(t.Context(), "acme", 10)
		if err != nil || r.Outcome != budget.Reserved {
			t.Fatal(r, err)
		}
		if s, err := c.Commit(t.Context(), r.ID, 7); err != nil || s.Outcome != budget.Committed {
			t.Fatal(s, err)
		}
	}
	after := meters(t, client)
	per := func(name string) float64 { return (after[name] - before[name]) / (2 * cycles) }
	return cost{commands: per("commands"), bytes: per("bytes"), usec: per("usec"), decisions: 2 * cycles}
}

func meters(t *testing.T, client *redis.Client) map[string]float64 {
	t.Helper()
	info, err := client.Info(t.Context(), "commandstats", "stats").Result()
	must(t, err)
	m := make(map[string]float64)
	for _, line := range strings.Split(info, "\r\n") {
		name, text, _ := strings.Cut(line, ":")
		switch {
		case name == "total_net_input_bytes" || name == "total_net_output_bytes":
			n, _ := strconv.ParseFloat(text, 64)
			m["bytes"] += n
		case strings.HasPrefix(name, "cmdstat_"):
			stats := make(map[string]float64)
			for _, part := range strings.Split(text, ",") {
				key, value, _ := strings.Cut(part, "=")
				stats[key], _ = strconv.ParseFloat(value, 64)
			}
			if name == "cmdstat_evalsha" {
				m["usec"] += stats["usec"]
			} else if name != "cmdstat_info" {
				m["commands"] += stats["calls"]
			}
		}
	}
	return m
}

// flat fails where a decision costs more than a little more than it did.
func flat(t *testing.T, what string, small, large cost) {
	t.Helper()
	t.Logf("%s: %s, before it %s", what, large, small)
	if large.commands > 1.1*small.commands+0.1 || large.bytes > 1.15*small.bytes || large.usec > 3*small.usec {
		t.Errorf("%s makes decisions dearer", what)
	}
}

func atOnce(n int, run func(i int)) {
	var next atomic.Int64
	var callers sync.WaitGroup
	for range 256 {
		callers.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				run(int(i))
			}
		})
	}
	callers.Wait()
}

// However many holds are open, tenants exist and sessions are left behind, a decision
// costs the same.
func TestDecisionsStayFlat(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	f := &fleet{t: t, load: workload{HoldTTL: time.Hour}}
	c := f.node(client, coordinator.WithMaxHolds(0))
	ensure := func(tenant budget.TenantID) {
		if r, err := c.EnsureTenant(t.Context(), tenant, 1<<50); err != nil || r.Outcome != budget.Created {
			t.Error(r, err)
		}
	}
	ensure("acme")
	measure(t, client, c) // the family's hash grows into a table
	small := measure(t, client, c)

	const holds = 100_000
	memory := used(t, client)
	atOnce(holds, func(int) {
		if r, err := c.TryReserve(t.Context(), "acme", 1); err != nil || r.Outcome != budget.Reserved {
			t.Error(r, err)
		}
	})
	t.Logf("%.0f bytes a hold", float64(used(t, client)-memory)/holds)
	flat(t, "100,000 open holds", small, measure(t, client, c))

	const others = 100_000
	memory = used(t, client)
	atOnce(others, func(i int) { ensure(budget.TenantID("tenant-" + strconv.Itoa(i))) })
	t.Logf("%.0f bytes a tenant", float64(used(t, client)-memory)/others)
	flat(t, "100,000 tenants", small, measure(t, client, c))
	checkLaw(t, client, []budget.TenantID{"acme", "tenant-1", "tenant-100000"})
}

// Nodes that died leave their sessions: these cost nothing but memory, and go.
func TestDeadSessionsGo(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	var days atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(days.Load()) * 24 * time.Hour) }
	node := func() *coordinator.Coordinator {
		c, err := coordinator.New(t.Context(), client, coordinator.WithLogger(slog.New(slog.DiscardHandler)), coordinator.WithClock(clock))
		must(t, err)
		return c
	}
	c := node()
	if _, err := c.EnsureTenant(t.Context(), "acme", 1<<40); err != nil {
		t.Fatal(err)
	}
	measure(t, client, c)
	small := measure(t, client, c)
	const dead = 500
	memory := used(t, client)
	for range dead {
		if b, err := node().Balance(t.Context(), "acme"); err != nil || b.Outcome != budget.Found {
			t.Fatal(b, err)
		}
	}
	t.Logf("%.0f bytes a session", float64(used(t, client)-memory)/dead)
	flat(t, "500 dead sessions", small, measure(t, client, c))
	if n := sessions(t, client); n != dead+1 {
		t.Fatalf("%d sessions, want %d", n, dead+1)
	}
	days.Store(8)
	for range 20 { // each batch takes a bounded number of them along
		if _, err := c.Balance(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
	}
	if n := sessions(t, client); n != 1 {
		t.Errorf("%d sessions are left, want the one that is used", n)
	}
	checkLaw(t, client, []budget.TenantID{"acme"})
}

func sessions(t *testing.T, client *redis.Client) (n int) {
	t.Helper()
	fields, err := client.HKeys(t.Context(), "bursar:{acme}:books").Result()
	must(t, err)
	for _, field := range fields {
		if field[0] == 's' {
			n++
		}
	}
	return n
}

func used(t *testing.T, client *redis.Client) int64 {
	t.Helper()
	n, err := strconv.ParseInt(client.InfoMap(t.Context(), "memory").Item("Memory", "used_memory"), 10, 64)
	must(t, err)
	return n
}
