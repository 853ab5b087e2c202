package lane

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Tests of calls that wait: for the end of due holds, or for Answer.

// An overdue call is sent again before its tenant's later calls, others are answered, and
// empty batches end the backlog in between.
func TestOverdueCallsAreRepeated(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, nil)
	first := ask(t, n, l, luascripts.KindRemaining, 0, budget.ReservationID{})
	second := ask(t, n, l, luascripts.KindBalance, 0, budget.ReservationID{})
	l.Next()
	later := ask(t, n, l, luascripts.KindEnsure, 1, budget.ReservationID{})
	reply(l, "A"+be(5, 6)+"\x01"+"DD"+be(0, 8))
	if kinds := sends(t, l); kinds != "" {
		t.Fatalf("sends %q, want an empty batch against the backlog", kinds)
	}
	reply(l, "A"+be(5, 6)+"\x01")
	if kinds := sends(t, l); kinds != "qbe" {
		t.Fatalf("sends %q, want the undecided calls first", kinds)
	}
	reply(l, applied("QBe", 7, 9, 1, 1, 2)+"\x00")
	for _, c := range []*Call{first, second, later} {
		if a := result(t, c); a.Err != nil || a.Remaining != 7 {
			t.Errorf("answered %+v", a)
		}
	}
	wantResolved(t, n)
}

// After an early reply the next batch is made before the callers of the last one are
// answered, unless it could lack a call that comes first.
func TestEarlyReply(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		queued, abandoned, retried bool
		reply                      string
		waits                      bool   // the caller, for Answer
		next                       string // batch
	}{
		"a call is queued":         {queued: true, reply: applied("R", 90), waits: true, next: "k"},
		"the caller gives up":      {queued: true, abandoned: true, reply: applied("R", 90), next: "lk"},
		"no call is queued":        {reply: applied("R", 90)},
		"the call is put off":      {queued: true, reply: applied("D", 90), next: "rk"},
		"more holds are due":       {queued: true, reply: "A" + be(5, 6) + "\x01R" + be(90, 8)},
		"the timers are lost":      {queued: true, reply: "A" + be(5, 6) + "\x02R" + be(90, 8)},
		"a release fails":          {queued: true, retried: true, reply: applied("M", 90), next: "lk"},
		"the reply cannot be read": {queued: true, reply: applied("C", 90), waits: true, next: "k"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, l, _ := openLane(t, nil)
			var first *Call
			if id := budget.NewReservationID("acme", 1, 2); c.retried {
				l.releaseAbandoned(id)
			} else {
				first = ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
			}
			l.Next()
			if c.queued {
				ask(t, n, l, luascripts.KindLookup, 0, l.pending.calls[0].id)
			}
			l.Handle(Reply{Text: c.reply, Early: true})
			if c.abandoned {
				if _, err := first.abandon(context.Canceled); err == nil {
					t.Fatal("the caller was answered")
				}
			}
			if !l.Continue() {
				wantResolved(t, n)
				return
			}
			l.Next()
			var kinds []byte
			if l.phase == inFlight { // else rebuilding
				for _, c := range l.pending.calls {
					kinds = append(kinds, c.kind)
				}
			}
			if string(kinds) != c.next || l.Answering() != c.waits {
				t.Errorf("%s, sends %q while a caller waits: %t; want %q, %t", l.phase, kinds, l.Answering(), c.next, c.waits)
			}
			if l.Answer(); c.waits {
				result(t, first)
			}
		})
	}
}

// A failover loses a batch that put a call off, and a late duplicate of the batch carries
// the call out. It is not carried out again: the caller gets an unknown outcome. A reserve
// is repeated, and the hold of the duplicate is released.
func TestDeferredCallTakesEffectOnce(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{0, time.Minute} {
		for code, kind := range map[byte]byte{
			luascripts.CodeGranted: luascripts.KindGrant, luascripts.CodeWithdrawn: luascripts.KindWithdraw,
			luascripts.CodeCommitted: luascripts.KindCommit, luascripts.CodeReleased: luascripts.KindRelease,
			luascripts.CodeDeleted: luascripts.KindDelete, luascripts.CodeReserved: luascripts.KindReserve,
			luascripts.CodeOverdue: luascripts.KindGrant, luascripts.CodeInsufficient: luascripts.KindWithdraw,
		} {
			t.Run(fmt.Sprintf("%c, repair %s", code, window), func(t *testing.T) {
				t.Parallel()
				n, l, _ := openLane(t, func(c *Config) { c.RepairWindow = window })
				c := ask(t, n, l, kind, 10, budget.NewReservationID("acme", 7, 1))
				l.Next()
				deferring := l.pending.number
				reply(l, applied("D", 90))
				duplicate := store.AppliedSession(string(l.session.last[1:17]), 9, false, 0, string(code))
				sends(t, l)
				reply(l, gap(string(duplicate), applied(string(code), 90)))
				took := code != luascripts.CodeOverdue && code != luascripts.CodeInsufficient
				reserves := code == luascripts.CodeReserved
				var unknown *UnknownOutcomeError
				switch again := window > 0 && (reserves || !took); {
				case again && !reserves:
					if kinds := sends(t, l); kinds != string(kind) {
						t.Errorf("sends %q, want %c again", kinds, kind)
					}
					return
				case took && !reserves:
					if a := result(t, c); !errors.As(a.Err, &unknown) {
						t.Errorf("answered %+v, want an unknown outcome", a)
					}
				case !again:
					if a := result(t, c); !errors.Is(a.Err, ErrGap) {
						t.Errorf("answered %+v, want ErrGap", a)
					}
				case sends(t, l) == "m": // the second batch is given up
					reply(l, applied("m", 90))
				}
				if reserves {
					if kinds := sends(t, l); kinds[0] != luascripts.KindRelease || l.pending.calls[0].id != store.NewID("acme", l.session.node, deferring, 0) {
						t.Errorf("sends %q, want a release of the duplicate's hold", kinds)
					}
					return
				}
				wantResolved(t, n)
			})
		}
	}
}

// A grant that was put off, carried out, lost by a failover, and then carried out by a late
// duplicate of the batch that had put it off, is not reported as lost.
func TestDeferredGrantIsNotLost(t *testing.T) {
	t.Parallel()
	for code, lost := range map[byte]bool{luascripts.CodeGranted: false, luascripts.CodeOverdue: true} {
		n, l, log := openLane(t, func(c *Config) { c.RepairWindow = time.Minute })
		c := ask(t, n, l, luascripts.KindGrant, 10, budget.ReservationID{})
		l.Next()
		reply(l, applied("D", 90))
		duplicate := store.AppliedSession(string(l.session.last[1:17]), 9, false, 0, string(code))
		sends(t, l)
		reply(l, applied("G", 90))
		if a := result(t, c); a.Outcome != budget.Granted {
			t.Fatalf("answered %+v", a)
		}
		ask(t, n, l, luascripts.KindRemaining, 0, budget.ReservationID{})
		sends(t, l)
		reply(l, gap(string(duplicate), applied(string(code), 90)))
		if strings.Contains(log.String(), "lost a grant") != lost {
			t.Errorf("lost: %t, but the log is\n%s", lost, log)
		}
	}
}
