package coordinator

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// WithCrowd sets how many calls a lane has before it shares them; with 0 every reserve
// goes to the second lane.
func WithCrowd(calls int) Option { return func(c *config) { c.crowd = calls } }

// sessions are the nodes that have one in acme's family.
func sessions(t *testing.T, client *redis.Client) (nodes []string) {
	t.Helper()
	for field := range client.HGetAll(t.Context(), acmeBooks).Val() {
		if node, is := strings.CutPrefix(field, "s"); is {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// A crowd has two sessions, a few callers have one, and the books are the same.
func TestCrowdIsShared(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := node(t, server.Client())
	ensure(t, c, "acme", budget.Dollar)
	play := func(callers int) {
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range 50 {
					r, err := c.TryReserve(context.Background(), "acme", 10)
					if err != nil || r.Outcome != budget.Reserved {
						t.Errorf("%+v, %v", r, err)
						return
					}
					if s, err := c.Commit(context.Background(), r.ID, 7); err != nil || s.Outcome != budget.Committed {
						t.Errorf("%+v, %v", s, err)
					}
				}
			})
		}
		wg.Wait()
	}
	play(8)
	if n := len(sessions(t, server.Client())); n != 1 {
		t.Errorf("8 callers have %d sessions, want 1", n)
	}
	play(3 * defaultCrowd)
	if n := len(sessions(t, server.Client())); n != 2 {
		t.Errorf("%d callers have %d sessions, want 2", 3*defaultCrowd, n)
	}
	if b := audit(t, server.Client())["acme"].Balance; b.Committed != 50*7*(8+3*defaultCrowd) || b.Reserved != 0 {
		t.Errorf("%+v", b)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, one := range sessions(t, server.Client()) {
		if text := server.Client().HGet(t.Context(), acmeBooks, "s"+one).Val(); !strings.Contains(text, " - ") {
			t.Errorf("session %s is not closed: %q", one, text)
		}
	}
}

// What a caller was not told of is found out and released by the lane that reserved it,
// and a Lookup waits for that, wherever it was asked for.
func TestSecondLaneReleasesWhatNobodyWasToldOf(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := &faults{random: seeded(t), count: make(map[fault]int)}
	opts := server.Options()
	opts.Dialer = f.dial
	faulty := redis.NewClient(opts)
	t.Cleanup(func() { faulty.Close() })
	c := node(t, faulty, WithCrowd(0))
	ensure(t, c, "acme", 1000)
	first := reserve(t, c, 10)
	f.every.Store(int32(dropReply))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.TryReserve(ctx, "acme", 100)
	var unknown *UnknownOutcomeError
	if !errors.As(err, &unknown) {
		t.Fatalf("TryReserve: %v, want an unknown outcome", err)
	}
	f.every.Store(int32(pass))
	if fate, err := c.Lookup(t.Context(), unknown.ID); err != nil || fate.Outcome != budget.Released && fate.Outcome != budget.NotKnown {
		t.Errorf("Lookup: %+v, %v", fate, err)
	}
	if b := audit(t, server.Client())["acme"].Balance; b.Reserved != 10 {
		t.Errorf("%+v: want the first hold alone", b)
	}
	commit(t, c, first, 10)
}

// Both lanes notice what Redis has lost, and each restores what it was told.
func TestBothLanesRepair(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	c := node(t, client)
	ensure(t, c, "acme", 1000)
	l := c.lane("acme")
	second := l.shared()
	ids := []budget.ReservationID{reserve(t, c, 10), reserveIn(t, c, second, 10)}
	restore := snapshot(t, client)
	for i, id := range ids {
		commit(t, c, id, budget.Microcents(5+i))
	}
	ids = append(ids, reserve(t, c, 20), reserveIn(t, c, second, 30))
	restore()
	// The first to notice has the other asked.
	if _, err := c.Remaining(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[budget.ReservationID]budget.Outcome{ids[0]: budget.Committed, ids[1]: budget.Committed, ids[2]: budget.Reserved, ids[3]: budget.Reserved} {
		if fate, err := c.Lookup(t.Context(), id); err != nil || fate.Outcome != want {
			t.Errorf("%s: %+v, %v; want %s", id, fate, err, want)
		}
	}
	if b := audit(t, client)["acme"].Balance; b.Committed != 11 || b.Reserved != 50 {
		t.Errorf("%+v", b)
	}
}

// reserveIn reserves in a lane of the test's choice.
func reserveIn(t *testing.T, c *Coordinator, l *lane, cost budget.Microcents) budget.ReservationID {
	t.Helper()
	op := newCall(luascripts.KindReserve, "acme", cost, budget.ReservationID{})
	c.enter()
	if start, ok, err := l.enqueue(op); !ok || err != nil {
		t.Fatal(ok, err)
	} else if start {
		c.shardOf(l).push(l)
	}
	a, id, _, err := op.wait(t.Context(), 10*time.Second)
	if err != nil || a.outcome != budget.Reserved {
		t.Fatalf("%+v, %v", a, err)
	}
	return id
}

// A second lane that has not been used yet knows which family the node has met.
func TestSecondLaneMissesALostFamily(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := node(t, server.Client(), WithCrowd(0))
	ensure(t, c, "acme", 1000)
	server.Client().FlushAll(t.Context())
	_, err := c.TryReserve(t.Context(), "acme", 1)
	wantErr(t, "a reserve in a family that is gone", err, ErrGap)
	_, err = c.EnsureTenant(t.Context(), "acme", 1000)
	wantErr(t, "an ensure of a family that is gone", err, ErrRecreated)
}

// Two lanes have no more room together than a family has.
func TestQueueLimitIsOfBothLanes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const limit, callers = 40, 200
	c := node(t, server.Client(), WithQueueLimits(limit, 1000), WithCrowd(4))
	ensure(t, c, "acme", budget.Dollar)
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	var refused atomic.Int64
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	for range callers {
		wg.Go(func() {
			if _, err := c.TryReserve(ctx, "acme", 1); errors.Is(err, ErrOverloaded) {
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	inFlight := 0
	c.allLanes(func(l *lane) {
		l.mu.Lock()
		inFlight += l.flying
		l.mu.Unlock()
	})
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	// Callers that come at the same instant may be a few more.
	if n := int(callers - refused.Load()); n < limit || n > limit+inFlight+8 {
		t.Errorf("%d of %d were let in, with room for %d beside %d in flight", n, callers, limit, inFlight)
	}
}

// As many callers as there is room for are never too many, whichever lane they come to.
func TestCrowdHasTheRoomOfItsFamily(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const callers = 3 * defaultCrowd
	c := node(t, server.Client(), WithQueueLimits(callers, callers))
	ensure(t, c, "acme", budget.Dollar)
	spread(callers, callers*100, func(int) {
		if _, err := c.TryReserve(context.Background(), "acme", 1); err != nil {
			t.Error(err)
		}
	})
}
