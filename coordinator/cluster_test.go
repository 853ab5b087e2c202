package coordinator

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

func TestClusterHasPartitionsOnEveryMasterAndMovesTheirSlots(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	client := cluster.Client()
	c := node(t, client)
	const tenants = 96
	for i := range tenants {
		ensure(t, c, numbered("tenant", i), 1<<40)
	}
	var masters atomic.Int64
	err := client.ForEachMaster(t.Context(), func(ctx context.Context, master *redis.Client) error {
		if master.DBSize(ctx).Val() > 0 {
			masters.Add(1)
		}
		return nil
	})
	if err != nil || masters.Load() != 3 {
		t.Fatalf("partitions on %d masters, %v; want 3", masters.Load(), err)
	}

	// Slots move while callers work, which delays calls but causes no errors.
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var committed [tenants]atomic.Int64
	for k := range 8 {
		wg.Go(func() {
			for i := k; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				tenant := numbered("tenant", i%tenants)
				r, err := c.TryReserve(t.Context(), tenant, 10)
				if err != nil || r.Outcome != budget.Reserved {
					t.Errorf("%s: %+v, %v", tenant, r, err)
					return
				}
				if s, err := c.Commit(t.Context(), r.ID, 7); err != nil || s.Outcome != budget.Committed {
					t.Errorf("%s: %+v, %v", tenant, s, err)
					return
				}
				committed[i%tenants].Add(7)
			}
		})
	}
	for i := range 4 {
		movePartition(t, cluster, store.KeysOf("bursar", DefaultClusterPartitions, i).Ledger)
	}
	close(stop)
	wg.Wait()
	for i := range committed {
		tenant := numbered("tenant", i)
		if got := audit(t, client)[tenant].Balance.Committed; int64(got) != committed[i].Load() {
			t.Errorf("%s: committed %d, acknowledged %d", tenant, got, committed[i].Load())
		}
	}
}

// movePartition moves a partition's slot to another master, one key at a time, so that
// for a while each master has one of its two keys.
func movePartition(t *testing.T, cluster *redistest.Cluster, ledger string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	slot, err := cluster.Slot(ctx, ledger)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := cluster.Owner(ctx, slot)
	if err != nil {
		t.Fatal(err)
	}
	target := cluster.Masters()[0]
	if target == owner {
		target = cluster.Masters()[1]
	}
	migration, err := cluster.BeginMigration(ctx, slot, target)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := migration.Keys(ctx, 10)
	if err != nil || len(keys) != 2 {
		t.Fatalf("keys in the slot of %s: %v, %v", ledger, keys, err)
	}
	for _, key := range keys {
		if err := migration.Move(ctx, key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // callers get TRYAGAIN, then ASK
	}
	if err := migration.Finish(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestClusterIsInspected(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	inspected := func(client redis.UniversalClient, want int) []Check {
		t.Helper()
		checks, err := Inspect(t.Context(), client)
		if err != nil || len(checks) != want {
			t.Fatalf("%d checks, %v; want %d", len(checks), err, want)
		}
		return checks
	}
	servers := make(map[string]bool)
	for _, check := range inspected(cluster.Client(), 3*len(checkNames)) {
		servers[check.Server] = true
		if check.Status == CheckFailed || check.Server == "" {
			t.Errorf("%+v", check)
		}
	}
	if len(servers) != 3 {
		t.Errorf("servers %v", servers)
	}
	if err := node(t, cluster.Client()).Ready(t.Context()); err != nil {
		t.Errorf("not ready: %v", err)
	}

	o := cluster.Options()
	o.ReadOnly = true
	readOnly := redis.NewClusterClient(o)
	t.Cleanup(func() { readOnly.Close() })
	if check := inspected(readOnly, 3*len(checkNames))[3]; check.Name != "topology" || check.Status != CheckWarning || !strings.Contains(check.Remedy, "leave out ReadOnly") {
		t.Errorf("%+v", check)
	}

	single := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{redistest.Start(t).Addr()}})
	t.Cleanup(func() { single.Close() })
	if check := inspected(single, 1)[0]; check.Name != "topology" || !strings.Contains(check.Remedy, "NewClient") {
		t.Errorf("%+v", check)
	}
	unreachable := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, MaxRedirects: 1, DialerRetries: 1})
	t.Cleanup(func() { unreachable.Close() })
	refusedStart(t, unreachable, ErrUnavailable, "masters cannot be found")

	poor := redistest.Start(t, redistest.WithConfig("cluster-enabled yes"), redistest.WithUser("poor", "secret", "~bursar:*", "+@all", "-cluster"))
	withoutRights := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{poor.Addr()}, Username: "poor", Password: "secret"})
	t.Cleanup(func() { withoutRights.Close() })
	refusedStart(t, withoutRights, ErrUnfit, "CLUSTER SLOTS")
}
