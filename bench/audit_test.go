package bench

import (
	"strings"
	"testing"

	"github.com/calybris/bursar/bench/record"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
)

// auditCase is an arena of two tenants with budgets of 100, and books and
// ledger that agree: a committed 30 and holds 20 + 5, b did nothing.
func auditCase() (field, map[budget.TenantID]budget.HoldList, *record.Ledger) {
	a := field{tenants: []budget.TenantID{"a", "b"}, budgets: []budget.Microcents{100, 100}}
	hold := func(n uint64, held budget.Microcents) budget.Hold {
		return budget.Hold{ID: budget.NewReservationID("a", 1, n), Held: held}
	}
	stored := map[budget.TenantID]budget.HoldList{
		"a": {
			Outcome: budget.Found,
			Balance: budget.Balance{Outcome: budget.Found, Granted: 100, Remaining: 45, Reserved: 25, Committed: 30},
			Holds:   []budget.Hold{hold(1, 20), hold(2, 5)},
		},
		"b": {Outcome: budget.Found, Balance: budget.Balance{Outcome: budget.Found, Granted: 100, Remaining: 100}},
	}
	l := record.NewLedger(2, 3)
	l.Of(0)[0].Committed.Add(10)
	l.Of(1)[0].Committed.Add(20)
	l.Of(2)[0].Open.Add(25)
	l.Of(2)[0].Refused.Add(4)
	return a, stored, l
}

func TestAuditOfSoundBooks(t *testing.T) {
	t.Parallel()
	a, stored, l := auditCase()
	got := a.audit(stored, l)
	if got.BrokenAll != 0 || got.Overspent != 0 {
		t.Errorf("sound books: %+v", got)
	}
	if got.Granted != 200 || got.Committed != 30 || got.Reserved != 25 || got.Remaining != 145 ||
		got.OpenHolds != 2 || got.Refused != 4 || got.Exhausted != 1 {
		t.Errorf("sums: %+v", got)
	}
}

// Each case changes one thing, and the audit names the tenant and the thing.
func TestAuditNotices(t *testing.T) {
	t.Parallel()
	type accounts = map[budget.TenantID]budget.HoldList
	change := func(edit func(*budget.HoldList)) func(accounts, *record.Ledger) {
		return func(stored accounts, _ *record.Ledger) {
			account := stored["a"]
			edit(&account)
			stored["a"] = account
		}
	}
	for _, c := range []struct {
		name      string
		corrupt   func(accounts, *record.Ledger)
		tenant    budget.TenantID
		problem   string
		overspent budget.Microcents
	}{
		{"remaining", change(func(r *budget.HoldList) { r.Balance.Remaining++ }), "a", "balance", 0},
		{"reserved", change(func(r *budget.HoldList) { r.Balance.Reserved++ }), "a", "balance", 0},
		{"committed", change(func(r *budget.HoldList) { r.Balance.Committed-- }), "a", "balance", 0},
		{"granted", change(func(r *budget.HoldList) { r.Balance.Granted-- }), "a", "balance", 0},
		{"a hold", change(func(r *budget.HoldList) { r.Holds[0].Held++ }), "a", "sum up", 0},
		{"a hold lost", change(func(r *budget.HoldList) { r.Holds = r.Holds[:1] }), "a", "sum up", 0},
		{"granted and remaining", change(func(r *budget.HoldList) { r.Balance.Granted += 9; r.Balance.Remaining += 9 }), "a", "its budget was", 0},
		{"committed for remaining", change(func(r *budget.HoldList) { r.Balance.Committed--; r.Balance.Remaining++ }), "a", "were told 30", 0},
		{"debt", change(func(r *budget.HoldList) { r.Balance.Committed, r.Balance.Remaining = 83, -8 }), "a", "exceed its budget of 100 by 8", 8},
		{"a hold nobody was told of", change(func(r *budget.HoldList) {
			r.Holds[1].Held, r.Balance.Reserved, r.Balance.Remaining = 15, 35, 35
		}), "a", "callers hold 25", 0},
		{"an account lost", func(stored accounts, _ *record.Ledger) { delete(stored, "b") }, "b", "not in the books", 0},
		{"an account nobody made", func(stored accounts, _ *record.Ledger) { stored["c"] = stored["b"] }, "c", "nobody created", 0},
		{"told more", func(_ accounts, l *record.Ledger) { l.Of(0)[1].Committed.Add(1) }, "b", "were told 1", 0},
	} {
		a, stored, l := auditCase()
		c.corrupt(stored, l)
		got := a.audit(stored, l)
		if got.BrokenAll != 1 || got.Broken[0].Tenant != c.tenant || !strings.Contains(got.Broken[0].Problem, c.problem) {
			t.Errorf("%s: %+v, want tenant %s, %q", c.name, got.Broken, c.tenant, c.problem)
		}
		if got.Overspent != c.overspent {
			t.Errorf("%s: overspent %d, want %d", c.name, got.Overspent, c.overspent)
		}
	}
}

// An operation in doubt may have taken effect or not; nothing beyond it.
func TestAuditWithDoubt(t *testing.T) {
	t.Parallel()
	for committed, sound := range map[budget.Microcents]bool{29: false, 30: true, 37: true, 38: false} {
		a, stored, l := auditCase()
		l.Of(1)[0].Doubt.Add(7)
		account := stored["a"]
		account.Balance.Remaining -= committed - account.Balance.Committed
		account.Balance.Committed = committed
		stored["a"] = account
		if got := a.audit(stored, l); (got.BrokenAll == 0) != sound || got.InDoubt != 7 {
			t.Errorf("committed %d: %+v, want sound %t", committed, got, sound)
		}
	}
}

func TestOverspentSurvivesOverflow(t *testing.T) {
	t.Parallel()
	b := budget.Balance{Committed: budget.MaxMicrocents, Reserved: budget.MaxMicrocents}
	if got := overspent(b, 5); got != budget.MaxMicrocents-5 {
		t.Errorf("overspent %d", got)
	}
}

func TestBrokenBooksAreBounded(t *testing.T) {
	t.Parallel()
	var found report.Books
	for range 3 * shownBroken {
		breakBook(&found, "t", budget.ErrOverflow)
	}
	if found.BrokenAll != 3*shownBroken || len(found.Broken) != shownBroken {
		t.Errorf("%d counted, %d kept", found.BrokenAll, len(found.Broken))
	}
}
