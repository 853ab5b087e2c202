package lane

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Tests of rolling windows, on the simulated Redis.

// A renewal of a calendar changes nothing of another window that has replaced it in the same
// millisecond, when a rolling window's part begins.
func TestRenewalOfAnEarlierCalendar(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to budget.Window }{
		"a rolling window": {hourly, budget.Window{Period: budget.Last24Hours}},
		"another period":   {hourly, budget.Window{Period: budget.Day}},
		"another zone":     {hourly, budget.Window{Period: budget.Hour, Zone: "Asia/Kolkata"}},
		"another day":      {budget.Window{Period: budget.Month, Zone: "UTC", Day: 15}, budget.Window{Period: budget.Month, Day: 20}},
		"no window":        {hourly, budget.Window{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begun(t, 1)
			s.nextHour()
			s.setWindow(t, c.from)
			now := s.server.Now
			late, err := c.from.Renewal(now, now)
			if err != nil {
				t.Fatal(err)
			}
			s.setWindow(t, c.to)
			before := s.account(t, renewed)
			call := &Call{kind: luascripts.KindRenew, tenant: renewed, renewal: &renewal{c.from, now, late}, done: make(chan struct{}, 1)}
			s.carryCall(t, NewNode(s.nodeConfig(1)), call)
			if after := s.account(t, renewed); call.answer.Outcome != budget.Found || !reflect.DeepEqual(after, before) {
				t.Errorf("%+v: %+v, want %+v", call.answer, after, before)
			}
		})
	}
}

// A merge counts in the part in which its hold was made, also while the account may have due
// holds.
func TestMergeBesideDueHolds(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	s.setWindow(t, budget.Window{Period: budget.Last24Hours})
	s.perform(reserveOf(renewed, 1))
	n := NewNode(s.nodeConfig(1))
	s.read(t, n)
	replica := p.store.Clone()
	s.nextHour()
	first := s.server.Now
	s.spend(t, n, 100*simScale)
	p.store = replica
	p.store.DeleteKey(p.keys.Timers)
	s.read(t, n)
	for _, c := range []struct {
		hours     int64
		committed budget.Microcents
	}{{24, 100 * simScale}, {25, 0}} {
		s.server.Now = first + c.hours*3_600_000
		if b := s.read(t, n); b.Committed != c.committed {
			t.Errorf("after %d hours %d are committed, want %d", c.hours, b.Committed, c.committed)
		}
	}
}

// A repair restores commits outside of a rolling window without cost to the account, also one
// over another.
func TestMergeOutsideOfARollingWindow(t *testing.T) {
	t.Parallel()
	for _, others := range []budget.Microcents{0, 300} {
		s := begun(t, 1)
		p := s.partitions[0]
		s.setWindow(t, budget.Window{Period: budget.Last24Hours})
		hold := s.reserveLong(t, 100*simScale)
		first, second := NewNode(s.nodeConfig(1)), NewNode(s.nodeConfig(1))
		s.server.Now += 26 * 3_600_000
		s.spend(t, first, 50*simScale)
		s.read(t, second)
		replica := p.store.Clone()
		s.carryCall(t, first, NewCall(luascripts.KindCommit, renewed, 900*simScale, hold.id))
		p.store = replica
		if others > 0 {
			s.carryCall(t, second, NewCall(luascripts.KindCommit, renewed, others*simScale, hold.id))
		}
		b := s.read(t, first)
		h, err := store.ParseHold(p.store.Hash(p.keys.Ledger)[store.HoldField(hold.id)])
		if err != nil || h.Actual != 900*simScale || b.Remaining != 450*simScale || b.Committed != 50*simScale {
			t.Errorf("over a commit of %d: %+v, %v; %+v", others, h, err, b)
		}
	}
}

// An amount isn't lowered if what remains would not fit 64 bits. Only a repair spends so much.
func TestLoweredRollingWindow(t *testing.T) {
	t.Parallel()
	const half = budget.Microcents(1) << 62
	s := begun(t, 1)
	s.setWindow(t, budget.Window{Period: budget.Last24Hours, Amount: budget.MaxMicrocents})
	maker, other := NewNode(s.nodeConfig(1)), NewNode(s.nodeConfig(1))
	s.read(t, maker)
	s.read(t, other)
	replica := s.partitions[0].store.Clone()
	s.spend(t, maker, half)
	s.partitions[0].store = replica
	s.carryCall(t, other, NewCall(luascripts.KindReserve, renewed, budget.MaxMicrocents, budget.ReservationID{}).WithTTL(0))
	remaining := func() budget.Microcents {
		c := NewCall(luascripts.KindBalance, renewed, 0, budget.ReservationID{})
		s.carryCall(t, maker, c)
		return c.answer.Balance.Remaining
	}
	if is := remaining(); is != -half {
		t.Fatalf("after the repair %d remain", is)
	}
	s.changedByHand(s.partitions[0])
	for _, amount := range []budget.Microcents{half - 1, half} {
		op := &simOp{kind: luascripts.KindConfigure, tenant: renewed, change: changeOf(t, budget.InWindow(budget.Window{Period: budget.Last24Hours, Amount: amount}))}
		if fits := amount == half; errors.Is(s.perform(op).answer.Err, budget.ErrOverflow) == fits {
			t.Errorf("an amount of %d: %+v", amount, op.answer)
		}
	}
	if is := remaining(); is != -budget.MaxMicrocents {
		t.Errorf("with an amount of %d, %d remain", half, is)
	}
}

// rolling24 gives an account a rolling window with committed amounts in two parts.
func (s *simulation) rolling24(t *testing.T) {
	t.Helper()
	s.setWindow(t, budget.Window{Period: budget.Last24Hours})
	for range 2 {
		s.expect(t, commitOf(s.reserveLong(t, 100*simScale), 100), budget.Committed, s.account(t, renewed).Remaining/simScale, renewed)
		s.nextHour()
	}
}

// A ring of another length makes operations fail, and is not written.
func TestDamagedRings(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p, field := s.partitions[0], store.AccountField(renewed)
	s.rolling24(t)
	s.damaged[renewed] = true
	good := p.store.Hash(p.keys.Ledger)[field]
	for name, bad := range map[string]string{
		"a part too many": good + strings.Repeat("\x00", 8), "a part too few": good[:len(good)-8], "none": good[:len(good)-8*25], "a byte too few": good[:len(good)-1],
	} {
		if _, _, err := store.ParseAccount(bad); err == nil {
			t.Errorf("%s: parsed", name)
		}
		p.damages[field] = simDamage{bad, good}
		p.store.Set(p.keys.Ledger, field, bad)
		if op := s.perform(&simOp{kind: luascripts.KindBalance, tenant: renewed}); !errors.Is(op.answer.Err, ErrCorrupt) {
			t.Errorf("%s: %+v", name, op.answer)
		}
		if p.store.Hash(p.keys.Ledger)[field] != bad {
			t.Errorf("%s: written", name)
		}
	}
	s.repairRecords()
}

// An audit finds a ring that isn't the committed amount.
func TestWrongRingIsFound(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p, field := s.partitions[0], store.AccountField(renewed)
	s.rolling24(t)
	s.damaged[renewed] = true
	good := p.store.Hash(p.keys.Ledger)[field]
	for name, bad := range map[string]string{
		"more": good[:len(good)-1] + "\x01", "less": good[:len(good)-8*25] + strings.Repeat("\x00", 8*25),
	} {
		p.store.Set(p.keys.Ledger, field, bad)
		audit := store.NewSnapshot(p.store.Hash(p.keys.Ledger)[store.HeaderField], "", false)
		for !audit.Done() && len(s.wrong) == 0 {
			s.addPage(p, audit)
		}
		if a := audit.Accounts[store.AccountID{Tenant: renewed}]; a.Balanced() || a.BalanceText() == "" {
			t.Errorf("%s: nothing is wrong with %+v", name, a)
		}
	}
}

// A commit whose hold has left the window costs nothing, so nothing limits it.
func TestCommitOutsideOfARollingWindow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind  byte
		spent budget.Microcents // since, of all
	}{
		"the committed amount would overflow": {luascripts.KindCommit, budget.MaxMicrocents - 100*simScale},
		"little remains":                      {luascripts.KindCommitAvailable, budget.MaxMicrocents - 150*simScale},
		"of the part that has just left":      {luascripts.KindCommit, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begun(t, 1)
			s.setWindow(t, budget.Window{Period: budget.Last24Hours, Amount: budget.MaxMicrocents})
			s.nextHour()
			hold := s.reserveLong(t, 100*simScale)
			s.server.Now += 25 * 3_600_000
			if c.spent > 0 {
				s.spend(t, NewNode(s.nodeConfig(1)), c.spent)
				s.changedByHand(s.partitions[0])
			}
			op := s.perform(&simOp{kind: c.kind, hold: hold, amount: 900 * simScale})
			if left := budget.MaxMicrocents - c.spent; !op.acknowledged(budget.Committed) || op.answer.Shortfall != 0 || op.answer.Remaining != left {
				t.Errorf("%s: %+v, want %d to remain", op, op.answer, left)
			}
			if a := s.account(t, renewed); a.Committed != c.spent {
				t.Errorf("%d are committed, want %d", a.Committed, c.spent)
			}
		})
	}
}

// Holds of ended epochs have no part in a rolling window.
func TestRollingWindowAfterEpochs(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	s.setWindow(t, hourly)
	start := s.account(t, renewed).Epochs.Start
	merged, hold := s.reserveLong(t, 100*simScale), s.reserveLong(t, 100*simScale)
	s.nextHour()
	s.setWindow(t, budget.Window{Period: budget.Last24Hours})
	n := NewNode(s.nodeConfig(1))
	s.read(t, n)
	if b := s.perform(&simOp{kind: luascripts.KindEpoch, tenant: renewed, at: start}).answer.Balance; b == nil || b.Reserved != 200*simScale || b.Ended != 0 {
		t.Errorf("the ended epoch is %+v", b)
	}

	replica := p.store.Clone()
	s.carryCall(t, n, NewCall(luascripts.KindCommit, renewed, 100*simScale, merged.id))
	p.store = replica
	if b := s.read(t, n); b == nil || b.Committed != 0 || b.Ended != 100*simScale {
		t.Errorf("after a repair: %+v", b)
	}

	s.server.Now += 26 * 3_600_000
	s.expect(t, commitOf(hold, 2000), budget.Overrun, s.account(t, renewed).Remaining/simScale, renewed)
	s.perform(commitOf(hold, 50))
	if b := s.perform(&simOp{kind: luascripts.KindEpoch, tenant: renewed, at: start}).answer.Balance; b == nil || b.Committed != 150*simScale {
		t.Errorf("after a commit the ended epoch is %+v", b)
	}
}

// A merge over another commit of the hold adds the difference to the part of a rolling window.
func TestMergeOverACommitInARollingWindow(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.setWindow(t, budget.Window{Period: budget.Last24Hours})
	hold := s.reserveLong(t, 100*simScale)
	first, second := NewNode(s.nodeConfig(1)), NewNode(s.nodeConfig(1))
	s.read(t, first)
	s.read(t, second)
	replica := s.partitions[0].store.Clone()
	s.carryCall(t, first, NewCall(luascripts.KindCommit, renewed, 90*simScale, hold.id))
	s.partitions[0].store = replica
	s.carryCall(t, second, NewCall(luascripts.KindCommit, renewed, 30*simScale, hold.id))
	if b := s.read(t, first); b == nil || b.Committed != 90*simScale || !s.account(t, renewed).Balanced() {
		t.Errorf("after a repair: %+v; %+v", b, s.account(t, renewed))
	}
}

// A shorter rolling window begins with one part, which has all that was committed.
func TestShorterRollingWindow(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.setWindow(t, budget.Window{Period: budget.Last7Days})
	n := NewNode(s.nodeConfig(1))
	for range 2 {
		s.spend(t, n, 100*simScale)
		s.read(t, n)
		s.server.Now += 24 * 3_600_000
	}
	s.setWindow(t, budget.Window{Period: budget.Last24Hours})
	if a := s.account(t, renewed); a.Epochs.Ring[len(a.Epochs.Ring)-1] != 200*simScale || a.Committed != 200*simScale {
		t.Errorf("%+v", a.Epochs.Ring)
	}
}
