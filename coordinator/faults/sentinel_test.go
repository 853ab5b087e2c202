//go:build faults

package faults

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// Sentinel promotes a replica that was in step: the load continues, and nothing takes
// effect twice.
func TestSentinelFailoverInStep(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary)
	sentinels := redistest.StartSentinels(t, primary, 3)
	f := start(t, sentinels.Client(), 2, workload{Addrs: sentinels.Addrs(), Sentinel: redistest.SentinelName, Timeout: 20 * time.Second})
	f.awaitCommits(200)
	if f.inFlight() == 0 {
		t.Error("no operation was in flight")
	}
	primary.Kill()
	killed := time.Now()
	must(t, sentinels.AwaitPrimary(t.Context(), replica))
	f.awaitCommits(200)
	t.Logf("200 commits %s after the kill", time.Since(killed).Round(time.Millisecond))
	f.stop()
	f.noFailure()
	// The replica may not have received the primary's last acknowledged writes.
	f.check(replica.Client(), repaired)
}

// Sentinel promotes a replica that lagged.
func TestSentinelFailoverThatLagged(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	sentinels := redistest.StartSentinels(t, p.primary, 3)
	f := start(t, sentinels.Client(), 2, workload{Addrs: sentinels.Addrs(), Sentinel: redistest.SentinelName, Timeout: 20 * time.Second})
	f.awaitCommits(100)
	p.lag()
	f.awaitCommits(200)
	p.primary.Kill()
	must(t, sentinels.AwaitPrimary(t.Context(), p.replica))
	f.awaitCommits(200)
	f.stop()
	f.check(p.replica.Client(), repaired)
	if f.gaps() == 0 {
		t.Error("no node noticed")
	}
	if n := f.lostCommits(stored(t, p.replica.Client())); n > 0 {
		t.Errorf("%d commits acknowledged to living nodes are lost", n)
	}
}

// Two failovers in a row, each to a replica that lagged, the second while the first is
// being repaired; and late duplicates reach the last promoted primary.
func TestFailoversInARow(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]int{"one after the other": 100, "the second during the repair": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			second := redistest.StartReplica(t, p.replica, redistest.WithConfig("masteruser replica", "masterauth secret"))
			f := start(t, p.primary.Client(), 2, workload{Addrs: []string{p.proxy.addr()}, Timeout: 300 * time.Millisecond})
			f.awaitCommits(100)
			p.lag()
			p.proxy.fault.Store(int32(repeatLater))
			f.awaitCommits(200)
			p.proxy.fault.Store(int32(healthy))
			p.promote()
			chain := &pair{t: t, primary: p.replica, replica: second, proxy: p.proxy}
			if between > 0 {
				f.awaitCommits(between)
				chain.lag()
				f.awaitCommits(between)
			} else {
				f.await("the first repair", 10*time.Second, func() bool { return merged(t, p.replica) })
			}
			chain.promote()
			late := p.proxy.redeliver()
			f.awaitCommits(200)
			f.stop()
			if late == 0 {
				t.Error("no late duplicates")
			}
			f.check(second.Client(), repaired)
			if n := f.lostCommits(stored(t, second.Client())); n > 0 {
				t.Errorf("%d commits acknowledged to living nodes are lost", n)
			}
			t.Logf("%d late duplicates, %d gaps", late, f.gaps())
		})
	}
}

// merged reports whether a server was sent the merge script.
func merged(t *testing.T, server *redistest.Server) bool {
	t.Helper()
	script := luascripts.Compose(luascripts.Redis).Merge
	known, err := server.Client().ScriptExists(context.Background(), script.SHA).Result()
	must(t, err)
	return known[0]
}

// If others have spent the same money, a repair leaves a debt and reports it.
func TestDebt(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	f := &fleet{t: t, load: workload{HoldTTL: time.Minute}}
	ctx := t.Context()
	opts := &redis.Options{Addr: p.proxy.addr(), DialTimeout: time.Second}
	a, b := f.node(newClient(t, opts)), f.node(newClient(t, opts))
	if _, err := a.EnsureTenant(ctx, "acme", 100); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Balance(ctx, "acme"); err != nil {
		t.Fatal(err)
	}
	p.lag()
	first, err := a.TryReserve(ctx, "acme", 80)
	must(t, errors.Join(err, first.Err()))
	s, err := a.Commit(ctx, first.ID, 80)
	must(t, errors.Join(err, s.Err()))
	p.promote()
	second, err := b.TryReserve(ctx, "acme", 70) // the promoted replica doesn't have the 80
	must(t, errors.Join(err, second.Err()))
	if r, err := a.Remaining(ctx, "acme"); err != nil || r.Remaining != 0 {
		t.Errorf("remaining: %+v, %v", r, err)
	}
	got, err := a.Balance(ctx, "acme")
	if err != nil || got.Remaining != -50 || got.Committed != 80 || got.Reserved != 70 || got.Debt() != 50 {
		t.Errorf("%+v, %v; want a debt of 50", got, err)
	}
	if r, err := b.TryReserve(ctx, "acme", 1); err != nil || r.Outcome != budget.Insufficient || r.Remaining != 0 {
		t.Errorf("a reserve in debt: %+v, %v", r, err)
	}
	if _, err := b.Grant(ctx, "acme", 60); err != nil {
		t.Fatal(err)
	}
	if r, err := b.TryReserve(ctx, "acme", 10); err != nil || r.Outcome != budget.Reserved {
		t.Errorf("after the debt was paid: %+v, %v", r, err)
	}
	checkBalances(t, p.replica.Client(), []budget.TenantID{"acme"})
}
