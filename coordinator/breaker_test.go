package coordinator

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/dispatch"
	"github.com/calybris/bursar/coordinator/redistest"
)

// breakerIsOpen reports whether any server's circuit breaker is not closed.
func (c *Coordinator) breakerIsOpen() (open bool) {
	c.dispatcher.Breakers(func(_ string, s dispatch.BreakerState) { open = open || s != dispatch.BreakerClosed })
	return open
}

// Calls to a dead Redis fail at once after a while, and succeed again when it is back,
// without any intervention.
func TestBreakerOpensOnADeadRedisAndCloses(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always"))
	log := &logRecorder{}
	c := node(t, server.Client(), log.option(), WithBreaker(200*time.Millisecond), WithCallTimeout(300*time.Millisecond))
	ensure(t, c, "acme", 1000)
	held := reserve(t, c, 10)
	server.Kill()
	began := time.Now()
	for !c.breakerIsOpen() {
		if _, err := c.TryReserve(t.Context(), "acme", 1); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("a dead Redis: %v", err)
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("the breaker does not open")
		}
	}
	fast := 0
	for range 50 {
		began := time.Now()
		_, err := c.TryReserve(t.Context(), "acme", 1)
		wantErr(t, "while it is open", err, ErrUnavailable)
		if errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("a rejected call is unknown: %v", err)
		}
		if time.Since(began) < 50*time.Millisecond {
			fast++
		}
	}
	if fast < 40 {
		t.Errorf("%d of 50 calls were rejected immediately", fast)
	}
	for i := range 200 {
		if _, err := c.TryReserve(t.Context(), numbered("unknown", i), 1); !errors.Is(err, ErrUnavailable) {
			t.Errorf("an unknown tenant: %v", err)
		}
	}
	settled := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s, err := c.Release(ctx, held)
		settled <- errors.Join(err, s.Err())
	}()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for began = time.Now(); ; {
		r, err := c.TryReserve(t.Context(), "acme", 1)
		if err == nil && r.Outcome == budget.Reserved {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("Redis is back, and the last call got %+v, %v", r, err)
		}
	}
	if err := <-settled; err != nil {
		t.Errorf("a release that waited for Redis to come back: %v", err)
	}
	log.loggedOnce(t, "circuit breaker open")
	log.loggedOnce(t, "circuit breaker closed")
	audit(t, server.Client())
}
