package lane

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// A lane is a state machine, so a test can give it any replies in any order: the paths
// below are rare on a real server, and each moves money.

const testHeader = "4 1 0 0123456789abcdef"

// testNode returns a node of one partition without repair, whose commands are not sent
// anywhere, and its log.
func testNode(t *testing.T, change func(*Config)) (*Node, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	next := uint64(40)
	config := Config{
		Prefix: "p", Partitions: 1, Scripts: composeSources(nil),
		Store:       store.Config{HoldTTL: 900_000, Retention: 600_000, Ring: 100, MaxHolds: 100},
		RepairBytes: 1 << 20, TenantQueue: 1 << 14, TotalQueue: 1 << 16, CallTimeout: time.Second,
		Now: time.Now, Entropy: func() uint64 { next++; return next },
		Logger: slog.New(slog.NewTextHandler(log, nil)), Observer: NopObserver{}, Wake: func(*Lane, time.Duration) {},
	}
	if change != nil {
		change(&config)
	}
	return NewNode(config), log
}

// openLane returns such a node, its lane with an open session, and its log.
func openLane(t *testing.T, change func(*Config)) (*Node, *Lane, *bytes.Buffer) {
	t.Helper()
	n, log := testNode(t, change)
	l := n.Lanes()[0]
	open(t, l)
	return n, l, log
}

// open answers the lane's OPEN with a session without batches.
func open(t *testing.T, l *Lane) {
	t.Helper()
	l.Next()
	session := string(byte(luascripts.SessionNew)) + be(l.openNumber, 8) + be(0, 8) + be(5, 6)
	reply(l, "OPEN "+be(uint64(len(session)), 2)+session+testHeader)
	if l.phase != ready {
		t.Fatalf("the lane is %s, want ready", l.phase)
	}
}

func be(n uint64, size int) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return string(b[8-size:])
}

// applied returns a reply at time 5 about one account.
func applied(codes string, remaining uint64, values ...uint64) string {
	text := "A" + be(5, 6) + "\x00" + codes + be(remaining, 8)
	for _, value := range values {
		text += be(value, 8)
	}
	return text
}

// appliedEmpty returns the reply to an empty batch.
func appliedEmpty() string { return "A" + be(5, 6) + "\x00" }

func gap(s string, stored string) string { return "GAP " + be(uint64(len(s)), 2) + s + stored }

func sessionAt(mark string) string { return string(store.AppliedSession(mark, 5, false, 0, "")) }

func reply(l *Lane, text string) { l.Handle(Reply{Text: text}) }

func fail(l *Lane, f Failure) time.Duration {
	return l.Handle(Reply{Err: io.ErrUnexpectedEOF, Failure: f})
}

// ask queues a call of acme.
func ask(t *testing.T, n *Node, l *Lane, kind byte, amount budget.Microcents, id budget.ReservationID) *Call {
	t.Helper()
	return askFor(t, n, l, "acme", kind, amount, id)
}

func askFor(t *testing.T, n *Node, l *Lane, tenant budget.TenantID, kind byte, amount budget.Microcents, id budget.ReservationID) *Call {
	t.Helper()
	c := NewCall(kind, tenant, amount, id)
	n.AdmitSettlement()
	if err := l.enqueue(c); err != nil {
		t.Fatal(err)
	}
	return c
}

// result returns the answer that was delivered to the call.
func result(t *testing.T, c *Call) Answer {
	t.Helper()
	select {
	case <-c.done:
		return c.answer
	default:
		t.Fatal("the call was not answered")
		return Answer{}
	}
}

// sends returns the kinds of the batch that the lane sends next.
func sends(t *testing.T, l *Lane) string {
	t.Helper()
	if args := l.Next(); args == nil {
		t.Fatal("the lane has nothing to send")
	}
	var kinds strings.Builder
	for _, c := range l.pending.calls {
		kinds.WriteByte(c.kind)
	}
	return kinds.String()
}

func wantResolved(t *testing.T, n *Node) {
	t.Helper()
	if in := n.InFlight(); in != 0 {
		t.Errorf("%d calls are unresolved", in)
	}
}

// The reply to a reserve is lost, and then Redis keeps rejecting its repeat: the caller
// gets an answer, and the lane finds out whether a hold was made and releases it.
func TestRejectedRepeatOfALostReserveIsReleased(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, nil)
	c := ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
	if kinds := sends(t, l); kinds != "r" {
		t.Fatalf("sends %q", kinds)
	}
	lost := l.pending
	fail(l, FailureLost)
	for range maxRejected {
		l.Next()
		fail(l, FailureRejected)
	}
	a := result(t, c)
	var unknown *UnknownOutcomeError
	if !errors.As(a.Err, &unknown) || unknown.ID.IsZero() || !errors.Is(a.Err, ErrUnavailable) {
		t.Fatalf("answered %v, want an unknown outcome with its id", a.Err)
	}
	if kinds := sends(t, l); kinds != "" || l.pending.number <= lost.number || l.phase != givingUp {
		t.Fatalf("sends %q as batch %d, want an empty one after %d", kinds, l.pending.number, lost.number)
	}
	// It took effect: Redis has its number and digest.
	reply(l, gap(sessionAt(lost.mark), applied("R", 90)))
	if kinds := sends(t, l); kinds != "l" || l.pending.calls[0].id != unknown.ID {
		t.Fatalf("sends %q, want the release of %s", kinds, unknown.ID)
	}
	reply(l, applied("L", 80, 10))
	wantResolved(t, n)
}

// If it did not take effect nothing is released.
func TestRejectedRepeatOfAReserveThatTookNoEffect(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, nil)
	c := ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.Next()
	fail(l, FailureLost)
	for range maxRejected {
		l.Next()
		fail(l, FailureRejected)
	}
	result(t, c)
	l.Next()
	reply(l, appliedEmpty())
	if args := l.Next(); args != nil {
		t.Errorf("sends %v, want nothing", args)
	}
	wantResolved(t, n)
}

func TestAbandonedReleaseIsRepeated(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, nil)
	id := budget.NewReservationID("acme", 1, 2)
	l.releaseAbandoned(id)
	other := ask(t, n, l, luascripts.KindBalance, 0, budget.ReservationID{})
	for range maxRejected {
		if kinds := sends(t, l); kinds != "lb" {
			t.Fatalf("sends %q", kinds)
		}
		if wait := fail(l, FailureRejected); wait == 0 {
			t.Error("it is repeated without a delay")
		}
	}
	if a := result(t, other); !errors.Is(a.Err, ErrUnavailable) {
		t.Errorf("the other call was answered %v", a.Err)
	}
	if kinds := sends(t, l); kinds != "l" || l.pending.calls[0].id != id {
		t.Fatalf("sends %q, want the release again", kinds)
	}
	reply(l, applied("L", 0, 10))
	wantResolved(t, n)
}

// If the partition is gone, so is the hold; if it cannot be read, no repeat can read it:
// the release ends, with a line in the log.
func TestAbandonedReleaseEndsWithItsPartition(t *testing.T) {
	t.Parallel()
	for _, refusal := range []string{"NOPARTITION", "CORRUPT c", "LAYOUT 99"} {
		n, l, log := openLane(t, nil)
		l.releaseAbandoned(budget.NewReservationID("acme", 1, 2))
		l.Next()
		reply(l, refusal)
		if got := strings.Count(log.String(), "could not release abandoned hold"); got != 1 {
			t.Errorf("%s: logged %d times, want once:\n%s", refusal, got, log)
		}
		wantResolved(t, n)
	}
}

func TestCorruptStateIsLoggedOnce(t *testing.T) {
	t.Parallel()
	n, l, log := openLane(t, nil)
	for _, text := range []string{applied("!", 0), applied("!", 0)} {
		c := ask(t, n, l, luascripts.KindRemaining, 0, budget.ReservationID{})
		l.Next()
		reply(l, text)
		if a := result(t, c); !errors.Is(a.Err, ErrCorrupt) {
			t.Errorf("answered %+v", a)
		}
	}
	if got := strings.Count(log.String(), "stored state is corrupt"); got != 1 {
		t.Errorf("logged %d times, want once:\n%s", got, log)
	}
}

// A node that can't close in time fails every call, with an unknown outcome only if the
// call may have taken effect.
func TestAbort(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, nil)
	sent := ask(t, n, l, luascripts.KindCommit, 1, budget.NewReservationID("acme", 1, 1))
	l.Next()
	fail(l, FailureLost)
	queued := ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
	n.Die()
	if l.Continue() {
		t.Error("the lane continues")
	}
	if a := result(t, sent); !errors.Is(a.Err, ErrUnknownOutcome) {
		t.Errorf("sent: %v, want an unknown outcome", a.Err)
	}
	if a := result(t, queued); !errors.Is(a.Err, ErrClosed) || errors.Is(a.Err, ErrUnknownOutcome) {
		t.Errorf("not sent: %v, want closed", a.Err)
	}
	wantResolved(t, n)
}

func TestAbortWhileGivingUp(t *testing.T) {
	t.Parallel()
	n, l, _ := givingUpLane(t)
	n.Die()
	if l.Continue() {
		t.Error("the lane continues")
	}
	wantResolved(t, n)
}

// Unreadable replies move nothing, and the callers get an unknown outcome.
func TestUnreadableReplies(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "A", "A" + be(5, 6), applied("", 90), applied("?", 90), applied("R", 90) + "x", applied("C", 90), applied("K", 90),
		applied("K", 90) + "z" + be(5, 8) + be(1, 6) + be(1, 6), "GAP", "GAP \x17short", "WHAT",
	} {
		n, l, _ := openLane(t, nil)
		c := ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
		for l.Next(); len(c.done) == 0; l.Next() {
			reply(l, text)
		}
		if a := result(t, c); !errors.Is(a.Err, ErrUnknownOutcome) {
			t.Errorf("%q: answered %+v, want an unknown outcome", text, a)
		}
		if l.phase == givingUp {
			reply(l, gap(sessionAt(l.superseded.mark), applied("R", 90)))
		}
		if kinds := sends(t, l); kinds != "l" {
			t.Errorf("%q: sends %q, want the release of the possible hold", text, kinds)
		}
	}
	for _, text := range []string{"OPEN", "OPEN x", "OPEN \x17short", "LAYOUT 7", "PARTITIONS 2 4 0 0123456789abcdef", "CORRUPT s"} {
		n, _ := testNode(t, nil)
		l := n.Lanes()[0]
		c := ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
		l.Next()
		reply(l, text)
		if a := result(t, c); a.Err == nil || errors.Is(a.Err, ErrUnknownOutcome) {
			t.Errorf("%q: answered %+v, want an error that shows that nothing happened", text, a)
		}
	}
}

// givingUpLane returns a lane that resolves, by an empty batch, a reserve whose caller
// has given up and whose reply was lost.
func givingUpLane(t *testing.T) (*Node, *Lane, budget.ReservationID) {
	t.Helper()
	n, l, _ := openLane(t, nil)
	c := ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.Next()
	id := c.id
	if _, err := c.abandon(context.Canceled); !errors.Is(err, ErrUnknownOutcome) {
		t.Fatal(err)
	}
	fail(l, FailureLost)
	if kinds := sends(t, l); kinds != "" || l.superseded == nil {
		t.Fatalf("sends %q, want an empty batch", kinds)
	}
	return n, l, id
}

// The reserve is released if it may be held, whatever the reply to the empty batch.
func TestGivingUpEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		reply    func(l *Lane) string
		released bool
	}{
		{"writes were lost, and the reserve with them", func(*Lane) string { return gap(sessionAt(be(0, 8)+be(0, 8)), "") }, false},
		{"another process continues the session", func(l *Lane) string { return gap(sessionAt(be(l.pending.number+5, 8)+be(7, 8)), "x") }, true},
		{"the session is gone", func(*Lane) string { return "NOSESSION" }, true},
		{"the layout is another", func(*Lane) string { return "LAYOUT 9" }, true},
		{"the number was used", func(*Lane) string { return "CLONED" }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n, l, id := givingUpLane(t)
			reply(l, c.reply(l))
			if l.phase == opening {
				open(t, l)
			}
			if !c.released {
				if args := l.Next(); args != nil {
					t.Errorf("sends %v, want nothing", args)
				}
			} else if kinds := sends(t, l); kinds != "l" || l.pending.calls[0].id != id {
				t.Errorf("sends %q, want the release", kinds)
			} else {
				reply(l, applied("n", 0))
			}
			wantResolved(t, n)
		})
	}
}

// A refusal proves that this attempt took no effect, but nothing about an earlier one
// whose reply was lost.
func TestRefusalAfterALostReplyIsUnknown(t *testing.T) {
	t.Parallel()
	for _, refusal := range []string{"LAYOUT 9", "CORRUPT c", "NOSESSION", "STALE"} {
		n, l, _ := openLane(t, nil)
		c := ask(t, n, l, luascripts.KindCommit, 10, budget.NewReservationID("acme", 1, 1))
		l.Next()
		fail(l, FailureLost)
		l.Next()
		reply(l, refusal)
		if a := result(t, c); !errors.Is(a.Err, ErrUnknownOutcome) {
			t.Errorf("%s: answered %v, want an unknown outcome", refusal, a.Err)
		}
	}
}

func TestBatchesAreBounded(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, nil)
	for range luascripts.MaxOperations + 5 {
		ask(t, n, l, luascripts.KindReserve, 1, budget.ReservationID{})
	}
	if size := len(sends(t, l)); size != luascripts.MaxOperations || l.queue.length != 5 {
		t.Errorf("a batch of %d, and %d are queued", size, l.queue.length)
	}
	n, l, _ = openLane(t, nil)
	for i := range luascripts.MaxAccounts + 3 {
		askFor(t, n, l, budget.TenantID(fmt.Sprintf("acme%d", i)), luascripts.KindReserve, 1, budget.ReservationID{})
	}
	if size := len(sends(t, l)); size != luascripts.MaxAccounts || l.queue.length != 3 {
		t.Errorf("a batch of %d accounts, and %d calls are queued", size, l.queue.length)
	}
	// With each tenant come its ancestors: acme and 127 pairs.
	n, l, _ = openLane(t, nil)
	for i := range luascripts.MaxAccounts/2 + 3 {
		askFor(t, n, l, budget.TenantID(fmt.Sprintf("acme/%d/key", i)), luascripts.KindReserve, 1, budget.ReservationID{})
	}
	size := len(sends(t, l))
	if size != luascripts.MaxAccounts/2 || len(l.pending.accounts) != luascripts.MaxAccounts || l.queue.length != 3 {
		t.Errorf("a batch of %d tenants on %d accounts, and %d calls are queued", size, len(l.pending.accounts), l.queue.length)
	}
	for i, id := range l.pending.accounts {
		switch at := l.pending.nexts[i]; {
		case at == store.NoNext && id.Tenant != "acme", at != store.NoNext && l.pending.accounts[at].Tenant != id.Tenant.Parent():
			t.Errorf("after %s comes account %d of %v", id, at, l.pending.accounts)
		}
	}
}

// A closed node doesn't wait for calls whose callers have all given up, and a lane sends
// nothing once it is closed.
func TestLaneIsIdleWhenAllCallersOfAClosedNodeGaveUp(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, nil)
	c := ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.Next()
	fail(l, FailureUnsent) // queued again
	if !l.Continue() {
		t.Fatal("a lane with a queued call is idle")
	}
	if unsent, err := c.abandon(context.Canceled); !unsent || !errors.Is(err, ErrUnavailable) {
		t.Fatal(unsent, err)
	}
	n.Done()
	n.Close()
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.Continue() {
		t.Error("the lane continues for callers that have given up")
	}
	n.WaitIdle()
}

// A caller that looks up a hold and gives up has no claim to it: the hold stays open.
func TestAbandonedLookupReleasesNothing(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, nil)
	c := ask(t, n, l, luascripts.KindLookup, 0, budget.NewReservationID("acme", 7, 1<<10))
	if kinds := sends(t, l); kinds != "k" {
		t.Fatalf("sends %q", kinds)
	}
	if unsent, err := c.abandon(context.Canceled); unsent || !errors.Is(err, ErrUnknownOutcome) {
		t.Fatal(unsent, err)
	}
	reply(l, applied("K", 90)+"o"+be(10, 8)+be(1, 6)+be(2, 6))
	if args := l.Next(); args != nil {
		t.Errorf("sends %v for another caller's hold", args)
	}
	wantResolved(t, n)
}

// The client may still read a command that was given up: the batch is repeated from a
// copy, and its memory is not reused.
func TestAbandonedCommandKeepsItsArguments(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, nil)
	ask(t, n, l, luascripts.KindReserve, 1, budget.ReservationID{})
	first := l.Next()
	before := fmt.Sprint(first[0], first[1])
	l.Abandoned()
	fail(l, FailureLost)
	l.Next()
	fail(l, FailureNoScript)
	second := l.Next()
	if fmt.Sprint(first[0], first[1]) != before || &first[0] == &second[0] {
		t.Error("the arguments of a command in flight were changed")
	}
	reply(l, applied("R", 9))
	if len(l.spare) > 0 {
		t.Error("the batch's memory is reused")
	}
}
