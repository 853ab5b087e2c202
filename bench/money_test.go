package bench

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// audited is an engine in a run, whose books are those of auditCase, changed.
func audited(name string, edit func(*budget.HoldList)) *entrant {
	f, stored, l := auditCase()
	account := stored["a"]
	edit(&account)
	stored["a"] = account
	return &entrant{name: name, field: f, ledger: l, accounts: func(context.Context) (map[budget.TenantID]budget.HoldList, error) {
		return stored, nil
	}}
}

func sound(*budget.HoldList) {}

// kept is a keeper whose books say what was spent of a budget, the same of each tenant.
type kept struct {
	contender.Keeper
	spent budget.Microcents
	err   error
}

func (k kept) Spent(context.Context, budget.TenantID, budget.Microcents) (budget.Microcents, error) {
	return k.spent, k.err
}

func byHand(name string, k kept) *entrant {
	f, _, l := auditCase()
	return &entrant{name: name, field: f, ledger: l, keeper: k}
}

func readAll(entrants ...*entrant) (report.Report, error) {
	m := &match{entrants: entrants, arena: &arena{ours: entrants[0]}}
	result := report.Report{Contenders: make([]report.Contender, len(entrants))}
	return result, m.readBooks(context.Background(), &result)
}

// Callers were told of 30 committed and 25 held by tenant a, and of nothing by b; each
// has 100.
func TestMoneyOfEachContender(t *testing.T) {
	t.Parallel()
	ours := audited(contender.Bursar, sound)
	ours.race = audited(contender.Bursar, sound)
	result, err := readAll(ours, audited(contender.Local, sound), byHand(contender.Incr, kept{spent: 7}), byHand(contender.Check, kept{spent: 120}))
	if err != nil || !result.Audited || !result.Conserved || result.Committed != 30 {
		t.Errorf("%v: %+v", err, result)
	}
	once := report.Overspending{Kept: true, Granted: 200, Spent: 55}
	twice := report.Overspending{Kept: true, Granted: 400, Spent: 110}
	over := report.Overspending{Kept: true, Granted: 200, Spent: 240, Overspent: 40, Tenants: 2, Drift: 65 + 120}
	want := []report.Contender{{Money: twice, Race: &once}, {Money: once}, {}, {Money: over}}
	if diff := cmp.Diff(want, result.Contenders); diff != "" {
		t.Errorf("- want, + got:\n%s", diff)
	}
}

// What is in doubt is no drift.
func TestDriftWithDoubt(t *testing.T) {
	t.Parallel()
	for spent, drift := range map[budget.Microcents]budget.Microcents{53: 2, 55: 0, 60: 0, 62: 0, 63: 1} {
		e := byHand(contender.Script, kept{spent: spent})
		e.ledger.Of(0)[0].Doubt.Add(7)
		e.field.tenants, e.field.budgets = e.field.tenants[:1], e.field.budgets[:1]
		if money, _, err := e.readMoney(t.Context()); err != nil || money.Drift != drift {
			t.Errorf("spent %d: drift %d, %v; want %d", spent, money.Drift, err, drift)
		}
	}
}

// The books of every engine are audited, also of those beside ours and in the race.
func TestBrokenBooksOfOthers(t *testing.T) {
	t.Parallel()
	steal := func(r *budget.HoldList) { r.Balance.Remaining-- }
	for name, c := range map[string]struct {
		local, race func(*budget.HoldList)
		want        string
	}{
		"local":          {steal, sound, "as kept by local: the balance"},
		"in the race":    {sound, steal, "as kept by local in the race: the balance"},
		"lost, not ours": {func(r *budget.HoldList) { *r = budget.HoldList{} }, sound, "as kept by local: it is not in the books"},
	} {
		beside := audited(contender.Local, c.local)
		beside.race = audited(contender.Local, c.race)
		result, err := readAll(audited(contender.Bursar, sound), beside)
		if err != nil || result.Conserved || result.BrokenAll != 1 || !strings.HasPrefix(result.Broken[0].Problem, c.want) {
			t.Errorf("%s: %v, %+v; want %q", name, err, result.Broken, c.want)
		}
		if err := brokenBooks(result); exit.Code(err) != exit.Refused {
			t.Errorf("%s: code %d", name, exit.Code(err))
		}
	}
}

// Where Redis does not answer, the first to notice says so, nobody else asks, and what
// needs no Redis is read all the same.
func TestBooksThatCannotBeRead(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	ours := audited(contender.Bursar, sound)
	ours.accounts = func(context.Context) (map[budget.TenantID]budget.HoldList, error) { return nil, gone }
	second := byHand(contender.Script, kept{err: errors.New("asked again")})
	result, err := readAll(ours, second, audited(contender.Local, sound))
	if !errors.Is(err, gone) || exit.Code(err) != exit.Unavailable || result.Audited || result.Conserved {
		t.Errorf("%v: %+v", err, result)
	}
	if result.Contenders[0].Money.Kept || result.Contenders[1].Money.Kept || !result.Contenders[2].Money.Kept {
		t.Errorf("%+v", result.Contenders)
	}
	_, err = readAll(audited(contender.Bursar, sound), byHand(contender.Watch, kept{err: gone}))
	if !errors.Is(err, gone) || !strings.Contains(err.Error(), `watch: tenant "`) {
		t.Errorf("%v; want who and which tenant", err)
	}
}
