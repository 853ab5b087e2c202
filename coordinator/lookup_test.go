package coordinator

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// lookup is not to be answered before the outcome is known, and then it tells
// that what its caller was not told of is no longer held.
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

func TestLookupWhereNoFamilyIs(t *testing.T) {
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

// How many endings are kept is bounded in number, and so is the memory.
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
		t.Errorf("%d endings are known, want the last 40", n)
	}
	if fate, err := c.Lookup(t.Context(), ids[len(ids)-1]); err != nil || fate.Outcome != budget.Released {
		t.Errorf("the latest: %+v, %v", fate, err)
	}
	if n := client.HLen(t.Context(), acmeBooks).Val(); n > 2*42+20 {
		t.Errorf("the books have %d fields after 200 settles", n)
	}
	clock = clock.Add(time.Minute + time.Millisecond)
	if n := known(); n != 0 {
		t.Errorf("%d endings are known after the retention", n)
	}
}

func TestDeleteTenant(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	other := node(t, client)
	if b, err := c.DeleteTenant(t.Context(), "acme"); err != nil || b != (budget.Balance{Outcome: budget.MissingTenant}) {
		t.Errorf("before it is there: %+v, %v", b, err)
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
		t.Errorf("the books have %v", all)
	}
	ensure(t, other, "acme", 7)
	if b, err := c.Balance(t.Context(), "acme"); err != nil || b.Granted != 7 || b.Remaining != 7 || b.Committed != 0 {
		t.Errorf("made anew: %+v, %v", b, err)
	}
}

// A batch may delete a tenant, make it anew and use it, in this order.
func TestDeleteWithinABatch(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	ensure(t, c, "acme", 1000)
	group := []*call{
		newCall('x', "acme", 0, budget.ReservationID{}), newCall('r', "acme", 1, budget.ReservationID{}),
		newCall('e', "acme", 10, budget.ReservationID{}), newCall('r', "acme", 4, budget.ReservationID{}),
		newCall('x', "acme", 0, budget.ReservationID{}), newCall('b', "acme", 0, budget.ReservationID{}),
	}
	answers := inOneBatch(t, c, client, group)
	for i, want := range []budget.Outcome{budget.Deleted, budget.MissingTenant, budget.Created, budget.Reserved, budget.HoldsOpen, budget.Found} {
		if answers[i].outcome != want {
			t.Errorf("operation %d: %+v, want %s", i+1, answers[i], want)
		}
	}
	want := budget.Balance{Outcome: budget.Found, Granted: 10, Remaining: 6, Reserved: 4}
	if got := audit(t, client)["acme"].Balance; got != want || answers[5].balance != want {
		t.Errorf("the books have %+v, the answer was %+v; want %+v", got, answers[5].balance, want)
	}
}

// inOneBatch performs operations on acme in one batch.
func inOneBatch(t *testing.T, c *Coordinator, client *redis.Client, group []*call) []answer {
	t.Helper()
	before := executions(t, client)
	enqueueTogether(t, c, group)
	answers := make([]answer, len(group))
	for i, op := range group {
		<-op.done
		answers[i] = op.answer
	}
	if n := executions(t, client) - before; n != 1 {
		t.Errorf("%d script calls, want one batch", n)
	}
	return answers
}

// enqueueTogether puts operations into the lane of acme, which is idle, and only
// then lets it run.
func enqueueTogether(t *testing.T, c *Coordinator, group []*call) {
	t.Helper()
	l := c.lane("acme")
	l.mu.Lock()
	if l.running {
		t.Fatal("the lane is busy")
	}
	for _, op := range group {
		c.enter()
		l.queue = append(l.queue, op)
	}
	l.running = true
	c.busy.Add(1)
	l.mu.Unlock()
	c.shardOf(l).push(l)
}
