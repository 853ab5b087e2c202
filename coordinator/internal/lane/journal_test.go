package lane

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// The journals of a node stay within their limit; those of idle lanes are evicted first.
func TestJournalsAreBounded(t *testing.T) {
	t.Parallel()
	const room = 1 << 16 / stateBytes
	at := int64(1)
	n, _ := testNode(t, func(c *Config) {
		c.Partitions, c.RepairWindow, c.RepairBytes = 2, time.Minute, room*stateBytes
		c.Now = func() time.Time { return time.UnixMilli(at) }
	})
	fill := func(l *Lane, node uint64, count int) {
		for i := range uint64(count) {
			l.journal.record(budget.NewReservationID("acme", node, i), state{state: luascripts.HoldOpen, at: at})
			l.enforceLimit(1, at)
			if states := n.recorded.Load(); states > room || i > room && states < room/2 {
				t.Fatalf("%d states are recorded; there is room for %d", states, room)
			}
		}
	}
	first, second := n.Lanes()[0], n.Lanes()[1]
	fill(first, 1, 3*room)
	if states := n.recorded.Load(); states != int64(first.journal.states) {
		t.Errorf("%d states are recorded, but %d are counted", first.journal.states, states)
	}
	first.acknowledged.Store(at)
	at += time.Hour.Milliseconds()
	second.acknowledged.Store(at)
	fill(second, 2, room)
	if second.journal.states != room || first.journal.states != 0 {
		t.Errorf("%d states are recorded in addition to %d that are too old", second.journal.states, first.journal.states)
	}
}

// Only the latest state of a reservation is found, whichever chunk it is in.
func TestJournalKeepsTheLatestState(t *testing.T) {
	t.Parallel()
	var j journal
	id, other := budget.NewReservationID("acme", 1, 1<<10), budget.NewReservationID("acme/search", 1, 2<<10)
	j.record(id, state{state: luascripts.HoldOpen, amount: 5, at: 10, number: 1, code: luascripts.CodeReserved})
	j.record(other, state{state: luascripts.HoldOpen, amount: 7, at: 11, number: 2, code: luascripts.CodeReserved})
	j.evict(20, 10, 0)
	j.record(id, state{state: luascripts.HoldCommitted, amount: 4, at: 20, number: 3, code: luascripts.CodeCommitted})
	lost := func(at int64, last appliedBatch) string {
		var texts []string
		if last.session != "" && j.diverged(last) {
			texts = append(texts, "diverged")
		}
		for _, m := range j.pendingMerges(at, 15, last) {
			texts = append(texts, fmt.Sprintf("%s %c%d", m.id.Tenant(), m.state.state, m.amount))
		}
		return strings.Join(texts, ", ")
	}
	redisHas := func(number uint64, at int64, codes string) appliedBatch {
		return appliedBatch{1, store.AppliedSession(be(number, 8)+be(0, 8), at, false, 0, codes), applied(codes, 5)}
	}
	for _, c := range []struct {
		what string
		at   int64
		last appliedBatch
		want string
	}{
		{"all is lost", 21, appliedBatch{}, "acme c4, acme/search o7"},
		{"Redis has the first two", 21, redisHas(2, 11, "R"), "acme c4"},
		{"Redis refused the second at another time", 21, redisHas(2, 12, "I"), "diverged, acme c4, acme/search o7"},
		{"Redis refused the second at the same time", 21, redisHas(2, 11, "I"), "diverged, acme c4, acme/search o7"},
		{"Redis made the second again at another time", 21, redisHas(2, 12, "R"), "acme c4"},
		{"another node's batch of this number made one", 21, appliedBatch{2, redisHas(2, 12, "R").session, applied("R", 5)}, "diverged, acme c4, acme/search o7"},
		{"Redis has all", 21, redisHas(3, 20, "C"), ""},
		{"one is too old", 26, appliedBatch{}, "acme c4"},
	} {
		if got := lost(c.at, c.last); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	j.record(other, state{state: luascripts.HoldOpen, amount: 7, at: 11, number: 9})
	if got := lost(21, redisHas(8, 21, "R")); got != "acme/search o7" {
		t.Errorf("after a repair by batch 9: %q", got)
	}
}

// A merged state is recorded again after younger ones, which are not evicted with it.
func TestJournalEvictsOnlyOldStates(t *testing.T) {
	t.Parallel()
	var j journal
	for i, at := range []int64{100, 150, 10} {
		j.record(budget.NewReservationID("acme", 1, uint64(i)), state{state: luascripts.HoldOpen, at: at})
	}
	j.changes = []changeRecord{{at: 20}, {at: 120}}
	for _, c := range []struct{ at, must, evicted, early int }{
		{at: 199},
		{at: 249},
		{at: 249, must: 1, evicted: 3, early: 1},
	} {
		if evicted, early := j.evict(int64(c.at), 100, c.must); evicted != c.evicted || early != c.early {
			t.Errorf("%+v: %d evicted, %d of them early", c, evicted, early)
		}
	}
	if j.states != 0 || len(j.changes) != 0 || j.places != nil {
		t.Errorf("left: %+v", j)
	}
}

// BenchmarkJournal reports the memory of a recorded state, and the longest time to record
// a batch's states while a journal fills its default memory. Run it with -benchtime=1x.
func BenchmarkJournal(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			var j journal
			before := heapBytes()
			const states = 300_000
			for i := range uint64(states) {
				j.record(budget.NewReservationID("acme", 1, i), state{state: luascripts.HoldOpen, amount: 1, at: 1})
			}
			b.ReportMetric(float64(heapBytes()-before)/states, "B/state")
			runtime.KeepAlive(j)
		}
	})
	b.Run("pause", func(b *testing.B) {
		for b.Loop() {
			var j journal
			longest := time.Duration(0)
			for n := range uint64(64 << 20 / stateBytes / luascripts.MaxOperations) {
				began := time.Now()
				for i := range uint64(luascripts.MaxOperations) {
					j.record(budget.NewReservationID("acme", n, i), state{state: luascripts.HoldOpen, amount: 1, at: 1})
				}
				longest = max(longest, time.Since(began))
			}
			b.ReportMetric(float64(longest.Microseconds()), "µs/longest")
		}
	})
}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
