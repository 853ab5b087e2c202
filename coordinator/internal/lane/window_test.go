package lane

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Tests of windows, on the simulated Redis unless they say otherwise.

var hourly = budget.Window{Period: budget.Hour, Zone: "UTC"}

// renewed is the tenant with a window.
const renewed budget.TenantID = "wayne"

// setWindow gives it a window, and maybe further settings.
func (s *simulation) setWindow(t *testing.T, w budget.Window, others ...budget.Setting) {
	t.Helper()
	s.renewing[renewed] = true
	s.configure(t, renewed, changeOf(t, append(others, budget.InWindow(w))...), budget.Configured)
}

// nextHour advances the clock to the next boundary of an hour.
func (s *simulation) nextHour() { s.server.Now = simNext(hourly, s.server.Now) }

// reserveLong makes a hold without a deadline.
func (s *simulation) reserveLong(t *testing.T, amount budget.Microcents) *simHold {
	t.Helper()
	op := s.perform(&simOp{kind: luascripts.KindReserveTTL, tenant: renewed, amount: amount})
	if !op.acknowledged(budget.Reserved) {
		t.Fatalf("%s: %+v", op, op.answer)
	}
	return &simHold{id: op.c.id, made: op}
}

// spend reserves and commits an amount on a node.
func (s *simulation) spend(t *testing.T, n *Node, amount budget.Microcents) {
	t.Helper()
	c := NewCall(luascripts.KindReserve, renewed, amount, budget.ReservationID{}).WithTTL(0)
	s.carryCall(t, n, c)
	s.carryCall(t, n, NewCall(luascripts.KindCommit, renewed, amount, c.id))
}

// read returns a balance as a node reads it, and makes its changes known to the simulation.
func (s *simulation) read(t *testing.T, n *Node) *budget.Balance {
	t.Helper()
	c := NewCall(luascripts.KindBalance, renewed, 0, budget.ReservationID{})
	s.carryCall(t, n, c)
	if b := c.answer.Balance; b == nil || !b.Conserved() {
		t.Errorf("%s: %+v", renewed, c.answer)
	}
	s.changedByHand(s.partitions[0])
	return c.answer.Balance
}

// The excess of a hold that was made in an ended epoch is paid by that epoch, and then by the
// current one, as far as both cover it.
func TestExcessOfAnEndedEpoch(t *testing.T) {
	t.Parallel()
	t.Run("the current epoch is in debt", func(t *testing.T) {
		t.Parallel()
		s := begun(t, 1)
		s.setWindow(t, hourly, budget.Overdraft(50*simScale))
		first, second := s.reserveLong(t, 100*simScale), s.reserveLong(t, 100*simScale)
		s.nextHour()
		third := s.reserveLong(t, 400*simScale)
		s.expect(t, commitOf(third, 550), budget.Committed, -50, "wayne")
		s.configure(t, "wayne", changeOf(t, budget.Overdraft(0)), budget.Configured)
		s.expect(t, commitOf(first, 401), budget.Overrun, -50, "wayne")
		s.expect(t, commitOf(first, 400), budget.Committed, -50, "wayne")
		s.expect(t, commitOf(second, 101), budget.Overrun, -50, "wayne")
	})
	t.Run("the current epoch has spent what was passed on", func(t *testing.T) {
		t.Parallel()
		s := begun(t, 1)
		s.setWindow(t, budget.Window{Period: budget.Hour, Carry: budget.CarryAll})
		hold := s.reserveLong(t, 100*simScale)
		s.nextHour()
		s.expect(t, commitOf(s.expect(t, reserveOf("wayne", 880), budget.Reserved, 20, "wayne"), 880), budget.Committed, 20, "wayne")
		s.expect(t, commitOf(hold, 121), budget.Overrun, 20, "wayne")
		s.expect(t, commitOf(hold, 120), budget.Committed, 0, "wayne")
	})
	t.Run("granted would overflow", func(t *testing.T) {
		t.Parallel()
		s := begun(t, 1)
		const quarter = budget.Microcents(1) << 61
		s.perform(&simOp{kind: luascripts.KindGrant, tenant: "wayne", amount: budget.MaxMicrocents - simBudget("wayne")})
		s.setWindow(t, hourly)
		first, second := s.reserveLong(t, quarter), s.reserveLong(t, quarter)
		s.perform(&simOp{kind: luascripts.KindCommit, hold: s.reserveLong(t, 2*quarter-1), amount: 2*quarter - 1})
		s.setWindow(t, budget.Window{Period: budget.Hour, Amount: 100 * simScale})
		s.nextHour()
		s.configure(t, "wayne", changeOf(t, budget.Overdraft(2*quarter)), budget.Configured)
		s.expect(t, &simOp{kind: luascripts.KindCommit, hold: first, amount: 2 * quarter}, budget.Overrun, 100, "wayne")
		for _, hold := range []*simHold{first, second} {
			if op := s.perform(&simOp{kind: luascripts.KindCommit, hold: hold, amount: quarter}); !op.acknowledged(budget.Committed) {
				t.Errorf("%s: %+v", op, op.answer)
			}
		}
	})
}

// A repair merges into ended epochs unless a sum would not fit 64 bits.
func TestMergeIntoAnEndedEpoch(t *testing.T) {
	t.Parallel()
	const quarter = budget.Microcents(1) << 61
	// full returns a simulation of an account that is granted all that fits.
	full := func(t *testing.T, w budget.Window) (s *simulation, maker, other *Node) {
		t.Helper()
		s = begun(t, 1)
		s.perform(&simOp{kind: luascripts.KindGrant, tenant: "wayne", amount: budget.MaxMicrocents - simBudget("wayne")})
		s.setWindow(t, w)
		maker, other = NewNode(s.nodeConfig(1)), NewNode(s.nodeConfig(1))
		s.read(t, maker)
		s.read(t, other)
		return s, maker, other
	}
	t.Run("a release beside a full epoch", func(t *testing.T) {
		t.Parallel()
		s, maker, _ := full(t, hourly)
		c := NewCall(luascripts.KindReserve, "wayne", 100, budget.ReservationID{}).WithTTL(0)
		s.carryCall(t, maker, c)
		s.nextHour()
		s.read(t, maker)
		replica := s.partitions[0].store.Clone()
		s.carryCall(t, maker, NewCall(luascripts.KindRelease, "wayne", 0, c.id))
		s.partitions[0].store = replica
		if b := s.read(t, maker); b.Ended != 0 || b.Remaining != budget.MaxMicrocents {
			t.Errorf("the release is not restored: %+v", b)
		}
	})
	t.Run("granted would overflow", func(t *testing.T) {
		t.Parallel()
		s, maker, other := full(t, hourly)
		replica := s.partitions[0].store.Clone()
		s.spend(t, maker, 3*quarter)
		s.partitions[0].store = replica
		c := NewCall(luascripts.KindReserve, "wayne", 2*quarter, budget.ReservationID{}).WithTTL(0)
		s.carryCall(t, other, c)
		s.nextHour()
		s.read(t, maker)
		s.carryCall(t, other, NewCall(luascripts.KindRelease, "wayne", 0, c.id))
		if b := s.read(t, other); b.Remaining != budget.MaxMicrocents {
			t.Errorf("after a merge that overflows: %+v", b)
		}
	})
	t.Run("debt would overflow", func(t *testing.T) {
		t.Parallel()
		s, maker, other := full(t, budget.Window{Period: budget.Hour, Amount: 1, Carry: budget.CarryAll})
		second := NewNode(s.nodeConfig(1))
		s.read(t, second)
		for _, n := range []*Node{maker, second} {
			replica := s.partitions[0].store.Clone()
			s.spend(t, n, 3*quarter)
			s.partitions[0].store = replica
			s.nextHour()
			s.read(t, other)
		}
		s.spend(t, other, budget.MaxMicrocents)
		s.read(t, maker)
		s.read(t, second)
		if b := s.read(t, other); b.Remaining != 1-3*quarter {
			t.Errorf("after two merges: %+v, want debt of one", b)
		}
	})
}

// Each epoch can cross the thresholds again, also one that begins with a repair; the commits
// of ended epochs count only as far as they change what the current one is granted.
func TestThresholdsOfEpochs(t *testing.T) {
	t.Parallel()
	s, o := begun(t, 1), &crossingObserver{}
	config := s.nodeConfig(1)
	config.Observer = o
	n := NewNode(config)
	expect := func(want ...string) {
		t.Helper()
		var is []string
		for _, c := range o.crossings {
			is = append(is, fmt.Sprintf("%d%% %d of %d", c.Percent, c.Committed, c.Granted))
		}
		if o.crossings = nil; !slices.Equal(is, want) {
			t.Errorf("crossed %q, want %q", is, want)
		}
	}
	s.carryCall(t, n, configureCall("wayne", changeOf(t, budget.AtThresholds(50), budget.InWindow(budget.Window{Period: budget.Hour, Amount: 500, Carry: 100}))))
	s.carryCall(t, n, NewCall(luascripts.KindWithdraw, "wayne", simBudget("wayne")-500, budget.ReservationID{}))
	late := NewCall(luascripts.KindReserve, "wayne", 100, budget.ReservationID{}).WithTTL(0)
	s.carryCall(t, n, late)
	s.spend(t, n, 300)
	expect("50% 300 of 500")
	s.nextHour()
	s.spend(t, n, 295)
	expect() // 600 are granted
	s.carryCall(t, n, NewCall(luascripts.KindCommit, "wayne", 110, late.id))
	expect("50% 295 of 590")
	replica := s.partitions[0].store.Clone()
	s.nextHour()
	s.spend(t, n, 301)
	expect("50% 301 of 600")
	s.partitions[0].store = replica
	s.read(t, n)
	expect("50% 301 of 600")
}

// A window that is set after debt and a removed window raises granted by the difference to its
// amount; without an amount it is none.
func TestNewWindowAfterDebt(t *testing.T) {
	t.Parallel()
	for amount, granted := range map[budget.Microcents]budget.Microcents{200 * simScale: 200 * simScale, 0: -550 * simScale} {
		s := begun(t, 1)
		s.setWindow(t, budget.Window{Period: budget.Hour, Amount: 100 * simScale}, budget.Overdraft(700*simScale))
		hold := s.reserveLong(t, 400*simScale)
		s.reserveLong(t, 50*simScale)
		s.expect(t, commitOf(hold, 1100), budget.Committed, -650, "wayne")
		s.nextHour()
		s.setWindow(t, budget.Window{})
		s.setWindow(t, budget.Window{Period: budget.Hour, Amount: amount})
		if a := s.account(t, "wayne"); a.Granted != granted || a.Remaining != granted || a.Settings.Window.Amount != amount {
			t.Errorf("%+v, want %d granted", a, granted)
		}
	}
}

// Only a change of the calendar changes the boundaries.
func TestChangesOfWindows(t *testing.T) {
	t.Parallel()
	day := func(month time.Month, day int) int64 {
		return time.Date(2023, month, day, 0, 0, 0, 0, time.UTC).UnixMilli()
	}
	monthly := budget.Window{Period: budget.Month, Day: 15}
	for name, c := range map[string]struct {
		from, to budget.Window
		want     int64 // next boundary
	}{
		"to another weekday": {budget.Window{Period: budget.Week}, budget.Window{Period: budget.Week, Weekday: time.Friday}, day(time.November, 17)},
		"to another day":     {monthly, budget.Window{Period: budget.Month, Day: 20}, day(time.November, 20)},
		"to another period":  {monthly, budget.Window{Period: budget.Day}, day(time.November, 15)},
		"to another zone":    {hourly, budget.Window{Period: budget.Hour, Zone: "Asia/Kolkata"}, simBegan + 1_000_000},
		"of the amount":      {monthly, budget.Window{Period: budget.Month, Day: 15, Amount: 7, Carry: 9}, day(time.November, 15)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begun(t, 1)
			s.setWindow(t, c.from)
			s.read(t, NewNode(s.nodeConfig(1)))
			mark := s.account(t, "wayne").Epochs.Mark
			s.setWindow(t, c.to)
			b := s.read(t, NewNode(s.nodeConfig(1)))
			if a := s.account(t, "wayne"); int64(b.Epoch.End) != c.want || (a.Epochs.Mark == mark) != (name == "of the amount") {
				t.Errorf("the next boundary is %s, want %s", b.Epoch.End, budget.Instant(c.want))
			}
		})
	}
}

// The amount of a window and an overdraft must fit 64 bits together.
func TestWindowOverflow(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.setWindow(t, budget.Window{Period: budget.Hour, Amount: 100}, budget.Overdraft(budget.MaxMicrocents-simBudget("wayne")))
	s.expect(t, &simOp{kind: luascripts.KindWithdraw, tenant: "wayne", amount: 500 * simScale}, budget.Withdrawn, 0, "wayne")
	tooLarge := budget.InWindow(budget.Window{Period: budget.Hour, Amount: simBudget("wayne") + 1})
	for cause, change := range map[string]*budget.Change{
		`an overdraft of 9223372036854775708 microcents beyond the budget of tenant "wayne": lower it`:                     changeOf(t, budget.Overdraft(budget.MaxMicrocents-99)),
		`a window's amount of %d microcents with the budget and the overdraft of tenant "wayne": lower it`:                 changeOf(t, tooLarge),
		`a window's amount of %d microcents and an overdraft of 9223372036854775807 for tenant "wayne": lower one of them`: changeOf(t, tooLarge, budget.Overdraft(budget.MaxMicrocents)),
	} {
		want := fmt.Sprintf("%s: %s", budget.ErrOverflow, strings.ReplaceAll(cause, "%d", strconv.FormatInt(int64(simBudget("wayne")+1), 10)))
		if op := s.perform(&simOp{kind: luascripts.KindConfigure, tenant: "wayne", change: change}); !errors.Is(op.answer.Err, budget.ErrOverflow) || op.answer.Err.Error() != want {
			t.Errorf("%s: %v, want %s", op, op.answer.Err, want)
		}
	}
}

// A settle in the batch that gives its account a window waits for the boundaries.
func TestSettleBesideItsFirstWindow(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	hold := s.reserveLong(t, 100*simScale)
	s.server.Now++
	ops := []*simOp{{kind: luascripts.KindConfigure, tenant: "wayne", change: changeOf(t, budget.InWindow(hourly))}, commitOf(hold, 100)}
	for _, op := range ops {
		s.call(s.nodes[1], op)
	}
	s.rest()
	for i, want := range []budget.Outcome{budget.Configured, budget.Committed} {
		if !ops[i].acknowledged(want) {
			t.Errorf("%s: %+v, want %s", ops[i], ops[i].answer, want)
		}
	}
}

// Calls that lack a boundary are put off; one renewal comes before them, in one batch. This
// test uses a real Redis.
func TestRenewal(t *testing.T) {
	t.Parallel()
	now := int64(simBegan)
	n, client := onRedis(t, func(c *Config) { c.Clock = func() time.Time { return time.UnixMilli(now) } })
	carryCalls := func(group ...*Call) (commands int, answers []Answer) {
		t.Helper()
		for _, c := range group {
			n.AdmitSettlement()
			if err := n.Lanes()[0].enqueue(c); err != nil {
				t.Fatal(err)
			}
		}
		commands = carry(t, client, n.Lanes()[0])
		for _, c := range group {
			answers = append(answers, result(t, c))
		}
		return commands, answers
	}
	balance := func() *Call { return NewCall(luascripts.KindBalance, "acme", 0, budget.ReservationID{}) }
	_, _ = carryCalls(configureCall("acme", changeOf(t, budget.InWindow(budget.Window{Period: budget.Hour, Carry: budget.CarryAll}))))
	for _, c := range []struct {
		hours    int64
		commands int
		granted  budget.Microcents
	}{{0, 2, 1000}, {1, 1, 2000}, {8, 2, 9000}, {20, 2, 21_000}, {20, 1, 21_000}} {
		now = simBegan + c.hours*3_600_000
		commands, answers := carryCalls(balance(), balance())
		if commands != c.commands {
			t.Errorf("after %d hours: %d commands, want %d", c.hours, commands, c.commands)
		}
		for _, a := range answers {
			if a.Err != nil || a.Balance.Granted != c.granted || a.Balance.Epoch.End != budget.Instant(simNext(hourly, now)) {
				t.Errorf("after %d hours: %+v, want %d granted", c.hours, a.Balance, c.granted)
			}
		}
	}
	if in := n.InFlight(); in != 0 {
		t.Errorf("%d calls are unresolved", in)
	}
}

// A late renewal of a window is not one of another window, although no time has passed since.
func TestRenewalOfAnotherCalendar(t *testing.T) {
	t.Parallel()
	weekly := budget.Window{Period: budget.Week, Zone: "UTC", Weekday: time.Friday}
	for name, other := range map[string]budget.Window{
		"period": {Period: budget.Month, Zone: "UTC", Day: 5}, "weekday": {Period: budget.Week, Zone: "UTC"},
		"zone": {Period: budget.Week, Zone: "Asia/Kolkata", Weekday: time.Friday},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begun(t, 1)
			n := NewNode(s.nodeConfig(1))
			late, err := weekly.Renewal(simBegan, simBegan)
			if err != nil {
				t.Fatal(err)
			}
			c := NewCall(luascripts.KindRenew, renewed, 0, budget.ReservationID{})
			c.renewal = &renewal{weekly, simBegan, late}
			s.setWindow(t, other)
			s.carryCall(t, n, c)
			if b := s.read(t, n); int64(b.Epoch.End) != simNext(other, simBegan) {
				t.Errorf("the next boundary is %s", b.Epoch.End)
			}
		})
	}
}

// No batch is made before the calls that lack a boundary are queued again, behind one renewal.
func TestEarlyReplyOfAWindow(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, nil)
	for range 2 {
		ask(t, n, l, luascripts.KindBalance, 0, budget.ReservationID{})
	}
	l.Next()
	ask(t, n, l, luascripts.KindRemaining, 0, budget.ReservationID{})
	windows := "\x01\x01" + be(0, 6) + be(simBegan, 6) + "\x01\x00\x03UTC" + be(0, 2)
	l.Handle(Reply{Text: "A" + be(simBegan, 6) + "\x10ww" + windows + be(0, 8), Early: true})
	if kinds := sends(t, l); kinds != "vbbq" {
		t.Errorf("sends %q, want one renewal and the calls before another", kinds)
	}
}

// A window that a failover lost is reported.
func TestLostWindowIsReported(t *testing.T) {
	t.Parallel()
	n, l, log := openLane(t, func(c *Config) { c.RepairWindow, c.RepairBytes = time.Minute, 64*stateBytes })
	n.AdmitSettlement()
	if err := l.enqueue(configureCall("acme", changeOf(t, budget.InWindow(hourly)))); err != nil {
		t.Fatal(err)
	}
	l.Next()
	reply(l, "A"+be(5, 6)+"\x00"+string(byte(luascripts.CodeConfigured))+be(100, 8)+"\x00")
	ask(t, n, l, luascripts.KindBalance, 0, budget.ReservationID{})
	l.Next()
	reply(l, store.WordNoSession)
	if !strings.Contains(log.String(), "lost a change of settings") {
		t.Errorf("no line reports the lost window:\n%s", log)
	}
}

// A merged hold that was made in an epoch which the partition has lost is made at the last
// instant of the one that the account is in: because its clock is behind, or because due holds
// keep the account from entering the next one.
func TestMergedHoldIsMadeInTheCurrentEpoch(t *testing.T) {
	t.Parallel()
	for name, overdue := range map[string]bool{"the clock is behind": false, "a hold is due": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begun(t, 1)
			p := s.partitions[0]
			s.setWindow(t, hourly)
			if overdue {
				s.perform(reserveOf("wayne", 1))
			}
			n := NewNode(s.nodeConfig(1))
			s.read(t, n)
			replica := p.store.Clone()
			s.nextHour()
			boundary := s.server.Now
			c := NewCall(luascripts.KindReserve, "wayne", 100*simScale, budget.ReservationID{}).WithTTL(0)
			s.carryCall(t, n, c)
			if p.store = replica; overdue {
				p.store.DeleteKey(p.keys.Timers)
			} else {
				s.server.Now = boundary - 1
			}
			s.read(t, n)
			s.server.Now = boundary
			if b := s.read(t, n); b.Ended != 100*simScale || b.Reserved != 0 {
				t.Errorf("after the boundary: %+v", b)
			}
			h, err := store.ParseHold(p.store.Hash(p.keys.Ledger)[store.HoldField(c.id)])
			if err != nil || h.Made != boundary-1 {
				t.Errorf("%+v, %v; want one made at %d", h, err, boundary-1)
			}
		})
	}
}

// Damaged windows and epochs make the operations fail that need them, and are not written.
func TestDamagedWindows(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	p := s.partitions[0]
	s.setWindow(t, hourly)
	hold := s.reserveLong(t, 100*simScale)
	s.nextHour()
	s.read(t, NewNode(s.nodeConfig(1)))
	a := s.account(t, "wayne")
	account, epoch := store.AccountField("wayne"), store.AccountID{Tenant: "wayne"}.EpochField(a.Epochs.Kept[0])
	s.damaged["wayne"] = true
	for name, c := range map[string]struct {
		field  string
		damage func(good string) string
	}{
		"a byte too many": {account, func(good string) string { return good + "\x00" }},
		"a byte too few":  {account, func(good string) string { return good[:len(good)-1] }},
		"cut short":       {account, func(good string) string { return good[:luascripts.AccountBytes+luascripts.SettingsBytes+5] }},
		"without settings": {account, func(good string) string {
			return good[:luascripts.AccountBytes-1] + "\x08" + good[luascripts.AccountBytes:]
		}},
		"an unknown flag": {account, func(good string) string {
			flags := luascripts.AccountBytes - 1
			return good[:flags] + string([]byte{good[flags] | unknownFlag}) + good[flags+1:]
		}},
		"an epoch with a byte too many": {epoch, func(good string) string { return good + "\x00" }},
		"an epoch that is cut short":    {epoch, func(good string) string { return good[:40] }},
		"an unbalanced epoch":           {epoch, func(good string) string { return good[:7] + string([]byte{good[7] ^ 1}) + good[8:] }},
	} {
		good := p.store.Hash(p.keys.Ledger)[c.field]
		bad := c.damage(good)
		if _, _, err := store.ParseAccount(bad); c.field == account && err == nil {
			t.Errorf("%s: parsed", name)
		}
		if _, err := store.ParseEpoch(bad); err == nil {
			t.Errorf("%s: parsed as an epoch", name)
		}
		p.damages[c.field] = simDamage{bad, good}
		p.store.Set(p.keys.Ledger, c.field, bad)
		for _, op := range []*simOp{{kind: luascripts.KindRelease, hold: hold}, {kind: luascripts.KindEpoch, tenant: "wayne", at: a.Epochs.Kept[0]}} {
			if s.perform(op); !errors.Is(op.answer.Err, ErrCorrupt) {
				t.Errorf("%s: %s: %+v", name, op, op.answer)
			}
		}
		if p.store.Hash(p.keys.Ledger)[c.field] != bad {
			t.Errorf("%s: the record has changed", name)
		}
		p.store.Set(p.keys.Ledger, c.field, good)
	}
	clear(p.damages)
	if op := s.perform(&simOp{kind: luascripts.KindRelease, hold: hold}); !op.acknowledged(budget.Released) {
		t.Errorf("%s: %+v", op, op.answer)
	}
}

// The boundary of an epoch is the start of the next one, which may not have begun.
func TestEpochEndsBeforeItsBoundary(t *testing.T) {
	t.Parallel()
	s := begun(t, 1)
	s.setWindow(t, hourly)
	s.read(t, NewNode(s.nodeConfig(1)))
	boundary := s.account(t, renewed).Epochs.Ahead[0]
	for at, want := range map[int64]error{boundary - 1: nil, boundary: budget.ErrNoEpoch} {
		if op := s.perform(&simOp{kind: luascripts.KindEpoch, tenant: renewed, at: at}); !errors.Is(op.answer.Err, want) {
			t.Errorf("at %d of %d: %+v, want %v", at, boundary, op.answer, want)
		}
	}
}
