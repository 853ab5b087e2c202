package coordinator

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

func TestScriptFlushCostsNoError(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	ensure(t, c, "acme", 1000)
	for range 20 {
		client.ScriptFlush(t.Context())
		reserve(t, c, 1)
	}
	audit(t, client)
}

func TestRestartCostsNoErrorBeyondTheOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always"))
	c := node(t, server.Client())
	ensure(t, c, "acme", 1000)
	id := reserve(t, c, 10)
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.TryReserve(ctx, "acme", 5)
	if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while Redis is down: %v", err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Commit(t.Context(), id, 10); err != nil || s.Outcome != budget.Committed {
		t.Errorf("after the restart: %+v, %v", s, err)
	}
	deadline := time.Now().Add(2 * time.Second)
	for {
		b, err := c.Balance(t.Context(), "acme")
		if err == nil && b.Reserved == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("2 s after Redis answered again: %+v, %v; want nothing held", b, err)
		}
	}
	audit(t, server.Client())
}

func TestFrozenRedisKeepsCallersDeadlines(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := node(t, server.Client())
	ensure(t, c, "acme", 1000)
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := c.TryReserve(ctx, "acme", 5)
	waited := time.Since(began)
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	var unknown *UnknownOutcomeError
	if !errors.As(err, &unknown) || unknown.ID.Tenant() != "acme" {
		t.Fatalf("frozen: %v, want an unknown outcome with the reservation", err)
	}
	if waited > time.Second {
		t.Errorf("the caller waited %s for its deadline of 100 ms", waited)
	}
	// The reserve reached Redis and took effect; the coordinator releases it.
	for b := (budget.Balance{}); b.Outcome == budget.Unknown || b.Reserved != 0; {
		if b, err = c.Balance(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Release(t.Context(), unknown.ID)
	if err != nil || s.Outcome != budget.MissingReservation || s.Prior != budget.Released {
		t.Errorf("the abandoned reservation: %+v, %v; want it released", s, err)
	}
}

func TestCallTimeoutBoundsCallsWithoutDeadline(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := node(t, server.Client(), WithCallTimeout(100*time.Millisecond))
	ensure(t, c, "acme", 1000)
	server.Kill()
	if _, err := c.TryReserve(t.Context(), "acme", 5); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without a deadline: %v, want %v", err, ErrUnavailable)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestMemoryShortageRefusesReservesAndLetsSettlesLand(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	ensure(t, c, "acme", 1000)
	kept, spent := reserve(t, c, 10), reserve(t, c, 20)
	client.ConfigSet(t.Context(), "maxmemory", "1mb")
	if _, err := c.TryReserve(t.Context(), "acme", 1); !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("reserve: %v, want %v", err, ErrOutOfMemory)
	}
	if _, err := c.Grant(t.Context(), "acme", 1); !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("grant: %v, want %v", err, ErrOutOfMemory)
	}
	if _, err := c.EnsureTenant(t.Context(), "acme/new", 1); !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("ensure: %v, want %v", err, ErrOutOfMemory)
	}
	if _, err := c.EnsureTenant(t.Context(), "globex", 1); !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("ensure in a new partition: %v, want %v", err, ErrOutOfMemory)
	}
	if s, err := c.Commit(t.Context(), spent, 15); err != nil || s.Outcome != budget.Committed {
		t.Errorf("commit: %+v, %v", s, err)
	}
	if s, err := c.Release(t.Context(), kept); err != nil || s.Outcome != budget.Released {
		t.Errorf("release: %+v, %v", s, err)
	}
	client.ConfigSet(t.Context(), "maxmemory", "0")
	reserve(t, c, 1)
	audit(t, client)
}

func TestCloseAnswersCallsInFlight(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	server := redistest.Start(t)
	client := server.Client()
	c, err := New(t.Context(), client, quiet())
	if err != nil {
		t.Fatal(err)
	}
	ensure(t, c, "acme", 1<<40)
	answers := make(chan error, 200)
	for range cap(answers) {
		go func() {
			_, err := c.TryReserve(context.Background(), "acme", 1)
			answers <- err
		}()
	}
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	granted := budget.Microcents(0)
	for range cap(answers) {
		if err := <-answers; err == nil {
			granted++
		} else if !errors.Is(err, ErrClosed) {
			t.Errorf("a call in flight: %v", err)
		}
	}
	if b := audit(t, client)["acme"].Balance; b.Reserved != granted {
		t.Errorf("%d reserves were acknowledged, and %d are held", granted, b.Reserved)
	}
	if _, err := c.TryReserve(t.Context(), "acme", 1); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
	for field, value := range client.HGetAll(t.Context(), acmeLedger).Val() {
		if field[0] == luascripts.FieldSession && value[0] != luascripts.SessionClosed || field[0] == luascripts.FieldReply {
			t.Errorf("the node left its session %q = %q", field, value)
		}
	}
	client.Close()
	server.Close()
}

func TestCloseEndsThoughRedisIsDown(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c, err := New(t.Context(), server.Client(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	ensure(t, c, "acme", 1000)
	server.Kill()
	answered := make(chan error, 1)
	go func() {
		_, err := c.TryReserve(context.Background(), "acme", 1)
		answered <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for c.node.InFlight() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := c.Close(ctx); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Close: %v, want %v", err, ErrUnavailable)
	}
	if err := <-answered; !errors.Is(err, ErrClosed) && !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("the call in flight: %v, want %v or %v", err, ErrClosed, ErrUnknownOutcome)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := node(t, server.Client(), WithQueueLimits(4, 8))
	ensure(t, c, "acme", 1000)
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	const calls = 12
	answers := make(chan error, calls)
	for range calls {
		go func() {
			_, err := c.TryReserve(context.Background(), "acme", 1)
			answers <- err
		}()
	}
	// Only rejected calls have an answer: at most 8 wait.
	for range calls - 8 {
		if err := <-answers; !errors.Is(err, ErrOverloaded) {
			t.Errorf("beyond the bound: %v, want %v", err, ErrOverloaded)
		}
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		if err := <-answers; err != nil && !errors.Is(err, ErrOverloaded) {
			t.Errorf("within the bound: %v", err)
		}
	}
}
