package lane

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Tests of the settings of accounts, on the simulated Redis.

func changeOf(t *testing.T, settings ...budget.Setting) *budget.Change {
	t.Helper()
	change, err := budget.NewChange(settings...)
	if err != nil {
		t.Fatal(err)
	}
	return &change
}

func configureCall(tenant budget.TenantID, change *budget.Change) *Call {
	return NewCall(luascripts.KindConfigure, tenant, change.Settings.Overdraft, budget.ReservationID{}).WithChange(change)
}

// configure changes the settings of an account, and checks the outcome.
func (s *simulation) configure(t *testing.T, tenant budget.TenantID, change *budget.Change, want budget.Outcome) {
	t.Helper()
	op := s.perform(&simOp{kind: luascripts.KindConfigure, tenant: tenant, change: change})
	if op.answer.Err != nil || op.answer.Outcome != want {
		t.Errorf("%s: %+v, want %s", op, op.answer, want)
	}
}

func (s *simulation) account(t *testing.T, tenant budget.TenantID) store.Account {
	t.Helper()
	p := s.partitionOf(tenant)
	a, _, err := store.ParseAccount(p.store.Hash(p.keys.Ledger)[store.AccountField(tenant)])
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func commitAvailableOf(h *simHold, amount budget.Microcents) *simOp {
	return &simOp{kind: luascripts.KindCommitAvailable, hold: h, amount: amount}
}

// An excess is paid up to exactly the overdraft of each level; no reserve uses it.
func TestOverdraftIsExact(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.configure(t, simRoot, changeOf(t, budget.Overdraft(30*simScale)), budget.Configured)
	s.configure(t, simMiddle, changeOf(t, budget.Overdraft(20*simScale)), budget.Configured)
	s.configure(t, simLeaf, changeOf(t, budget.Overdraft(90*simScale)), budget.Configured)
	hold := s.expect(t, reserveOf(simLeaf, 100), budget.Reserved, 400, simLeaf)
	s.expect(t, reserveOf(simLeaf, 401), budget.Insufficient, 400, simLeaf)
	beyond := commitOf(hold, 520)
	beyond.amount++
	s.expect(t, beyond, budget.Overrun, 400, simMiddle)
	s.expectAccounts(t, [3]budget.Microcents{400, 100, 0}, [3]budget.Microcents{400, 100, 0}, [3]budget.Microcents{400, 100, 0})
	s.expect(t, commitOf(hold, 520), budget.Committed, -20, simLeaf)
	s.expect(t, reserveOf(simLeaf, 1), budget.Insufficient, 0, simLeaf)
	s.expect(t, &simOp{kind: luascripts.KindRemaining, tenant: simLeaf}, budget.Found, 0, simLeaf)
	s.expect(t, &simOp{kind: luascripts.KindWithdraw, tenant: simRoot, amount: 1}, budget.Insufficient, 0, simRoot)
	s.expectAccounts(t, [3]budget.Microcents{-20, 0, 520}, [3]budget.Microcents{-20, 0, 520}, [3]budget.Microcents{-20, 0, 520})
}

// CommitAvailable pays the amount that all levels can pay, and at least the hold: also below the
// overdraft, which was lowered, and if the cost doesn't fit 64 bits together with the committed amount.
func TestCommitAvailable(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	n := NewNode(s.nodeConfig(1))
	s.carryCall(t, n, configureCall(simRoot, changeOf(t, budget.Overdraft(30))))
	s.carryCall(t, n, NewCall(luascripts.KindWithdraw, simRoot, simBudget(simRoot)-500, budget.ReservationID{}))
	reserve := func(tenant budget.TenantID, amount budget.Microcents) budget.ReservationID {
		c := NewCall(luascripts.KindReserve, tenant, amount, budget.ReservationID{})
		s.carryCall(t, n, c)
		return c.id
	}
	pay := func(id budget.ReservationID, asked, want budget.Microcents) {
		t.Helper()
		c := NewCall(luascripts.KindCommitAvailable, id.Tenant(), asked, id)
		s.carryCall(t, n, c)
		if a := c.answer; a.Outcome != budget.Committed || a.Actual != want || a.Shortfall != asked-want {
			t.Errorf("%d of %d: %+v", want, asked, a)
		}
	}
	expect := func(tenant budget.TenantID, remaining, reserved, committed budget.Microcents) {
		t.Helper()
		if a := s.account(t, tenant); a.Remaining != remaining || a.Reserved != reserved || a.Committed != committed {
			t.Errorf("%s: %+v, want %d, %d, %d", tenant, a, remaining, reserved, committed)
		}
	}
	first, second, third := reserve(simLeaf, 100), reserve(simRoot, 40), reserve(simRoot, 50)
	pay(first, 1000, 440) // the root has 310, and the overdraft
	expect(simRoot, -30, 90, 440)
	expect(simLeaf, simBudget(simLeaf)-440, 0, 440)
	s.carryCall(t, n, configureCall(simRoot, changeOf(t, budget.Overdraft(0))))
	pay(second, budget.MaxMicrocents, 40)
	pay(third, 20, 20)
	expect(simRoot, 0, 0, 500)
	again := NewCall(luascripts.KindCommitAvailable, simRoot, 1, third)
	if s.carryCall(t, n, again); again.answer.Outcome != budget.MissingReservation || again.answer.Prior != budget.Committed {
		t.Errorf("again: %+v", again.answer)
	}
}

// crossingObserver records the thresholds that it is called with.
type crossingObserver struct {
	NopObserver
	crossings []budget.Crossing
}

func (o *crossingObserver) Crossed(c budget.Crossing) { o.crossings = append(o.crossings, c) }

// A threshold is crossed once, at exactly its percentage, until a grant lowers the ratio
// below it. Nothing reaches one while nothing is committed.
func TestThresholdsAreCrossedOnce(t *testing.T) {
	t.Parallel()
	s, o := begun(t, 1), &crossingObserver{}
	config := s.nodeConfig(1)
	config.Observer = o
	n := NewNode(config)
	expect := func(want ...string) {
		t.Helper()
		var is []string
		for _, c := range o.crossings {
			is = append(is, fmt.Sprintf("%s %d%% %d of %d", c.Tenant, c.Percent, c.Committed, c.Granted))
		}
		if o.crossings = nil; !slices.Equal(is, want) {
			t.Errorf("crossed %q, want %q", is, want)
		}
	}
	create := NewCall(luascripts.KindEnsure, "umbrella", 0, budget.ReservationID{}).WithChange(changeOf(t, budget.AtThresholds(50, 100)))
	s.carryCall(t, n, create)
	grant := func(amount budget.Microcents) {
		t.Helper()
		s.carryCall(t, n, NewCall(luascripts.KindGrant, "umbrella", amount, budget.ReservationID{}))
	}
	spend := func(amount budget.Microcents) {
		t.Helper()
		reserve := NewCall(luascripts.KindReserve, "umbrella", 1, budget.ReservationID{})
		s.carryCall(t, n, reserve)
		s.carryCall(t, n, NewCall(luascripts.KindCommit, "umbrella", amount, reserve.id))
	}
	grant(200)
	expect()
	spend(99)
	expect()
	spend(1)
	expect("umbrella 50% 100 of 200")
	spend(0)
	expect()
	spend(100)
	expect("umbrella 100% 200 of 200")
	grant(1)
	s.carryCall(t, n, NewCall(luascripts.KindBalance, "umbrella", 0, budget.ReservationID{}))
	expect()
	spend(1)
	expect("umbrella 100% 201 of 201")
	grant(300)
	s.carryCall(t, n, configureCall("umbrella", changeOf(t, budget.AtThresholds(25, 40, 41))))
	expect("umbrella 25% 201 of 501", "umbrella 40% 201 of 501")

	// Operations that share a batch cross thresholds one after the other.
	adjust := func(kind byte, amount budget.Microcents) *Call {
		return NewCall(kind, "umbrella", amount, budget.ReservationID{})
	}
	first := []*Call{adjust(luascripts.KindWithdraw, 11), adjust(luascripts.KindGrant, 1)}
	for _, c := range first {
		if err := errors.Join(n.Admit(), n.Lanes()[0].enqueue(c)); err != nil {
			t.Fatal(err)
		}
	}
	s.carryCall(t, n, adjust(luascripts.KindWithdraw, 1))
	expect("umbrella 41% 201 of 490", "umbrella 41% 201 of 490")
}

// A frozen, capped or closed account settles all its holds, and they end at their deadline.
func TestSettlesGoOn(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]*budget.Change{
		"frozen": &budget.ChangeFrozen, "closed": &budget.ChangeClosed,
		"capped": changeOf(t, budget.CapHold(1), budget.CapReserved(1), budget.CapHolds(1)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begun(t, 1)
			var holds []*simHold
			for i := range budget.Microcents(4) {
				holds = append(holds, s.expect(t, reserveOf(simLeaf, 10), budget.Reserved, 490-10*i, simLeaf))
			}
			s.configure(t, simRoot, change, budget.Configured)
			want := map[string]budget.Outcome{"frozen": budget.Frozen, "closed": budget.Closed, "capped": budget.Capped}[name]
			refused := s.perform(reserveOf(simLeaf, 1)).answer
			if refused.Outcome != want || refused.Level != simRoot || name == "capped" && (refused.Cap != budget.HoldCap || refused.CapLimit != 1) {
				t.Errorf("a reserve: %+v, want %s at the root", refused, want)
			}
			s.expect(t, commitOf(holds[0], 15), budget.Committed, 455, simLeaf)
			s.expect(t, &simOp{kind: luascripts.KindRelease, hold: holds[1]}, budget.Released, 465, simLeaf)
			if op := s.perform(commitAvailableOf(holds[2], 5*simScale)); op.answer.Outcome != budget.Committed {
				t.Errorf("%s: %+v", op, op.answer)
			}
			s.server.Now += simHoldTTL.Milliseconds()
			s.expectAccounts(t, [3]budget.Microcents{480, 0, 20}, [3]budget.Microcents{480, 0, 20}, [3]budget.Microcents{480, 0, 20})
			if grant := s.perform(&simOp{kind: luascripts.KindGrant, tenant: simRoot, amount: 1}).answer; (grant.Outcome == budget.Closed) != (name == "closed") {
				t.Errorf("a grant: %+v", grant)
			}
			s.expect(t, &simOp{kind: luascripts.KindWithdraw, tenant: simMiddle, amount: 80 * simScale}, budget.Withdrawn, 400, simMiddle)
		})
	}
}

// An account whose settings are removed takes the room of one that never had any.
func TestRemovedSettingsTakeNoRoom(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.configure(t, simRoot, changeOf(t, budget.Overdraft(1), budget.CapHolds(1), budget.AtThresholds(1)), budget.Configured)
	s.configure(t, simRoot, changeOf(t, budget.Overdraft(0), budget.CapHolds(0), budget.AtThresholds()), budget.Configured)
	if record := s.partitions[0].store.Hash(s.partitions[0].keys.Ledger)[store.AccountField(simRoot)]; len(record) != luascripts.AccountBytes {
		t.Errorf("%d bytes, want %d", len(record), luascripts.AccountBytes)
	}
}

// A closed account rejects all changes but another close. One of the same name that is created
// after it has none of its settings, also in the same batch.
func TestSettingsEndWithTheAccount(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.configure(t, "wayne", changeOf(t, budget.Overdraft(5), budget.CapHolds(2), budget.AtThresholds(1)), budget.Configured)
	s.configure(t, "wayne", &budget.ChangeClosed, budget.Configured)
	s.configure(t, "wayne", &budget.ChangeClosed, budget.Configured)
	s.configure(t, "wayne", &budget.ChangeUnfrozen, budget.Closed)
	s.configure(t, "wayne", changeOf(t), budget.Closed)
	ops := []*simOp{
		{kind: luascripts.KindDelete, tenant: "wayne"}, {kind: luascripts.KindEnsure, tenant: "wayne", amount: 9}, {kind: luascripts.KindReserve, tenant: "wayne", amount: 1},
		{kind: luascripts.KindConfigure, tenant: "wayne", change: changeOf(t, budget.CapHold(7))},
	}
	for _, op := range ops {
		s.call(s.nodes[1], op)
	}
	s.rest()
	for i, want := range []budget.Outcome{budget.Deleted, budget.Created, budget.Reserved, budget.Configured} {
		if ops[i].answer.Outcome != want || ops[i].c.trace != ops[0].c.trace {
			t.Errorf("%s: %+v, want %s", ops[i], ops[i].answer, want)
		}
	}
	if b := ops[0].answer.Balance; b == nil || !b.Settings.Closed || b.Settings.CapHolds != 2 {
		t.Errorf("deleted %+v", b)
	}
	if a := s.account(t, "wayne"); a.Settings != (budget.Settings{CapHold: 7}) {
		t.Errorf("created %+v", a)
	}
}

// A node repeats a freeze or a close that a failover lost, unless it has unfrozen the account
// since; it doesn't repeat an unfreeze.
func TestLostFreezeIsRepeated(t *testing.T) {
	t.Parallel()
	frozen, closed := budget.Settings{Frozen: true}, budget.Settings{Closed: true}
	for name, c := range map[string]struct {
		kept, lost []*budget.Change
		want       budget.Settings
	}{
		"freeze":                    {nil, []*budget.Change{&budget.ChangeFrozen}, frozen},
		"close":                     {nil, []*budget.Change{&budget.ChangeClosed}, closed},
		"freeze before a close":     {nil, []*budget.Change{&budget.ChangeFrozen, &budget.ChangeClosed}, closed},
		"freeze before an unfreeze": {nil, []*budget.Change{&budget.ChangeFrozen, &budget.ChangeUnfrozen}, budget.Settings{}},
		"freeze after an unfreeze":  {nil, []*budget.Change{&budget.ChangeFrozen, &budget.ChangeUnfrozen, &budget.ChangeFrozen}, frozen},
		"unfreeze":                  {[]*budget.Change{&budget.ChangeFrozen}, []*budget.Change{&budget.ChangeUnfrozen}, frozen},
		"nothing":                   {[]*budget.Change{&budget.ChangeFrozen, &budget.ChangeUnfrozen}, nil, budget.Settings{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begun(t, 1)
			p, n := s.partitions[0], NewNode(s.nodeConfig(1))
			configure := func(changes []*budget.Change) {
				for _, change := range changes {
					copied := *change
					s.carryCall(t, n, configureCall(simRoot, &copied))
				}
			}
			read := func() { s.carryCall(t, n, NewCall(luascripts.KindBalance, simRoot, 0, budget.ReservationID{})) }
			read()
			configure(c.kept)
			for range 2 { // a repeated freeze may be lost again
				replica := p.store.Clone()
				if configure(c.lost); len(c.lost) == 0 {
					s.carryCall(t, n, NewCall(luascripts.KindGrant, simRoot, 1, budget.ReservationID{}))
				}
				c.lost = nil
				p.store = replica
				read()
				if a := s.account(t, simRoot); a.Settings != c.want {
					t.Errorf("after the repair: %+v, want %+v", a.Settings, c.want)
				}
			}
		})
	}
}

// freezeLost returns a node whose Redis has lost everything after its freezes of acme.
func freezeLost(t *testing.T, freezes int, before func(n *Node)) (n *Node, l *Lane, log *bytes.Buffer) {
	t.Helper()
	n, l, log = openLane(t, func(c *Config) { c.RepairWindow, c.RepairBytes = time.Minute, 64*stateBytes })
	for range freezes {
		frozen := budget.ChangeFrozen
		n.AdmitSettlement()
		if err := l.enqueue(configureCall("acme", &frozen)); err != nil {
			t.Fatal(err)
		}
		l.Next()
		reply(l, "A"+be(5, 6)+"\x00"+string(byte(luascripts.CodeConfigured))+be(100, 8)+"\x01")
		l.Continue()
	}
	before(n)
	ask(t, n, l, luascripts.KindReserve, 10, budget.ReservationID{})
	l.Continue()
	l.Next()
	reply(l, store.WordNoSession)
	open(t, l)
	return n, l, log
}

// A lane that has carried nothing but a freeze has no states, and its journal is not idle.
func TestFreshFreezeIsNotEvicted(t *testing.T) {
	t.Parallel()
	_, l, log := freezeLost(t, 1, func(n *Node) {
		n.recorded.Store(65) // other lanes fill the memory
		n.evictIdle(64)
	})
	if kinds := sends(t, l); kinds != "fqr" {
		t.Errorf("sends %q, want the freeze before a probe and the reserve:\n%s", kinds, log)
	}
}

// A freeze that was made twice is repeated once, and the other one isn't reported as lost. If
// its account is lost too, that is logged.
func TestRepeatedFreezeIsReported(t *testing.T) {
	t.Parallel()
	n, l, log := freezeLost(t, 2, func(*Node) {})
	none := string(byte(luascripts.CodeNoTenant))
	sends(t, l) // the merge of the reserve
	reply(l, "A"+be(5, 6)+"\x00"+none+be(0, 8))
	if kinds := sends(t, l); kinds != "fqr" || strings.Contains(log.String(), "lost a change of settings") {
		t.Errorf("sends %q:\n%s", kinds, log)
	}
	reply(l, "A"+be(5, 6)+"\x00"+none+none+none+be(0, 8)+be(0, 8))
	wantResolved(t, n)
	if !strings.Contains(log.String(), "could not repeat a lost freeze") {
		t.Errorf("no line reports that the freeze is lost:\n%s", log)
	}
}

// A late duplicate of a CommitAvailable may pay another amount. The node notices,
// even if the duplicate is applied in the millisecond of the original.
func TestLateDuplicatePaysAnotherAmount(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	maker := NewNode(s.nodeConfig(1))
	reserve := NewCall(luascripts.KindReserve, simLeaf, 5, budget.ReservationID{})
	s.carryCall(t, maker, reserve)
	replica := p.store.Clone()
	commit := NewCall(luascripts.KindCommitAvailable, simLeaf, budget.MaxMicrocents, reserve.id)
	batch := s.carryCall(t, maker, commit)
	p.store = replica
	s.carryCall(t, NewNode(s.nodeConfig(1)), NewCall(luascripts.KindWithdraw, simRoot, 7, budget.ReservationID{}))
	if _, err := s.do(p, batch); err != nil {
		t.Fatal(err)
	}
	s.carryCall(t, maker, NewCall(luascripts.KindBalance, simLeaf, 0, budget.ReservationID{}))
	hold, err := store.ParseHold(p.store.Hash(p.keys.Ledger)[store.HoldField(reserve.id)])
	if err != nil || hold.State != luascripts.HoldCommitted || hold.Actual != commit.answer.Actual {
		t.Errorf("acknowledged %+v, the hold is %+v, %v", commit.answer, hold, err)
	}
}

// unknownFlag isn't a flag of an account.
const unknownFlag = 128

// Damaged settings make the operations on their account fail, and none on others in the same
// batch.
func TestDamagedSettings(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	s.configure(t, "wayne", changeOf(t, budget.Overdraft(5), budget.AtThresholds(50, 100)), budget.Configured)
	field := store.AccountField("wayne")
	good := p.store.Hash(p.keys.Ledger)[field]
	fixed := luascripts.AccountBytes
	with := func(at int, b byte) string { return good[:at] + string([]byte{b}) + good[at+1:] }
	tooMany := ""
	for percent := range budget.MaxThresholds + 1 {
		tooMany += string([]byte{0, byte(percent + 1)})
	}
	for name, bad := range map[string]string{
		"no settings": good[:fixed], "cut short": good[:fixed+10], "a threshold is missing": good[:len(good)-2], "half a threshold": good[:len(good)-1],
		"a byte too many": good + "\x00", "more thresholds": with(fixed+luascripts.SettingsBytes-1, 3), "unknown flags": with(fixed-1, good[fixed-1]|unknownFlag), "too many thresholds": good[:fixed+luascripts.SettingsBytes-1] + "\x11" + tooMany,
		"a threshold of zero": with(len(good)-3, 0), "descending thresholds": with(len(good)-3, 101), "a threshold too large": with(len(good)-2, 4),
		"a negative overdraft": with(fixed, 0x80), "a negative cap": with(fixed+8, 0xff), "a negative cap of all": with(fixed+16, 0x80),
	} {
		if _, _, err := store.ParseAccount(bad); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: parsed with %v", name, err)
		}
		p.store.Set(p.keys.Ledger, field, bad)
		var ops, others []*simOp
		for _, kind := range []byte{
			luascripts.KindReserve, luascripts.KindBalance, luascripts.KindRemaining, luascripts.KindEnsure, luascripts.KindGrant, luascripts.KindWithdraw,
			luascripts.KindConfigure, luascripts.KindEnsureWith, luascripts.KindDelete,
		} {
			op, other := &simOp{kind: kind, tenant: "wayne", amount: 1}, &simOp{kind: kind, tenant: simRoot, amount: 1}
			if kinds[kind].configures {
				op.change, other.change = &budget.ChangeFrozen, &budget.ChangeUnfrozen
			}
			ops, others = append(ops, op), append(others, other)
		}
		p.damages[field] = simDamage{bad, good}
		s.damaged["wayne"] = true
		for i := range ops {
			s.call(s.nodes[1], ops[i])
			s.call(s.nodes[1], others[i])
		}
		s.rest()
		for i := range ops {
			if !errors.Is(ops[i].answer.Err, ErrCorrupt) {
				t.Errorf("%s: %s: %+v", name, ops[i], ops[i].answer)
			}
			if others[i].answer.Err != nil {
				t.Errorf("%s: %s: %+v", name, others[i], others[i].answer)
			}
		}
		if p.store.Hash(p.keys.Ledger)[field] != bad {
			t.Errorf("%s: the record has changed", name)
		}
	}
}

// A repair restores a commit to an account that was frozen before.
func TestMergeIntoAFrozenAccount(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p, n := s.partitions[0], NewNode(s.nodeConfig(1))
	hold := s.reserveLong(t, 100*simScale)
	s.configure(t, renewed, &budget.ChangeFrozen, budget.Configured)
	s.read(t, n)
	replica := p.store.Clone()
	s.carryCall(t, n, NewCall(luascripts.KindCommit, renewed, 100*simScale, hold.id))
	p.store = replica
	if b := s.read(t, n); b == nil || b.Committed != 100*simScale {
		t.Errorf("after the repair: %+v", b)
	}
}
