package coordinator

import (
	"fmt"
	"strconv"
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

// evict makes Redis evict the timers of acme's partition, and restores other keys that
// were evicted with them. allkeys-random takes any key, so it may need several attempts.
// No node may be at work.
func evict(t *testing.T, client *redis.Client) {
	t.Helper()
	ctx := t.Context()
	set := func(name, value string) {
		t.Helper()
		if err := client.ConfigSet(ctx, name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	keys := client.Keys(ctx, "*").Val()
	dumps := make(map[string]string)
	for _, key := range keys {
		dumps[key] = client.Dump(ctx, key).Val()
	}
	set("maxmemory-policy", "allkeys-random")
	for range 200 {
		used, err := strconv.ParseInt(client.InfoMap(ctx, "memory").Item("Memory", "used_memory"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		set("maxmemory", strconv.FormatInt(used-100_000, 10))
		for client.DBSize(ctx).Val() == int64(len(keys)) {
			time.Sleep(time.Millisecond)
		}
		set("maxmemory", "0")
		timers := client.Exists(ctx, acmeTimers).Val()
		for _, key := range keys {
			if key == acmeTimers && timers == 0 || client.Exists(ctx, key).Val() == 1 {
				continue
			}
			if err := client.Restore(ctx, key, 0, dumps[key]).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if timers == 0 {
			return
		}
	}
	t.Fatal("the timers were never evicted")
}

// The next batch notices timers that were deleted or evicted. They are rebuilt from the
// ledger in steps, while callers work on, and every hold ends at its deadline.
func TestLostTimersAreRebuiltUnderLoad(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, client *redis.Client){
		"deleted": func(t *testing.T, client *redis.Client) { client.Del(t.Context(), acmeTimers) },
		"evicted": evict,
	} {
		for _, due := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, due %v", name, due), func(t *testing.T) {
				t.Parallel()
				loseTimers(t, lose, due)
			})
		}
	}
}

// loseTimers loses the timers of 10,000 open holds that are due at that time, or later.
func loseTimers(t *testing.T, lose func(*testing.T, *redis.Client), due bool) {
	t.Helper()
	const holds, fields = 10_000, 500 // fields of a page, see rebuild.lua
	server, clock, log := redistest.Start(t), newTick(), &logRecorder{}
	client := server.Client()
	c, reader, _ := telemetered(t, server, log.option(), WithClock(clock.now), WithCallTimeout(time.Minute))
	other := neighbour("acme")
	ensure(t, c, "acme", holds)
	ensure(t, c, other, 1<<55)
	spread(256, holds, func(int) { reserve(t, c, 1) })

	lose(t, client)
	if due {
		clock.advance(budget.DefaultHoldTTL)
	}
	scans := commandCalls(t, client, "hscan")
	var load sync.WaitGroup
	defer load.Wait()
	load.Go(func() {
		spread(64, 64*50, func(int) {
			if err := cycle(c, other); err != nil {
				t.Error(err)
			}
		})
	})
	if due {
		reserve(t, c, holds) // needs the money of all of them
	} else if b, err := c.Balance(t.Context(), "acme"); err != nil || b.Reserved != holds {
		t.Errorf("%+v, %v; want all holds open", b, err)
	}
	load.Wait()
	eventually(t, "the timers are rebuilt", func() bool { return strings.Contains(log.text(), "timers rebuilt") })
	log.loggedOnce(t, fmt.Sprintf(`msg="bursar: timers lost" partition=%d`, acmePartition))
	log.loggedOnce(t, "timers rebuilt")
	if got, _ := read(t, reader); got.of("bursar.timers.lost") != 1 {
		t.Errorf("bursar.timers.lost is %d, want 1", got.of("bursar.timers.lost"))
	}
	if n := commandCalls(t, client, "hscan") - scans; n < holds/(2*fields) {
		t.Errorf("rebuilt in %d steps, want pages of about %d fields", n, fields)
	}
	if !due {
		clock.advance(budget.DefaultHoldTTL)
		reserve(t, c, holds)
	}
	accounts := audit(t, client)
	if a := accounts["acme"]; a.Balance.Reserved != holds || len(a.Holds) != 1 {
		t.Errorf("%d held in %d holds, want one hold of %d", a.Balance.Reserved, len(a.Holds), holds)
	}
}

// A partition whose ledger is gone is lost: its calls fail, no node creates it again, and
// other partitions work on.
func TestLostLedgerStopsOnlyItsPartition(t *testing.T) {
	t.Parallel()
	server, log := redistest.Start(t), &logRecorder{}
	client := server.Client()
	c, reader, _ := telemetered(t, server, log.option())
	other, far := neighbour("acme"), elsewhere("acme")
	ensure(t, c, "acme", 1<<40)
	ensure(t, c, other, 1<<40)
	ensure(t, c, far, 1<<40)
	reserve(t, c, 1)
	var cycles atomic.Int64
	var stopped atomic.Bool
	var load sync.WaitGroup
	load.Go(func() {
		for !stopped.Load() {
			if err := cycle(c, far); err != nil {
				t.Errorf("in another partition: %v", err)
			}
			cycles.Add(1)
		}
	})
	eventually(t, "a load", func() bool { return cycles.Load() > 10 })
	client.Del(t.Context(), acmeLedger)
	for _, tenant := range []budget.TenantID{"acme", other} {
		_, err := c.TryReserve(t.Context(), tenant, 1)
		wantErr(t, "TryReserve", err, ErrGap)
		_, err = c.EnsureTenant(t.Context(), tenant, 5)
		wantErr(t, "EnsureTenant", err, ErrRecreated)
	}
	seen := cycles.Load()
	eventually(t, "the load continues", func() bool { return cycles.Load() > seen+10 })
	stopped.Store(true)
	load.Wait()
	log.loggedOnce(t, "partition lost or recreated")
	if got, _ := read(t, reader); got.of("bursar.gaps") != 1 || got.of("bursar.timers.lost") != 0 {
		t.Errorf("bursar.gaps is %d and bursar.timers.lost is %d, want 1 and 0", got.of("bursar.gaps"), got.of("bursar.timers.lost"))
	}
	if keys := client.Exists(t.Context(), acmeLedger).Val(); keys != 0 {
		t.Error("the ledger was created again")
	}
	keys := store.KeysOf("bursar", DefaultPartitions, store.PartitionOf(far, DefaultPartitions))
	if client.Exists(t.Context(), keys.Ledger, keys.Timers).Val() != 2 {
		t.Error("the other partition is not whole")
	}
}
