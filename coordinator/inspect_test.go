package coordinator

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

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
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

func TestStartRefusesWhatIsNotFit(t *testing.T) {
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
		t.Errorf("the log says %q", log.String())
	}
}

func TestOptionsAreValidated(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]Option{
		"empty prefix":        WithKeyPrefix(""),
		"prefix with a brace": WithKeyPrefix("a{b"),
		"long prefix":         WithKeyPrefix(strings.Repeat("p", 65)),
		"negative TTL":        WithHoldTTL(-time.Second),
		"uneven TTL":          WithHoldTTL(time.Microsecond),
		"no timeout":          WithCallTimeout(0),
		"no queue":            WithQueueLimits(0, 10),
		"queue beyond all":    WithQueueLimits(10, 9),
		"no logger":           WithLogger(nil),
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
		before := admin.HGet(t.Context(), acmeBooks, "a").Val()
		_, err := c.TryReserve(t.Context(), "acme", 1)
		wantErr(t, "reserve without "+right, err, ErrUnavailable)
		if err == nil || !strings.Contains(err.Error(), "ACL SETUSER") {
			t.Errorf("without %s: %v; want the remedy", right, err)
		}
		if after := admin.HGet(t.Context(), acmeBooks, "a").Val(); after != before {
			t.Errorf("without %s the account went from %q to %q", right, before, after)
		}
		admin.Do(t.Context(), "acl", "setuser", "app", "+"+right, "+eval")
	}
	reserve(t, c, 1)
	audit(t, admin)
}
