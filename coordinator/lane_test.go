package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/luascripts"
)

// A lane is a state machine, so what a server would say can be said to it here, in
// any order: the paths below are rare on a real one, and each moves money.

const familyHere = "1 0123456789abcdef"

// loneLane is a lane of acme with an open session, and nobody to send its commands.
func loneLane(t *testing.T) (*Coordinator, *lane) {
	t.Helper()
	cfg, err := newConfig([]Option{quiet(), WithRepair(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	c := &Coordinator{
		config: cfg, scripts: luascripts.Compose(luascripts.Redis, cfg.layouts),
		lanes: make(map[budget.TenantID]*lane), shards: make(map[string]*shard),
	}
	c.ctx, c.cancel = context.WithCancel(t.Context())
	t.Cleanup(c.cancel)
	if c.telemetry, err = newTelemetry(c); err != nil {
		t.Fatal(err)
	}
	c.node.Store(randomBits())
	l := c.lane("acme")
	l.next()
	l.handle(fmt.Sprintf("OPEN %s %d 0 5 ", familyHere, l.openNumber), nil)
	if l.step != stepBatch {
		t.Fatal("the session is not open")
	}
	return c, l
}

// ask puts a call into the lane's queue.
func ask(t *testing.T, c *Coordinator, l *lane, kind byte, amount budget.Microcents, id budget.ReservationID) *call {
	t.Helper()
	op := newCall(kind, "acme", amount, id)
	c.enter()
	if _, ok, err := l.enqueue(op); !ok || err != nil {
		t.Fatal(ok, err)
	}
	return op
}

// heard is what the caller was told, or fails where it was told nothing.
func heard(t *testing.T, op *call) answer {
	t.Helper()
	select {
	case <-op.done:
		return op.answer
	default:
		t.Fatal("the caller was told nothing")
		return answer{}
	}
}

const noPermission = scriptError("NOPERM this user has no permissions to run the 'evalsha' command")

// kindsOf are the operations of the batch that the lane would send now.
func kindsOf(t *testing.T, l *lane) string {
	t.Helper()
	if args := l.next(); args == nil {
		t.Fatal("the lane has nothing to send")
	}
	var kinds strings.Builder
	for _, op := range l.pending.calls {
		kinds.WriteByte(op.kind)
	}
	return kinds.String()
}

// The reply of a reserve is lost, and then Redis refuses its repeat for good: the
// caller is not left waiting, and what it may hold is found out about and released.
func TestRefusedRepeatOfALostReserveIsReleased(t *testing.T) {
	t.Parallel()
	c, l := loneLane(t)
	op := ask(t, c, l, luascripts.KindReserve, 10, budget.ReservationID{})
	if kinds := kindsOf(t, l); kinds != "r" {
		t.Fatalf("sends %q", kinds)
	}
	lost := l.pending
	l.handle(nil, io.ErrUnexpectedEOF)
	for range maxRefusals {
		l.next()
		l.handle(nil, noPermission)
	}
	a := heard(t, op)
	var unknown *UnknownOutcomeError
	if !errors.As(a.err, &unknown) || unknown.ID.IsZero() || !errors.Is(a.err, ErrUnavailable) {
		t.Fatalf("told %v, want an unknown outcome with its id", a.err)
	}
	if kinds := kindsOf(t, l); kinds != "" || l.pending.number <= lost.number {
		t.Fatalf("sends %q as batch %d, want an empty one after %d", kinds, l.pending.number, lost.number)
	}
	// It took effect: its number and digest are what Redis has.
	l.handle(fmt.Sprintf("GAP %d %s 5 APPLIED R 5 90", lost.number, lost.digest), nil)
	if kinds := kindsOf(t, l); kinds != "l" || l.pending.calls[0].id != unknown.ID {
		t.Fatalf("sends %q, want the release of %s", kinds, unknown.ID)
	}
	l.handle("APPLIED L 5 80 10", nil)
	if n := c.inFlight.Load(); n != 0 {
		t.Errorf("%d calls are unresolved", n)
	}
}

// It did not take effect: nothing is to be released.
func TestRefusedRepeatThatNeverWas(t *testing.T) {
	t.Parallel()
	c, l := loneLane(t)
	op := ask(t, c, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.next()
	l.handle(nil, io.ErrUnexpectedEOF)
	for range maxRefusals {
		l.next()
		l.handle(nil, noPermission)
	}
	heard(t, op)
	l.next()
	l.handle("APPLIED  5", nil)
	if args := l.next(); args != nil || c.inFlight.Load() != 0 {
		t.Errorf("sends %v with %d unresolved, want nothing", args, c.inFlight.Load())
	}
}

// The release of a hold that nobody was told of is tried until it is answered.
func TestKeptReleaseIsTriedAgain(t *testing.T) {
	t.Parallel()
	c, l := loneLane(t)
	id := budget.NewReservationID("acme", 1, 2)
	l.releaseAbandoned(id)
	other := ask(t, c, l, luascripts.KindBalance, 0, budget.ReservationID{})
	if kinds := kindsOf(t, l); kinds != "lb" {
		t.Fatalf("sends %q", kinds)
	}
	l.handle(nil, noPermission)
	if kinds := kindsOf(t, l); kinds != "lb" {
		t.Fatalf("sends %q", kinds)
	}
	if wait := l.handle(nil, noPermission); wait == 0 {
		t.Error("it is tried again at once")
	}
	if a := heard(t, other); !errors.Is(a.err, ErrUnavailable) {
		t.Errorf("the other call was told %v", a.err)
	}
	if kinds := kindsOf(t, l); kinds != "l" || l.pending.calls[0].id != id {
		t.Fatalf("sends %q, want the release again", kinds)
	}
	l.handle("APPLIED L 5 0 10", nil)
	if n := c.inFlight.Load(); n != 0 {
		t.Errorf("%d calls are unresolved", n)
	}
}

// Where the family is gone, so is the hold, and where it cannot be read, no repeat
// reads it: the release ends, and the log says so.
func TestKeptReleaseEndsWithItsFamily(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"NOFAMILY", "CORRUPT a", "LAYOUT 99"} {
		c, l := loneLane(t)
		log := &logRecorder{}
		log.option()(&c.config)
		l.releaseAbandoned(budget.NewReservationID("acme", 1, 2))
		l.next()
		l.handle(reply, nil)
		log.saysOnce(t, "could not be released; it ends at its deadline")
		if n := c.inFlight.Load(); n != 0 {
			t.Errorf("%s: %d calls are unresolved", reply, n)
		}
	}
}

// Corrupt state is said once, until it is well again.
func TestCorruptStateIsLoggedOnce(t *testing.T) {
	t.Parallel()
	c, l := loneLane(t)
	log := &logRecorder{}
	log.option()(&c.config)
	answer := func(reply string) {
		op := ask(t, c, l, luascripts.KindRemaining, 0, budget.ReservationID{})
		l.next()
		l.handle(reply, nil)
		heard(t, op)
	}
	answer("CORRUPT a")
	answer("CORRUPT a")
	log.saysOnce(t, "bursar: stored state is corrupt")
	answer("APPLIED Q 5 0")
	answer("CORRUPT a")
	if n := strings.Count(log.text(), "bursar: stored state is corrupt"); n != 2 {
		t.Errorf("the log says %d times that state is corrupt, want 2", n)
	}
}

// A coordinator that could not close in time answers everybody, with what is known.
func TestAbort(t *testing.T) {
	t.Parallel()
	c, l := loneLane(t)
	settled := ask(t, c, l, luascripts.KindCommit, 1, budget.NewReservationID("acme", 1, 1))
	l.next()
	l.handle(nil, io.ErrUnexpectedEOF)
	waiting := ask(t, c, l, luascripts.KindReserve, 10, budget.ReservationID{})
	c.dead.Store(true)
	if l.again() {
		t.Error("the lane goes on")
	}
	if a := heard(t, settled); !errors.Is(a.err, ErrUnknownOutcome) {
		t.Errorf("sent: %v, want an unknown outcome", a.err)
	}
	if a := heard(t, waiting); !errors.Is(a.err, ErrClosed) || errors.Is(a.err, ErrUnknownOutcome) {
		t.Errorf("not sent: %v, want closed", a.err)
	}
	if n := c.inFlight.Load(); n != 0 {
		t.Errorf("%d calls are unresolved", n)
	}
}

// ... also where an empty batch is finding out about another.
func TestAbortWhileABatchIsGivenUp(t *testing.T) {
	t.Parallel()
	c, l := loneLane(t)
	op := ask(t, c, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.next()
	if _, err := op.leave(context.Canceled); !errors.Is(err, ErrUnknownOutcome) {
		t.Fatal(err)
	}
	l.handle(nil, io.ErrUnexpectedEOF)
	if l.superseded == nil {
		t.Fatal("a batch that nobody wants is not given up")
	}
	c.dead.Store(true)
	if l.again() || c.inFlight.Load() != 0 {
		t.Errorf("%d calls are unresolved", c.inFlight.Load())
	}
}

// A family of another incarnation is never taken for the one that was known.
func TestAnotherIncarnationIsNotAdopted(t *testing.T) {
	t.Parallel()
	c, l := loneLane(t)
	op := ask(t, c, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.next()
	l.handle("NOSESSION", nil) // soon after it answered: lost
	if a := heard(t, op); !errors.Is(a.err, ErrGap) {
		t.Errorf("a lost session: %v", a.err)
	}
	next := ask(t, c, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.next()
	l.handle(fmt.Sprintf("OPEN 1 %s %d 0 5 ", layout.Incarnation(7), l.openNumber), nil)
	if a := heard(t, next); !errors.Is(a.err, ErrRecreated) {
		t.Errorf("another incarnation: %v", a.err)
	}
	if l.session.family != familyHere || l.step != stepOpen {
		t.Errorf("it was adopted: %+v", l.session)
	}
}

// A reply that no script gives says nothing about the batch. It is repeated; then its
// callers hear that nobody knows, and the session is asked.
func TestRepliesThatNoScriptGives(t *testing.T) {
	t.Parallel()
	for _, reply := range []any{"", "WHAT", "GAP", "GAP x y 5 z", "GAP 7 y z", "SWEPT 0", "OPEN 1 2", nil, int64(1), []any{}} {
		c, l := loneLane(t)
		op := ask(t, c, l, luascripts.KindReserve, 10, budget.ReservationID{})
		for range maxRefusals {
			if kinds := kindsOf(t, l); kinds != "r" {
				t.Fatalf("%v: sends %q", reply, kinds)
			}
			l.handle(reply, nil)
		}
		if a := heard(t, op); !errors.Is(a.err, ErrUnknownOutcome) || !errors.Is(a.err, ErrUnavailable) {
			t.Errorf("%v: told %+v, want an unknown outcome", reply, a)
		}
		if kinds := kindsOf(t, l); kinds != "" || l.superseded == nil {
			t.Errorf("%v: sends %q, want an empty batch", reply, kinds)
		}
	}
}

// The reply of a batch that took effect and cannot be read ends nothing and moves
// nothing; callers hear that nobody knows.
func TestUnreadableReplies(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{
		"APPLIED", "APPLIED RR 5 90", "APPLIED R", "APPLIED R 5", "APPLIED R x 90", "APPLIED R 5 x", "APPLIED ? 5 90", "APPLIED K 5 90 z5 1",
		"APPLIED K 5 90 o5 x 1",
	} {
		c, l := loneLane(t)
		op := ask(t, c, l, luascripts.KindReserve, 10, budget.ReservationID{})
		l.next()
		l.handle(reply, nil)
		if a := heard(t, op); !errors.Is(a.err, ErrUnknownOutcome) {
			t.Errorf("%q: told %+v, want an unknown outcome", reply, a)
		}
		if kinds := kindsOf(t, l); kinds != "l" {
			t.Errorf("%q: sends %q, want the release of what may be held", reply, kinds)
		}
	}
	for _, reply := range []string{"OPEN", "OPEN 1 2", "OPEN 1 0123456789abcdef x 0 5 ", "OPEN 1 0123456789abcdef 0 0 x ", "LAYOUT 7", "CORRUPT s"} {
		c, l := loneLane(t)
		l.step = stepOpen
		op := ask(t, c, l, luascripts.KindReserve, 10, budget.ReservationID{})
		l.next()
		l.handle(reply, nil)
		if a := heard(t, op); a.err == nil || errors.Is(a.err, ErrUnknownOutcome) {
			t.Errorf("%q: told %+v, want an error that says that nothing happened", reply, a)
		}
	}
}

// A sweep that is refused ends the batch that waited for it.
func TestSweepIsRefused(t *testing.T) {
	t.Parallel()
	c, l := loneLane(t)
	op := ask(t, c, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.next()
	l.handle("MORE", nil)
	l.next()
	l.handle("SWEPT 1", nil)
	if l.next(); !l.sweeping {
		t.Fatal("it does not sweep on")
	}
	l.handle("LAYOUT 9", nil)
	if a := heard(t, op); !errors.Is(a.err, ErrLayout) {
		t.Errorf("told %v", a.err)
	}
}

// givingUp is a lane that finds out, by an empty batch, about a reserve whose caller
// has left and whose reply was lost.
func givingUp(t *testing.T) (*Coordinator, *lane, budget.ReservationID) {
	t.Helper()
	c, l := loneLane(t)
	op := ask(t, c, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.next()
	id := op.id
	if _, err := op.leave(context.Canceled); !errors.Is(err, ErrUnknownOutcome) {
		t.Fatal(err)
	}
	l.handle(nil, io.ErrUnexpectedEOF)
	if kinds := kindsOf(t, l); kinds != "" || l.superseded == nil {
		t.Fatalf("sends %q, want an empty batch", kinds)
	}
	return c, l, id
}

// What the empty batch meets, where it does not find out: the reserve is released if
// it may be held, and nobody waits for ever.
func TestGivingUpEndsWhateverRedisSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		reply    func(l *lane) string
		released bool
	}{
		{"writes were lost, and the reserve with them", func(*lane) string { return "GAP 0 0 5 " }, false},
		{"another process goes on", func(l *lane) string { return fmt.Sprintf("GAP %d 7 5 x", l.pending.number+5) }, true},
		{"the session is gone", func(*lane) string { return "NOSESSION" }, true},
		{"the layout is another", func(*lane) string { return "LAYOUT 9" }, true},
		{"the number was used", func(*lane) string { return "CLONED" }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			node, l, id := givingUp(t)
			l.handle(c.reply(l), nil)
			if l.step == stepOpen {
				l.next()
				l.handle(fmt.Sprintf("OPEN %s %d 0 5 ", familyHere, l.openNumber), nil)
			}
			if !c.released {
				if args := l.next(); args != nil {
					t.Errorf("sends %v, want nothing", args)
				}
			} else if kinds := kindsOf(t, l); kinds != "l" || l.pending.calls[0].id != id {
				t.Errorf("sends %q, want the release", kinds)
			} else {
				l.handle("APPLIED n 5 0", nil)
			}
			if n := node.inFlight.Load(); n != 0 {
				t.Errorf("%d calls are unresolved", n)
			}
		})
	}
}

// A refusal says that this attempt took no effect, and not that an earlier one did
// not, whose reply was lost.
func TestRefusalAfterALostReplyIsUnknown(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"LAYOUT 9", "CORRUPT a", "NOSESSION", "STALE 99"} {
		c, l := loneLane(t)
		op := ask(t, c, l, luascripts.KindCommit, 10, budget.NewReservationID("acme", 1, 1))
		l.next()
		l.handle(nil, io.ErrUnexpectedEOF)
		l.next()
		l.handle(reply, nil)
		if a := heard(t, op); !errors.Is(a.err, ErrUnknownOutcome) {
			t.Errorf("%s: told %v, want an unknown outcome", reply, a.err)
		}
	}
}

// Under a number that another process has used, the batch never took effect: it is
// sent again under a new one.
func TestClonedBatchIsSentAgain(t *testing.T) {
	t.Parallel()
	c, l := loneLane(t)
	op := ask(t, c, l, luascripts.KindCommit, 10, budget.NewReservationID("acme", 1, 1))
	l.next()
	l.handle(nil, io.ErrUnexpectedEOF)
	before := l.session.node
	l.next()
	l.handle("CLONED", nil)
	l.next()
	l.handle(fmt.Sprintf("OPEN %s %d 0 5 ", familyHere, l.openNumber), nil)
	if kinds := kindsOf(t, l); kinds != "c" || l.session.node == before {
		t.Fatalf("sends %q as the same node: %t", kinds, l.session.node == before)
	}
	l.handle("APPLIED C 5 0 10", nil)
	if a := heard(t, op); a.err != nil || a.outcome != budget.Committed {
		t.Errorf("told %+v", a)
	}
}

// A batch has at most 512 operations on 16 accounts; what is over waits, in order.
func TestBatchesAreBounded(t *testing.T) {
	t.Parallel()
	c, l := loneLane(t)
	for range luascripts.MaxOperations + 5 {
		ask(t, c, l, luascripts.KindReserve, 1, budget.ReservationID{})
	}
	if n := len(kindsOf(t, l)); n != luascripts.MaxOperations || len(l.queue) != 5 {
		t.Errorf("a batch of %d, and %d wait", n, len(l.queue))
	}
	c, l = loneLane(t)
	for i := range luascripts.MaxAccounts + 3 {
		op := newCall(luascripts.KindReserve, budget.TenantID(fmt.Sprintf("acme/%d", i)), 1, budget.ReservationID{})
		c.enter()
		if _, _, err := l.enqueue(op); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(kindsOf(t, l)); n != luascripts.MaxAccounts || len(l.queue) != 3 {
		t.Errorf("a batch of %d accounts, and %d wait", n, len(l.queue))
	}
}

// A coordinator that closes does not wait for what nobody waits for, and a lane does
// nothing any more once it is closed: Close reads the lanes' sessions then.
func TestLaneRestsWhenAllHaveLeftAClosedCoordinator(t *testing.T) {
	t.Parallel()
	c, l := loneLane(t)
	op := ask(t, c, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.next()
	l.handle(nil, &net.OpError{Op: "dial", Err: io.ErrUnexpectedEOF}) // taken back, to be tried again
	if !l.again() {
		t.Fatal("a lane with a waiting call rests")
	}
	if left, err := op.leave(context.Canceled); !left || !errors.Is(err, ErrUnavailable) {
		t.Fatal(left, err)
	}
	c.leave()
	rested := make(chan struct{})
	go func() {
		c.busy.Wait()
		close(rested)
	}()
	c.closed.Store(true)
	if l.again() {
		t.Error("the lane goes on for callers that have left")
	}
	select {
	case <-rested:
	case <-time.After(10 * time.Second):
		t.Error("Close would wait for the lane")
	}
}

// Who looks up a hold and gives up has no claim to it: the hold stays open.
func TestAbandonedLookupReleasesNothing(t *testing.T) {
	t.Parallel()
	c, l := loneLane(t)
	id := budget.NewReservationID("acme", 7, 1<<indexBits)
	op := ask(t, c, l, luascripts.KindLookup, 0, id)
	if kinds := kindsOf(t, l); kinds != "k" {
		t.Fatalf("sends %q", kinds)
	}
	if left, err := op.leave(context.Canceled); left || !errors.Is(err, ErrUnknownOutcome) {
		t.Fatal(left, err)
	}
	l.handle("APPLIED K 5 90 o10 1700000000000 1700000900000", nil)
	if args := l.next(); args != nil {
		t.Errorf("sends %v for another caller's hold", args)
	}
}
