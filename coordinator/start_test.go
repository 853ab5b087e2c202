package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// found returns the check with this name, which must have the wanted status.
func found(t *testing.T, client redis.UniversalClient, name string, want Status) Check {
	t.Helper()
	checks, err := Inspect(t.Context(), client, WithCallTimeout(time.Second))
	for _, check := range checks {
		if check.Name == name && check.Status == want {
			return check
		}
	}
	t.Fatalf("no %s check is %s: %+v, %v", name, want, checks, err)
	return Check{}
}

// A command that was renamed or disabled is named, and its absence does not make the
// server a miniredis.
func TestStartNamesAMissingCommand(t *testing.T) {
	t.Parallel()
	for _, command := range append(commandsOfScripts(t), "EVAL", "EVALSHA", "HSETNX") {
		for _, name := range []string{"X-" + command, `""`} {
			t.Run(command+" "+name, func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t, redistest.WithConfig("rename-command "+command+" "+name))
				refusedStart(t, server.Client(), ErrUnfit, command)
			})
		}
	}
	t.Run("PING", func(t *testing.T) {
		t.Parallel()
		client := redistest.Start(t).Client()
		client.AddHook(fakeReply{"ping", "ERR unknown command 'ping', with args beginning with: "})
		refusedStart(t, client, ErrUnfit, "no command PING")
	})
	t.Run("CLUSTER", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.WithConfig(`rename-command CLUSTER ""`))
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr()}})
		t.Cleanup(func() { client.Close() })
		refusedStart(t, client, ErrUnfit, "no command CLUSTER")
	})
}

// commandsOfScripts returns all commands that the Lua calls.
func commandsOfScripts(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../luascripts/*.lua")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	seen := make(map[string]bool)
	var commands []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range regexp.MustCompile(`call\('([A-Z]+)'`).FindAllStringSubmatch(string(text), -1) {
			if !seen[call[1]] {
				seen[call[1]] = true
				commands = append(commands, call[1])
			}
		}
	}
	return commands
}

// An error reply to the first scripts that does not show what the server supports must
// not make the node fall back to weaker scripts.
func TestStartWithAnUnexpectedReply(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ command, reply, says string }{
		{"eval #!lua", "ERR upstream failure", "try again"},
		{"eval #!lua", "ERR internal error", "unexpected reply"},
		{"evalsha", "ERR upstream failure", "try again"},
		{"info memory", "ERR upstream failure", "try again"},
		{"ping", "ERR upstream failure", "try again"},
	} {
		t.Run(c.command+" "+c.reply, func(t *testing.T) {
			t.Parallel()
			client := redistest.Start(t).Client()
			client.AddHook(fakeReply{c.command, c.reply})
			refusedStart(t, client, ErrUnavailable, c.reply, c.says)
		})
	}
	t.Run("EVALSHA is refused by a proxy", func(t *testing.T) {
		t.Parallel()
		client := redistest.Start(t, redistest.WithConfig("appendonly yes")).Client()
		client.AddHook(fakeReply{"evalsha", "ERR unknown command 'evalsha'"})
		if check := found(t, client, "scripts", CheckFailed); !strings.Contains(check.Found, "EVALSHA") || check.Remedy == "" {
			t.Errorf("%+v", check)
		}
	})
	t.Run("Redis 6 that hides its version", func(t *testing.T) {
		t.Parallel()
		client := redistest.Start(t).Client()
		client.AddHook(fakeReply{"info server", ""})
		client.AddHook(fakeReply{"eval #!lua", "ERR Error compiling script (new function): user_script:1: unexpected symbol near '#' "})
		refusedStart(t, client, ErrUnfit, "older than Redis 7.0")
	})
}

// dropper is a dialer whose connections lose replies: the command is executed, and the
// connection breaks, or the client waits until it times out.
type dropper struct {
	replies atomic.Int64
	lost    func(n int64) bool
	waits   bool
}

func (d *dropper) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	return &droppingConn{conn, d}, err
}

type droppingConn struct {
	net.Conn
	d *dropper
}

func (c *droppingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil || !c.d.lost(c.d.replies.Add(1)) {
		return n, err
	}
	_ = c.Close() // the connection is broken
	if c.d.waits {
		return 0, os.ErrDeadlineExceeded
	}
	return 0, io.ErrUnexpectedEOF
}

// Losing one of every twelve replies, whichever it is, fails no start, health check or
// Close, even with a client that never retries.
func TestLostRepliesWhileANodeStartsAndEnds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes"))
	cluster := redistest.StartCluster(t)
	for _, waits := range []bool{false, true} {
		for first := range int64(12) {
			t.Run(fmt.Sprintf("reply %d, waits %v", first, waits), func(t *testing.T) {
				t.Parallel()
				d := &dropper{lost: func(n int64) bool { return n%12 == first }, waits: waits}
				o := server.Options()
				o.Dialer, o.MaxRetries = d.dial, -1
				client := redis.NewClient(o)
				t.Cleanup(func() { client.Close() })
				startAndEnd(t, client, server.Client(), fmt.Sprintf("server-%d-%v", first, waits))
				if first%4 != 0 {
					return
				}
				co := cluster.Options()
				co.Dialer, co.MaxRedirects = d.dial, -1
				clusterClient := redis.NewClusterClient(co)
				t.Cleanup(func() { clusterClient.Close() })
				startAndEnd(t, clusterClient, cluster.Client(), fmt.Sprintf("cluster-%d-%v", first, waits))
			})
		}
	}
}

func startAndEnd(t *testing.T, client, sound redis.UniversalClient, prefix string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	checks, err := Inspect(ctx, client, WithKeyPrefix(prefix))
	for _, check := range checks {
		if check.Status == CheckFailed || strings.Contains(check.Found, "does not report") {
			t.Errorf("%s: %+v, %v", prefix, check, err)
		}
	}
	c, err := New(ctx, client, quiet(), WithKeyPrefix(prefix))
	if err != nil {
		t.Fatalf("%s: New: %v", prefix, err)
	}
	for i := range 20 {
		if err := c.Ready(ctx); err != nil {
			t.Errorf("%s: Ready: %v", prefix, err)
		}
		if _, err := c.EnsureTenant(ctx, numbered("acme", i), 10); err != nil {
			t.Errorf("%s: EnsureTenant: %v", prefix, err)
		}
	}
	session := store.SessionField(c.node.ID())
	if err := c.Close(ctx); err != nil {
		t.Errorf("%s: Close: %v", prefix, err)
	}
	for i := range 20 {
		ledger := store.KeysOf(prefix, c.partitions, store.PartitionOf(numbered("acme", i), c.partitions)).Ledger
		if text, err := sound.HGet(ctx, ledger, session).Result(); err != nil || store.Session(text).State() != luascripts.SessionClosed {
			t.Errorf("%s: the session is %q, %v; want it closed", ledger, text, err)
		}
	}
}

// A server that is loading, or that rejects commands temporarily, is asked again.
func TestStartWaitsForTemporaryErrors(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{
		"LOADING Redis is loading the dataset in memory", "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
		"ERR max number of clients reached", "CLUSTERDOWN The cluster is down", "TRYAGAIN Multiple keys request during rehashing of slot",
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
	} {
		t.Run(reply, func(t *testing.T) {
			t.Parallel()
			client := redistest.Start(t).Client()
			passing := &passingHook{reply: reply}
			client.AddHook(passing)
			passing.left.Store(3)
			c := node(t, client)
			if passing.left.Load() > 0 {
				t.Error("no command was rejected")
			}
			passing.left.Store(3)
			if err := c.Ready(t.Context()); err != nil {
				t.Errorf("Ready: %v", err)
			}
			passing.left.Store(1 << 40)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := New(ctx, client, quiet())
			if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), reply) {
				t.Errorf("New, if the error persists: %v", err)
			}
			if err := c.Ready(ctx); !errors.Is(err, ErrUnavailable) {
				t.Errorf("Ready, if the error persists: %v", err)
			}
			passing.left.Store(0)
		})
	}
}

// passingHook rejects the next commands.
type passingHook struct {
	reply string
	left  atomic.Int64
}

func (*passingHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*passingHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *passingHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "hello" || cmd.Name() == "client" || h.left.Add(-1) < 0 {
			return next(ctx, cmd)
		}
		cmd.SetErr(scriptless(h.reply))
		return cmd.Err()
	}
}

// No reply of a replica makes a start try again.
func TestStartOnAReplicaIsNotRetried(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	replica := redistest.StartReplica(t, primary, redistest.WithUser("blind", "secret", "~*", "+@all", "-info"))
	blind := replica.Options()
	blind.Username, blind.Password = "blind", "secret"
	noInfoClient := redis.NewClient(blind)
	t.Cleanup(func() { noInfoClient.Close() })
	for name, client := range map[string]redis.UniversalClient{"with INFO": replica.Client(), "without INFO": noInfoClient} {
		_, err := New(t.Context(), client, quiet())
		if !errors.Is(err, ErrUnfit) || errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "replica") || !strings.Contains(err.Error(), "connect to the primary, or through Sentinel or Cluster") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Even if another check of it may pass later.
	both := redistest.Start(t, redistest.WithConfig("maxmemory 100mb", "maxmemory-policy allkeys-lru")).Client()
	both.AddHook(fakeReply{"eval", "BUSY Redis is busy running a script"})
	_, err := New(t.Context(), both, quiet(), WithCallTimeout(20*time.Millisecond))
	if !errors.Is(err, ErrUnfit) || errors.Is(err, ErrUnavailable) {
		t.Errorf("a server that is unfit and busy: %v", err)
	}
}

// A hanging server is given up after the call timeout, even if neither the client nor the
// context has a timeout.
func TestStartOnAServerThatHangs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	o := server.Options()
	o.ReadTimeout, o.WriteTimeout = -1, -1
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	_, err := New(context.Background(), client, quiet(), WithCallTimeout(50*time.Millisecond))
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "the call timeout has passed") {
		t.Errorf("%v", err)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
}
