//go:build faults

package faults

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/redistest"
)

// SCRIPT FLUSH in a loop causes no error, neither in pipelines nor behind ASK.
func TestScriptFlush(t *testing.T) {
	t.Parallel()
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		f := start(t, server.Client(), 2, workload{Addrs: []string{server.Addr()}, Timeout: 10 * time.Second, Tenants: tenants(40), Callers: 32})
		flushing(t, []*redis.Client{server.Client()}, func() { f.awaitCommits(3000) })
		f.stop()
		f.noFailure()
		f.check(server.Client(), nothingLost)
	})
	t.Run("behind ASK", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.StartCluster(t, redistest.WithMasters(3))
		f := start(t, cluster.Client(), 2, workload{Addrs: cluster.Addrs(), Cluster: true, Tenants: tenants(6), Timeout: 10 * time.Second})
		var masters []*redis.Client
		for _, m := range cluster.Masters() {
			masters = append(masters, m.Client())
		}
		slot := slotOf(t, cluster, f.load.Tenants[0])
		owner, err := cluster.Owner(t.Context(), slot)
		must(t, err)
		to := cluster.Masters()[0]
		if to == owner {
			to = cluster.Masters()[1]
		}
		m, err := cluster.BeginMigration(t.Context(), slot, to)
		must(t, err)
		keys, err := m.Keys(t.Context(), 10)
		must(t, err)
		must(t, m.Move(t.Context(), keys...))
		flushing(t, masters, func() { f.awaitCommits(1000) })
		must(t, m.Finish(t.Context()))
		f.awaitCommits(100)
		f.stop()
		f.noFailure()
		f.check(cluster.Client(), nothingLost)
	})
}

// flushing flushes the scripts of every server repeatedly while run runs.
func flushing(t *testing.T, servers []*redis.Client, run func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int)
	go func() {
		n := 0
		for ctx.Err() == nil {
			for _, s := range servers {
				s.ScriptFlush(ctx)
				n++
			}
			time.Sleep(time.Millisecond)
		}
		done <- n
	}()
	run()
	cancel()
	if n := <-done; n < 50 {
		t.Errorf("only %d flushes", n)
	}
}

// A restart with an append-only file causes no error beyond the outage.
func TestRestartWithAOF(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always"))
	f := start(t, server.Client(), 2, workload{Addrs: []string{server.Addr()}, Timeout: 20 * time.Second})
	for range 3 {
		f.awaitCommits(200)
		if f.inFlight() == 0 {
			t.Error("no operation was in flight")
		}
		must(t, server.Stop())
		must(t, server.Restart(t.Context()))
	}
	f.awaitCommits(200)
	f.stop()
	f.noFailure()
	f.check(server.Client(), nothingLost)
}
