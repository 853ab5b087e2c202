//go:build faults

package faults

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// pair is a primary with a replica, behind a proxy that leads to the current primary.
type pair struct {
	t                *testing.T
	primary, replica *redistest.Server
	proxy            *proxy
}

func newPair(t *testing.T) *pair {
	t.Helper()
	user := redistest.WithUser("replica", "secret", "+psync", "+replconf", "+ping")
	primary := redistest.Start(t, user)
	replica := redistest.StartReplica(t, primary, user, redistest.WithConfig("masteruser replica", "masterauth secret"))
	return &pair{t: t, primary: primary, replica: replica, proxy: interpose(t, primary.Addr())}
}

// inStep waits until a replica has received all writes so far: right after its first
// synchronisation the primary may wait up to a second before it sends more.
func inStep(t *testing.T, primary, replica *redistest.Server) {
	t.Helper()
	target := offset(t, primary, "master_repl_offset")
	for began := time.Now(); offset(t, replica, "slave_repl_offset") < target; time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the replica does not follow")
		}
	}
}

// lag cuts the replica off from all further writes.
func (p *pair) lag() {
	p.t.Helper()
	ctx := context.Background()
	client := p.primary.Client()
	inStep(p.t, p.primary, p.replica)
	if err := client.Do(ctx, "acl", "setuser", "replica", "resetpass", ">other").Err(); err != nil {
		p.t.Fatal(err)
	}
	if err := client.Do(ctx, "client", "kill", "type", "replica").Err(); err != nil {
		p.t.Fatal(err)
	}
}

// offset returns a server's position in the stream of writes.
func offset(t *testing.T, server *redistest.Server, name string) int64 {
	t.Helper()
	info := server.Client().InfoMap(context.Background(), "replication").Item("Replication", name)
	n, err := strconv.ParseInt(info, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// promote kills the primary and promotes the replica.
func (p *pair) promote() {
	p.t.Helper()
	p.primary.Kill()
	if err := p.replica.Client().ReplicaOf(context.Background(), "no", "one").Err(); err != nil {
		p.t.Fatal(err)
	}
	p.proxy.lead(p.replica.Addr())
}

// lostCommits returns the number of acknowledged commits that Redis does not have.
func (f *fleet) lostCommits(state held) (n int) {
	for _, p := range f.workers {
		for _, e := range p.events {
			if e.Op == "commit" && e.Outcome == budget.Committed && !state.committed(e) {
				n++
			}
		}
	}
	return n
}

const (
	laggedFailovers  = 20
	rollingFailovers = 5 // of them with a boundary
)

// A replica that lagged is promoted. Without repair the commits that it had not received
// are gone; with repair every one is restored, since the two nodes that got the
// acknowledgements are still alive.
func TestLaggedFailovers(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]bool{"repair off": true, "repair on": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			counted, gone, most := 0, 0, 0
			for i := range laggedFailovers {
				n := laggedFailover(t, workload{NoRepair: off, Roll: i < rollingFailovers})
				gone += n
				most = max(most, n)
				if n > 0 {
					counted++
				}
			}
			t.Logf("%s: %d acknowledged commits lost in %d lagged failovers, at most %d in one", name, gone, laggedFailovers, most)
			if off && counted < laggedFailovers {
				t.Errorf("only %d of %d failovers lost something", counted, laggedFailovers)
			}
			if !off && gone > 0 {
				t.Errorf("%d commits acknowledged to a living node are lost", gone)
			}
		})
	}
}

// If many callers use one tenant a batch carries many operations, and each node restores
// all those that were acknowledged to it.
func TestLaggedFailoverOfAHotTenant(t *testing.T) {
	t.Parallel()
	for range 3 {
		hot := workload{Callers: 200, Pause: time.Nanosecond, Tenants: tenants(1), HoldTTL: 10 * time.Minute}
		if n := laggedFailover(t, hot); n > 0 {
			t.Errorf("%d commits acknowledged to a living node are lost", n)
		}
	}
}

func laggedFailover(t *testing.T, load workload) int {
	t.Helper()
	p := newPair(t)
	load.Addrs, load.Timeout = []string{p.proxy.addr()}, 300*time.Millisecond
	f := start(t, p.primary.Client(), 2, load)
	p.lag()
	f.awaitCommits(150)
	if f.inFlight() == 0 {
		t.Error("no operation was in flight")
	}
	p.promote()
	f.awaitCommits(150)
	f.stop()
	l := repaired
	if load.NoRepair {
		l = lost
	}
	f.check(p.replica.Client(), l)
	if load.Callers > 100 {
		batches := controlOf(t, p.replica.Client(), keysOf(t, p.replica.Client(), f.load.Tenants[0]).Ledger).Sequence
		answers := f.count(func(e event) bool { return e.Outcome != budget.Unknown })
		if uint64(answers) < 2*batches {
			t.Errorf("%d operations in %d batches: no batch was shared", answers, batches)
		}
	}
	return f.lostCommits(stored(t, p.replica.Client()))
}

// A freeze that the promoted replica had not received is repeated by its node, before it
// reserves again.
func TestLostFreezeIsRepeated(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	f := &fleet{t: t, load: workload{HoldTTL: 10 * time.Minute}}
	c := f.node(newClient(t, &redis.Options{Addr: p.proxy.addr()}))
	for _, tenant := range []budget.TenantID{"acme", "acme/key", "thawed"} {
		_, err := c.EnsureTenant(t.Context(), tenant, eachBudget)
		must(t, err)
	}
	p.lag()
	for _, change := range []func(context.Context, budget.TenantID) (budget.Configuration, error){c.FreezeTenant, c.UnfreezeTenant} {
		r, err := change(t.Context(), "thawed")
		must(t, errors.Join(err, r.Err()))
	}
	r, err := c.FreezeTenant(t.Context(), "acme")
	must(t, errors.Join(err, r.Err()))
	p.promote()
	f.await("the node to find the promoted replica", 20*time.Second, func() bool {
		b, err := c.Balance(t.Context(), "thawed")
		return err == nil && b.Outcome == budget.Found
	})
	if got, err := c.TryReserve(t.Context(), "acme/key", 1); err != nil || got.Outcome != budget.Frozen || got.Level != "acme" {
		t.Errorf("a reserve after the failover: %+v, %v", got, err)
	}
	if got, err := c.TryReserve(t.Context(), "thawed", 1); err != nil || got.Outcome != budget.Reserved {
		t.Errorf("a reserve of an account that was unfrozen before the failover: %+v, %v", got, err)
	}
}
