package budgettest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// corruptions lists damages to a stored account. An audit of the account alone can't detect
// those that keep the invariant and the sum of the holds, so the comparison must.
var corruptions = map[string]struct {
	damage   func(*budget.HoldList)
	balanced bool
}{
	"granted":           {func(l *budget.HoldList) { l.Balance.Granted++ }, false},
	"remaining":         {func(l *budget.HoldList) { l.Balance.Remaining-- }, false},
	"reserved":          {func(l *budget.HoldList) { l.Balance.Reserved++ }, false},
	"committed":         {func(l *budget.HoldList) { l.Balance.Committed-- }, false},
	"remaining, beyond": {func(l *budget.HoldList) { l.Balance.Remaining = budget.MaxMicrocents }, false},
	"reserved derived": {func(l *budget.HoldList) {
		l.Balance.Remaining, l.Balance.Reserved = l.Balance.Remaining-1, l.Balance.Reserved+1
	}, false},
	"moved": {func(l *budget.HoldList) {
		l.Balance.Remaining, l.Balance.Committed = l.Balance.Remaining-1, l.Balance.Committed+1
	}, true},
	"minted": {func(l *budget.HoldList) {
		l.Balance.Remaining, l.Balance.Granted = l.Balance.Remaining+1, l.Balance.Granted+1
	}, true},
	"a hold's amount":  {func(l *budget.HoldList) { l.Holds[0].Held++ }, false},
	"two holds' parts": {func(l *budget.HoldList) { l.Holds[0].Held, l.Holds[1].Held = l.Holds[0].Held-1, l.Holds[1].Held+1 }, true},
	"a hold missing":   {func(l *budget.HoldList) { l.Holds = l.Holds[1:] }, false},
	"a hold too many": {func(l *budget.HoldList) {
		l.Holds = append(l.Holds, budget.Hold{ID: budget.NewReservationID("acme", 9, 9), Held: 1, Made: l.Holds[0].Made})
	}, false},
	"a hold twice": {func(l *budget.HoldList) { l.Holds = append(l.Holds, l.Holds[0]) }, false},
	"a hold of nothing": {func(l *budget.HoldList) {
		l.Holds = append(l.Holds, budget.Hold{ID: budget.NewReservationID("acme", 9, 9)})
	}, false},
	"a hold split": {func(l *budget.HoldList) {
		half := l.Holds[0]
		half.Held, half.ID = 1, budget.NewReservationID("acme", 9, 9)
		l.Holds[0].Held--
		l.Holds = append(l.Holds, half)
	}, true},
	"another id":       {func(l *budget.HoldList) { l.Holds[0].ID = budget.NewReservationID("acme", 9, 9) }, true},
	"made":             {func(l *budget.HoldList) { l.Holds[0].Made = l.Holds[0].Made.Add(time.Millisecond) }, true},
	"deadline":         {func(l *budget.HoldList) { l.Holds[0].Deadline = l.Holds[0].Deadline.Add(-time.Millisecond) }, true},
	"deadline dropped": {func(l *budget.HoldList) { l.Holds[0].Deadline = time.Time{} }, true},
}

// damaged returns the factory of an engine whose results are right but whose store, when
// it is read, is damaged.
func damaged(damage func(map[budget.TenantID]budget.HoldList)) Factory {
	return func(_ testing.TB, c Config) Subject {
		e := newNaive(c)
		return Subject{Engine: e, Stored: func(ctx context.Context) (map[budget.TenantID]budget.HoldList, error) {
			all, err := e.stored(ctx)
			damage(all)
			return all, err
		}}
	}
}

func TestCorruptionOfEveryTermIsNoticed(t *testing.T) {
	t.Parallel()
	for _, name := range slices.Sorted(maps.Keys(corruptions)) {
		c := corruptions[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newFixture(t, naiveFactory, check{ttl: holdTTL})
			x.open("acme", 100)
			x.hold("acme", 30, 70)
			x.hold("acme", 20, 50)
			spent := x.hold("acme", 10, 40)
			expect(x, committed(45, 5))(x.engine.Commit(x.ctx, spent, 5))
			stored, err := x.subject.Stored(x.ctx)
			if err != nil {
				t.Fatal(err)
			}
			list := stored["acme"]
			c.damage(&list)
			if err := list.Audit(); (err == nil) != c.balanced {
				t.Errorf("auditing the account: %v; balanced: %t", err, c.balanced)
			}
			x.subject.Stored = func(context.Context) (map[budget.TenantID]budget.HoldList, error) {
				return map[budget.TenantID]budget.HoldList{"acme": list}, nil
			}
			if err := Audit(x.ctx, x.subject, x.clock.now(), "acme"); err == nil {
				t.Error("the audit of engine and store finds nothing")
			}
		})
	}
}

func TestCorruptionIsNoticedByRunAndDifferential(t *testing.T) {
	for name, damage := range map[string]func(map[budget.TenantID]budget.HoldList){
		"an account missing":  func(all map[budget.TenantID]budget.HoldList) { delete(all, "acme") },
		"an account too many": func(all map[budget.TenantID]budget.HoldList) { all["nobody"] = budget.HoldList{} },
		"a term": func(all map[budget.TenantID]budget.HoldList) {
			if list, there := all["acme"]; there {
				list.Balance.Remaining++
				list.Balance.Granted++
				all["acme"] = list
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			failed, logged := verdict(t, func(t testing.TB) {
				check{run: func(x *fixture) { x.open("acme", 1) }}.apply(t, damaged(damage))
			})
			if !failed || !strings.Contains(logged, "engine against store") {
				t.Errorf("a check of Run: failed %t, logged %q", failed, logged)
			}
			failed, logged = verdict(t, func(t testing.TB) { differential(t, naiveFactory, damaged(damage), make(map[string]int)) })
			if !failed || !strings.Contains(logged, "the states differ") {
				t.Errorf("the differential: failed %t, logged %q", failed, logged)
			}
		})
	}
}

func TestSettleDueEndsWhatTheEngineWould(t *testing.T) {
	t.Parallel()
	x := newFixture(t, naiveFactory, check{})
	x.open("acme", 100)
	for i := range 5 {
		x.hold("acme", budget.Microcents(1+i), budget.Microcents(100-(i+1)*(i+2)/2), budget.WithHoldTTL(time.Duration(i)*time.Millisecond))
	}
	x.advance(3 * time.Millisecond)
	raw, err := x.subject.Stored(x.ctx)
	if err != nil || len(raw["acme"].Holds) != 5 {
		t.Fatalf("the store has %+v: %v", raw, err)
	}
	got := settleDue(raw["acme"], x.clock.now())
	want, err := x.engine.Holds(x.ctx, "acme")
	if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) || len(want.Holds) != 2 {
		t.Errorf("got %+v, want %+v: %v", got, want, err)
	}
}

// TestDifferentialNamesMissingOutcomes checks that uncovered returns the outcomes that did
// not occur: all in a run without operations.
func TestDifferentialNamesMissingOutcomes(t *testing.T) {
	t.Parallel()
	coverage := make(map[string]int)
	all := len(outcomesToSee) + len(levelOutcomesToSee) + len(settingOutcomesToSee) + len(ancestorSettingOutcomesToSee) + len(windowOutcomesToSee) +
		len(rollingOutcomesToSee) + len(limitOutcomesToSee) + len(ancestorLimitOutcomesToSee)
	if lacking := uncovered(coverage, abilities{true, true, true, true}); len(lacking) != all || len(lacking) < 60 {
		t.Errorf("missing outcomes of an empty run: %q", lacking)
	}
	for _, outcome := range outcomesToSee {
		coverage[outcome] = 1
	}
	coverage["commit overrun"] = 0
	if lacking := uncovered(coverage, abilities{}); !slices.Equal(lacking, []string{"commit overrun"}) {
		t.Errorf("got %q", lacking)
	}
}
