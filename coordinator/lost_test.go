package coordinator

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

// A lost reply may hide that a batch took effect; whatever Redis has as the session
// afterwards, the batch is not sent again under another one.
func TestLostReplyIsNeverSentAgainUnderAnotherSession(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(client *redis.Client, session string, jump func()){
		"another process uses the number": func(client *redis.Client, session string, _ func()) {
			client.HSet(context.Background(), acmeLedger, session, "999999 00000000000000aa 1")
		},
		"the session expired": func(client *redis.Client, session string, jump func()) {
			jump()
			client.HDel(context.Background(), acmeLedger, session)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			client := server.Client()
			f := &faults{random: seeded(t), count: make(map[fault]int)}
			opts := server.Options()
			opts.Dialer = f.dial
			faulty := redis.NewClient(opts)
			t.Cleanup(func() { faulty.Close() })
			var days atomic.Int64
			c := node(t, faulty, WithClock(func() time.Time { return time.Now().Add(time.Duration(days.Load()) * 24 * time.Hour) }))
			ensure(t, c, "acme", 1000)
			session := store.SessionField(c.node.ID())

			f.every.Store(int32(dropReply))
			answered := make(chan error, 1)
			go func() {
				_, err := c.Grant(context.Background(), "acme", 100)
				answered <- err
			}()
			for storedAccount(t, client, "acme").Granted != 1100 {
				runtime.Gosched()
			}
			change(client, session, func() { days.Store(8) })
			f.every.Store(int32(pass))
			if err := <-answered; !errors.Is(err, ErrUnknownOutcome) {
				t.Errorf("Grant: %v, want %v", err, ErrUnknownOutcome)
			}
			if granted := audit(t, client)["acme"].Balance.Granted; granted != 1100 {
				t.Errorf("granted %d, want the 1100 of one grant", granted)
			}
			reserve(t, c, 1) // the node still works
		})
	}
}

func TestAbandonedReserveIsReleasedAfterALongOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always"))
	c := node(t, server.Client(), WithCallTimeout(time.Second), WithHoldTTL(0))
	ensure(t, c, "acme", 1000)
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.TryReserve(t.Context(), "acme", 77); !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("frozen: %v, want %v", err, ErrUnknownOutcome)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	time.Sleep(1500 * time.Millisecond) // longer than the call timeout
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if b := audit(t, server.Client())["acme"].Balance; b.Reserved != 0 {
		t.Errorf("%d are held by abandoned reserves", b.Reserved)
	}
}

func TestDemotedServerIsIgnored(t *testing.T) {
	t.Parallel()
	primary, other := redistest.Start(t), redistest.Start(t)
	c := node(t, primary.Client())
	host, port, _ := strings.Cut(other.Addr(), ":")
	if err := primary.Client().ReplicaOf(t.Context(), host, port).Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if r, err := c.TryReserve(ctx, "acme", 1); err == nil {
		t.Errorf("a replica's result was accepted: %+v", r)
	}
	if err := primary.Client().ReplicaOf(t.Context(), "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
}

func TestCallersThatGaveUpFreeTheQueue(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := node(t, server.Client(), WithQueueLimits(8, 8))
	ensure(t, c, "acme", 1000)
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
		if _, err := c.TryReserve(ctx, "acme", 1); errors.Is(err, ErrOverloaded) {
			t.Errorf("no caller waits, but: %v", err)
		}
		cancel()
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	reserve(t, c, 1)
}

func TestDoSettlesWhileTheNodeCloses(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c, err := New(t.Context(), server.Client(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	ensure(t, c, "acme", 1000)
	closed := make(chan error, 1)
	s, err := c.Do(t.Context(), "acme", 100, func(context.Context) (budget.Microcents, error) {
		go func() { closed <- c.Close(context.Background()) }()
		for !c.node.Closed() {
			time.Sleep(time.Millisecond)
		}
		return 90, nil
	})
	if err != nil || s.Outcome != budget.Committed {
		t.Errorf("Do: %+v, %v", s, err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if b := audit(t, server.Client())["acme"].Balance; b.Committed != 90 || b.Reserved != 0 {
		t.Errorf("%+v, want 90 committed and nothing held", b)
	}
}

func TestCloseKeepsItsDeadline(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c, err := New(t.Context(), server.Client(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	ensure(t, c, "acme", 1000)
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	first, second := c.Close(ctx), c.Close(context.Background())
	if first == nil || !errors.Is(second, first) || time.Since(began) > time.Second {
		t.Errorf("Close: %v, then %v, after %s; want one error at the deadline", first, second, time.Since(began))
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
}

func TestClusterFailoverIsFollowed(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, redistest.WithReplicas(1), redistest.WithConfig("cluster-node-timeout 1000"))
	c := node(t, cluster.Client())
	for i := range 12 {
		ensure(t, c, numbered("tenant", i), 1<<40)
	}
	cluster.Masters()[0].Kill()
	began := time.Now()
	for i := range 12 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if r, err := c.TryReserve(ctx, numbered("tenant", i), 1); err != nil || r.Outcome != budget.Reserved {
			t.Errorf("after %s: %+v, %v", time.Since(began), r, err)
		}
		cancel()
	}
	t.Logf("all tenants were served again %s after a master died", time.Since(began))
}
