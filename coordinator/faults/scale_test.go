//go:build faults

package faults

import (
	"fmt"
	"log/slog"
	"slices"
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

// cost is the cost of a decision to Redis.
type cost struct {
	commands float64 // commands that scripts call
	bytes    float64 // over the wire, both ways
	usec     float64 // of script time
}

func (c cost) String() string {
	return fmt.Sprintf("%.2f commands, %.0f bytes, %.0f µs a decision", c.commands, c.bytes, c.usec)
}

// measure lets one caller, whose batches carry one operation each, reserve and commit
// with each node in turns, and returns the cost of a decision on each node, the median of
// the turns. Taking turns spreads other load of the machine over all nodes.
func measure(t *testing.T, nodes ...measured) []cost {
	t.Helper()
	const turns, cycles = 15, 20
	took := make([][]cost, len(nodes))
	for range turns {
		for i, node := range nodes {
			took[i] = append(took[i], node.turn(t, cycles))
		}
	}
	costs := make([]cost, len(nodes))
	for i, turns := range took {
		median := func(of func(cost) float64) float64 {
			values := make([]float64, len(turns))
			for i, c := range turns {
				values[i] = of(c)
			}
			slices.Sort(values)
			return values[len(values)/2]
		}
		costs[i] = cost{
			commands: median(func(c cost) float64 { return c.commands }),
			bytes:    median(func(c cost) float64 { return c.bytes }),
			usec:     median(func(c cost) float64 { return c.usec }),
		}
	}
	return costs
}

// measured is a node and its Redis.
type measured struct {
	client *redis.Client
	*coordinator.Coordinator
}

func (m measured) turn(t *testing.T, cycles int) cost {
	t.Helper()
	before := meters(t, m.client)
	for range cycles {
		r, err := m.TryReserve(t.Context(), "acme", 10)
		if err != nil || r.Outcome != budget.Reserved {
			t.Fatal(r, err)
		}
		if s, err := m.Commit(t.Context(), r.ID, 7); err != nil || s.Outcome != budget.Committed {
			t.Fatal(s, err)
		}
	}
	after := meters(t, m.client)
	per := func(name string) float64 { return (after[name] - before[name]) / float64(2*cycles) }
	return cost{commands: per("commands"), bytes: per("bytes") - before["reply"]/float64(2*cycles), usec: per("usec")}
}

func meters(t *testing.T, client *redis.Client) map[string]float64 {
	t.Helper()
	info, err := client.Info(t.Context(), "commandstats", "stats").Result()
	must(t, err)
	m := map[string]float64{"reply": float64(len(info))} // included in the next reading of bytes
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

// grown creates the node's tenant and uses it until its ledger is a hash table.
func grown(t *testing.T, client *redis.Client, start func(*redis.Client) *coordinator.Coordinator) measured {
	t.Helper()
	node := measured{client, start(client)}
	if _, err := node.EnsureTenant(t.Context(), "acme", 1<<50); err != nil {
		t.Fatal(err)
	}
	node.turn(t, 600)
	return node
}

// flat fails if a decision of large costs noticeably more than one of small.
func flat(t *testing.T, what string, small, large measured) {
	t.Helper()
	costs := measure(t, small, large)
	t.Logf("%s: %s, without them %s", what, costs[1], costs[0])
	if costs[1].commands > 1.1*costs[0].commands+0.1 || costs[1].bytes > 1.15*costs[0].bytes || costs[1].usec > 3*costs[0].usec {
		t.Errorf("%s makes decisions more expensive", what)
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

// A decision costs the same however many holds are open, tenants exist and sessions are
// left behind.
func TestDecisionsStayFlat(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	f := &fleet{t: t, load: workload{HoldTTL: time.Hour}}
	node := func(client *redis.Client) *coordinator.Coordinator {
		return f.node(client, coordinator.WithMaxHolds(0))
	}
	large, small := grown(t, client, node), grown(t, redistest.Start(t).Client(), node)
	c := large.Coordinator
	ensure := func(tenant budget.TenantID) {
		if r, err := c.EnsureTenant(t.Context(), tenant, 1<<50); err != nil || r.Outcome != budget.Created {
			t.Error(r, err)
		}
	}
	const holds = 100_000
	memory := used(t, client)
	atOnce(holds, func(int) {
		if r, err := c.TryReserve(t.Context(), "acme", 1); err != nil || r.Outcome != budget.Reserved {
			t.Error(r, err)
		}
	})
	t.Logf("%.0f bytes a hold", float64(used(t, client)-memory)/holds)
	flat(t, "100,000 open holds", small, large)

	const others = 100_000
	memory = used(t, client)
	atOnce(others, func(i int) { ensure(budget.TenantID("tenant-" + strconv.Itoa(i))) })
	t.Logf("%.0f bytes a tenant", float64(used(t, client)-memory)/others)
	flat(t, "100,000 tenants", small, large)
	checkBalances(t, client, []budget.TenantID{"acme", "tenant-1", "tenant-100000"})
}

// Dead nodes leave their sessions, which cost only memory, and which expire.
func TestDeadSessionsGo(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	var days atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(days.Load()) * 24 * time.Hour) }
	node := func(client *redis.Client) *coordinator.Coordinator {
		c, err := coordinator.New(t.Context(), client, coordinator.WithLogger(slog.New(slog.DiscardHandler)), coordinator.WithClock(clock))
		must(t, err)
		return c
	}
	large, small := grown(t, client, node), grown(t, redistest.Start(t).Client(), node)
	c := large.Coordinator
	const dead = 500
	memory := used(t, client)
	for range dead {
		if b, err := node(client).Balance(t.Context(), "acme"); err != nil || b.Outcome != budget.Found {
			t.Fatal(b, err)
		}
	}
	t.Logf("%.0f bytes a session", float64(used(t, client)-memory)/dead)
	flat(t, "500 dead sessions", small, large)
	ledger := keysOf(t, client, "acme").Ledger
	if n := sessions(t, client, ledger); n != dead+1 {
		t.Fatalf("%d sessions, want %d", n, dead+1)
	}
	days.Store(8)
	for range 20 { // each batch removes a bounded number of them
		if _, err := c.Balance(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
	}
	if n := sessions(t, client, ledger); n != 1 {
		t.Errorf("%d sessions are left, want the one that is used", n)
	}
	checkBalances(t, client, []budget.TenantID{"acme"})
}

func used(t *testing.T, client *redis.Client) int64 {
	t.Helper()
	n, err := strconv.ParseInt(client.InfoMap(t.Context(), "memory").Item("Memory", "used_memory"), 10, 64)
	must(t, err)
	return n
}
