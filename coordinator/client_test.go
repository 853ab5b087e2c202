package coordinator

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// A client that its owner closes too early ends the node: no call waits for a reply that
// can't come, and no call returns an unknown outcome if nothing was sent.
func TestClientClosedBeforeItsNode(t *testing.T) {
	t.Parallel()
	for _, start := range []struct {
		name   string
		client func(t *testing.T) redis.UniversalClient
	}{
		{"single server", func(t *testing.T) redis.UniversalClient { return redistest.Start(t).Client() }},
		{"Cluster", func(t *testing.T) redis.UniversalClient { return redistest.StartCluster(t).Client() }},
	} {
		t.Run(start.name, func(t *testing.T) {
			t.Parallel()
			client, log := start.client(t), &logRecorder{}
			c, err := New(t.Context(), client, log.option())
			if err != nil {
				t.Fatal(err)
			}
			ensure(t, c, "acme", 1000)
			if err := client.Close(); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := c.TryReserve(t.Context(), "acme", 1); !errors.Is(err, ErrClosed) || errors.Is(err, ErrUnknownOutcome) {
					t.Errorf("a reserve: %v, want ErrClosed", err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := c.Close(ctx); err == nil || ctx.Err() != nil {
				t.Errorf("Close: %v, with the context's error %v; want an immediate error", err, ctx.Err())
			}
			log.loggedOnce(t, "Redis client closed first")
		})
	}
}

// Health checks of a hanging server do not pile up, nor do the checks of New and Inspect.
func TestRequestsToAHangingServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	c := node(t, client)
	connections := client.PoolStats().TotalConns
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		err := c.Ready(ctx)
		cancel()
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Redis: ") {
			t.Errorf("Ready: %v", err)
		}
	}
	if more := client.PoolStats().TotalConns - connections; more > 1 {
		t.Errorf("50 health checks took %d connections more", more)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := now()
	_, err := New(ctx, server.Client(), quiet())
	checks, _ := Inspect(ctx, server.Client(), quiet())
	if took := now().Sub(began); took > 2*time.Second || !errors.Is(err, ErrUnavailable) {
		t.Errorf("New: %v after %s", err, took)
	}
	if len(checks) != 1 || checks[0].Status != CheckFailed {
		t.Errorf("Inspect: %+v", checks)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(t.Context()); err != nil { // it may share the check that was under way
		t.Errorf("Ready when all is well: %v", err)
	}
}

func TestAClientOfASentinelIsRefused(t *testing.T) {
	t.Parallel()
	sentinels := redistest.StartSentinels(t, redistest.Start(t), 1)
	client := redis.NewClient(&redis.Options{Addr: sentinels.Addrs()[0]})
	defer client.Close()
	refusedStart(t, client, ErrUnfit, "the server is a Sentinel", "NewFailoverClient")
}

// What is refused without asking Redis is counted all the same.
func TestInvalidAmountsAreCounted(t *testing.T) {
	t.Parallel()
	c, reader, _ := telemetered(t, redistest.Start(t))
	id := budget.NewReservationID("acme", 1, 2)
	_, err1 := c.TryReserve(t.Context(), "acme", 0)
	_, err2 := c.Commit(t.Context(), id, -1)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	got, _ := read(t, reader)
	op, outcome := string(operationKey), string(outcomeKey)
	if n := got.of("bursar.operation.count", op, "reserve", outcome, "insufficient"); n != 1 {
		t.Errorf("%d refused reserves", n)
	}
	if n := got.of("bursar.operation.count", op, "commit", outcome, "invalid_amount"); n != 1 {
		t.Errorf("%d refused commits", n)
	}
}
