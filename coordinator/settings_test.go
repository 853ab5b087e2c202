package coordinator

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// Crossings are passed on one at a time and in order, and a function that blocks costs
// neither the lanes nor memory.
func TestCrossingsArePassedOn(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var mu sync.Mutex
	var got []int
	blocked, release := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() {
		close(blocked)
		<-release
	})
	c := &crossings{logger: slog.New(slog.NewTextHandler(&log, nil)), call: func(event budget.Crossing) {
		first()
		mu.Lock()
		defer mu.Unlock()
		got = append(got, event.Percent)
	}}
	c.add(budget.Crossing{Percent: 0})
	<-blocked
	for i := range maxCrossings + 2 {
		c.add(budget.Crossing{Tenant: "acme", Percent: i + 1})
	}
	if n := strings.Count(log.String(), "function of WithOnThreshold not called"); n != 2 {
		t.Errorf("%d events are logged as dropped, want 2:\n%s", n, log.String())
	}
	close(release)
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		running := c.running
		c.mu.Unlock()
		if !running {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("the events are not passed on")
		}
	}
	if len(got) != maxCrossings+1 {
		t.Errorf("%d events, want %d", len(got), maxCrossings+1)
	}
	for i, percent := range got {
		if percent != i {
			t.Fatalf("event %d is %d", i, percent)
		}
	}
}

// Operations that share a batch cross thresholds one after the other.
func TestCrossingsWithinABatch(t *testing.T) {
	t.Parallel()
	crossed := make(chan budget.Crossing, 16)
	server := redistest.Start(t)
	c := node(t, server.Client(), WithOnThreshold(func(c budget.Crossing) { crossed <- c }))
	if _, err := c.EnsureTenant(t.Context(), "acme", 100, budget.AtThresholds(100)); err != nil {
		t.Fatal(err)
	}
	ids := []budget.ReservationID{reserve(t, c, 50), reserve(t, c, 50)}
	commit(t, c, ids[0], 50)
	must := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	must(server.Pause())
	var calls sync.WaitGroup
	for _, do := range []func() error{
		func() error { _, err := c.Balance(t.Context(), "acme"); return err }, // a batch of its own
		func() error { _, err := c.Commit(t.Context(), ids[1], 50); return err },
		func() error { _, err := c.Grant(t.Context(), "acme", 100); return err },
		func() error { _, err := c.Withdraw(t.Context(), "acme", 100); return err },
	} {
		before := c.node.InFlight()
		calls.Go(func() { must(do()) })
		eventually(t, "a call is queued", func() bool { return c.node.InFlight() == before+1 })
		time.Sleep(20 * time.Millisecond)
	}
	must(server.Resume())
	calls.Wait()
	for range 2 {
		select {
		case got := <-crossed:
			if got != (budget.Crossing{Tenant: "acme", Percent: 100, Committed: 100, Granted: 100}) {
				t.Errorf("%+v", got)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the threshold was not crossed twice: by the commit, and after the grant by the withdrawal")
		}
	}
}

// An invalid tenant is reported before an invalid setting.
func TestInvalidConfigure(t *testing.T) {
	t.Parallel()
	c, _ := startNode(t)
	if _, err := c.Configure(t.Context(), "a//b", budget.Overdraft(-1)); !errors.Is(err, budget.ErrInvalidTenant) {
		t.Errorf("an invalid tenant and setting: %v", err)
	}
	_, err := c.Configure(t.Context(), "acme", budget.Overdraft(-1))
	wantErr(t, "a negative overdraft", err, budget.ErrInvalidSetting)
}
