package coordinator

import (
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// What is retained stays within its bound; what goes within the window is counted.
func TestRetainedIsBounded(t *testing.T) {
	t.Parallel()
	const room = 1 << 16 / retainedBytes
	c, l := loneLane(t)
	at := int64(1)
	c.config.now = func() time.Time { return time.UnixMilli(at) }
	c.config.repairWindow, c.config.repairBytes = time.Minute, room*retainedBytes
	fill := func(l *lane, node uint64, n int) {
		for i := range uint64(n) {
			l.retained.keep(budget.NewReservationID("acme", node, i), retainedHold{state: stateOpen, at: at})
			l.account(1, at, c.config.repairWindow.Milliseconds())
		}
	}
	fill(l, 1, 3*room)
	if n := c.retained.Load(); n > room || n < room/2 || n != int64(l.retained.len()) {
		t.Errorf("%d are retained, and %d are counted; there is room for %d", l.retained.len(), n, room)
	}
	// A lane that rests for longer than the window makes room for others.
	l.toldAt.Store(at)
	at += time.Hour.Milliseconds()
	other := c.lane("globex")
	other.toldAt.Store(at)
	fill(other, 2, room)
	if n := other.retained.len(); n != room || l.retained.len() != 0 {
		t.Errorf("%d are retained beside %d that are too old", n, l.retained.len())
	}
}

// Between two turns a state is found in either generation, the latest alone.
func TestRetainedKeepsTheLatest(t *testing.T) {
	t.Parallel()
	var r retained
	id, other := budget.NewReservationID("acme", 1, 1<<10), budget.NewReservationID("acme", 1, 2<<10)
	r.keep(id, retainedHold{state: stateOpen, amount: 5, at: 10, number: 1})
	r.keep(other, retainedHold{state: stateOpen, amount: 7, at: 11, number: 2})
	r.turn(20, 10, false)
	r.keep(id, retainedHold{state: stateCommitted, amount: 4, at: 20, number: 3})
	states := func(at int64, last applied) (texts string) {
		for _, h := range r.merges(at, 15, last) {
			texts += h.text() + ";"
		}
		return texts
	}
	for _, c := range []struct {
		what string
		at   int64
		last applied
		want string
	}{
		{"all is lost", 21, applied{}, "c4 20;o7 11 0;"},
		{"Redis has the first two", 21, applied{2, "2 d 11"}, "c4 20;"},
		{"Redis has the second at another time", 21, applied{2, "2 d 12"}, "c4 20;o7 11 0;"},
		{"Redis has all", 21, applied{3, "3 d 20"}, ""},
		{"one is too old", 26, applied{}, "c4 20;"},
	} {
		if got := states(c.at, c.last); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	r.keep(other, retainedHold{state: stateOpen, amount: 7, at: 11, number: 9})
	if got := states(21, applied{8, "8 d 21"}); got != "o7 11 0;" {
		t.Errorf("after a repair by batch 9: %q", got)
	}
}
