package coordinator

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

func TestBreaker(t *testing.T) {
	t.Parallel()
	began := time.Unix(1000, 0)
	at := began.Add
	b := breaker{after: 5 * time.Second}
	for _, d := range []time.Duration{0, time.Second, 2500 * time.Millisecond, 4 * time.Second, 4999 * time.Millisecond} {
		if b.failed(at(d), at(d)) || !b.admits(at(d)) {
			t.Fatalf("open after %s", d)
		}
	}
	if !b.failed(at(4999*time.Millisecond), at(5*time.Second)) || b.state() != breakerOpen || b.admits(at(5*time.Second)) {
		t.Fatal("not open after 5 s without an answer")
	}
	if b.failed(at(5*time.Second), at(5100*time.Millisecond)) {
		t.Error("opened twice")
	}
	admitted := 0
	for d := 5 * time.Second; d < 65*time.Second; d += 10 * time.Millisecond {
		if b.admits(at(d)) {
			admitted++
			if b.state() != breakerHalfOpen {
				t.Fatal("a probe does not show")
			}
			b.failed(at(d), at(d))
		}
	}
	if admitted < 40 || admitted > 120 {
		t.Errorf("%d probes in a minute, want about 60", admitted)
	}
	if outage, closed := b.succeeded(at(65 * time.Second)); !closed || outage != 65*time.Second || !b.admits(at(65*time.Second)) {
		t.Errorf("an answer: outage %s, closed %t", outage, closed)
	}
	if _, closed := b.succeeded(at(66 * time.Second)); closed {
		t.Error("closed twice")
	}
	b.failed(at(67*time.Second), at(67*time.Second))
	b.succeeded(at(68 * time.Second))
	if b.failed(at(72*time.Second), at(72*time.Second)) || !b.admits(at(72*time.Second)) {
		t.Error("failures that an answer lies between add up")
	}
	b = breaker{after: 5 * time.Second}
	b.failed(at(0), at(0))
	if b.failed(at(time.Minute), at(time.Minute)) {
		t.Error("opened by two failures between which nobody tried")
	}
	b.succeeded(at(70 * time.Second))
	if b.failed(at(61*time.Second), at(71*time.Second)) {
		t.Error("opened by an attempt during which the server answered another")
	}
	if !b.failed(at(71*time.Second), at(76*time.Second)) {
		t.Error("not opened by one attempt of 5 s")
	}
	never := breaker{}
	if never.failed(at(0), at(0)) || never.failed(at(0), at(time.Hour)) || !never.admits(at(time.Hour)) {
		t.Error("a breaker that never opens has opened")
	}
}

// Callers of a dead Redis are refused at once after a while, and served again when
// it is back, without anybody doing anything.
func TestBreakerOpensOnADeadRedisAndCloses(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always"))
	log := &logRecorder{}
	c := node(t, server.Client(), log.option(), WithBreaker(200*time.Millisecond), WithCallTimeout(300*time.Millisecond))
	ensure(t, c, "acme", 1000)
	held := reserve(t, c, 10)
	server.Kill()
	began := time.Now()
	for c.broken.Load() == 0 {
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
			t.Errorf("a call that was kept away is unknown: %v", err)
		}
		if time.Since(began) < 50*time.Millisecond {
			fast++
		}
	}
	if fast < 40 {
		t.Errorf("%d of 50 calls were refused at once", fast)
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
	c.lanesMu.Lock()
	if n := len(c.lanes); n > 10 {
		t.Errorf("%d lanes are left of tenants that nobody knows", n)
	}
	c.lanesMu.Unlock()
	log.saysOnce(t, "Redis does not answer")
	log.saysOnce(t, "Redis answers again")
	audit(t, server.Client())
}
