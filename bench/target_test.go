package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

func TestTenantNames(t *testing.T) {
	t.Parallel()
	names := tenantNames(11)
	if names[0] != "tenant-00" || names[10] != "tenant-10" || tenantNames(1)[0] != "tenant-0" {
		t.Errorf("%v", names)
	}
}

// onRedis is brief on a redis-server with keys of others: some that look like those of a
// bench, and a tenant with an open hold under the prefix "mine".
func onRedis(t *testing.T) (Config, *redis.Client, map[string]string) {
	t.Helper()
	server := redistest.Start(t)
	client := server.Client()
	for _, key := range []string{"user:1", "mine", "mine2:{1}:ledger", "mine:incr:tenant-0", "bursar-bench-1:{1}:ledger"} {
		if err := client.Set(t.Context(), key, "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	node, err := coordinator.New(t.Context(), client, coordinator.WithKeyPrefix("mine"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.EnsureTenant(t.Context(), "tenant-0", 5*budget.Dollar); err != nil {
		t.Fatal(err)
	}
	if _, err := node.TryReserve(t.Context(), "tenant-0", budget.Cent); err != nil {
		t.Fatal(err)
	}
	if err := node.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := brief()
	c.Redis, c.Duration = server.URL(), 100*time.Millisecond
	return c, client, dump(t, client)
}

// dump returns all keys of a Redis with their content.
func dump(t *testing.T, client *redis.Client) map[string]string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	all := make(map[string]string)
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if all[key], err = client.Dump(ctx, key).Result(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func unchanged(t *testing.T, client *redis.Client, before map[string]string) {
	t.Helper()
	after := dump(t, client)
	for key, content := range before {
		if after[key] != content {
			t.Errorf("%s is gone, or is another", key)
		}
	}
	for key := range after {
		if _, was := before[key]; !was {
			t.Errorf("%s was left", key)
		}
	}
}

func TestPrefixThatIsTaken(t *testing.T) {
	t.Parallel()
	c, client, before := onRedis(t)
	c.Prefix = "mine"
	result, err := Run(t.Context(), c)
	if exit.Code(err) != exit.Usage || !strings.Contains(fmt.Sprint(err), `--prefix mine: in use, for example by the key "mine:`) || result.Rounds != 0 {
		t.Errorf("code %d, %v", exit.Code(err), err)
	}
	unchanged(t, client, before)
}

// A pattern's characters in a prefix are literal: "mine" does not match "m?ne". Keys that
// others create under the prefix during the run stay.
func TestPrefixOfItsOwn(t *testing.T) {
	t.Parallel()
	c, client, before := onRedis(t)
	c.Prefix = "m?ne*[a]"
	c.Partitions = 2
	const late = "m?ne*[a]:{1}:ledger"
	c.tamper = func(a *target) error {
		keys, err := client.Keys(t.Context(), `m\?ne\*\[a\]:*:{*}:ledger`).Result()
		if err != nil || len(keys) != c.Partitions {
			t.Errorf("ledgers: %q, %v; want %d", keys, err, c.Partitions)
		}
		return client.Set(t.Context(), late, "theirs", 0).Err()
	}
	if result, err := Run(t.Context(), c); err != nil || !result.Conserved || result.Partitions != c.Partitions {
		t.Errorf("%v: %+v", err, result)
	}
	if kept, err := client.GetDel(t.Context(), late).Result(); err != nil || kept != "theirs" {
		t.Errorf("%q, %v", kept, err)
	}
	unchanged(t, client, before)
}

// Ctrl-C in each phase leaves no key, and changes no key of others.
func TestInterruptedInEachPhase(t *testing.T) {
	t.Parallel()
	c, client, before := onRedis(t)
	c.Duration = time.Hour
	when := func(pattern string, interrupt func()) {
		for {
			if keys, err := client.Keys(context.Background(), pattern).Result(); err != nil || len(keys) > 0 {
				interrupt()
				return
			}
		}
	}
	for _, phase := range []struct {
		name string
		edit func(c *Config, interrupt func())
	}{
		{"opening", func(_ *Config, interrupt func()) { interrupt() }},
		{"preparing", func(c *Config, interrupt func()) {
			c.Tenants = 50_000
			go when("bench:*:{*}:ledger", interrupt)
		}},
		{"playing", func(c *Config, interrupt func()) {
			c.Watch = func(p report.Progress) {
				if p.Decisions > 0 {
					interrupt()
				}
			}
		}},
		{"racing", func(c *Config, interrupt func()) {
			c.Duration, c.Rounds = 50*time.Millisecond, 1
			go when("bench:*:race:*", interrupt)
		}},
		{"auditing", func(c *Config, interrupt func()) {
			c.Duration = 50 * time.Millisecond
			c.tamper = func(*target) error { interrupt(); return nil }
		}},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		config := c
		config.Prefix, config.Baselines = "bench", baseline.All
		phase.edit(&config, interrupt)
		result, err := Run(ctx, config)
		never := slices.Contains([]string{"opening", "preparing"}, phase.name)
		if never && !errors.Is(err, exit.ErrInterrupted) || !never && (err != nil || !result.Conserved) {
			t.Errorf("%s: %v: %+v", phase.name, err, result)
		}
		unchanged(t, client, before)
		interrupt()
	}
}

// A preparation that takes too long is given up, and leaves no key.
func TestPreparationIsBounded(t *testing.T) {
	t.Parallel()
	c, client, before := onRedis(t)
	c.Tenants, c.patience = 100_000, 300*time.Millisecond
	_, err := Run(t.Context(), c)
	if exit.Code(err) != exit.Unavailable || fmt.Sprint(err) != "100000 tenants and 0 holds were not prepared within 300ms: give fewer, or a faster Redis" {
		t.Errorf("code %d, %v", exit.Code(err), err)
	}
	unchanged(t, client, before)
}
