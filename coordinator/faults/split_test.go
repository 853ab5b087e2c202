//go:build faults

package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// Two primaries at once: one node stays with the old one. min-replicas-to-write bounds
// for how long the old one grants, and the repair brings both histories together; money
// that both spent is debt.
func TestSplitBrain(t *testing.T) {
	t.Parallel()
	const maxLag = 2 * time.Second
	primary := redistest.Start(t, redistest.WithConfig("min-replicas-to-write 1", "min-replicas-max-lag 2"))
	replica := redistest.StartReplica(t, primary)
	replication := interpose(t, primary.Addr())
	proxyHost, proxyPort, _ := strings.Cut(replication.addr(), ":")
	must(t, replica.Client().ReplicaOf(t.Context(), proxyHost, proxyPort).Err())
	direct, moved := interpose(t, primary.Addr()), interpose(t, primary.Addr())
	f := start(t, primary.Client(), 0, workload{Timeout: 300 * time.Millisecond})
	f.load.Addrs = []string{direct.addr()}
	old := f.spawn(1)
	f.load.Addrs = []string{moved.addr()}
	f.spawn(2)
	f.awaitCallers()
	f.awaitCommits(100)

	inStep(t, primary, replica)
	replication.fault.Store(int32(stall)) // the primary doesn't learn of the promotion
	must(t, replica.Client().ReplicaOf(t.Context(), "no", "one").Err())
	split := time.Now()
	moved.lead(replica.Addr())
	granted := func() int {
		return old.count(func(e event) bool { return e.Outcome == budget.Reserved && e.Began > split.UnixNano() })
	}
	last, since := 0, time.Now()
	for time.Since(since) < time.Second && time.Since(split) < 15*time.Second { // until it stops granting
		if n := granted(); n > last {
			last, since = n, time.Now()
		}
		time.Sleep(5 * time.Millisecond)
	}
	window := since.Sub(split)
	host, port, _ := strings.Cut(replica.Addr(), ":")
	must(t, primary.Client().ReplicaOf(t.Context(), host, port).Err())
	direct.lead(replica.Addr())
	f.awaitCommits(200)
	f.stop()
	t.Logf("the old primary granted %d reserves in %s after the split, with min-replicas-max-lag %s", last, window.Round(10*time.Millisecond), maxLag)
	if last == 0 {
		t.Error("nothing was granted on the old primary: the fault tested nothing")
	}
	// Redis counts a replica's lag in whole seconds of its clock, so that 2 s are over
	// after up to 3, and checks it once a second.
	if window > maxLag+2500*time.Millisecond {
		t.Errorf("the old primary granted for %s", window)
	}
	f.check(replica.Client(), repaired)
	if n := f.lostCommits(stored(t, replica.Client())); n > 0 {
		t.Errorf("%d commits acknowledged to living nodes are lost", n)
	}
}
