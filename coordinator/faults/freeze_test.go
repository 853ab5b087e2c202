//go:build faults

package faults

import (
	"context"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// Redis is frozen for five seconds: callers get their own deadlines, and everything
// recovers, with all unknown outcomes resolved within two seconds.
func TestFrozenRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := start(t, server.Client(), 2, workload{Addrs: []string{server.Addr()}, Timeout: 200 * time.Millisecond})
	for range 2 {
		f.frozen(5*time.Second, func() { must(t, server.Pause()) }, func() { must(t, server.Resume()) })
	}
	f.stop()
	f.check(server.Client(), nothingLost)
}

// A script that blocks Redis is like a freeze, except that Redis replies BUSY.
func TestBusyRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("busy-reply-threshold 50"))
	f := start(t, server.Client(), 2, workload{Addrs: []string{server.Addr()}, Timeout: 200 * time.Millisecond})
	blocker := server.Options()
	blocker.MaxRetries, blocker.ReadTimeout = -1, time.Minute
	f.frozen(2*time.Second, func() {
		client := newClient(t, blocker)
		go client.Eval(context.Background(), "local n = 0 while true do n = n + 1 end", nil)
	}, func() {
		must(t, server.Client().ScriptKill(context.Background()).Err())
	})
	f.stop()
	f.check(server.Client(), nothingLost)
}

// frozen freezes Redis, and checks the callers' latencies and the recovery.
func (f *fleet) frozen(lasting time.Duration, freeze, thaw func()) {
	f.t.Helper()
	f.awaitCommits(200)
	freeze()
	f.awaitUnknown()
	began := time.Now()
	time.Sleep(lasting)
	late := f.count(func(e event) bool {
		return e.Op != "close" && e.Began > began.UnixNano() && time.Duration(e.Ended-e.Began) > f.load.Timeout+500*time.Millisecond
	})
	if late > 0 {
		f.t.Errorf("%d callers got their answer more than half a second after their deadline", late)
	}
	thaw()
	thawed := time.Now()
	f.awaitCommits(100)
	f.t.Logf("100 commits within %s of the recovery", time.Since(thawed).Round(time.Millisecond))
	if since := time.Since(thawed); since > 5*time.Second {
		f.t.Errorf("the recovery took %s", since)
	}
}

// One frozen shard of three affects no other.
func TestFrozenShard(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, redistest.WithMasters(3), redistest.WithConfig("cluster-node-timeout 30000"))
	f := start(t, cluster.Client(), 2, workload{Addrs: cluster.Addrs(), Cluster: true, Tenants: tenants(24), Timeout: 200 * time.Millisecond})
	frozen := make(map[budget.TenantID]bool)
	for _, tenant := range f.load.Tenants {
		owner, err := cluster.Owner(t.Context(), slotOf(t, cluster, tenant))
		must(t, err)
		frozen[tenant] = owner == cluster.Masters()[0]
	}
	elsewhere := func(e event) bool { return !frozen[e.Tenant] && e.Op == "reserve" && e.Ended > 0 }
	before := f.count(elsewhere)
	failed := f.count(func(e event) bool { return elsewhere(e) && e.Failure != "" })
	must(t, cluster.Masters()[0].Pause())
	f.awaitUnknown()
	time.Sleep(5 * time.Second)
	after := f.count(elsewhere)
	failures := f.count(func(e event) bool { return elsewhere(e) && e.Failure != "" }) - failed
	must(t, cluster.Masters()[0].Resume())
	f.awaitCommits(200)
	f.stop()
	if failures > 0 || after-before < 100 {
		t.Errorf("on the other shards %d of %d reserves failed while one was frozen", failures, after-before)
	}
	t.Logf("%d reserves on the other shards while one was frozen, %d failed", after-before, failures)
	f.check(cluster.Client(), nothingLost)
}
