package lane

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/simredis"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// Tests of the shipped scripts on stored states, on the simulated Redis.

// begun returns a simulation with a node and all tenants, without random events.
func begun(t *testing.T, partitions int) *simulation {
	t.Helper()
	s := newSimulation(simredis.NewServer(), 0, simMode{}, nil)
	s.scripts = composeSources(nil)
	s.begin(partitions)
	s.config = store.Config{HoldTTL: simHoldTTL.Milliseconds(), Retention: simRetention.Milliseconds(), Ring: 100, MaxHolds: 100}
	s.addNode()
	t.Cleanup(func() {
		for _, wrong := range s.wrong {
			t.Error(wrong)
		}
	})
	return s
}

// perform carries out an operation on the second node, whose options are those of begun.
func (s *simulation) perform(op *simOp) *simOp {
	s.call(s.nodes[1], op)
	s.rest()
	return op
}

// carryTo sends a lane's commands to a partition until the lane is idle.
func (s *simulation) carryTo(p *simPartition, l *Lane) {
	for range 100 {
		if s.carryOne(p, l); !l.Continue() {
			return
		}
	}
	s.failf("partition %d's lane is not idle", l.Index())
}

// carryOne sends a lane's next command, if it has one, and returns it.
func (s *simulation) carryOne(p *simPartition, l *Lane) []string {
	next := l.Next()
	if next == nil {
		return nil
	}
	args := simArgs(next)
	reply, err := s.do(p, args)
	r := Reply{Value: reply, Err: err, Failure: FailureNoScript}
	r.Text, _ = reply.(string)
	l.Handle(r)
	return args
}

// A node that expects another number of partitions is rejected, even if one of its keys
// is also a key under the stored number.
func TestAnotherNumberOfPartitions(t *testing.T) {
	t.Parallel()
	s := begun(t, 2)
	p := s.partitions[0]
	n := NewNode(s.nodeConfig(4))
	for _, l := range n.Lanes() {
		if l.Keys() != p.keys {
			continue
		}
		before := p.store.Clone()
		c := NewCall(luascripts.KindEnsure, "acme", 5, budget.ReservationID{})
		if err := errors.Join(n.Admit(), l.enqueue(c)); err != nil {
			t.Fatal(err)
		}
		s.carryTo(p, l)
		<-c.done
		if !errors.Is(c.answer.Err, ErrLayout) {
			t.Errorf("got %v, want ErrLayout", c.answer.Err)
		}
		if !maps.Equal(before.Hash(p.keys.Ledger), p.store.Hash(p.keys.Ledger)) {
			t.Error("the rejected node has written")
		}
		return
	}
	t.Fatalf("no partition of 4 has the keys %v", p.keys)
}

// A partition that was deleted and created again is not the one that a node used before,
// even if it has the node's session.
func TestRecreatedPartition(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	if op := s.perform(&simOp{kind: luascripts.KindReserve, tenant: "acme", amount: 5}); !op.acknowledged(budget.Reserved) {
		t.Fatal(op.answer)
	}
	p.store.Set(p.keys.Ledger, store.HeaderField, "4 1 0 0123456789abcdef")
	before := p.store.Clone()
	op := s.perform(&simOp{kind: luascripts.KindReserve, tenant: "acme", amount: 5})
	if !errors.Is(op.answer.Err, ErrRecreated) && !errors.Is(op.answer.Err, ErrGap) {
		t.Errorf("got %v, want ErrRecreated", op.answer.Err)
	}
	if !maps.Equal(before.Hash(p.keys.Ledger), p.store.Hash(p.keys.Ledger)) {
		t.Error("the node has written to another partition")
	}
}

// Two clones of a node that make the same call at the same time are two callers: each gets
// a hold of its own.
func TestClonesMakeTheSameCall(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	nodes := []*Node{NewNode(s.nodeConfig(1)), NewNode(s.nodeConfig(1))}
	nodes[1].id.Store(nodes[0].ID())
	nodes[1].Lanes()[0].session = nodes[1].newSession(nodes[0].ID())
	var calls []*Call
	for _, n := range nodes {
		c := NewCall(luascripts.KindReserve, "acme", 5, budget.ReservationID{})
		if err := errors.Join(n.Admit(), n.Lanes()[0].enqueue(c)); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, c)
	}
	for range 20 {
		for _, n := range nodes {
			s.carryOne(p, n.Lanes()[0])
		}
	}
	for _, c := range calls {
		if <-c.done; c.answer.Err != nil || c.answer.Outcome != budget.Reserved {
			t.Errorf("got %+v, want reserved", c.answer)
		}
	}
	account, ok, err := store.ParseAccount(p.store.Hash(p.keys.Ledger)[store.AccountField("acme")])
	if calls[0].id == calls[1].id || !ok || err != nil || account.Holds != 2 || account.Reserved != 10 {
		t.Errorf("the holds are %s and %s, the account is %+v, %v", calls[0].id, calls[1].id, account, err)
	}
}

// carryCall has a node of one partition make a call, and returns its last command.
func (s *simulation) carryCall(t *testing.T, n *Node, c *Call) (last []string) {
	t.Helper()
	if last = s.carry(t, n, c); c.answer.Err != nil {
		t.Fatal(c.answer.Err)
	}
	return last
}

// carry is carryCall for a call that may be answered with an error.
func (s *simulation) carry(t *testing.T, n *Node, c *Call) (last []string) {
	t.Helper()
	l := n.Lanes()[0]
	if err := errors.Join(n.Admit(), l.enqueue(c)); err != nil {
		t.Fatal(err)
	}
	for again := true; again; again = l.Continue() {
		if args := s.carryOne(s.partitions[0], l); args != nil {
			last = args
		}
	}
	<-c.done
	return last
}

// A failover loses a hold that one node made and another committed, and the batch that
// made it arrives again. The other node's repair restores the commit, whether the late
// batch comes before it and is refused, or after it.
func TestLateDuplicateOfALostHold(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"before the repair": true, "after the repair": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begun(t, 1)
			p := s.partitions[0]
			read := func(n *Node) {
				s.carryCall(t, n, NewCall(luascripts.KindBalance, "acme", 0, budget.ReservationID{}))
			}
			maker, other := NewNode(s.nodeConfig(1)), NewNode(s.nodeConfig(1))
			read(maker)
			read(other)
			replica := p.store.Clone()
			reserve := NewCall(luascripts.KindReserve, "acme", 5, budget.ReservationID{})
			batch := s.carryCall(t, maker, reserve)
			s.carryCall(t, other, NewCall(luascripts.KindCommit, "acme", 3, reserve.id))
			p.store = replica
			if before {
				s.carryCall(t, NewNode(s.nodeConfig(1)), NewCall(luascripts.KindWithdraw, "acme", 500_000_000, budget.ReservationID{}))
				if reply, err := s.do(p, batch); err != nil || !strings.Contains(reply.(string), string(luascripts.CodeInsufficient)) {
					t.Fatalf("the late batch returned %.100q, %v", reply, err)
				}
			}
			read(other)
			if !before {
				if reply, err := s.do(p, batch); err != nil {
					t.Fatalf("the late batch returned %.100q, %v", reply, err)
				}
			}
			hold, err := store.ParseHold(p.store.Hash(p.keys.Ledger)[store.HoldField(reserve.id)])
			if err != nil || hold.State != luascripts.HoldCommitted || hold.Actual != 3 {
				t.Errorf("the hold is %+v, %v", hold, err)
			}
		})
	}
}

// A failover loses a hold, and its batch arrives again in the millisecond of its original,
// by the new primary's clock, and is refused. The node notices, and restores the hold.
func TestLateDuplicateInTheSameMillisecond(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	read := func(n *Node) {
		s.carryCall(t, n, NewCall(luascripts.KindBalance, "acme", 0, budget.ReservationID{}))
	}
	maker := NewNode(s.nodeConfig(1))
	read(maker)
	replica := p.store.Clone()
	reserve := NewCall(luascripts.KindReserve, "acme", 5, budget.ReservationID{})
	batch := s.carryCall(t, maker, reserve)
	p.store = replica
	s.carryCall(t, NewNode(s.nodeConfig(1)), NewCall(luascripts.KindWithdraw, "acme", 500_000_000, budget.ReservationID{}))
	if reply, err := s.do(p, batch); err != nil || !strings.Contains(reply.(string), string(luascripts.CodeInsufficient)) {
		t.Fatalf("the late batch returned %.100q, %v", reply, err)
	}
	read(maker)
	hold, err := store.ParseHold(p.store.Hash(p.keys.Ledger)[store.HoldField(reserve.id)])
	if err != nil || !hold.Open() || hold.Held != 5 {
		t.Errorf("the hold is %+v, %v", hold, err)
	}
}

// A failover loses a hold together with the session of its maker, which may be about to
// restore it. So a node that has seen a failure returns ErrGap for its settlement, and one
// that has not, MissingReservation.
func TestSettlementOfALostSessionsHold(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	replica := p.store.Clone()
	made := NewCall(luascripts.KindReserve, "acme", 5, budget.ReservationID{})
	s.carryCall(t, NewNode(s.nodeConfig(1)), made)
	p.store = replica
	for _, failed := range []bool{true, false} {
		other := NewNode(s.nodeConfig(1))
		if failed {
			other.Failed()
		}
		c := NewCall(luascripts.KindCommit, "acme", 3, made.id)
		s.carry(t, other, c)
		if want := budget.MissingReservation; errors.Is(c.answer.Err, ErrGap) != failed || !failed && c.answer.Outcome != want {
			t.Errorf("after a failure %t: %+v", failed, c.answer)
		}
	}
}

// A node whose session is lost restores its holds, although the session that it then opens
// begins after the batches that made them.
func TestHoldOfALostSessionIsMerged(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	maker, replica := NewNode(s.nodeConfig(1)), p.store.Clone()
	reserve := NewCall(luascripts.KindReserve, "acme", 5, budget.ReservationID{})
	s.carryCall(t, maker, reserve)
	p.store = replica
	s.carryCall(t, maker, NewCall(luascripts.KindBalance, "acme", 0, budget.ReservationID{}))
	hold, err := store.ParseHold(p.store.Hash(p.keys.Ledger)[store.HoldField(reserve.id)])
	if err != nil || !hold.Open() || hold.Held != 5 {
		t.Errorf("the hold is %+v, %v", hold, err)
	}
}

// A repair doesn't charge for a hold whose tombstone was dropped: its end is forgotten, but
// its maker's session shows that the hold was made.
func TestDroppedTombstoneIsNotMerged(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.config.Ring = 1
	p := s.partitions[0]
	maker, other := NewNode(s.nodeConfig(1)), NewNode(s.nodeConfig(1))
	var holds []budget.ReservationID
	for range 3 {
		c := NewCall(luascripts.KindReserve, "acme", 5, budget.ReservationID{})
		s.carryCall(t, maker, c)
		s.carryCall(t, other, NewCall(luascripts.KindCommit, "acme", 3, c.id))
		holds = append(holds, c.id)
	}
	account := func() (store.Account, string) {
		hash := p.store.Hash(p.keys.Ledger)
		a, _, err := store.ParseAccount(hash[store.AccountField("acme")])
		if err != nil {
			t.Fatal(err)
		}
		return a, hash[store.HoldField(holds[0])]
	}
	before, tombstone := account()
	if tombstone != "" || before.Committed != 9 {
		t.Fatalf("the tombstone is %q, the account %+v", tombstone, before)
	}
	p.store.Delete(p.keys.Ledger, store.SessionField(other.ID()))
	s.carryCall(t, other, NewCall(luascripts.KindBalance, "acme", 0, budget.ReservationID{}))
	if after, tombstone := account(); after.Committed != 9 || tombstone != "" {
		t.Errorf("after the repair the tombstone is %q, the account %+v", tombstone, after)
	}
}

// An open hold of an account that was removed by hand does not affect the account that
// was created after it, neither by a call nor at its deadline.
func TestHoldOfARecreatedTenant(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	reserve := func(amount budget.Microcents) *simHold {
		op := s.perform(&simOp{kind: luascripts.KindReserve, tenant: "wayne", amount: amount})
		return &simHold{id: op.c.id, made: op}
	}
	settled, due := reserve(5), reserve(7)
	s.removeAccount("wayne")
	if op := s.perform(&simOp{kind: luascripts.KindEnsure, tenant: "wayne", amount: 100}); op.answer.Outcome != budget.Created {
		t.Fatal(op.answer)
	}
	reserve(50)
	if op := s.perform(&simOp{kind: luascripts.KindRelease, hold: settled}); op.answer.Outcome != budget.MissingReservation {
		t.Errorf("a release of the removed account's hold: %+v", op.answer)
	}
	s.server.Now += simHoldTTL.Milliseconds() - 1
	reserve(20)
	s.server.Now++
	op := s.perform(&simOp{kind: luascripts.KindBalance, tenant: "wayne"})
	want := budget.Balance{Outcome: budget.Found, Granted: 100, Remaining: 80, Reserved: 20}
	if op.answer.Balance == nil || *op.answer.Balance != want || op.answer.Holds != 1 {
		t.Errorf("balance %+v of %d holds, want %+v of 1", op.answer.Balance, op.answer.Holds, want)
	}
	if h, _ := s.state(due); h.Open() {
		t.Errorf("after its deadline the removed account's hold is %+v", h)
	}
}

// A due timer ends no hold whose own deadline is later, or that has none.
func TestTimerAloneEndsNothing(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	later := s.perform(&simOp{kind: luascripts.KindReserve, tenant: "acme", amount: 5})
	never := s.perform(&simOp{kind: luascripts.KindReserveTTL, tenant: "acme", amount: 7})
	for _, op := range []*simOp{later, never} {
		if _, err := s.do(p, []string{"zadd", p.keys.Timers, "1", store.HoldField(op.c.id)}); err != nil {
			t.Fatal(err)
		}
	}
	control := p.store.Hash(p.keys.Ledger)[store.ControlField]
	p.store.Set(p.keys.Ledger, store.ControlField, control[:6]+"\x00\x00\x00\x00\x00\x01"+control[12:])
	s.passTime()
	for range 2 {
		if op := s.perform(&simOp{kind: luascripts.KindBalance, tenant: "acme"}); op.answer.Balance.Reserved != 12 {
			t.Errorf("%d are reserved, want 12", op.answer.Balance.Reserved)
		}
	}
	s.server.Now += simHoldTTL.Milliseconds()
	if op := s.perform(&simOp{kind: luascripts.KindBalance, tenant: "acme"}); op.answer.Balance.Reserved != 7 {
		t.Errorf("%d are reserved after the deadline, want 7", op.answer.Balance.Reserved)
	}
}

// A server that became a replica for a time, and is the primary again, may have less of a
// rebuild than its node expects.
func TestRebuildNeedsTheMarkOfThePageBefore(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	for range 20 {
		s.perform(&simOp{kind: luascripts.KindReserve, tenant: "acme", amount: 5})
	}
	p.store.DeleteKey(p.keys.Timers)
	s.server.ScanFields = 3
	defer func() { s.server.ScanFields = 0 }()
	header := p.store.Hash(p.keys.Ledger)[store.HeaderField]
	page := func(cursor string) string {
		reply, err := s.do(p, []string{"eval", s.scripts.Rebuild.Source, "2", p.keys.Ledger, p.keys.Timers, header, "0123456789abcdef", cursor, ""})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(reply)
	}
	next := func(cursor string) string {
		after, more := strings.CutPrefix(page(cursor), "NEXT ")
		if !more {
			t.Fatalf("%s after the cursor %s, want another page", after, cursor)
		}
		return after
	}
	second := next("0")
	behind := p.store.Clone()
	third := next(second)
	p.store = behind
	if reply := page(third); reply != "AGAIN" {
		t.Errorf("%s without the previous page, want AGAIN", reply)
	}
	if reply := page(second); reply != "NEXT "+third {
		t.Errorf("%s after the last existing page, want the next one, %s", reply, third)
	}
}

// The largest batch, which also ends the most due holds, of as many other accounts, fits
// into the arguments that a script can pass to a command.
func TestLargestBatch(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	now := time.UnixMilli(simBegan)
	s := newSimulation(simredis.NewServer(), 0, simMode{}, nil)
	config := s.nodeConfig(1)
	config.Scripts, config.Store = composeSources(nil), store.Config{HoldTTL: 1000, Retention: 1000, Ring: 1}
	config.TenantQueue, config.TotalQueue = 10_000, 10_000
	config.Clock = func() time.Time { return now }
	config.Now = config.Clock
	n := NewNode(config)
	l := n.Lanes()[0]
	all := func(kind byte, amount budget.Microcents, tenants, perTenant int, name string, want budget.Outcome) {
		t.Helper()
		var calls []*Call
		for i := range tenants * perTenant {
			c := NewCall(kind, budget.TenantID(fmt.Sprintf("%s-%d", name, i%tenants)), amount, budget.ReservationID{})
			if err := errors.Join(n.Admit(), l.enqueue(c)); err != nil {
				t.Fatal(err)
			}
			calls = append(calls, c)
		}
		for again := true; again; again = l.Continue() {
			args := l.Next()
			if args == nil {
				continue
			}
			value, err := client.Do(t.Context(), slices.Clone(args)...).Result()
			r := Reply{Value: value, Err: err, Failure: FailureRejected}
			if r.Text, _ = value.(string); redis.HasErrorPrefix(err, "NOSCRIPT") {
				r.Failure = FailureNoScript
			}
			l.Handle(r)
		}
		for _, c := range calls {
			if <-c.done; c.answer.Err != nil || c.answer.Outcome != want {
				t.Fatalf("got %+v, want %s", c.answer, want)
			}
		}
	}
	all(luascripts.KindEnsure, 9, 640, 1, "due", budget.Created)
	all(luascripts.KindEnsure, 9, luascripts.MaxAccounts, 1, "busy", budget.Created)
	all(luascripts.KindReserve, 1, 640, 1, "due", budget.Reserved)
	now = now.Add(2 * time.Second)
	all(luascripts.KindReserve, 1, luascripts.MaxAccounts, 2, "busy", budget.Reserved)
	all(luascripts.KindDelete, 0, 640, 1, "due", budget.Deleted)
}

// A hold that one of its accounts doesn't have ends at none of them.
func TestHoldThatALevelLacksDoesNotExpire(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p, n := s.partitions[0], NewNode(s.nodeConfig(1))
	root := p.store.Hash(p.keys.Ledger)[store.AccountField(simRoot)]
	s.carryCall(t, n, NewCall(luascripts.KindReserve, simLeaf, 5, budget.ReservationID{}))
	p.store.Set(p.keys.Ledger, store.AccountField(simRoot), root)
	s.server.Now += simHoldTTL.Milliseconds()
	s.carryCall(t, n, NewCall(luascripts.KindBalance, simLeaf, 0, budget.ReservationID{}))
	s.checkReserved(t, simRoot, 0)
	s.checkReserved(t, simMiddle, 5)
	s.checkReserved(t, simLeaf, 5)
}
