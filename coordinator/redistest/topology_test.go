//go:build unix

package redistest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestReplicaCountsForWrites(t *testing.T) {
	t.Parallel()
	primary := Start(t, WithPassword("secret"), WithConfig("min-replicas-to-write 1"))
	client := primary.Client()
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOREPLICAS") {
		t.Fatalf("a write without replicas: %v, want NOREPLICAS", err)
	}
	replica := StartReplica(t, primary)
	if role, err := client.Do(t.Context(), "ROLE").Slice(); err != nil || len(role[2].([]any)) != 1 {
		t.Fatalf("the primary reports %v (%v), want one replica", role, err)
	}
	conn := client.Conn()
	defer conn.Close()
	check(t, conn.Set(t.Context(), "k", "v", 0).Err())
	if got, err := conn.Do(t.Context(), "WAIT", 1, 5000).Int(); err != nil || got != 1 {
		t.Fatalf("WAIT counts %d replicas, %v", got, err)
	}
	if got := replica.Client().Get(t.Context(), "k"); got.Val() != "v" {
		t.Errorf("the replica's GET: %v", got)
	}
	if err := replica.Client().Set(t.Context(), "k", "w", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "READONLY") {
		t.Errorf("a write to the replica: %v, want READONLY", err)
	}
}

func TestSentinelsFailOver(t *testing.T) {
	t.Parallel()
	primary := Start(t, WithPassword("secret"))
	replica := StartReplica(t, primary)
	sentinels := StartSentinels(t, primary, 3)
	client := sentinels.Client()
	check(t, client.Set(t.Context(), "k", "v", 0).Err())
	check(t, sentinels.AwaitPrimary(t.Context(), primary))
	check(t, client.Wait(t.Context(), 1, 0).Err())

	primary.Kill()
	check(t, sentinels.AwaitPrimary(t.Context(), replica))
	check(t, await(t.Context(), "a write after the failover", func() error {
		return client.Set(t.Context(), "k2", "v", 0).Err()
	}))
	if got := replica.Client().Exists(t.Context(), "k2"); got.Val() != 1 {
		t.Errorf("the promoted replica has no k2: %v", got)
	}
}

func TestOneSentinel(t *testing.T) {
	t.Parallel()
	primary := Start(t)
	sentinels := StartSentinels(t, primary, 1)
	check(t, sentinels.Client().Set(t.Context(), "k", "v", 0).Err())
	if _, err := SpawnSentinels(t.Context(), primary, 0); err == nil {
		t.Error("0 Sentinels were started")
	}
}

func TestClusterServesAllSlots(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, WithPassword("secret"))
	client := c.Client()
	for i := range 64 {
		check(t, client.Set(t.Context(), fmt.Sprint("key", i), i, 0).Err())
	}
	if len(c.Masters()) != 3 || len(c.Addrs()) != 3 || len(c.Replicas()) != 0 {
		t.Fatalf("%d masters of %d nodes, want 3 of 3", len(c.Masters()), len(c.Addrs()))
	}
	for _, s := range c.Masters() {
		if n, err := s.Client().DBSize(t.Context()).Result(); err != nil || n == 0 {
			t.Errorf("the master at %s has %d keys, %v", s.Addr(), n, err)
		}
	}

	killed := c.Masters()[0]
	killed.Kill()
	check(t, killed.Restart(t.Context()))
	check(t, c.AwaitReady(t.Context()))
	for i := range 64 {
		check(t, client.Set(t.Context(), fmt.Sprint("key", i), i, 0).Err())
	}
}

func TestSlotMigrates(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, WithPassword("secret"))
	client := c.Client()
	keys := []string{"{acme}a", "{acme}b", "{acme}c"}
	for _, key := range keys {
		check(t, client.Set(t.Context(), key, key, 0).Err())
	}
	slot, err := c.Slot(t.Context(), keys[0])
	check(t, err)
	from, err := c.Owner(t.Context(), slot)
	check(t, err)
	to := c.Masters()[(slices.Index(c.Masters(), from)+1)%3]

	m, err := c.BeginMigration(t.Context(), slot, to)
	check(t, err)
	check(t, m.Move(t.Context(), keys[0]))
	left, err := m.Keys(t.Context(), 10)
	check(t, err)
	if slices.Sort(left); !slices.Equal(left, keys[1:]) {
		t.Errorf("%v are left after one has moved", left)
	}
	expectMiddle(t, from, keys)
	if got := client.Get(t.Context(), keys[0]); got.Val() != keys[0] {
		t.Errorf("the cluster client does not follow ASK: %v", got)
	}
	check(t, m.Finish(t.Context()))

	if owner, err := c.Owner(t.Context(), slot); err != nil || owner != to {
		t.Errorf("the slot belongs to %v after its move, %v", owner, err)
	}
	if err := from.Client().Get(t.Context(), keys[0]).Err(); err == nil || !strings.HasPrefix(err.Error(), "MOVED") {
		t.Errorf("the old owner answers %v, want MOVED", err)
	}
	for _, key := range keys {
		if got := client.Get(t.Context(), key); got.Val() != key {
			t.Errorf("after the move: %v", got)
		}
	}
	check(t, c.MigrateSlot(t.Context(), slot, from)) // moves the slot back in one call
	check(t, from.Client().Get(t.Context(), keys[0]).Err())
}

// expectMiddle checks the replies of the source while its slot migrates: keys[0] has moved,
// keys[1] has not.
func expectMiddle(t *testing.T, from *Server, keys []string) {
	t.Helper()
	source := from.Client()
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"a key that has moved": {source.Get(t.Context(), keys[0]).Err(), "ASK"},
		"a key that has not":   {source.Get(t.Context(), keys[1]).Err(), ""},
		"both":                 {source.MGet(t.Context(), keys[0], keys[1]).Err(), "TRYAGAIN"},
	} {
		if tc.want == "" && tc.err == nil {
			continue
		}
		if tc.err == nil || tc.want == "" || !strings.HasPrefix(tc.err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, tc.err, tc.want)
		}
	}
}

func TestMigrationCanBeCancelledAndRefused(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, WithMasters(2))
	first, second := c.Masters()[0], c.Masters()[1]
	m, err := c.BeginMigration(t.Context(), 0, second)
	check(t, err)
	check(t, m.Cancel(t.Context()))
	if owner, err := c.Owner(t.Context(), 0); err != nil || owner != first {
		t.Errorf("the slot belongs to %v after the cancel, %v", owner, err)
	}
	check(t, forEach(c.Masters(), func(client *redis.Client) error {
		if nodes := client.ClusterNodes(t.Context()).Val(); strings.Contains(nodes, "[0-") {
			return fmt.Errorf("a slot is still open:\n%s", nodes)
		}
		return nil
	}))
	if _, err := c.BeginMigration(t.Context(), 0, first); err == nil {
		t.Error("a slot was moved to its own master")
	}
	if err := c.MigrateSlot(t.Context(), slotCount, second); err == nil {
		t.Error("a nonexistent slot was moved")
	}
}

func TestClusterReplicaTakesOver(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, WithReplicas(1), WithConfig("cluster-node-timeout 1000"))
	options := c.Options()
	options.ClusterStateReloadInterval = 100 * time.Millisecond // by default the client notices after a minute
	client := redis.NewClusterClient(options)
	defer client.Close()
	check(t, client.Set(t.Context(), "k", "v", 0).Err())
	slot, err := c.Slot(t.Context(), "k")
	check(t, err)
	master, err := c.Owner(t.Context(), slot)
	check(t, err)
	promoted := c.Replicas()[slices.Index(c.Masters(), master)]

	master.Kill()
	check(t, await(t.Context(), "the replica to take over", func() error {
		if owner, err := c.Owner(t.Context(), slot); err != nil || owner != promoted {
			return fmt.Errorf("owner %v, %w", owner, err)
		}
		return nil
	}))
	check(t, await(t.Context(), "a read after the failover", func() error {
		return client.Get(t.Context(), "k").Err()
	}))
	check(t, master.Restart(t.Context()))
	check(t, c.AwaitReady(t.Context()))
}
