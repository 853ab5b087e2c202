package lane

import (
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

// Tests of further limits, on the simulated Redis. The simulation's model checks each batch.

// limitOf returns a limit without a carry-over.
func limitOf(period budget.Period, amount budget.Microcents) budget.Setting {
	w := budget.Window{Period: period, Amount: amount * simScale}
	if !period.Rolling() {
		w.Zone = "UTC"
	}
	if period == budget.Month {
		w.Day = 15
	}
	return budget.SetLimit(budget.Limit{Window: w})
}

// queueChange queues a change of settings on the second node.
func (s *simulation) queueChange(t *testing.T, tenant budget.TenantID, settings ...budget.Setting) *simOp {
	t.Helper()
	op := &simOp{kind: luascripts.KindConfigure, tenant: tenant, change: changeOf(t, settings...)}
	s.call(s.nodes[1], op)
	return op
}

// limitsOf returns the account of a tenant and those of its limits that the second node reads.
func (s *simulation) limitsOf(t *testing.T, tenant budget.TenantID) []budget.Balance {
	t.Helper()
	op := s.perform(&simOp{kind: luascripts.KindListLimits, tenant: tenant})
	if op.answer.Limits == nil {
		t.Fatalf("%s: %+v", op, op.answer)
	}
	return op.answer.Limits.Limits
}

// expectLimit is expect with the limit that is named.
func (s *simulation) expectLimit(t *testing.T, op *simOp, outcome budget.Outcome, remaining budget.Microcents, level budget.TenantID, limit budget.Period) *simHold {
	t.Helper()
	hold := s.expect(t, op, outcome, remaining, level)
	if op.answer.Limit != limit {
		t.Errorf("%s names the limit by %s, want %s", op, op.answer.Limit, limit)
	}
	return hold
}

// A hold can have an account more than 32 places after that of its tenant.
func TestLimitsOfManyLevels(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	levels := []budget.TenantID{"a", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/e", "a/b/c/d/e/f"}
	unnamed := []budget.Setting{budget.RemoveLimit(budget.Last24Hours), budget.RemoveLimit(budget.Last7Days), budget.RemoveLimit(budget.Last30Days)}
	for i, tenant := range levels {
		s.perform(&simOp{kind: luascripts.KindEnsure, tenant: tenant, amount: 1000 * simScale})
		s.configure(t, tenant, changeOf(t, limitOf(budget.Hour, 300), limitOf(budget.Day, 300), limitOf(budget.Week, 300), limitOf(budget.Month, budget.Microcents(200+i))), budget.Configured)
	}
	leaf := levels[len(levels)-1]
	held := s.expectLimit(t, reserveOf(leaf, 100), budget.Reserved, 100, "a", budget.Month)
	for _, settle := range []*simOp{{kind: luascripts.KindCommit, amount: 301 * simScale}, {kind: luascripts.KindCommit, amount: 50 * simScale}} {
		for _, tenant := range levels { // a change brings the accounts of the limits that it names
			s.queueChange(t, tenant, unnamed...)
		}
		settle.hold = held
		s.perform(settle)
		want, remaining := budget.Overrun, budget.Microcents(100)
		if settle.amount < 100*simScale {
			want, remaining = budget.Committed, 150
		}
		if a := settle.answer; a.Outcome != want || a.Level != "a" || a.Limit != budget.Month || a.Remaining != remaining*simScale {
			t.Errorf("%s: %+v, want %s of the limit by month of a, %d", settle, a, want, remaining)
		}
	}
}

// restoreLost has a replica lose a hold of wayne that a node made, and the node restore it after
// another has made changes.
func (s *simulation) restoreLost(t *testing.T, changes ...func(other *Node)) store.Hold {
	t.Helper()
	p := s.partitions[0]
	maker, other := NewNode(s.nodeConfig(1)), NewNode(s.nodeConfig(1))
	s.carryCall(t, maker, NewCall(luascripts.KindBalance, "wayne", 0, budget.ReservationID{}))
	replica := p.store.Clone()
	reserve := NewCall(luascripts.KindReserve, "wayne", 100*simScale, budget.ReservationID{}).WithTTL(0)
	s.carryCall(t, maker, reserve)
	p.store = replica
	for _, change := range changes {
		s.server.Now++
		change(other)
	}
	s.carryCall(t, maker, NewCall(luascripts.KindBalance, "wayne", 0, budget.ReservationID{}))
	s.changedByHand(p)
	s.checkPartition(p)
	hold, err := store.ParseHold(p.store.Hash(p.keys.Ledger)[store.HoldField(reserve.id)])
	if err != nil {
		t.Fatal(err)
	}
	return hold
}

// A hold that is restored doesn't count in a limit that began after it was made, also one that has
// begun an epoch since, and none in limits that are younger than such a limit, except in those that are
// older than one of its levels.
func TestLostHoldIsRestoredInTheLimitsOfItsTime(t *testing.T) {
	t.Parallel()
	set := func(t *testing.T, s *simulation, settings ...budget.Setting) func(*Node) {
		return func(n *Node) { s.carryCall(t, n, configureCall("wayne", changeOf(t, settings...))) }
	}
	next := func(t *testing.T, s *simulation) func(*Node) {
		return func(n *Node) {
			s.nextHour()
			s.carryCall(t, n, NewCall(luascripts.KindRemaining, "wayne", 0, budget.ReservationID{}))
		}
	}
	remaining := func(t *testing.T, s *simulation) (all []budget.Microcents) {
		for _, b := range s.limitsOf(t, "wayne") {
			all = append(all, (b.Remaining-b.Ended)/simScale)
		}
		return all
	}
	t.Run("later", func(t *testing.T) {
		t.Parallel()
		s := begun(t, 1)
		s.configure(t, "wayne", changeOf(t, limitOf(budget.Day, 400)), budget.Configured)
		s.restoreLost(t, set(t, s, limitOf(budget.Hour, 300), limitOf(budget.Last24Hours, 300)))
		if got := remaining(t, s); !slices.Equal(got, []budget.Microcents{400, 300, 300, 300}) {
			t.Errorf("%d remain of the base limit, by hour, day and 24h", got)
		}
	})
	t.Run("later, with an epoch that has ended", func(t *testing.T) {
		t.Parallel()
		s := begun(t, 1)
		s.server.Now = simNext(hourly, s.server.Now) - 5
		s.restoreLost(t, set(t, s, limitOf(budget.Hour, 300)), next(t, s))
		if got := remaining(t, s); !slices.Equal(got, []budget.Microcents{400, 300}) {
			t.Errorf("%d remain of the base limit and by hour", got)
		}
	})
	t.Run("later, and one is younger", func(t *testing.T) {
		t.Parallel()
		s := begun(t, 1)
		s.server.Now = simNext(hourly, s.server.Now) - 5
		s.restoreLost(t, set(t, s, limitOf(budget.Day, 400)), set(t, s, limitOf(budget.Hour, 300)), next(t, s), next(t, s), next(t, s))
		if got := remaining(t, s); !slices.Equal(got, []budget.Microcents{400, 300, 400}) {
			t.Errorf("%d remain of the base limit, by hour and day", got)
		}
	})
	t.Run("earlier, in an epoch that has ended", func(t *testing.T) {
		t.Parallel()
		s := begun(t, 1)
		s.server.Now = simNext(hourly, s.server.Now) - 5
		s.configure(t, "wayne", changeOf(t, limitOf(budget.Hour, 300)), budget.Configured)
		s.restoreLost(t, next(t, s))
		if hour := s.limitsOf(t, "wayne")[1]; hour.Ended != 100*simScale || hour.Remaining != 300*simScale {
			t.Errorf("%+v", hour)
		}
	})
	t.Run("a charge, and its tenant is younger than a limit", func(t *testing.T) {
		t.Parallel()
		s := begun(t, 1)
		c := NewCall(luascripts.KindReserve, simLeaf, 100*simScale, budget.ReservationID{}).WithTTL(0)
		maker, other := NewNode(s.nodeConfig(1)), NewNode(s.nodeConfig(1))
		s.carryCall(t, maker, NewCall(luascripts.KindBalance, simLeaf, 0, budget.ReservationID{}))
		replica := s.partitions[0].store.Clone()
		s.carryCall(t, maker, c)
		s.carryCall(t, maker, NewCall(luascripts.KindCommit, simLeaf, 90*simScale, c.id))
		s.partitions[0].store = replica
		s.server.Now++
		s.carryCall(t, other, configureCall(simRoot, changeOf(t, limitOf(budget.Hour, 300))))
		s.carryCall(t, other, NewCall(luascripts.KindDelete, simLeaf, 0, budget.ReservationID{}))
		s.carryCall(t, other, NewCall(luascripts.KindEnsure, simLeaf, 300*simScale, budget.ReservationID{}))
		s.carryCall(t, maker, NewCall(luascripts.KindBalance, simLeaf, 0, budget.ReservationID{}))
		s.changedByHand(s.partitions[0])
		s.checkPartition(s.partitions[0])
		s.expectAccounts(t, [3]budget.Microcents{410, 0, 90}, [3]budget.Microcents{410, 0, 90}, [3]budget.Microcents{210, 0, 90})
	})
	t.Run("its tenant is younger than a limit", func(t *testing.T) {
		t.Parallel()
		s := begun(t, 1)
		c := NewCall(luascripts.KindReserve, simLeaf, 100*simScale, budget.ReservationID{}).WithTTL(0)
		maker, other := NewNode(s.nodeConfig(1)), NewNode(s.nodeConfig(1))
		s.carryCall(t, maker, NewCall(luascripts.KindBalance, simLeaf, 0, budget.ReservationID{}))
		replica := s.partitions[0].store.Clone()
		s.carryCall(t, maker, c)
		s.partitions[0].store = replica
		s.server.Now++
		s.carryCall(t, other, configureCall(simRoot, changeOf(t, limitOf(budget.Hour, 300))))
		s.carryCall(t, other, NewCall(luascripts.KindDelete, simLeaf, 0, budget.ReservationID{}))
		s.carryCall(t, other, NewCall(luascripts.KindEnsure, simLeaf, 300*simScale, budget.ReservationID{}))
		s.carryCall(t, maker, NewCall(luascripts.KindBalance, simLeaf, 0, budget.ReservationID{}))
		s.changedByHand(s.partitions[0])
		s.checkPartition(s.partitions[0])
		// What was acknowledged counts at all levels. So it counts in the limit, too.
		s.expectAccounts(t, [3]budget.Microcents{400, 100, 0}, [3]budget.Microcents{400, 100, 0}, [3]budget.Microcents{200, 100, 0})
		if all := s.limitsOf(t, simRoot); len(all) != 2 || all[1].Reserved != 100*simScale {
			t.Errorf("the root has %+v", all)
		}
	})
}

// A reserve takes its cost from each limit or from none. The one with the least remaining is
// named; of equals the base limit, then the one with the first period, then those of the parent.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.configure(t, simMiddle, changeOf(t, limitOf(budget.Day, 300), limitOf(budget.Hour, 300)), budget.Configured)
	s.configure(t, simRoot, changeOf(t, limitOf(budget.Last24Hours, 300), limitOf(budget.Hour, 500)), budget.Configured)
	first := s.expectLimit(t, reserveOf(simLeaf, 100), budget.Reserved, 200, simMiddle, budget.Hour)
	s.expectLimit(t, &simOp{kind: luascripts.KindRemaining, tenant: simRoot}, budget.Found, 200, simRoot, budget.Last24Hours)
	s.expectLimit(t, reserveOf(simLeaf, 201), budget.Insufficient, 200, simMiddle, budget.Hour)
	s.configure(t, simMiddle, changeOf(t, budget.RemoveLimit(budget.Hour)), budget.Configured)
	s.expectLimit(t, reserveOf(simLeaf, 201), budget.Insufficient, 200, simMiddle, budget.Day)
	s.configure(t, simMiddle, changeOf(t, budget.RemoveLimit(budget.Day), limitOf(budget.Hour, 50)), budget.Configured)
	s.expectLimit(t, commitOf(first, 301), budget.Overrun, 200, simRoot, budget.Last24Hours)
	s.expectLimit(t, commitOf(first, 150), budget.Committed, 150, simRoot, budget.Last24Hours)
	for i, want := range []budget.Microcents{350, 50} {
		if b := s.limitsOf(t, simMiddle)[i]; b.Remaining != want*simScale || b.Reserved != 0 {
			t.Errorf("%+v, want %d remaining", b, want)
		}
	}
}

// A hold whose limits were removed, or set again, settles in the base limit alone.
func TestHoldOfRemovedLimits(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.configure(t, "wayne", changeOf(t, limitOf(budget.Hour, 300)), budget.Configured)
	var holds []*simHold
	for _, remaining := range []budget.Microcents{200, 100, 0} {
		holds = append(holds, s.expectLimit(t, reserveOf("wayne", 100), budget.Reserved, remaining, "wayne", budget.Hour))
	}
	s.configure(t, "wayne", changeOf(t, budget.RemoveLimit(budget.Hour)), budget.Configured)
	s.expectLimit(t, commitOf(holds[0], 150), budget.Committed, 150, "wayne", budget.NoPeriod)
	s.expectLimit(t, &simOp{kind: luascripts.KindRelease, hold: holds[1]}, budget.Released, 250, "wayne", budget.NoPeriod)
	s.configure(t, "wayne", changeOf(t, limitOf(budget.Hour, 120)), budget.Configured)
	s.expectLimit(t, commitOf(holds[2], 130), budget.Committed, 220, "wayne", budget.NoPeriod)
	if all := s.limitsOf(t, "wayne"); len(all) != 2 || all[1].Remaining != 120*simScale {
		t.Errorf("%+v", all)
	}
}

// A change after which a tenant would have a fifth limit changes nothing; one may take the place
// of another.
func TestTooManyLimits(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.configure(t, "wayne", changeOf(t, limitOf(budget.Hour, 300), limitOf(budget.Day, 300), limitOf(budget.Last7Days, 300), limitOf(budget.Last30Days, 300)), budget.Configured)
	op := s.perform(&simOp{kind: luascripts.KindConfigure, tenant: "wayne", change: changeOf(t, budget.Overdraft(5), limitOf(budget.Hour, 400), limitOf(budget.Week, 300))})
	if all := s.limitsOf(t, "wayne"); !errors.Is(op.answer.Err, budget.ErrTooManyLimits) || len(all) != 5 || all[0].Settings.Overdraft != 0 || all[1].Granted != 300*simScale {
		t.Errorf("%s: %+v; %+v", op, op.answer, all)
	}
	s.configure(t, "wayne", changeOf(t, budget.RemoveLimit(budget.Hour), limitOf(budget.Week, 300)), budget.Configured)
}

// A closed tenant gets no limit.
func TestClosedTenantGetsNoLimits(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.configure(t, "wayne", &budget.ChangeClosed, budget.Configured)
	s.configure(t, "wayne", changeOf(t, limitOf(budget.Hour, 300)), budget.Closed)
	if all := s.limitsOf(t, "wayne"); len(all) != 1 {
		t.Errorf("the limits are %+v", all)
	}
}

// A Redis past maxmemory creates no limit, but changes and removes those that exist.
func TestLimitsPastMaxmemory(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.configure(t, "wayne", changeOf(t, limitOf(budget.Day, 300), limitOf(budget.Hour, 300)), budget.Configured)
	s.limitsOf(t, "wayne")
	s.server.Full = true
	add := func() *simOp {
		return s.perform(&simOp{kind: luascripts.KindConfigure, tenant: "wayne", change: changeOf(t, limitOf(budget.Week, 300), budget.RemoveLimit(budget.Day))})
	}
	if op := add(); !errors.Is(op.answer.Err, ErrOutOfMemory) {
		t.Errorf("%s: %+v", op, op.answer)
	}
	s.configure(t, "wayne", changeOf(t, limitOf(budget.Day, 400), budget.RemoveLimit(budget.Hour)), budget.Configured)
	if all := s.limitsOf(t, "wayne"); len(all) != 2 || all[1].Limit != budget.Day || all[1].Remaining != 400*simScale {
		t.Errorf("%+v", all)
	}
	s.configure(t, "wayne", &budget.ChangeClosed, budget.Configured)
	if op := add(); op.answer.Outcome != budget.Closed {
		t.Errorf("%s: %+v", op, op.answer)
	}
}

// auditedDamages returns the damages that an audit finds.
func (s *simulation) auditedDamages() (found []store.DamageKind) {
	p := s.partitions[0]
	audit := store.NewSnapshot(p.store.Hash(p.keys.Ledger)[store.HeaderField], "", false)
	for audit.Thorough = true; !audit.Done() && len(s.wrong) == 0; {
		s.addPage(p, audit)
	}
	for _, d := range audit.Damages {
		found = append(found, d.Kind)
	}
	return found
}

// A tenant whose account names a limit that is missing is damaged, and no operation on it is
// decided. Audits find that, and a limit whose tenant doesn't name it.
func TestMissingLimit(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p, hour := s.partitions[0], store.AccountID{Tenant: "wayne", Limit: budget.Hour}
	s.damaged["wayne"] = true
	s.configure(t, "wayne", changeOf(t, limitOf(budget.Hour, 300), limitOf(budget.Day, 300)), budget.Configured)
	hold := s.expectLimit(t, reserveOf("wayne", 100), budget.Reserved, 200, "wayne", budget.Hour)
	n, good := NewNode(s.nodeConfig(1)), p.store.Clone()
	p.store.Delete(p.keys.Ledger, hour.Field())
	for _, c := range []*Call{
		NewCall(luascripts.KindReserve, "wayne", 1, budget.ReservationID{}), NewCall(luascripts.KindRemaining, "wayne", 0, budget.ReservationID{}),
		NewCall(luascripts.KindBalance, "wayne", 0, budget.ReservationID{}), NewCall(luascripts.KindListLimits, "wayne", 0, budget.ReservationID{}),
		NewCall(luascripts.KindBalance, "wayne", 0, budget.ReservationID{}).OfLimit(budget.Hour), NewCall(luascripts.KindDelete, "wayne", 0, budget.ReservationID{}),
		NewCall(luascripts.KindCommit, "wayne", 1, hold.id), configureCall("wayne", changeOf(t, budget.RemoveLimit(budget.Hour))),
	} {
		if s.carry(t, n, c); !errors.Is(c.answer.Err, ErrCorrupt) {
			t.Errorf("%c: %+v, want ErrCorrupt", c.kind, c.answer)
		}
	}
	s.carryCall(t, n, NewCall(luascripts.KindReserve, simLeaf, 1, budget.ReservationID{}))
	if found := s.auditedDamages(); !slices.Contains(found, store.DamagedAccount) {
		t.Errorf("an audit finds %v", found)
	}
	p.store = good
	p.store.Delete(p.keys.Ledger, baseOf("wayne").Field())
	if found := s.auditedDamages(); !slices.Contains(found, store.OrphanedLimit) {
		t.Errorf("without the base limit an audit finds %v", found)
	}
}

// Records with limits that no node writes are damage.
func TestDamagedLimits(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p, field := s.partitions[0], baseOf("wayne").Field()
	s.configure(t, "wayne", changeOf(t, limitOf(budget.Hour, 300)), budget.Configured)
	good := p.store.Hash(p.keys.Ledger)[field]
	end, flags := len(good)-1, luascripts.AccountBytes-1
	n := NewNode(s.nodeConfig(1))
	for name, bad := range map[string]string{
		"no limits": good[:end], "an empty set": good[:end] + "\x00", "an unknown period": good[:end] + "\x81", "two sets": good + "\x01",
		"no settings": good[:flags] + string(byte(luascripts.AccountLimits)) + good[flags+1:], "an unknown flag": good[:flags] + string([]byte{good[flags] | unknownFlag}) + good[flags+1:],
		"no limits by the flags": good[:flags] + string(byte(luascripts.AccountSettings)) + good[flags+1:],
	} {
		if _, _, err := store.ParseAccount(bad); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: parsed with %v", name, err)
		}
		p.store.Set(p.keys.Ledger, field, bad)
		for _, limit := range []budget.Period{budget.NoPeriod, budget.Day} {
			c := NewCall(luascripts.KindBalance, "wayne", 0, budget.ReservationID{}).OfLimit(limit)
			if s.carry(t, n, c); !errors.Is(c.answer.Err, ErrCorrupt) {
				t.Errorf("%s: %+v", name, c.answer)
			}
		}
	}
}

// A node keeps the limits that it lacked, and forgets those that are gone.
func TestLimitsAreForgotten(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	n, other := NewNode(s.nodeConfig(1)), NewNode(s.nodeConfig(1))
	for _, c := range []struct {
		setting budget.Setting
		want    budget.Periods
	}{
		{limitOf(budget.Hour, 300), budget.Periods(0).With(budget.Hour)},
		{limitOf(budget.Day, 300), budget.Periods(0).With(budget.Hour).With(budget.Day)},
		{budget.RemoveLimit(budget.Hour), budget.Periods(0).With(budget.Day)},
		{budget.RemoveLimit(budget.Day), 0},
	} {
		s.carryCall(t, other, configureCall(simMiddle, changeOf(t, c.setting)))
		s.carryCall(t, n, NewCall(luascripts.KindRemaining, simLeaf, 0, budget.ReservationID{}))
		if l := n.Lanes()[0]; l.limits[simMiddle] != c.want || len(l.limits) > 1 {
			t.Errorf("the node keeps %v, want %s", l.limits, c.want)
		}
	}
}

// The accounts of limits count among those that a batch can have.
func TestBatchOfManyLimits(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	var tenants []budget.TenantID
	for i := range luascripts.MaxAccounts/5 + 10 {
		tenant := budget.TenantID(fmt.Sprintf("tenant-%d", i))
		s.perform(&simOp{kind: luascripts.KindEnsureWith, tenant: tenant, amount: 1, change: changeOf(t,
			limitOf(budget.Hour, 300), limitOf(budget.Day, 300), limitOf(budget.Last24Hours, 300), limitOf(budget.Last7Days, 300))})
		tenants = append(tenants, tenant)
	}
	for range 2 { // at first the node knows no limits
		var ops []*simOp
		s.call(s.nodes[1], &simOp{kind: luascripts.KindBalance, tenant: "globex"})
		for _, tenant := range tenants {
			ops = append(ops, &simOp{kind: luascripts.KindListLimits, tenant: tenant})
			s.call(s.nodes[1], ops[len(ops)-1])
		}
		s.rest()
		for _, op := range ops {
			if op.answer.Limits == nil || len(op.answer.Limits.Limits) != 5 {
				t.Fatalf("%s: %+v", op, op.answer)
			}
		}
	}
}

// A change of limits that a failover lost is reported.
func TestLostLimitIsReported(t *testing.T) {
	t.Parallel()
	n, l, log := openLane(t, func(c *Config) { c.RepairWindow, c.RepairBytes = time.Minute, 64*stateBytes })
	n.AdmitSettlement()
	if err := l.enqueue(configureCall("acme", changeOf(t, budget.RemoveLimit(budget.Hour)))); err != nil {
		t.Fatal(err)
	}
	l.Next()
	reply(l, "A"+be(5, 6)+"\x00"+string(byte(luascripts.CodeConfigured))+be(100, 8)+be(1<<63, 8)+"\x00")
	ask(t, n, l, luascripts.KindBalance, 0, budget.ReservationID{})
	l.Next()
	reply(l, store.WordNoSession)
	if !strings.Contains(log.String(), "lost a change of settings") {
		t.Errorf("no line reports the lost limit:\n%s", log)
	}
}

// Each limit that lacks its boundary is renewed.
func TestRenewalsOfLimits(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, nil)
	for _, limit := range []budget.Period{budget.Hour, budget.Day} {
		n.AdmitSettlement()
		if err := l.enqueue(NewCall(luascripts.KindBalance, "acme", 0, budget.ReservationID{}).OfLimit(limit)); err != nil {
			t.Fatal(err)
		}
	}
	l.limits = map[budget.TenantID]budget.Periods{"acme": budget.Periods(0).With(budget.Hour).With(budget.Day)}
	l.Next()
	missing := func(place, period string) string { return place + be(0, 6) + be(simBegan, 6) + period + "\x00\x03UTC" }
	reply(l, "A"+be(simBegan, 6)+"\x10ww\x02"+missing("\x02", "\x01")+missing("\x03", "\x02")+be(0, 2)+strings.Repeat(be(0, 8), 3))
	if kinds := sends(t, l); kinds != "vvbb" {
		t.Errorf("sends %q, want a renewal of each limit and the calls", kinds)
	}
}

// A renewal ends if its limit was removed in the meantime.
func TestRenewalOfARemovedLimit(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.perform(&simOp{kind: luascripts.KindEnsure, tenant: renewed, amount: 100 * simScale})
	s.configure(t, renewed, changeOf(t, limitOf(budget.Day, 50)), budget.Configured)
	s.configure(t, renewed, changeOf(t, budget.RemoveLimit(budget.Day)), budget.Configured)
	l := s.nodes[1].lanes[s.partitions[0].index].l
	w := budget.Window{Period: budget.Day, Zone: "UTC"}
	l.insist(&Call{kind: luascripts.KindRenew, tenant: renewed, limit: budget.Day, renewal: &renewal{window: w, mark: 1}})
	if limits := s.limitsOf(t, renewed); len(limits) != 1 {
		t.Errorf("the limits are %+v", limits)
	}
	if queued, _ := l.Calls(); queued > 0 {
		t.Errorf("%d calls are queued", queued)
	}
}

// A call that names a limit is not in a batch that has its tenant without it.
func TestBatchHasTheLimitsThatCallsName(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, nil)
	ask(t, n, l, luascripts.KindRemaining, 0, budget.ReservationID{})
	n.AdmitSettlement()
	if err := l.enqueue(NewCall(luascripts.KindBalance, "acme", 0, budget.ReservationID{}).OfLimit(budget.Hour)); err != nil {
		t.Fatal(err)
	}
	if kinds := sends(t, l); kinds != "q" {
		t.Errorf("sends %q", kinds)
	}
	reply(l, "A"+be(5, 6)+"\x00Q"+be(90, 8))
	if kinds := sends(t, l); kinds != "b" {
		t.Errorf("then sends %q", kinds)
	}
}
