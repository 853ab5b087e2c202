package lane

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Tests of a lane's session and partition: opening, repair, rebuild.

func TestAnotherIncarnationIsNotAdopted(t *testing.T) {
	t.Parallel()
	n, l, log := openLane(t, nil)
	c := ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.Next()
	reply(l, "NOSESSION") // soon after an answer: lost
	if a := result(t, c); !errors.Is(a.Err, ErrGap) {
		t.Errorf("a lost session: %v", a.Err)
	}
	next := ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.Next()
	session := string(byte(luascripts.SessionNew)) + be(l.openNumber, 8) + be(0, 8) + be(5, 6)
	reply(l, "OPEN "+be(uint64(len(session)), 2)+session+"4 1 0 fedcba9876543210")
	if a := result(t, next); !errors.Is(a.Err, ErrRecreated) {
		t.Errorf("another incarnation: %v", a.Err)
	}
	if l.session.header != testHeader || l.phase != lost || !strings.Contains(log.String(), "partition lost or recreated") {
		t.Errorf("it was adopted: %+v\n%s", l.session, log)
	}
}

// A session whose retention has ended is not lost, even if Redis has answered EXPIRED since.
func TestRetentionEndsAfterAnExpiredBatch(t *testing.T) {
	t.Parallel()
	n, l, log := openLane(t, func(c *Config) { c.RepairWindow = time.Minute })
	c := ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.Next()
	reply(l, fmt.Sprintf("EXPIRED %d", 5+luascripts.SessionRetentionMS))
	l.Next()
	reply(l, "NOSESSION")
	open(t, l)
	if kinds := sends(t, l); kinds != "r" {
		t.Errorf("the lane sends %q, want the reserve", kinds)
	}
	reply(l, applied("R", 90))
	if a := result(t, c); a.Outcome != budget.Reserved || strings.Contains(log.String(), "lost") {
		t.Errorf("the reserve: %+v\n%s", a, log)
	}
}

// The log of a lost partition counts the states that no repair can restore.
func TestLostPartitionCountsItsStates(t *testing.T) {
	t.Parallel()
	n, l, log := openLane(t, func(c *Config) { c.RepairWindow = time.Minute })
	l.journal.record(store.NewID("acme", 1, 1, 0), state{state: luascripts.HoldOpen, amount: 10, at: l.session.time, number: 1})
	c := ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.Next()
	reply(l, "NOPARTITION")
	if a := result(t, c); !errors.Is(a.Err, ErrGap) {
		t.Errorf("a lost partition: %v", a.Err)
	}
	if !strings.Contains(log.String(), "unmerged=1") {
		t.Errorf("want one state:\n%s", log)
	}
}

// If another process has used its number, or has closed its session, the batch never took
// effect: it is sent again with a new node ID.
func TestClonedBatchIsSentAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lost    bool // the first reply
		refusal func(*Lane) string
	}{
		"number used": {true, func(*Lane) string { return "CLONED" }},
		"session closed": {false, func(l *Lane) string {
			return gap(string(luascripts.SessionClosed)+string(l.session.last[1:]), "")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, l, _ := openLane(t, nil)
			commit := ask(t, n, l, luascripts.KindCommit, 10, budget.NewReservationID("acme", 1, 1))
			l.Next()
			if c.lost {
				fail(l, FailureLost)
				l.Next()
			}
			before := l.session.node
			reply(l, c.refusal(l))
			open(t, l)
			if kinds := sends(t, l); kinds != "c" || l.session.node == before {
				t.Fatalf("sends %q as the same node: %t", kinds, l.session.node == before)
			}
			reply(l, applied("C", 0, 10))
			if a := result(t, commit); a.Err != nil || a.Outcome != budget.Committed {
				t.Errorf("answered %+v", a)
			}
		})
	}
}

// Lost timers are rebuilt page by page, between batches.
func TestTimersAreRebuilt(t *testing.T) {
	t.Parallel()
	n, l, log := openLane(t, nil)
	ask(t, n, l, luascripts.KindRemaining, 0, budget.ReservationID{})
	l.Next()
	ask(t, n, l, luascripts.KindBalance, 0, budget.ReservationID{})
	reply(l, "A"+be(5, 6)+"\x02"+"Q"+be(7, 8))
	for _, step := range []struct{ cursor, reply string }{{"0", "NEXT 17"}, {"17", "AGAIN"}, {"0", "NEXT 9"}, {"9", "DONE"}} {
		args := l.Next()
		if l.phase != rebuilding || args[len(args)-2] != step.cursor {
			t.Fatalf("the lane is %s and sends %v, want a page from %s", l.phase, args, step.cursor)
		}
		reply(l, step.reply)
		if l.queue.length > 0 {
			if kinds := sends(t, l); kinds != "b" {
				t.Fatalf("sends %q between two pages, want the queued call", kinds)
			}
			reply(l, "A"+be(5, 6)+"\x02"+"B"+be(7, 8)+be(7, 8)+be(0, 8)+be(0, 8)+be(0, 8))
		}
	}
	if args := l.Next(); args != nil || l.Continue() {
		t.Errorf("sends %v after the rebuild", args)
	}
	if got := log.String(); strings.Count(got, "timers lost") != 1 || strings.Count(got, "timers rebuilt") != 1 {
		t.Errorf("log:\n%s", got)
	}
}

// After a lost reply a rebuild begins again, so that a late page is not one of its own.
func TestRebuildRestartsAfterALostReply(t *testing.T) {
	t.Parallel()
	for f, restarts := range map[Failure]bool{FailureLost: true, FailureUnknown: true, FailureUnsent: false, FailureTransient: false} {
		n, l, _ := openLane(t, nil)
		ask(t, n, l, luascripts.KindRemaining, 0, budget.ReservationID{})
		l.Next()
		reply(l, "A"+be(5, 6)+"\x02"+"Q"+be(7, 8))
		l.Next()
		reply(l, "NEXT 17")
		before := l.Next()
		fail(l, f)
		after := l.Next()
		id, cursor := len(before)-3, len(before)-2
		if l.phase != rebuilding || (after[cursor] == "0") != restarts || (after[id] != before[id]) != restarts {
			t.Errorf("after %d the lane is %s and sends %q, after %q; restarts: %t", f, l.phase, after, before, restarts)
		}
	}
}

// A repair whose reply was lost and which is then rejected is repeated: it has no callers
// to answer, and nothing else may be sent before it.
func TestRejectedRepairIsRepeated(t *testing.T) {
	t.Parallel()
	for _, f := range []Failure{FailureRejected, FailureUnknown} {
		n, l, _ := openLane(t, func(c *Config) { c.RepairWindow = time.Minute })
		ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
		sends(t, l)
		before := string(l.session.last)
		reply(l, applied(string(rune(luascripts.CodeReserved)), 90))
		ask(t, n, l, luascripts.KindRemaining, 0, budget.ReservationID{})
		sends(t, l)
		reply(l, gap(before, ""))
		const merge = string(rune(luascripts.KindMerge))
		if kinds := sends(t, l); kinds != merge {
			t.Fatalf("sends %q, want a repair", kinds)
		}
		fail(l, FailureLost)
		for range 3 * maxRejected {
			if kinds := sends(t, l); kinds != merge {
				t.Fatalf("sends %q, want the repair again", kinds)
			}
			fail(l, f)
		}
	}
}

// A partition that has lost its ledger is not created again over its timers by a node
// that has never used it, unless another node has just created it.
func TestLostLedgerWithTimers(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{true, false} {
		n, _ := testNode(t, nil)
		l := n.Lanes()[0]
		c := ask(t, n, l, luascripts.KindEnsure, 10, budget.ReservationID{})
		asks := func(name, answer string, value any) {
			t.Helper()
			if args := l.Next(); len(args) == 0 || args[0] != name {
				t.Fatalf("sends %q, want %s", args, name)
			}
			l.Handle(Reply{Text: answer, Value: value})
		}
		create := func(timers ...any) {
			asks("evalsha", "NOPARTITION", nil)
			asks("setnx", "", int64(0))
			asks("get", n.record().String(), nil)
			asks("zrangebyscore", "", timers)
		}
		create("h")
		if lost {
			create("h")
			if a := result(t, c); !errors.Is(a.Err, ErrCorrupt) || !strings.Contains(a.Err.Error(), "p:{1}:timers") {
				t.Errorf("answered %+v, want ErrCorrupt with the key", a)
			}
			ask(t, n, l, luascripts.KindEnsure, 10, budget.ReservationID{})
			create()
			asks("zadd", "", int64(1))
		} else {
			open(t, l)
			if kinds := sends(t, l); kinds != "e" {
				t.Errorf("sends %q, want the call", kinds)
			}
		}
	}
}

// A session that was closed, by an operator or by a clone of the node, is removed after
// its retention, whatever it contains. So the node continues under another ID.
func TestClosedSessionIsNotUsed(t *testing.T) {
	t.Parallel()
	n, _ := testNode(t, nil)
	l := n.Lanes()[0]
	c := ask(t, n, l, luascripts.KindRemaining, 0, budget.ReservationID{})
	node := l.session.node
	l.Next()
	session := string(byte(luascripts.SessionClosed)) + be(l.openNumber, 8) + be(0, 8) + be(5, 6)
	reply(l, "OPEN "+be(uint64(len(session)), 2)+session+testHeader)
	if l.phase != opening || l.session.node == node {
		t.Fatalf("%s as the same node: %t; want an opening as another node", l.phase, l.session.node == node)
	}
	open(t, l)
	if kinds := sends(t, l); kinds != "q" {
		t.Fatalf("sends %q, want the call", kinds)
	}
	reply(l, applied("Q", 7))
	if a := result(t, c); a.Err != nil || a.Remaining != 7 {
		t.Errorf("answered %+v", a)
	}
}

// After a failover a late duplicate of a batch that the node sent may take effect once
// more. Its number is above Redis' last one, and not above the last acknowledged one.
func TestLateDuplicateAfterALossIsNotAClone(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, func(c *Config) { c.RepairWindow = time.Minute })
	before := string(l.session.last)
	var first string
	for i := range 2 {
		ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
		sends(t, l)
		reply(l, applied(string(rune(luascripts.CodeReserved)), 90))
		if i == 0 {
			first = string(l.session.last)
		}
	}
	node := l.session.node
	ask(t, n, l, luascripts.KindRemaining, 0, budget.ReservationID{})
	sends(t, l)
	reply(l, gap(before, ""))
	sends(t, l)
	reply(l, gap(first, ""))
	if l.session.node != node || l.phase != ready {
		t.Fatalf("as node %x, %s; want node %x, ready", l.session.node, l.phase, node)
	}
	if kinds := sends(t, l); strings.Trim(kinds, string(rune(luascripts.KindMerge))) != "" {
		t.Errorf("sends %q, want a repair", kinds)
	}
}
