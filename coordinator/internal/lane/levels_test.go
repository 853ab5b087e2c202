package lane

import (
	"fmt"
	"testing"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Tests of a tenant's levels, on the simulated Redis.

const (
	simRoot   budget.TenantID = "acme"
	simMiddle budget.TenantID = "acme/search"
	simLeaf   budget.TenantID = "acme/search/key"
)

// expect carries out an operation and checks its outcome, and the level that is named with
// what remains there, in units of simScale.
func (s *simulation) expect(t *testing.T, op *simOp, outcome budget.Outcome, remaining budget.Microcents, level budget.TenantID) *simHold {
	t.Helper()
	a := s.perform(op).answer
	if a.Err != nil || a.Outcome != outcome || a.Remaining != remaining*simScale || a.Level != level {
		t.Errorf("%s: %s of %q with %d remaining, %v; want %s of %q with %d", op, a.Outcome, a.Level, a.Remaining, a.Err, outcome, level, remaining*simScale)
	}
	return &simHold{id: op.c.id, made: op}
}

// expectAccounts checks remaining, reserved and committed of the family, the root first.
func (s *simulation) expectAccounts(t *testing.T, want ...[3]budget.Microcents) {
	t.Helper()
	for i, tenant := range []budget.TenantID{simRoot, simMiddle, simLeaf} {
		b := s.perform(&simOp{kind: luascripts.KindBalance, tenant: tenant}).answer.Balance
		if got := [3]budget.Microcents{b.Remaining / simScale, b.Reserved / simScale, b.Committed / simScale}; got != want[i] {
			t.Errorf("%s has %v remaining, reserved and committed, want %v", tenant, got, want[i])
		}
	}
}

func reserveOf(tenant budget.TenantID, amount budget.Microcents) *simOp {
	return &simOp{kind: luascripts.KindReserve, tenant: tenant, amount: amount * simScale}
}

func commitOf(h *simHold, amount budget.Microcents) *simOp {
	return &simOp{kind: luascripts.KindCommit, hold: h, amount: amount * simScale}
}

// The level with the least remaining refuses and is named; of equals it is the nearest. A
// refusal moves nothing at any level.
func TestLevels(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	first := s.expect(t, reserveOf(simLeaf, 100), budget.Reserved, 400, simLeaf)
	second := s.expect(t, reserveOf(simMiddle, 50), budget.Reserved, 350, simMiddle)
	s.expect(t, &simOp{kind: luascripts.KindRemaining, tenant: simLeaf}, budget.Found, 350, simMiddle)
	s.expect(t, &simOp{kind: luascripts.KindWithdraw, tenant: simRoot, amount: 200 * simScale}, budget.Withdrawn, 150, simRoot)
	s.expect(t, &simOp{kind: luascripts.KindRemaining, tenant: simLeaf}, budget.Found, 150, simRoot)
	s.expect(t, reserveOf(simLeaf, 160), budget.Insufficient, 150, simRoot)
	s.expect(t, commitOf(first, 260), budget.Overrun, 150, simRoot)
	s.expectAccounts(t, [3]budget.Microcents{150, 150, 0}, [3]budget.Microcents{350, 150, 0}, [3]budget.Microcents{400, 100, 0})
	s.expect(t, commitOf(first, 120), budget.Committed, 130, simRoot)
	s.expect(t, &simOp{kind: luascripts.KindRelease, hold: second}, budget.Released, 180, simRoot)
	s.expectAccounts(t, [3]budget.Microcents{180, 0, 120}, [3]budget.Microcents{380, 0, 120}, [3]budget.Microcents{380, 0, 120})
	// Withdraw needs only the account's own money.
	s.expect(t, &simOp{kind: luascripts.KindWithdraw, tenant: simLeaf, amount: 300 * simScale}, budget.Withdrawn, 80, simLeaf)
	s.expect(t, &simOp{kind: luascripts.KindWithdraw, tenant: simLeaf, amount: 100 * simScale}, budget.Insufficient, 80, simLeaf)
}

// A level that does not exist limits nothing, and one that is created later has no part in
// older holds. An account with open holds of tenants below it is not deleted.
func TestLevelsCreatedAndDeleted(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	remove := func(tenant budget.TenantID, want budget.Outcome) {
		t.Helper()
		if op := s.perform(&simOp{kind: luascripts.KindDelete, tenant: tenant}); op.answer.Outcome != want {
			t.Errorf("%s: %s, want %s", op, op.answer.Outcome, want)
		}
	}
	remove(simMiddle, budget.Deleted)
	older := s.expect(t, reserveOf(simLeaf, 100), budget.Reserved, 400, simLeaf)
	s.expect(t, &simOp{kind: luascripts.KindEnsure, tenant: simMiddle, amount: 10 * simScale}, budget.Created, 10, simMiddle)
	s.expect(t, reserveOf(simLeaf, 20), budget.Insufficient, 10, simMiddle)
	newer := s.expect(t, reserveOf(simLeaf, 4), budget.Reserved, 6, simMiddle)
	s.expect(t, commitOf(older, 130), budget.Committed, 366, simLeaf)
	s.expectAccounts(t, [3]budget.Microcents{366, 4, 130}, [3]budget.Microcents{6, 4, 0}, [3]budget.Microcents{366, 4, 130})
	for _, tenant := range []budget.TenantID{simRoot, simMiddle, simLeaf} {
		remove(tenant, budget.HoldsOpen)
	}
	s.expect(t, &simOp{kind: luascripts.KindRelease, hold: newer}, budget.Released, 10, simMiddle)
	remove(simRoot, budget.Deleted)
	s.expect(t, reserveOf(simLeaf, 10), budget.Reserved, 0, simMiddle)
	remove(simLeaf, budget.HoldsOpen)
	if op := s.perform(reserveOf("acme/other", 1)); op.answer.Outcome != budget.MissingTenant {
		t.Errorf("%s: %+v, want no such tenant", op, op.answer)
	}
}

// An id under the name of another level reaches nothing, also in a batch that has no
// ancestors.
func TestReservationOfAnotherLevel(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	// Now the root has the largest serial.
	s.perform(&simOp{kind: luascripts.KindDelete, tenant: simRoot})
	s.perform(&simOp{kind: luascripts.KindEnsure, tenant: simRoot, amount: simBudget(simRoot)})
	hold := s.expect(t, reserveOf(simLeaf, 100), budget.Reserved, 400, simLeaf)
	for _, tenant := range []budget.TenantID{simRoot, simMiddle} {
		hi, lo := hold.id.Bits()
		other := &simHold{id: budget.NewReservationID(tenant, hi, lo), made: hold.made}
		if op := s.perform(commitOf(other, 1)); op.answer.Outcome != budget.MissingReservation {
			t.Errorf("%s: %+v", op, op.answer)
		}
		if op := s.perform(&simOp{kind: luascripts.KindLookup, hold: other}); op.answer.Outcome != budget.NotKnown {
			t.Errorf("%s: %+v", op, op.answer)
		}
	}
	if op := s.perform(&simOp{kind: luascripts.KindLookup, hold: hold}); op.answer.Outcome != budget.Reserved {
		t.Errorf("%s: %+v", op, op.answer)
	}
	for _, tenant := range []budget.TenantID{simRoot, simMiddle, simLeaf} {
		s.checkReserved(t, tenant, 100*simScale)
	}
}

func (s *simulation) checkReserved(t *testing.T, tenant budget.TenantID, want budget.Microcents) {
	t.Helper()
	a, _, err := store.ParseAccount(s.partitionOf(tenant).store.Hash(s.partitionOf(tenant).keys.Ledger)[store.AccountField(tenant)])
	if err != nil || a.Reserved != want {
		t.Errorf("%s: %+v, %v; want %d reserved", tenant, a, err, want)
	}
}

// A lost hold is restored at the levels that it had debited, and ends there; not at one that
// was created since, although another level is younger than that.
func TestLostHoldIsRestoredAtItsLevels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ exists, expires bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		exists, expires := c.exists, c.expires
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			t.Parallel()
			s := begun(t, 1)
			p := s.partitions[0]
			if !exists {
				s.perform(&simOp{kind: luascripts.KindDelete, tenant: simMiddle})
			}
			maker, replica := NewNode(s.nodeConfig(1)), p.store.Clone()
			reserve := NewCall(luascripts.KindReserve, simLeaf, 5, budget.ReservationID{})
			s.carryCall(t, maker, reserve)
			p.store = replica
			other := NewNode(s.nodeConfig(1))
			s.carryCall(t, other, NewCall(luascripts.KindEnsure, simMiddle, 100, budget.ReservationID{}))
			s.carryCall(t, other, NewCall(luascripts.KindDelete, simRoot, 0, budget.ReservationID{}))
			s.carryCall(t, other, NewCall(luascripts.KindEnsure, simRoot, 100, budget.ReservationID{}))
			s.carryCall(t, maker, NewCall(luascripts.KindBalance, simRoot, 0, budget.ReservationID{}))
			hold, err := store.ParseHold(p.store.Hash(p.keys.Ledger)[store.HoldField(reserve.id)])
			levels, middle := byte(7), budget.Microcents(5)
			if !exists {
				levels, middle = 5, 0
			}
			if err != nil || !hold.Open() || hold.Levels != levels {
				t.Errorf("the hold is %+v, %v; want the levels %08b", hold, err, levels)
			}
			s.checkReserved(t, simRoot, 5)
			s.checkReserved(t, simMiddle, middle)
			s.checkReserved(t, simLeaf, 5)
			if expires {
				s.server.Now += simHoldTTL.Milliseconds()
				s.carryCall(t, other, NewCall(luascripts.KindBalance, simRoot, 0, budget.ReservationID{}))
			} else {
				release := NewCall(luascripts.KindRelease, simLeaf, 0, reserve.id)
				s.carryCall(t, other, release)
				if release.answer.Outcome != budget.Released {
					t.Errorf("the release: %+v", release.answer)
				}
			}
			for _, tenant := range []budget.TenantID{simRoot, simMiddle, simLeaf} {
				s.checkReserved(t, tenant, 0)
			}
		})
	}
}

// A commit that is merged over another one charges no level that was created since.
func TestMergedCommitSparesALevelCreatedSince(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	maker, other := NewNode(s.nodeConfig(1)), NewNode(s.nodeConfig(1))
	reserve := NewCall(luascripts.KindReserve, simLeaf, 5, budget.ReservationID{})
	s.carryCall(t, maker, reserve)
	replica := p.store.Clone()
	s.carryCall(t, maker, NewCall(luascripts.KindCommit, simLeaf, 8, reserve.id))
	p.store = replica
	s.carryCall(t, other, NewCall(luascripts.KindCommit, simLeaf, 3, reserve.id))
	s.carryCall(t, other, NewCall(luascripts.KindDelete, simMiddle, 0, budget.ReservationID{}))
	s.carryCall(t, other, NewCall(luascripts.KindEnsure, simMiddle, 100, budget.ReservationID{}))
	s.carryCall(t, maker, NewCall(luascripts.KindBalance, simRoot, 0, budget.ReservationID{}))
	hash := p.store.Hash(p.keys.Ledger)
	hold, err := store.ParseHold(hash[store.HoldField(reserve.id)])
	if err != nil || hold.State != luascripts.HoldCommitted || hold.Actual != 8 {
		t.Errorf("the hold is %+v, %v", hold, err)
	}
	for tenant, want := range map[budget.TenantID]budget.Microcents{simRoot: 8, simMiddle: 0, simLeaf: 8} {
		a, _, err := store.ParseAccount(hash[store.AccountField(tenant)])
		if err != nil || a.Committed != want || !a.Balanced() {
			t.Errorf("%s: %+v, %v; want %d committed", tenant, a, err, want)
		}
	}
}

// A merge moves all levels or none: here the root's spending would not fit 64 bits.
func TestMergeOverflowsAtOneLevel(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	const half = budget.Microcents(1) << 62
	maker, other := NewNode(s.nodeConfig(1)), NewNode(s.nodeConfig(1))
	do := func(n *Node, kind byte, tenant budget.TenantID, amount budget.Microcents, id budget.ReservationID) budget.ReservationID {
		t.Helper()
		c := NewCall(kind, tenant, amount, id)
		s.carryCall(t, n, c)
		if c.answer.Err != nil {
			t.Fatal(c.answer.Err)
		}
		return c.id
	}
	for _, tenant := range []budget.TenantID{simRoot, simMiddle, simLeaf} {
		do(maker, luascripts.KindGrant, tenant, budget.MaxMicrocents-simBudget(tenant), budget.ReservationID{})
	}
	id := do(maker, luascripts.KindReserve, simLeaf, half, budget.ReservationID{})
	replica := p.store.Clone()
	do(maker, luascripts.KindCommit, simLeaf, half+1, id)
	p.store = replica
	do(other, luascripts.KindRelease, simLeaf, 0, id)
	do(other, luascripts.KindCommit, simMiddle, half, do(other, luascripts.KindReserve, simMiddle, half, budget.ReservationID{}))
	do(maker, luascripts.KindBalance, simRoot, 0, budget.ReservationID{})
	hash := p.store.Hash(p.keys.Ledger)
	for tenant, want := range map[budget.TenantID]budget.Microcents{simRoot: half, simMiddle: half, simLeaf: 0} {
		a, _, err := store.ParseAccount(hash[store.AccountField(tenant)])
		if err != nil || a.Committed != want || !a.Balanced() {
			t.Errorf("%s: %+v, %v; want %d committed", tenant, a, err, want)
		}
	}
}
