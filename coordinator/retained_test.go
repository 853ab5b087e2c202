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
			if n := c.retained.Load(); n > room || i > room && n < room/2 {
				t.Fatalf("%d are retained; there is room for %d", n, room)
			}
		}
	}
	fill(l, 1, 3*room)
	if n := c.retained.Load(); n != int64(l.retained.len()) {
		t.Errorf("%d are retained, and %d are counted", l.retained.len(), n)
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

// A state is found in whatever chunk it is, the latest alone.
func TestRetainedKeepsTheLatest(t *testing.T) {
	t.Parallel()
	var r retained
	id, other := budget.NewReservationID("acme", 1, 1<<10), budget.NewReservationID("acme", 1, 2<<10)
	r.keep(id, retainedHold{state: stateOpen, amount: 5, at: 10, number: 1})
	r.keep(other, retainedHold{state: stateOpen, amount: 7, at: 11, number: 2})
	r.forget(20, 10, 0)
	r.keep(id, retainedHold{state: stateCommitted, amount: 4, at: 20, number: 3})
	states := func(at int64, last applied, reply string) (texts string) {
		again := newDuplicate(1, last, reply)
		if r.otherwise(last, again) {
			texts = "otherwise: "
		}
		for _, h := range r.merges(at, 15, last, again) {
			texts += h.text() + ";"
		}
		return texts
	}
	for _, c := range []struct {
		what  string
		at    int64
		last  applied
		reply string
		want  string
	}{
		{"all is lost", 21, applied{}, "", "c4 20;o7 11 0;"},
		{"Redis has the first two", 21, applied{2, "2 d", "11"}, "APPLIED R 11 5", "c4 20;"},
		{"Redis refused the second at another time", 21, applied{2, "2 d", "12"}, "APPLIED I 12 5", "otherwise: c4 20;o7 11 0;"},
		{"Redis made the second at another time", 21, applied{2, "2 d", "12"}, "APPLIED R 12 5", "c4 20;"},
		{"Redis has all", 21, applied{3, "3 d", "20"}, "APPLIED C 20 5 5", ""},
		{"one is too old", 26, applied{}, "", "c4 20;"},
	} {
		if got := states(c.at, c.last, c.reply); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	r.keep(other, retainedHold{state: stateOpen, amount: 7, at: 11, number: 9})
	if got := states(21, applied{8, "8 d", "21"}, "APPLIED R 21 5"); got != "o7 11 0;" {
		t.Errorf("after a repair by batch 9: %q", got)
	}
}

// What a repair merged is retained anew after younger states, which do not go with it.
func TestRetainedForgetsTheOldAlone(t *testing.T) {
	t.Parallel()
	var r retained
	for i, at := range []int64{100, 150, 10} {
		r.keep(budget.NewReservationID("acme", 1, uint64(i)), retainedHold{state: stateOpen, at: at})
	}
	r.grants = []retainedGrant{{at: 20}, {at: 120}}
	for _, c := range []struct{ at, must, gone, early int }{
		{at: 199},
		{at: 249},
		{at: 249, must: 1, gone: 3, early: 1},
	} {
		if gone, early := r.forget(int64(c.at), 100, c.must); gone != c.gone || early != c.early {
			t.Errorf("%+v: %d went, %d of them early", c, gone, early)
		}
	}
	if r.len() != 0 || len(r.grants) != 0 {
		t.Errorf("left: %+v", r)
	}
}
