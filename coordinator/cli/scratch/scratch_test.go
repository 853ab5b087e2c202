package scratch_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/scratch"
	"github.com/calybris/bursar/coordinator/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A server of the space's own ends with the space.
func TestOwnServers(t *testing.T) {
	t.Parallel()
	for _, address := range []string{scratch.Embedded, scratch.Spawn} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			space, err := scratch.Open(t.Context(), address, connect.Secrets{})
			if err != nil {
				t.Fatal(err)
			}
			client := space.ClientOf(3)
			if size := scratch.PoolSize(client); size != 3 {
				t.Errorf("a pool of %d, want 3", size)
			}
			if err := client.Set(t.Context(), space.Prefix("test")+":k", "v", 0).Err(); err != nil {
				t.Error(err)
			}
			probe := redis.NewClient(&redis.Options{Addr: client.(*redis.Client).Options().Addr, MaxRetries: -1, DialerRetries: 1})
			defer probe.Close()
			if err := space.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if err := probe.Ping(t.Context()).Err(); err == nil {
				t.Error("the server still answers")
			}
			if err := client.Ping(t.Context()).Err(); err == nil {
				t.Error("the client still works")
			}
			if err := space.Close(t.Context()); err != nil {
				t.Errorf("a second Close: %v", err)
			}
		})
	}
}

// On the user's Redis, Close deletes exactly the keys under the prefixes, even if the
// context has ended.
func TestWipe(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	theirs := server.Client()
	space, err := scratch.Open(t.Context(), server.URL(), connect.Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	first, second := space.Prefix("bench"), space.Prefix("bench")
	if first == second || !strings.HasPrefix(first, "bursar-bench-") {
		t.Errorf("prefixes %q and %q", first, second)
	}
	foreign := []string{"user:1", "bursar:{a}:books", first + "x", first}
	for _, key := range foreign {
		if err := theirs.Set(t.Context(), key, "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	client := space.Client()
	for i := range 1200 {
		if err := client.Set(t.Context(), fmt.Sprintf("%s:{%d}:books", []string{first, second}[i%2], i), "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := space.Close(ended); err != nil {
		t.Fatal(err)
	}
	if left, err := theirs.DBSize(t.Context()).Result(); err != nil || left != int64(len(foreign)) {
		t.Errorf("%d keys are left, %v; want the %d foreign ones", left, err, len(foreign))
	}
	if kept, err := theirs.Exists(t.Context(), foreign...).Result(); err != nil || kept != int64(len(foreign)) {
		t.Errorf("%d of %d foreign keys are left, %v", kept, len(foreign), err)
	}
}

// Close also deletes the keys on a primary that Sentinels name, and on a Cluster, where
// they are in many slots of several masters.
func TestWipeOnEveryTopology(t *testing.T) {
	t.Parallel()
	sentinels := redistest.StartSentinels(t, redistest.Start(t), 1)
	for name, address := range map[string]string{
		"Cluster":  "redis+cluster://" + strings.Join(redistest.StartCluster(t).Addrs(), ","),
		"Sentinel": "redis+sentinel://" + sentinels.Addrs()[0] + "/" + redistest.SentinelName,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			space, err := scratch.Open(t.Context(), address, connect.Secrets{})
			if err != nil {
				t.Fatal(err)
			}
			target, err := connect.Parse(address, connect.Secrets{})
			if err != nil {
				t.Fatal(err)
			}
			theirs := target.Client()
			defer theirs.Close()
			prefix, under := space.Prefix("bench"), space.PrefixUnder("mine")
			client := space.ClientOf(2)
			if size := scratch.PoolSize(client); size != 2 {
				t.Errorf("a pool of %d, want 2", size)
			}
			kept := make(map[string]bool)
			for i := range 100 {
				slot := fmt.Sprintf(":{%d}:", i)
				kept[prefix+slot+"ledger"], kept["theirs"+slot] = false, true
				kept[under+slot+"ledger"], kept["mine"+slot+"ledger"] = false, true
			}
			for key := range kept {
				if err := client.Set(t.Context(), key, "v", 0).Err(); err != nil {
					t.Fatal(err)
				}
			}
			if key, err := space.KeyUnder(t.Context(), "mine"); err != nil || !strings.HasPrefix(key, "mine:") {
				t.Errorf("found %q, %v", key, err)
			}
			if key, err := space.KeyUnder(t.Context(), "no"); err != nil || key != "" {
				t.Errorf("found %q, %v", key, err)
			}
			if conn, err := space.Dialer()(t.Context()); err != nil {
				t.Error(err)
			} else {
				conn.Close()
			}
			if err := space.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			for key, want := range kept {
				if n, err := theirs.Exists(t.Context(), key).Result(); err != nil || (n == 1) != want {
					t.Errorf("%s: %d are left, %v; kept should be %t", key, n, err, want)
				}
			}
		})
	}
}

// Under a prefix that others use, Close deletes the space's own keys and no others.
func TestPrefixUnder(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	theirs := server.Client()
	space, err := scratch.Open(t.Context(), server.URL(), connect.Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	if key, err := space.KeyUnder(t.Context(), "b*g"); err != nil || key != "" {
		t.Errorf("an empty Redis has %q, %v", key, err)
	}
	prefix := space.PrefixUnder("b*g")
	foreign := []string{"b*g:{1}:ledger", "b*g:partitions", "b*g:x", prefix, prefix + "x:{1}:ledger", strings.Replace(prefix, "*", "u", 1) + ":{1}:ledger"}
	for _, key := range append([]string{prefix + ":{1}:ledger", prefix + ":partitions", prefix + ":race:partitions"}, foreign...) {
		if err := theirs.Set(t.Context(), key, "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if key, err := space.KeyUnder(t.Context(), "b*g"); err != nil || !strings.HasPrefix(key, "b*g:") {
		t.Errorf("found %q, %v", key, err)
	}
	if key, err := space.KeyUnder(t.Context(), "b*g:"); err != nil || key == "" {
		t.Errorf("under a prefix with its colon it found nothing, %v", err)
	}
	if key, err := space.KeyUnder(t.Context(), "b?g"); err != nil || key != "" {
		t.Errorf("found %q, %v; a prefix is no pattern", key, err)
	}
	if err := space.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept, err := theirs.Keys(t.Context(), "*").Result(); err != nil || len(kept) != len(foreign) {
		t.Errorf("%q are left, %v; want %q", kept, err, foreign)
	}
}

// If Redis dies before the clean-up, keys are left, and the error names them.
func TestWipeOfADeadRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	space, err := scratch.Open(t.Context(), server.URL(), connect.Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	prefix := space.Prefix("bench")
	server.Kill()
	err = space.Close(t.Context())
	if exit.Code(err) != exit.Unavailable || !strings.Contains(err.Error(), prefix) {
		t.Errorf("code %d, %v; want %d and %s", exit.Code(err), err, exit.Unavailable, prefix)
	}
}

// If Redis restarts while the clean-up waits for it, none of the space's keys are left.
func TestWipeOfARestartedRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always"))
	theirs := server.Client()
	space, err := scratch.Open(t.Context(), server.URL(), connect.Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{space.Prefix("bench") + ":k", "theirs"} {
		if err := theirs.Set(t.Context(), key, "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	server.Kill()
	cleaned := make(chan error, 1)
	go func() { cleaned <- space.Close(t.Context()) }()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-cleaned; err != nil {
		t.Fatal(err)
	}
	if kept, err := theirs.Keys(t.Context(), "*").Result(); err != nil || len(kept) != 1 || kept[0] != "theirs" {
		t.Errorf("%q are left, %v", kept, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	protected := redistest.Start(t, redistest.WithPassword("secret1"))
	for _, c := range []struct {
		name, address, want string
		code                int
	}{
		{"no URL", "localhost:6379", "write redis://host:6379", exit.Usage},
		{"empty", "", "write redis://host:6379", exit.Usage},
		{"another scheme", "http://user:secret1@host", "write redis://host:6379", exit.Usage},
		{"a bad port", "redis://:secret1@host:port", "host:port", exit.Usage},
		{"a bad database", "redis://:secret1@host/five", `"five"`, exit.Usage},
		{"two servers", "redis://:secret1@one:1,two:2", "2 hosts for a single server", exit.Usage},
		{"no master", "redis+sentinel://:secret1@one:1", "give the name of the master", exit.Usage},
		{"no Cluster there", "redis+cluster://:secret1@127.0.0.1:1", "no Redis answers at redis+cluster://127.0.0.1:1", exit.Unavailable},
		{"an unescaped password", "redis://:secret1/2@host", "write special characters as %40", exit.Usage},
		{"unreachable", "redis://:secret1@127.0.0.1:1", "no Redis answers at redis://127.0.0.1:1", exit.Unavailable},
		{"a wrong password", "redis://:secret10@" + protected.Addr(), "disabled.; check the user and the password", exit.Unavailable},
		{"no password", "redis://" + protected.Addr(), "NOAUTH Authentication required.; check the user and the password", exit.Unavailable},
	} {
		space, err := scratch.Open(t.Context(), c.address, connect.Secrets{})
		if space != nil || exit.Code(err) != c.code || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: code %d, %v; want code %d, %q", c.name, exit.Code(err), err, c.code, c.want)
		}
		if strings.Contains(fmt.Sprint(err), "secret1") {
			t.Errorf("%s: the error shows the password: %v", c.name, err)
		}
	}
}

func TestNameShowsNoPassword(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithPassword("secret1"))
	space, err := scratch.Open(t.Context(), server.URL(), connect.Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	defer space.Close(t.Context())
	if space.Name != "redis://"+server.Addr()+"/0" {
		t.Errorf("name %q", space.Name)
	}
}

func TestSpawnWithoutServer(t *testing.T) {
	t.Setenv("BURSAR_REDIS_SERVER", os.DevNull)
	if space, err := scratch.Open(t.Context(), scratch.Spawn, connect.Secrets{}); space != nil || exit.Code(err) != exit.Unavailable {
		t.Errorf("code %d, %v; want %d", exit.Code(err), err, exit.Unavailable)
	}
}

// Close can delete the keys even if the clients use all connections of the server.
func TestCloseNeedsNoFreeConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	ours := server.Client()
	space, err := scratch.Open(t.Context(), server.URL(), connect.Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	key := space.Prefix("test") + ":key"
	const most = 20
	if err := ours.ConfigSet(t.Context(), "maxclients", strconv.Itoa(most)).Err(); err != nil {
		t.Fatal(err)
	}
	for {
		client := space.ClientOf(1)
		if client.Set(t.Context(), key, "v", 0).Err() != nil {
			break
		}
	}
	if err := space.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := ours.Exists(t.Context(), key).Val(); n != 0 {
		t.Error("a key was left")
	}
}
