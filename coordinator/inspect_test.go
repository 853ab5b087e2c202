package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

func refusedStart(t *testing.T, client redis.UniversalClient, want error, words ...string) {
	t.Helper()
	c, err := New(t.Context(), client, quiet())
	if c != nil || !errors.Is(err, want) {
		t.Fatalf("New = %v, %v; want %v", c, err, want)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not contain %q", err, word)
		}
	}
}

func TestStartRejectsUnfitServers(t *testing.T) {
	t.Parallel()
	t.Run("eviction", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.WithConfig("maxmemory 100mb", "maxmemory-policy allkeys-lru"))
		refusedStart(t, server.Client(), ErrUnfit, "allkeys-lru", "noeviction")
	})
	t.Run("replica", func(t *testing.T) {
		t.Parallel()
		replica := redistest.StartReplica(t, redistest.Start(t))
		refusedStart(t, replica.Client(), ErrUnfit, "replica", "primary")
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.WithConfig("cluster-enabled yes"))
		refusedStart(t, server.Client(), ErrUnfit, "NewClusterClient")
	})
	t.Run("rights", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.WithUser("poor", "secret", "~bursar:*", "+@all", "-zadd"))
		opts := server.Options()
		opts.Username, opts.Password = "poor", "secret"
		client := redis.NewClient(opts)
		defer client.Close()
		refusedStart(t, client, ErrUnfit, "ZADD", "ACL SETUSER")
	})
	t.Run("password", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.WithPassword("secret"))
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		defer client.Close()
		refusedStart(t, client, ErrUnfit, "password")
	})
	t.Run("unreachable", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
		client := redis.NewClient(&redis.Options{Addr: listener.Addr().String(), DialTimeout: time.Second, MaxRetries: -1})
		defer client.Close()
		refusedStart(t, client, ErrUnavailable, "address")
	})
	t.Run("ring", func(t *testing.T) {
		t.Parallel()
		ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": "127.0.0.1:1"}, HeartbeatFrequency: time.Hour})
		defer ring.Close()
		refusedStart(t, ring, ErrUnfit, "Ring")
	})
	t.Run("nil", func(t *testing.T) {
		t.Parallel()
		refusedStart(t, nil, ErrUnfit, "nil")
	})
}

func TestStartWarnsOfPersistenceBeingOff(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	node(t, redistest.Start(t).Client(), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if !strings.Contains(log.String(), "persistence is off") {
		t.Errorf("the log is %q", log.String())
	}
}

// Each check that can find a problem finds it, and no other check of that server does.
func TestInspectFindsEach(t *testing.T) {
	t.Parallel()
	faking := func(t *testing.T, command, reply string) redis.UniversalClient {
		client := redistest.Start(t, redistest.WithConfig("appendonly yes")).Client()
		client.AddHook(fakeReply{command, reply})
		return client
	}
	primary := func(t *testing.T, lines ...string) *redistest.Server {
		return redistest.Start(t, redistest.WithConfig(append(lines, "appendonly yes")...))
	}
	for _, c := range []struct {
		name   string
		status Status
		client func(t *testing.T) redis.UniversalClient
		found  string
	}{
		{"version", CheckFailed, func(t *testing.T) redis.UniversalClient {
			return faking(t, "info server", "redis_version:6.2.1\r\nredis_mode:standalone\r\n")
		}, "6.2.1"},
		{"version", CheckUnknown, func(t *testing.T) redis.UniversalClient {
			return faking(t, "info server", "redis_mode:standalone\r\n")
		}, "does not report"},
		{"role", CheckFailed, func(t *testing.T) redis.UniversalClient {
			return faking(t, "info replication", "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nconnected_slaves:0\r\n")
		}, "replica of 10.0.0.1:6379"},
		{"role", CheckUnknown, func(t *testing.T) redis.UniversalClient {
			return faking(t, "info replication", "connected_slaves:0\r\n")
		}, "does not report"},
		{"topology", CheckFailed, func(t *testing.T) redis.UniversalClient {
			return primary(t, "cluster-enabled yes").Client()
		}, "part of a Cluster"},
		{"topology", CheckUnknown, func(t *testing.T) redis.UniversalClient {
			return faking(t, "info server", "redis_version:7.0.0\r\n")
		}, "does not report"},
		{"eviction", CheckFailed, func(t *testing.T) redis.UniversalClient {
			return primary(t, "maxmemory 100mb", "maxmemory-policy volatile-ttl").Client()
		}, "volatile-ttl"},
		{"eviction", CheckUnknown, func(t *testing.T) redis.UniversalClient {
			return faking(t, "info memory", "")
		}, "does not report"},
		{"persistence", CheckWarning, func(t *testing.T) redis.UniversalClient {
			return redistest.Start(t).Client()
		}, "persistence is off"},
		{"persistence", CheckWarning, func(t *testing.T) redis.UniversalClient {
			return faking(t, "info persistence", "aof_enabled:1\r\naof_last_write_status:err\r\n")
		}, "cannot be written"},
		{"persistence", CheckUnknown, func(t *testing.T) redis.UniversalClient {
			return faking(t, "info persistence", "")
		}, "does not report"},
		{"min-replicas", CheckWarning, func(t *testing.T) redis.UniversalClient {
			server := primary(t)
			redistest.StartReplica(t, server)
			return server.Client()
		}, "min-replicas-to-write is 0"},
		{"min-replicas", CheckWarning, func(t *testing.T) redis.UniversalClient {
			return primary(t, "min-replicas-to-write 1").Client()
		}, "no replica is in step"},
		{"min-replicas", CheckUnknown, func(t *testing.T) redis.UniversalClient {
			return faking(t, "info replication", "role:master\r\n")
		}, "does not report"},
		{"clock", CheckWarning, func(t *testing.T) redis.UniversalClient {
			return faking(t, "time", "+1h")
		}, "from this machine's"},
		{"clock", CheckUnknown, func(t *testing.T) redis.UniversalClient {
			return faking(t, "time", "ERR no")
		}, "does not report"},
		{"scripts", CheckFailed, func(t *testing.T) redis.UniversalClient {
			return faking(t, "eval", "ERR unknown command 'eval'")
		}, "runs no scripts"},
		{"scripts", CheckFailed, func(t *testing.T) redis.UniversalClient {
			return faking(t, "eval", "BUSY Redis is busy running a script")
		}, "BUSY"},
		{"partitions", CheckFailed, func(t *testing.T) redis.UniversalClient {
			client := primary(t).Client()
			client.HSet(t.Context(), "bursar:{acme}:books", "f", "1 0123456789abcdef")
			return client
		}, "in layout 1"},
		{"partitions", CheckFailed, func(t *testing.T) redis.UniversalClient {
			client := primary(t).Client()
			client.Set(t.Context(), "bursar:partitions", "9 4", 0)
			return client
		}, "in layout 9"},
		{"partitions", CheckFailed, func(t *testing.T) redis.UniversalClient {
			client := primary(t).Client()
			client.HSet(t.Context(), "bursar:partitions", "theirs", 0)
			return client
		}, "did not write"},
		{"partitions", CheckWarning, func(t *testing.T) redis.UniversalClient {
			client := primary(t).Client()
			client.Set(t.Context(), "bursar:partitions", "4 4", 0)
			client.Set(t.Context(), acmeLedger, "theirs", 0)
			return client
		}, "did not write"},
		{"partitions", CheckUnknown, func(t *testing.T) redis.UniversalClient {
			return faking(t, "get", "NOPERM no")
		}, "does not report"},
		{"rights", CheckFailed, func(t *testing.T) redis.UniversalClient {
			return faking(t, "eval", "HSET HDEL")
		}, "HSET HDEL"},
		{"rights", CheckFailed, func(t *testing.T) redis.UniversalClient {
			return faking(t, "eval", "NOPERM this user has no permissions to run the 'eval' command")
		}, "no permissions"},
	} {
		t.Run(c.name+" "+c.status.String()+" "+c.found, func(t *testing.T) {
			t.Parallel()
			checks, err := Inspect(t.Context(), c.client(t))
			if err != nil || len(checks) != len(checkNames) {
				t.Fatalf("%d checks, %v", len(checks), err)
			}
			for i, check := range checks {
				if check.Name != checkNames[i] {
					t.Errorf("check %d is %s, want %s", i, check.Name, checkNames[i])
				}
				switch {
				case check.Name == c.name:
					if check.Status != c.status || !strings.Contains(check.Found, c.found) || check.Remedy == "" {
						t.Errorf("%+v, want %s: %s, and a remedy", check, c.status, c.found)
					}
				case check.Status == CheckOK && check.Remedy == "":
				case c.name == "scripts" && check.Name == "rights", c.name == "rights" && check.Name == "scripts",
					c.name == "version" && check.Name == "topology",
					c.name == "min-replicas" && (check.Name == "scripts" || check.Name == "rights"):
				default:
					t.Errorf("also failed: %+v", check)
				}
			}
		})
	}
}

var checkNames = []string{
	"reachable", "version", "role", "topology", "eviction", "persistence", "min-replicas", "rights", "clock", "scripts", "partitions",
}

// fakeReply answers one command itself: with an error, a text, or a time an hour ahead.
type fakeReply struct{ command, reply string }

func (l fakeReply) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l fakeReply) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l fakeReply) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if words := fmt.Sprint(cmd.Args()...); !strings.HasPrefix(strings.ReplaceAll(words, " ", ""), strings.ReplaceAll(l.command, " ", "")) {
			return err
		}
		if code, _, _ := strings.Cut(l.reply, " "); code == "ERR" || code == "NOPERM" || code == "BUSY" {
			cmd.SetErr(redisReply(l.reply))
			return redisReply(l.reply)
		}
		switch c := cmd.(type) {
		case *redis.TimeCmd:
			c.SetVal(c.Val().Add(time.Hour))
		case *redis.StringCmd:
			c.SetVal(l.reply)
		case *redis.Cmd:
			c.SetVal(l.reply)
		}
		return nil
	}
}

// While too few replicas are in step Redis rejects scripts, which does not make it a
// miniredis: a node that starts then must keep the script line that makes a replica
// reject its scripts. Its calls wait.
func TestStartWhileNoReplicaIsInStep(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t, redistest.WithConfig("min-replicas-to-write 1")).Client()
	c := node(t, client)
	if c.bare {
		t.Error("the server was taken for miniredis")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.EnsureTenant(ctx, "acme", 10)
	wantErr(t, "while no replica is in step", err, ErrUnavailable)
	client.ConfigSet(t.Context(), "min-replicas-to-write", "0")
	ensure(t, c, "globex", 10)
}

func TestInspectRejectsInvalidClients(t *testing.T) {
	t.Parallel()
	if _, err := Inspect(t.Context(), nil, WithKeyPrefix("")); err == nil {
		t.Error("an invalid option was accepted")
	}
	checks, err := Inspect(t.Context(), nil)
	if err != nil || len(checks) != 1 || checks[0].Status != CheckFailed {
		t.Errorf("no client: %+v, %v", checks, err)
	}
	if text, err := Status(9).MarshalText(); err != nil || string(text) != "status(9)" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := node(t, server.Client(), WithCallTimeout(200*time.Millisecond))
	if err := c.Ready(t.Context()); err != nil {
		t.Errorf("a healthy node: %v", err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	wantErr(t, "a frozen Redis", c.Ready(t.Context()), ErrUnavailable)
	if waited := time.Since(began); waited > 2*time.Second {
		t.Errorf("Ready returned after %s", waited)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready again", func() bool { return c.Ready(t.Context()) == nil })
	server.Client().ReplicaOf(t.Context(), "127.0.0.1", "1")
	wantErr(t, "a primary that became a replica", c.Ready(t.Context()), ErrUnavailable)
	server.Client().ReplicaOf(t.Context(), "no", "one")
	closed, err := New(t.Context(), server.Client(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a closed node", closed.Ready(t.Context()), ErrClosed)
}

func TestOptionsAreValidated(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]Option{
		"empty prefix":                   WithKeyPrefix(""),
		"prefix with a brace":            WithKeyPrefix("a{b"),
		"long prefix":                    WithKeyPrefix(strings.Repeat("p", 65)),
		"negative TTL":                   WithHoldTTL(-time.Second),
		"uneven TTL":                     WithHoldTTL(time.Microsecond),
		"no timeout":                     WithCallTimeout(0),
		"no queue":                       WithQueueLimits(0, 10),
		"tenant's queue above the total": WithQueueLimits(10, 9),
		"no logger":                      WithLogger(nil),
		"short retention":                WithRetention(time.Millisecond, 10),
		"nothing retained":               WithRetention(time.Minute, 0),
		"hasty breaker":                  WithBreaker(time.Millisecond),
		"no tracer provider":             WithTracerProvider(nil),
		"no meter provider":              WithMeterProvider(nil),
		"a bad tenant":                   WithObservedTenants("a//b"),
		"a long server name":             WithServerName(strings.Repeat("a", 256)),
		"a bad server name":              WithServerName("\xff"),
		"too many tenants":               WithObservedTenants(make([]budget.TenantID, 101)...),
		"nil":                            nil,
	} {
		if _, err := New(t.Context(), nil, opt); err == nil || errors.Is(err, ErrUnfit) {
			t.Errorf("%s: %v, want an error of the option", name, err)
		}
	}
}

func TestMissingRightAtRunTimeIsOneClearError(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithUser("app", "secret", "~bursar:*", "+@all"))
	opts := server.Options()
	opts.Username, opts.Password = "app", "secret"
	client := redis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	c := node(t, client)
	ensure(t, c, "acme", 1000)
	admin := server.Client()
	for _, right := range []string{"hset", "zadd", "evalsha", "hmget"} {
		admin.Do(t.Context(), "acl", "setuser", "app", "-"+right, "-eval")
		before := admin.HGet(t.Context(), acmeLedger, "aacme").Val()
		_, err := c.TryReserve(t.Context(), "acme", 1)
		wantErr(t, "reserve without "+right, err, ErrUnavailable)
		if err == nil || !strings.Contains(err.Error(), "ACL SETUSER") {
			t.Errorf("without %s: %v; want the remedy", right, err)
		}
		if after := admin.HGet(t.Context(), acmeLedger, "aacme").Val(); after != before {
			t.Errorf("without %s the account went from %q to %q", right, before, after)
		}
		admin.Do(t.Context(), "acl", "setuser", "app", "+"+right, "+eval")
	}
	reserve(t, c, 1)
	audit(t, admin)
}

// redisReply is a server's error reply.
type redisReply string

func (e redisReply) Error() string { return string(e) }

// RedisError marks it as a reply, like go-redis' own errors.
func (redisReply) RedisError() {}
