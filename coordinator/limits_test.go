package coordinator

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

func TestOpenHoldsAreBounded(t *testing.T) {
	t.Parallel()
	c, client := startNode(t, WithMaxHolds(5))
	ensure(t, c, "acme", 1000)
	ensure(t, c, "acme/search", 1000)
	var ids []budget.ReservationID
	for range 5 {
		ids = append(ids, reserve(t, c, 1))
	}
	_, err := c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "one hold too many", err, ErrTooManyHolds)
	if errors.Is(err, ErrOverloaded) || !strings.Contains(err.Error(), "WithMaxHolds") {
		t.Error(err)
	}
	// Only the tenant's own account counts; it also counts the holds of those below it.
	below, err := c.TryReserve(t.Context(), "acme/search", 1)
	if err != nil || below.Outcome != budget.Reserved {
		t.Errorf("another account: %+v, %v", below, err)
	}
	if b := audit(t, client)["acme"].Balance; b.Reserved != 6 {
		t.Errorf("%+v", b)
	}
	if s, err := c.Release(t.Context(), below.ID); err != nil || s.Outcome != budget.Released {
		t.Error(s, err)
	}
	if s, err := c.Commit(t.Context(), ids[0], 1); err != nil || s.Outcome != budget.Committed {
		t.Error(s, err)
	}
	reserve(t, c, 1)
}

// Probes do not count against the queue limits of callers.
func TestProbesTakeNoRoomInTheQueue(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := node(t, server.Client(), WithQueueLimits(2, 2))
	for i := range 8 {
		tenant := numbered("tenant", i)
		ensure(t, c, tenant, 1000)
		if r, err := c.TryReserve(t.Context(), tenant, 1); err != nil || r.Outcome != budget.Reserved {
			t.Fatal(r, err)
		}
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	// A server that is about to stop may still answer a probe.
	for c.node.InFlight() < DefaultPartitions {
		c.node.ProbeAll()
		runtime.Gosched()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.TryReserve(ctx, "tenant-3", 1)
	if errors.Is(err, ErrOverloaded) || err == nil {
		t.Errorf("with probes in flight: %v", err)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := c.node.InFlight(); n != 0 {
		t.Errorf("%d calls are unresolved", n)
	}
}
