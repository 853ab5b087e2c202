package coordinator

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// A Lookup waits until the outcome of an abandoned reserve is known, and then shows that
// nothing is held any more.
func TestLookupOfAnAbandonedReserveWaitsForItsRelease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := node(t, server.Client())
	ensure(t, c, "acme", 1000)
	for range 20 {
		if err := server.Pause(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := c.TryReserve(ctx, "acme", 5)
		cancel()
		fates := make(chan budget.Fate, 1)
		var unknown *UnknownOutcomeError
		if !errors.As(err, &unknown) {
			t.Errorf("frozen: %v, want an unknown outcome", err)
		} else {
			go func() {
				fate, err := c.Lookup(t.Context(), unknown.ID)
				if err != nil {
					t.Error(err)
				}
				fates <- fate
			}()
		}
		if err := server.Resume(); err != nil {
			t.Fatal(err)
		}
		if unknown == nil {
			return
		}
		if fate := <-fates; fate.Outcome != budget.Released || fate.Amount != 5 || fate.At.IsZero() {
			t.Fatalf("looked up: %+v, want 5 released", fate)
		}
	}
}

func TestLookupInAnUnusedPartition(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	fate, err := c.Lookup(t.Context(), budget.NewReservationID("ghost", 1, 2))
	if err != nil || fate != (budget.Fate{Outcome: budget.NotKnown}) {
		t.Errorf("%+v, %v; want not_known", fate, err)
	}
	if n := client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("a lookup made %d keys", n)
	}
}

// The number of remembered ends of holds is bounded, and so is their memory.
func TestRetentionIsBoundedInTimeAndCount(t *testing.T) {
	t.Parallel()
	clock := time.UnixMilli(1_700_000_000_000)
	c, client := startNode(t, WithRetention(time.Minute, 40), WithClock(func() time.Time { return clock }))
	ensure(t, c, "acme", 1000)
	var ids []budget.ReservationID
	for range 200 {
		id := reserve(t, c, 1)
		if _, err := c.Release(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	known := func() (n int) {
		for _, id := range ids {
			if fate, err := c.Lookup(t.Context(), id); err != nil {
				t.Fatal(err)
			} else if fate.Outcome != budget.NotKnown {
				n++
			}
		}
		return n
	}
	if n := known(); n < 40 || n > 42 {
		t.Errorf("%d settlements are remembered, want the last 40", n)
	}
	if fate, err := c.Lookup(t.Context(), ids[len(ids)-1]); err != nil || fate.Outcome != budget.Released {
		t.Errorf("the latest: %+v, %v", fate, err)
	}
	if n := client.HLen(t.Context(), acmeLedger).Val(); n > 2*42+20 {
		t.Errorf("the ledger has %d fields after 200 settles", n)
	}
	clock = clock.Add(time.Minute + time.Millisecond)
	if n := known(); n != 0 {
		t.Errorf("%d settlements are remembered after the retention", n)
	}
}

func TestDeleteTenant(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	other := node(t, client)
	if b, err := c.DeleteTenant(t.Context(), "acme"); err != nil || b != (budget.Balance{Outcome: budget.MissingTenant}) {
		t.Errorf("before it exists: %+v, %v", b, err)
	}
	ensure(t, c, "acme", 1000)
	ensure(t, c, "acme/search", 50)
	id := reserve(t, c, 100)
	want := budget.Balance{Outcome: budget.HoldsOpen, Granted: 1000, Remaining: 900, Reserved: 100}
	if b, err := c.DeleteTenant(t.Context(), "acme"); err != nil || b != want || !errors.Is(b.Err(), budget.ErrHoldsOpen) {
		t.Errorf("with an open hold: %+v, %v; want %+v", b, err, want)
	}
	if _, err := c.Commit(t.Context(), id, 30); err != nil {
		t.Fatal(err)
	}
	want = budget.Balance{Outcome: budget.Deleted, Granted: 1000, Remaining: 970, Committed: 30}
	if b, err := other.DeleteTenant(t.Context(), "acme"); err != nil || b != want {
		t.Errorf("deleted: %+v, %v; want %+v", b, err, want)
	}
	for _, n := range []*Coordinator{c, other} {
		if r, err := n.TryReserve(t.Context(), "acme", 1); err != nil || r.Outcome != budget.MissingTenant {
			t.Errorf("afterwards: %+v, %v", r, err)
		}
		if r, err := n.TryReserve(t.Context(), "acme/search", 1); err != nil || r.Outcome != budget.Reserved {
			t.Errorf("another level: %+v, %v", r, err)
		}
	}
	if fate, err := c.Lookup(t.Context(), id); err != nil || fate.Outcome != budget.Committed || fate.Amount != 30 {
		t.Errorf("its reservation: %+v, %v", fate, err)
	}
	if all := audit(t, client); len(all) != 1 {
		t.Errorf("the ledger has %v", all)
	}
	ensure(t, other, "acme", 7)
	if b, err := c.Balance(t.Context(), "acme"); err != nil || b.Granted != 7 || b.Remaining != 7 || b.Committed != 0 {
		t.Errorf("created again: %+v, %v", b, err)
	}
}
