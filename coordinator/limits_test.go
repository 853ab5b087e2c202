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
	"github.com/calybris/bursar/luascripts"
)

func TestOpenHoldsAreBounded(t *testing.T) {
	t.Parallel()
	c, client := startNode(t, WithMaxHolds(5))
	ensure(t, c, "acme", 1000)
	ensure(t, c, "acme/search", 1000)
	var ids []budget.ReservationID
	for range 4 { // and the node's session
		ids = append(ids, reserve(t, c, 1))
	}
	for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
		_, err := c.TryReserve(t.Context(), tenant, 1)
		wantErr(t, "one hold too many", err, ErrOverloaded)
		if !strings.Contains(err.Error(), "WithMaxHolds") {
			t.Error(err)
		}
	}
	if b := audit(t, client)["acme"].Balance; b.Reserved != 4 {
		t.Errorf("%+v", b)
	}
	if s, err := c.Commit(t.Context(), ids[0], 1); err != nil || s.Outcome != budget.Committed {
		t.Error(s, err)
	}
	reserve(t, c, 1)
	// More than there is room for in one batch: as many as fit.
	full, fullClient := startNode(t, WithMaxHolds(50))
	ensure(t, full, "acme", 1000)
	var group []*call
	for range 80 {
		group = append(group, newCall(luascripts.KindReserve, "acme", 1, budget.ReservationID{}))
	}
	granted := 0
	for _, a := range inOneBatch(t, full, fullClient, group) {
		if a.outcome == budget.Reserved {
			granted++
		}
	}
	if granted != 49 {
		t.Errorf("%d of 80 were granted at once, want 49", granted)
	}
}

// What a node asks for itself takes no caller's place.
func TestProbesKeepNobodyOut(t *testing.T) {
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
	c.suspect()
	for c.inFlight.Load() < 8 {
		runtime.Gosched()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.TryReserve(ctx, "tenant-3", 1)
	if errors.Is(err, ErrOverloaded) || err == nil {
		t.Errorf("with probes under way: %v", err)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := c.unasked.Load(); n != 0 {
		t.Errorf("%d calls of the node's own are left", n)
	}
}
