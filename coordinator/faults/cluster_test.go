//go:build faults

package faults

import (
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/redistest"
)

// A Cluster's master is killed and its replica promoted: patient callers see latency, but
// no error.
func TestClusterMasterKilled(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, redistest.WithMasters(3), redistest.WithReplicas(1), redistest.WithConfig("cluster-node-timeout 1000"))
	f := start(t, cluster.Client(), 2, workload{Addrs: cluster.Addrs(), Cluster: true, Tenants: tenants(24), Timeout: 20 * time.Second, Roll: true})
	f.awaitCommits(200)
	cluster.Masters()[0].Kill()
	if f.inFlight() == 0 {
		t.Error("no operation was in flight")
	}
	killed := time.Now()
	f.await("an operation on the promoted master", 20*time.Second, func() bool {
		return f.count(func(e event) bool { return e.Ended-e.Began > int64(time.Second) && e.Failure == "" }) > 0
	})
	t.Logf("the first slow operation was answered %s after the kill", time.Since(killed).Round(time.Millisecond))
	f.awaitCommits(400)
	f.stop()
	if failed := f.count(func(e event) bool { return e.Failure != "" }); failed > 0 {
		t.Errorf("%d operations failed; callers that wait should see latency only", failed)
	}
	f.check(cluster.Client(), repaired)
}

// Slots move back and forth under load.
func TestSlotsMigrate(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, redistest.WithMasters(3))
	f := start(t, cluster.Client(), 2, workload{Addrs: cluster.Addrs(), Cluster: true, Tenants: tenants(4), Timeout: 10 * time.Second})
	for round := range 3 {
		for _, tenant := range f.load.Tenants {
			f.awaitCommits(30)
			slot := slotOf(t, cluster, tenant)
			owner, err := cluster.Owner(t.Context(), slot)
			must(t, err)
			to := cluster.Masters()[0]
			if to == owner {
				to = cluster.Masters()[1+round%2]
			}
			if f.inFlight() == 0 {
				t.Error("no operation was in flight")
			}
			m, err := cluster.BeginMigration(t.Context(), slot, to)
			must(t, err)
			f.awaitCommits(30)
			keys := keysOf(t, cluster.Client(), tenant)
			must(t, m.Move(t.Context(), keys.Timers))
			time.Sleep(50 * time.Millisecond) // the tenant's callers wait, eventually all of them
			must(t, m.Finish(t.Context()))
		}
	}
	f.awaitCommits(100)
	f.stop()
	if failed := f.count(func(e event) bool { return e.Failure != "" }); failed > 0 {
		t.Errorf("%d operations failed", failed)
	}
	f.check(cluster.Client(), nothingLost)
}
