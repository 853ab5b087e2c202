//go:build faults

package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// Redis comes back empty: living nodes return errors, new ones find no tenant, and no
// node creates a budget again.
func TestRedisComesBackEmpty(t *testing.T) {
	t.Parallel()
	for name, empty := range map[string]func(t *testing.T, server *redistest.Server){
		"restart without persistence": func(t *testing.T, server *redistest.Server) {
			server.Kill()
			must(t, server.Restart(t.Context()))
		},
		"FLUSHALL": func(t *testing.T, server *redistest.Server) { must(t, server.Client().FlushAll(t.Context()).Err()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.WithConfig(`save ""`))
			f := start(t, server.Client(), 2, workload{Addrs: []string{server.Addr()}, Timeout: 300 * time.Millisecond, Ensure: true})
			f.awaitCommits(100)
			inFlight := f.inFlight()
			empty(t, server)
			gap := func(e event) bool { return e.Failure == "gap" || e.Failure == "recreated" }
			f.await("gaps", 20*time.Second, func() bool {
				return f.workers[0].count(gap) > 20 && f.workers[1].count(gap) > 20
			})
			if n := server.Client().DBSize(t.Context()).Val(); n != 0 {
				t.Errorf("%d keys came into being", n)
			}
			fresh := f.node(server.Client())
			if r, err := fresh.TryReserve(t.Context(), f.load.Tenants[0], 1); err != nil || r.Outcome != budget.MissingTenant {
				t.Errorf("a new node: %+v, %v; want missing_tenant", r, err)
			}
			// An operator recreates one tenant; the living nodes do not accept it.
			if _, err := fresh.EnsureTenant(t.Context(), f.load.Tenants[0], 5); err != nil {
				t.Fatal(err)
			}
			recreated := func(e event) bool {
				return e.Failure == "recreated" && e.Op == "reserve" && e.Tenant == f.load.Tenants[0]
			}
			f.await("nodes that noticed", 20*time.Second, func() bool {
				return f.workers[0].count(recreated) > 3 && f.workers[1].count(recreated) > 3
			})
			f.stop()
			if inFlight == 0 {
				t.Error("no operation was in flight")
			}
			for _, tenant := range f.load.Tenants[1:] {
				if r, err := fresh.Balance(t.Context(), tenant); err != nil || r.Outcome != budget.MissingTenant {
					t.Errorf("%s: %+v, %v; a node created it", tenant, r, err)
				}
			}
			if b, err := fresh.Balance(t.Context(), f.load.Tenants[0]); err != nil || b.Granted != 5 || b.Remaining != 5 {
				t.Errorf("%+v, %v", b, err)
			}
		})
	}
}

// The last part of the append-only file is gone, as after a power failure: the loss is
// noticed, and restored by the nodes that got the acknowledgements.
func TestCutAOF(t *testing.T) {
	t.Parallel()
	for _, cut := range []int64{1, 100, 5_000, 40_000} {
		server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always", "aof-load-truncated yes"))
		f := start(t, server.Client(), 2, workload{Addrs: []string{server.Addr()}, Timeout: 100 * time.Millisecond})
		f.awaitCommits(300)
		f.killInFlight(server)
		shorten(t, server, cut)
		must(t, server.Restart(t.Context()))
		f.awaitCommits(200)
		f.stop()
		f.check(server.Client(), repaired)
		t.Logf("%d bytes cut: %d gaps were reported, %d commits lost", cut, f.gaps(), f.lostCommits(stored(t, server.Client())))
		if cut >= 5_000 && f.gaps() == 0 {
			t.Errorf("%d bytes are gone, but no node reported a gap", cut)
		}
	}
}

// shorten cuts bytes off the newest part of the append-only file.
func shorten(t *testing.T, server *redistest.Server, bytes int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(server.Dir(), "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	info, err := os.Stat(files[0])
	must(t, err)
	if info.Size() < 2*bytes {
		t.Fatalf("%s has %d bytes; cannot cut %d", files[0], info.Size(), bytes)
	}
	must(t, os.Truncate(files[0], info.Size()-bytes))
}

// An old snapshot is restored while nodes use Redis.
func TestOldSnapshot(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig(`save ""`))
	f := start(t, server.Client(), 2, workload{Addrs: []string{server.Addr()}, Timeout: 100 * time.Millisecond})
	f.awaitCommits(100)
	must(t, server.Client().Save(t.Context()).Err())
	f.awaitCommits(200)
	f.killInFlight(server)
	must(t, server.Restart(t.Context()))
	f.awaitCommits(200)
	f.stop()
	f.check(server.Client(), repaired)
	if f.gaps() == 0 {
		t.Error("no node reported a gap")
	}
	if n := f.lostCommits(stored(t, server.Client())); n > 0 {
		t.Errorf("%d commits acknowledged to living nodes are lost", n)
	}
}

// Timers are deleted repeatedly under load: nodes rebuild them, callers see no error, and
// a hold that is never settled still ends at its deadline.
func TestTimersDeleted(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := start(t, server.Client(), 2, workload{Addrs: []string{server.Addr()}, Timeout: 10 * time.Second, LeaveOpen: 4, HoldTTL: 3 * time.Second})
	for range 5 {
		f.awaitCommits(100)
		if f.inFlight() == 0 {
			t.Error("no operation was in flight")
		}
		for _, keys := range inUse(t, server.Client()) {
			must(t, server.Client().Del(t.Context(), keys.Timers).Err())
		}
	}
	f.awaitCommits(100)
	f.stop()
	f.noFailure()
	for i, p := range f.workers {
		if !strings.Contains(p.log.String(), "timers lost") {
			t.Errorf("worker %d did not report lost timers", i)
		}
	}
	f.check(server.Client(), repaired) // the check of the order doesn't model expiry
	time.Sleep(f.load.HoldTTL)
	f.nothingHeld(server)
	f.check(server.Client(), repaired)
}
