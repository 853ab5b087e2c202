package coordinator

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// snapshot returns a function that resets acme's partition to its present state, as a
// failover to a replica that lagged does.
func snapshot(t testing.TB, client *redis.Client) (restore func()) {
	t.Helper()
	ctx := context.Background()
	books, timers := client.Dump(ctx, acmeLedger).Val(), client.Dump(ctx, acmeTimers).Val()
	return func() {
		t.Helper()
		for key, value := range map[string]string{acmeLedger: books, acmeTimers: timers} {
			if err := client.RestoreReplace(ctx, key, 0, value).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func commit(t testing.TB, c *Coordinator, id budget.ReservationID, actual budget.Microcents) {
	t.Helper()
	if s, err := c.Commit(context.Background(), id, actual); err != nil || s.Outcome != budget.Committed {
		t.Fatalf("Commit = %+v, %v", s, err)
	}
}

// Acknowledged operations are restored, however few ends of holds Redis remembers, and
// money that others have spent in the meantime is debt. Grants are not repeated; they are
// reported.
func TestRepairRestoresAcknowledgedWrites(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	log, client := &logRecorder{}, server.Client()
	c, reader, _ := telemetered(t, server, log.option(), WithRetention(time.Minute, 2))
	ensure(t, c, "acme", 1000)
	early := reserve(t, c, 10)
	restore := snapshot(t, client)
	ids := []budget.ReservationID{early}
	for range 11 {
		ids = append(ids, reserve(t, c, 10))
	}
	for _, id := range ids[:8] {
		commit(t, c, id, 7)
	}
	for _, id := range ids[8:10] {
		if s, err := c.Release(t.Context(), id); err != nil || s.Outcome != budget.Released {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	if _, err := c.Grant(t.Context(), "acme", 50); err != nil {
		t.Fatal(err)
	}
	ensure(t, c, "acme/search", 5)
	if r, err := c.TryReserve(t.Context(), "acme/search", 1); err != nil || r.Outcome != budget.Reserved {
		t.Fatal(r, err)
	}
	restore()
	other := node(t, client, WithRetention(time.Minute, 2))
	held := reserve(t, other, 990)

	r, err := c.Remaining(t.Context(), "acme")
	if err != nil || r.Outcome != budget.Found || r.Remaining != 0 {
		t.Errorf("Remaining = %+v, %v; want nothing left", r, err)
	}
	b, err := c.Balance(t.Context(), "acme")
	// 8 commits at 7, two open holds and the other node's.
	if err != nil || b.Committed != 56 || b.Reserved != 20+990 || b.Remaining != 1000-56-1010 || b.Debt() != 66 {
		t.Errorf("Balance = %+v, debt %s, %v", b, b.Debt(), err)
	}
	log.loggedOnce(t, fmt.Sprintf(`msg="bursar: repair complete" partition=%d merged=12 conflicts=0 unmerged=1`, acmePartition))
	log.loggedOnce(t, `tenant=acme lost=granted amount=$0.0000005`)
	log.loggedOnce(t, `tenant=acme/search lost=created`)
	log.loggedOnce(t, `reason="its tenant is missing"`)
	got, _ := read(t, reader)
	for name, want := range map[string]int64{"bursar.repair.merged": 12, "bursar.repair.unmerged": 1, "bursar.repair.forgotten": 0, "bursar.gaps": 1} {
		if n := got.of(name); n != want {
			t.Errorf("%s is %d, want %d", name, n, want)
		}
	}
	// Each hold ends once, restored ones included.
	for i, id := range ids {
		s, err := other.Commit(t.Context(), id, 1)
		prior := map[bool]budget.Outcome{true: budget.Committed, false: budget.Released}[i < 8]
		if i < 10 && (err != nil || s.Outcome != budget.MissingReservation || s.Prior != prior) {
			t.Errorf("a second commit of %d: %+v, %v", i, s, err)
		}
		if i >= 10 && (err != nil || s.Outcome != budget.Committed) {
			t.Errorf("the commit of %d, which is open: %+v, %v", i, s, err)
		}
	}
	commit(t, other, held, 0)
	if b := audit(t, client)["acme"].Balance; b.Committed != 58 || b.Reserved != 0 {
		t.Errorf("%+v", b)
	}
}

// A missing hold whose batch Redis has is one that ended and was forgotten: it is not
// charged again.
func TestRepairDoesNotChargeTwice(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	log, client := &logRecorder{}, server.Client()
	c := node(t, client, log.option(), WithRetention(time.Minute, 2))
	ensure(t, c, "acme", 1000)
	id := reserve(t, c, 100)
	restore := snapshot(t, client)
	commit(t, c, id, 40)
	restore()
	other := node(t, client, WithRetention(time.Minute, 2))
	commit(t, other, id, 40) // like a caller that is not sure
	for range 20 {
		commit(t, other, reserve(t, other, 1), 1)
	}
	if b, err := c.Balance(t.Context(), "acme"); err != nil || b.Committed != 60 || b.Reserved != 0 {
		t.Errorf("%+v, %v; want 40 once, and 20", b, err)
	}
	log.loggedOnce(t, "it has ended since, and its end is forgotten")
	audit(t, client)
}

// A repair of many batches that is interrupted by another loss begins again.
func TestRepairThatIsInterrupted(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	c, other := node(t, client), node(t, client)
	ensure(t, c, "acme", 1<<40)
	reserve(t, c, 1)
	reserve(t, other, 1)
	restore := snapshot(t, client)
	const holds = 3000
	spread(64, holds, func(i int) {
		commit(t, []*Coordinator{other, c}[i%2], reserve(t, c, 10), 3)
	})
	restore()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = c.Remaining(context.Background(), "acme")
	}()
	for client.HGet(t.Context(), acmeLedger, store.SessionField(c.node.ID())).Val()[0] != luascripts.SessionRepairing {
		select {
		case <-done:
			t.Fatal("no repair was observed in progress")
		default:
		}
	}
	restore()
	<-done
	for _, n := range []*Coordinator{other, c} {
		if _, err := n.Remaining(t.Context(), "acme"); err != nil {
			t.Error(err)
		}
	}
	if b := audit(t, client)["acme"].Balance; b.Committed != 3*holds || b.Reserved != 2 {
		t.Errorf("%+v, want %d committed", b, 3*holds)
	}
}

// Tombstones that a repair wrote for other nodes are removed after the retention, a few
// records at a time.
func TestRecordsOfRepairsGo(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	var ahead atomic.Int64
	c := node(t, client, WithRetention(time.Minute, 2), WithClock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }))
	ensure(t, c, "acme", 1<<40)
	reserve(t, c, 1)
	restore := snapshot(t, client)
	spread(64, 3000, func(int) { commit(t, c, reserve(t, c, 10), 3) })
	restore()
	count := func(prefix string) (n int) {
		if _, err := c.Remaining(t.Context(), "acme"); err != nil {
			t.Error(err)
		}
		for _, field := range client.HKeys(t.Context(), acmeLedger).Val() {
			if strings.HasPrefix(field, prefix) {
				n++
			}
		}
		return n
	}
	if records, holds := count("e"), count("h"); records != 6 || holds != 3001 {
		t.Errorf("%d records and %d holds, want 6 of 3001", records, holds)
	}
	ahead.Store(int64(2 * time.Minute))
	if records, holds := count("e"), count("h"); records != 2 || holds > 1001+2 {
		t.Errorf("after the retention: %d records and %d holds", records, holds)
	}
	ahead.Store(int64(3 * time.Minute))
	if records, holds := count("e"), count("h"); records != 0 || holds > 1+2 {
		t.Errorf("a minute later: %d records and %d holds", records, holds)
	}
	audit(t, client)
}
