package bench

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// verifyCase has two tenants with budgets of 100, and balances that agree with the ledger: a
// committed 30 and holds 20 + 5, b did nothing.
func verifyCase() (tenantSet, map[budget.TenantID]budget.HoldList, *metrics.Ledger) {
	a := tenantSet{tenants: []budget.TenantID{"a", "b"}, budgets: []budget.Microcents{100, 100}}
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
	l := metrics.NewLedger(2, 3)
	l.Of(0)[0].Committed.Add(10)
	l.Of(1)[0].Committed.Add(20)
	l.Of(2)[0].Open.Add(25)
	l.Of(2)[0].Refused.Add(4)
	return a, stored, l
}

func TestVerifyOfRightBalances(t *testing.T) {
	t.Parallel()
	a, stored, l := verifyCase()
	got := a.verify(stored, l)
	if got.BrokenAll != 0 || got.Overspent != 0 {
		t.Errorf("sound books: %+v", got)
	}
	if got.Granted != 200 || got.Committed != 30 || got.Reserved != 25 || got.Remaining != 145 ||
		got.OpenHolds != 2 || got.Refused != 4 || got.Exhausted != 1 {
		t.Errorf("sums: %+v", got)
	}
}

// Each case changes one value, and the check names the tenant and the value.
func TestVerifyNotices(t *testing.T) {
	t.Parallel()
	type accounts = map[budget.TenantID]budget.HoldList
	change := func(edit func(*budget.HoldList)) func(accounts, *metrics.Ledger) {
		return func(stored accounts, _ *metrics.Ledger) {
			account := stored["a"]
			edit(&account)
			stored["a"] = account
		}
	}
	for _, c := range []struct {
		name      string
		corrupt   func(accounts, *metrics.Ledger)
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
		{"committed for remaining", change(func(r *budget.HoldList) { r.Balance.Committed--; r.Balance.Remaining++ }), "a", "received answers for 30", 0},
		{"debt", change(func(r *budget.HoldList) { r.Balance.Committed, r.Balance.Remaining = 83, -8 }), "a", "exceed its budget of 100 by 8", 8},
		{"a hold that no worker received", change(func(r *budget.HoldList) {
			r.Holds[1].Held, r.Balance.Reserved, r.Balance.Remaining = 15, 35, 35
		}), "a", "workers hold 25", 0},
		{"an account lost", func(stored accounts, _ *metrics.Ledger) { delete(stored, "b") }, "b", "account is missing", 0},
		{"an unexpected account", func(stored accounts, _ *metrics.Ledger) { stored["c"] = stored["b"] }, "c", "unexpected tenant", 0},
		{"more answered than stored", func(_ accounts, l *metrics.Ledger) { l.Of(0)[1].Committed.Add(1) }, "b", "received answers for 1", 0},
	} {
		a, stored, l := verifyCase()
		c.corrupt(stored, l)
		got := a.verify(stored, l)
		if got.BrokenAll != 1 || got.Broken[0].Tenant != c.tenant || !strings.Contains(got.Broken[0].Problem, c.problem) {
			t.Errorf("%s: %+v, want tenant %s, %q", c.name, got.Broken, c.tenant, c.problem)
		}
		if got.Overspent != c.overspent {
			t.Errorf("%s: overspent %d, want %d", c.name, got.Overspent, c.overspent)
		}
	}
}

// A call in doubt may have taken effect or not, and nothing else.
func TestVerifyWithDoubt(t *testing.T) {
	t.Parallel()
	for committed, sound := range map[budget.Microcents]bool{29: false, 30: true, 37: true, 38: false} {
		a, stored, l := verifyCase()
		l.Of(1)[0].Unknown.Add(7)
		account := stored["a"]
		account.Balance.Remaining -= committed - account.Balance.Committed
		account.Balance.Committed = committed
		stored["a"] = account
		if got := a.verify(stored, l); (got.BrokenAll == 0) != sound || got.InDoubt != 7 {
			t.Errorf("committed %d: %+v, want sound %t", committed, got, sound)
		}
	}
}

func TestOverspentSurvivesOverflow(t *testing.T) {
	t.Parallel()
	b := budget.Balance{Committed: budget.MaxMicrocents, Reserved: budget.MaxMicrocents}
	if got := spentOf(b) - 5; got != budget.MaxMicrocents-5 {
		t.Errorf("overspent %d", got)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	var found report.Books
	for range 3 * shownProblems {
		addProblem(&found, "t", budget.ErrOverflow)
	}
	if found.BrokenAll != 3*shownProblems || len(found.Broken) != shownProblems {
		t.Errorf("%d counted, %d kept", found.BrokenAll, len(found.Broken))
	}
}

// audited is an engine with the balances of verifyCase, edited.
func audited(name string, edit func(*budget.HoldList)) *candidate {
	f, stored, l := verifyCase()
	account := stored["a"]
	edit(&account)
	stored["a"] = account
	return &candidate{name: name, tenantSet: f, ledger: l, accounts: func(context.Context) (map[budget.TenantID]budget.HoldList, error) {
		return stored, nil
	}}
}

func sound(*budget.HoldList) {}

// kept is a store that reports the same amount spent for each tenant.
type kept struct {
	baseline.Store
	spent budget.Microcents
	err   error
}

func (k kept) Spent(context.Context, budget.TenantID, budget.Microcents) (budget.Microcents, error) {
	return k.spent, k.err
}

func byHand(name string, k kept) *candidate {
	f, _, l := verifyCase()
	return &candidate{name: name, tenantSet: f, ledger: l, store: k}
}

func readAll(candidates ...*candidate) (report.Report, error) {
	m := &benchRun{candidates: candidates, target: &target{ours: candidates[0]}}
	result := report.Report{Candidates: make([]report.Candidate, len(candidates))}
	return result, m.checkBalances(context.Background(), &result)
}

// The workers received answers for 30 committed and 25 held by tenant a, and none for b;
// each has 100.
func TestMoneyOfEachCandidate(t *testing.T) {
	t.Parallel()
	ours := audited(baseline.Bursar, sound)
	ours.contended = audited(baseline.Bursar, sound)
	result, err := readAll(ours, audited(baseline.Local, sound), byHand(baseline.Incr, kept{spent: 7}), byHand(baseline.Check, kept{spent: 120}))
	if err != nil || !result.Audited || !result.Conserved || result.Committed != 30 {
		t.Errorf("%v: %+v", err, result)
	}
	once := report.Overspending{Kept: true, Granted: 200, Spent: 55}
	twice := report.Overspending{Kept: true, Granted: 400, Spent: 110}
	over := report.Overspending{Kept: true, Granted: 200, Spent: 240, Overspent: 40, Tenants: 2, Drift: 65 + 120}
	want := []report.Candidate{{Money: twice, Race: &once}, {Money: once}, {}, {Money: over}}
	if diff := cmp.Diff(want, result.Candidates); diff != "" {
		t.Errorf("- want, + got:\n%s", diff)
	}
}

// Amounts in doubt are not drift.
func TestDriftWithDoubt(t *testing.T) {
	t.Parallel()
	for spent, drift := range map[budget.Microcents]budget.Microcents{53: 2, 55: 0, 60: 0, 62: 0, 63: 1} {
		e := byHand(baseline.Script, kept{spent: spent})
		e.ledger.Of(0)[0].Unknown.Add(7)
		e.tenantSet.tenants, e.tenantSet.budgets = e.tenantSet.tenants[:1], e.tenantSet.budgets[:1]
		if money, _, err := e.readMoney(t.Context()); err != nil || money.Drift != drift {
			t.Errorf("spent %d: drift %d, %v; want %d", spent, money.Drift, err, drift)
		}
	}
}

// The balances of every engine are checked, also as a baseline and in the contention test.
func TestWrongBalancesOfBaselines(t *testing.T) {
	t.Parallel()
	steal := func(r *budget.HoldList) { r.Balance.Remaining-- }
	for name, c := range map[string]struct {
		local, race func(*budget.HoldList)
		want        string
	}{
		"local":          {steal, sound, "of the baseline local: the balance"},
		"in the race":    {sound, steal, "of the baseline local in the contention test: the balance"},
		"lost, not ours": {func(r *budget.HoldList) { *r = budget.HoldList{} }, sound, "of the baseline local: its account is missing"},
	} {
		other := audited(baseline.Local, c.local)
		other.contended = audited(baseline.Local, c.race)
		result, err := readAll(audited(baseline.Bursar, sound), other)
		if err != nil || result.Conserved || result.BrokenAll != 1 || !strings.HasPrefix(result.Broken[0].Problem, c.want) {
			t.Errorf("%s: %v, %+v; want %q", name, err, result.Broken, c.want)
		}
		if err := wrongBalances(result); exit.Code(err) != exit.Refused {
			t.Errorf("%s: code %d", name, exit.Code(err))
		}
	}
}

// If Redis does not answer, only the first candidate tries, and candidates without a Redis
// are read.
func TestUnreadableBalances(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	ours := audited(baseline.Bursar, sound)
	ours.accounts = func(context.Context) (map[budget.TenantID]budget.HoldList, error) { return nil, gone }
	second := byHand(baseline.Script, kept{err: errors.New("asked again")})
	result, err := readAll(ours, second, audited(baseline.Local, sound))
	if !errors.Is(err, gone) || exit.Code(err) != exit.Unavailable || result.Audited || result.Conserved {
		t.Errorf("%v: %+v", err, result)
	}
	if result.Candidates[0].Money.Kept || result.Candidates[1].Money.Kept || !result.Candidates[2].Money.Kept {
		t.Errorf("%+v", result.Candidates)
	}
	_, err = readAll(audited(baseline.Bursar, sound), byHand(baseline.Watch, kept{err: gone}))
	if !errors.Is(err, gone) || !strings.Contains(err.Error(), `watch: tenant "`) {
		t.Errorf("%v; want who and which tenant", err)
	}
}
