package budgettest

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Each engine below is the naive one with a realistic mistake, which the suites must
// detect.

// rounds rounds amounts to a float64, as careless Lua does.
type rounds struct{ *naive }

func (e rounds) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	res, err := e.naive.TryReserve(ctx, tenant, cost, opts...)
	if res.Remaining < budget.MaxMicrocents-1000 { // above, the conversion back could overflow
		res.Remaining = budget.Microcents(float64(res.Remaining))
	}
	return res, err
}

// refundsOverrun releases the hold when a commit is an Overrun.
type refundsOverrun struct{ *naive }

func (e refundsOverrun) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	res, err := e.naive.Commit(ctx, id, actual)
	if res.Outcome == budget.Overrun {
		_, err = e.Release(ctx, id)
	}
	return res, err
}

// losesSurplus doesn't return the surplus of a commit.
type losesSurplus struct{ *naive }

func (e losesSurplus) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	held := e.held(id)
	res, err := e.naive.Commit(ctx, id, actual)
	if surplus := held - actual; res.Outcome == budget.Committed && surplus > 0 {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.accounts[id.Tenant()].Remaining -= surplus
		res.Remaining -= surplus
	}
	return res, err
}

func (e *naive) held(id budget.ReservationID) budget.Microcents {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.holds[id].Held
}

// overwrites replaces a tenant's budget when it is ensured again.
type overwrites struct{ *naive }

func (e overwrites) EnsureTenant(ctx context.Context, tenant budget.TenantID, amount budget.Microcents, settings ...budget.Setting) (budget.Ensured, error) {
	res, err := e.naive.EnsureTenant(ctx, tenant, amount, settings...)
	if res.Outcome == budget.Exists {
		e.mu.Lock()
		defer e.mu.Unlock()
		account := e.accounts[tenant]
		account.Remaining += amount - account.Granted
		account.Granted = amount
	}
	return res, err
}

// commitsMissingFirst checks the reservation before the amount.
type commitsMissingFirst struct{ *naive }

func (e commitsMissingFirst) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	if actual < 0 && e.held(id) == 0 {
		actual = 0
	}
	return e.naive.Commit(ctx, id, actual)
}

// sharesRoot reserves from the family's root for all levels.
type sharesRoot struct{ *naive }

func (e sharesRoot) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	return e.naive.TryReserve(ctx, tenant.Root(), cost, opts...)
}

// ignoresTenant releases by the bits of an ID alone.
type ignoresTenant struct{ *naive }

func (e ignoresTenant) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	hi, lo := id.Bits()
	e.mu.Lock()
	for open := range e.holds {
		if h, l := open.Bits(); h == hi && l == lo {
			id = open
		}
	}
	e.mu.Unlock()
	return e.naive.Release(ctx, id)
}

// inflatesHolds lists each hold with one microcent too much, which only the sum of the holds
// reveals.
type inflatesHolds struct{ *naive }

func (e inflatesHolds) Holds(ctx context.Context, tenant budget.TenantID) (budget.HoldList, error) {
	list, err := e.naive.Holds(ctx, tenant)
	for i := range list.Holds {
		list.Holds[i].Held++
	}
	return list, err
}

// checksThenActs checks the balance and reserves in two steps, each under the lock.
type checksThenActs struct{ *naive }

func (e checksThenActs) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	b, err := e.Balance(ctx, tenant)
	if err != nil || b.Outcome != budget.Found || b.Remaining < cost || cost <= 0 {
		return e.naive.TryReserve(ctx, tenant, cost, opts...)
	}
	runtime.Gosched()
	if _, err := e.Grant(ctx, tenant, cost); err != nil { // make room, in case another caller took the money since the check
		return e.naive.TryReserve(ctx, tenant, cost, opts...)
	}
	res, err := e.naive.TryReserve(ctx, tenant, cost, opts...)
	e.mu.Lock()
	defer e.mu.Unlock()
	account := e.accounts[tenant]
	account.Granted -= cost
	account.Remaining -= cost
	res.Remaining = b.Remaining - cost
	return res, err
}

// settlesTwice looks up a hold and releases it in two steps.
type settlesTwice struct{ *naive }

func (e settlesTwice) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	held := e.held(id)
	runtime.Gosched()
	res, err := e.naive.Release(ctx, id)
	if held > 0 && res.Outcome == budget.MissingReservation {
		res = released(0, held)
		e.mu.Lock()
		defer e.mu.Unlock()
		account := e.accounts[id.Tenant()]
		account.Committed -= held
		account.Remaining += held
		res.Remaining = account.Remaining
	}
	return res, err
}

// capsTwoSteps checks the caps and reserves in two steps.
type capsTwoSteps struct{ *naive }

func (e capsTwoSteps) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	list, err := e.Holds(ctx, tenant)
	if err != nil || list.Outcome != budget.Found {
		return e.naive.TryReserve(ctx, tenant, cost, opts...)
	}
	if by, limit := list.Balance.Settings.CappedBy(cost, list.Balance.Reserved, int64(len(list.Holds))); by != budget.NoCap {
		return cappedAt(tenant, by, limit), nil
	}
	time.Sleep(10 * time.Microsecond) // let others reserve
	return e.naive.TryReserve(ctx, tenant, cost, opts...)
}

// overdrawsTwoSteps reads the amount that a commit can spend, and commits in two steps.
type overdrawsTwoSteps struct{ *naive }

func (e overdrawsTwoSteps) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	b, err := e.Balance(ctx, id.Tenant())
	if held := e.held(id); err != nil || held == 0 || actual <= held || b.Remaining+b.Settings.Overdraft < actual-held {
		return e.naive.Commit(ctx, id, actual)
	}
	time.Sleep(10 * time.Microsecond) // let others commit
	e.mu.Lock()
	defer e.mu.Unlock()
	e.end(id, actual, budget.Committed)
	return committed(e.accounts[id.Tenant()].Remaining, actual), nil
}

// crossesLate detects thresholds only when a hold is committed.
type crossesLate struct{ *naive }

func (e crossesLate) Withdraw(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	events := len(e.crossings())
	res, err := e.naive.Withdraw(ctx, tenant, amount)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = e.events[:events]
	return res, err
}

// readsStale returns the result of the previous Remaining in every other call.
type readsStale struct {
	*naive
	mu    *sync.Mutex
	reads map[budget.TenantID]int
	copy  map[budget.TenantID]budget.Remainder
}

func (e readsStale) Remaining(ctx context.Context, tenant budget.TenantID) (budget.Remainder, error) {
	res, err := e.naive.Remaining(ctx, tenant)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.reads[tenant]++; e.reads[tenant]%2 == 0 {
		return e.copy[tenant], nil
	}
	e.copy[tenant] = res
	return res, err
}

type storedEngine interface {
	budget.Engine
	stored(context.Context) (map[budget.TenantID]budget.HoldList, error)
}

func broken(breaks func(*naive) storedEngine) Factory {
	return func(_ testing.TB, c Config) Subject {
		e := breaks(newNaive(c))
		return Subject{Engine: e, Stored: e.stored}
	}
}

// mistaken returns the factory of a naive engine with a mistake.
func mistaken(m mistake) Factory {
	return func(t testing.TB, c Config) Subject {
		s := naiveFactory(t, c)
		s.Engine.(*naive).mistake = m
		s.Windows, s.Limits = m > firstWindowMistake, m > lastRollingMistake // a random operation meets another mistake more often without windows
		return s
	}
}

func cappedTwoSteps(_ testing.TB, c Config) Subject {
	e := newNaive(c)
	e.mistake = ignoresCaps
	return Subject{Engine: capsTwoSteps{e}, Settings: true}
}

func overdrawnTwoSteps(_ testing.TB, c Config) Subject {
	return Subject{Engine: overdrawsTwoSteps{newNaive(c)}, Settings: true}
}

func crossedLate(_ testing.TB, c Config) Subject {
	e := newNaive(c)
	return Subject{Engine: crossesLate{e}, Settings: true, Crossings: e.crossings}
}

var brokenEngines = map[string]struct {
	factory Factory
	noticed []string // checks of Run that must fail; all pass on the naive engine
	alone   bool     // Differential must detect it as well: one caller often reveals the mistake
}{
	"rounds":         {broken(func(e *naive) storedEngine { return rounds{e} }), []string{"Vector/seed-02", "Commit/exact at every edge"}, true},
	"refundsOverrun": {broken(func(e *naive) storedEngine { return refundsOverrun{e} }), []string{"Commit/above the remaining amount, then less", "Vector/seed-01"}, true},
	"losesSurplus":   {broken(func(e *naive) storedEngine { return losesSurplus{e} }), []string{"Commit/the surplus returns", "Concurrency/the invariant while all operations run"}, true},
	"overwrites":     {broken(func(e *naive) storedEngine { return overwrites{e} }), []string{"Ensure/creates once", "Vector/seed-01"}, true},
	"late": {broken(func(e *naive) storedEngine {
		e.grace = 1
		return e
	}), []string{"Deadline/every operation finds the hold ended at its deadline, and not before"}, true},
	"commitsMissingFirst": {broken(func(e *naive) storedEngine { return commitsMissingFirst{e} }),
		[]string{"Commit/a negative amount is checked first"}, true},
	"sharesRoot":    {broken(func(e *naive) storedEngine { return sharesRoot{e} }), []string{"Tenant/tenants of a family have separate budgets"}, true},
	"ignoresTenant": {broken(func(e *naive) storedEngine { return ignoresTenant{e} }), []string{"Settle/an id under another tenant's name"}, true},
	"inflatesHolds": {broken(func(e *naive) storedEngine { return inflatesHolds{e} }), []string{"Reserve/to the last microcent", "Read/holds with their amounts and times"}, true},
	"checksThenActs": {broken(func(e *naive) storedEngine { return checksThenActs{e} }),
		[]string{"Concurrency/as many are granted as the budget covers", "Linearizability/every answer fits one order of events"}, false},
	"settlesTwice": {broken(func(e *naive) storedEngine { return settlesTwice{e} }),
		[]string{"Concurrency/a reservation settles once", "Linearizability/every answer fits one order of events"}, false},
	"readsStale": {broken(func(e *naive) storedEngine {
		return readsStale{e, new(sync.Mutex), make(map[budget.TenantID]int), make(map[budget.TenantID]budget.Remainder)}
	}), []string{"Read/the remaining amount", "Linearizability/every answer fits one order of events"}, true},

	"skipsMiddle": {mistaken(skipsMiddle), []string{
		"Levels/a reserve debits every level that exists", "Levels/a refusal names the level with the least and changes nothing",
		"Levels/concurrent reserves are granted as far as every level covers them", "Levels/every answer fits one order of events",
	}, true},
	"debitsBeforeCheck": {mistaken(debitsBeforeCheck), []string{
		"Levels/a refusal names the level with the least and changes nothing", "Levels/every answer fits one order of events",
	}, true},
	"returnsToTenant": {mistaken(returnsToTenant), []string{
		"Levels/a settle returns the surplus at every level", "Levels/a deadline is kept at every level by every operation",
		"Levels/the invariant while levels come and go", "Levels/every answer fits one order of events",
	}, true},
	"namesFarther": {mistaken(namesFarther), []string{
		"Levels/of equal levels the nearest is named", "Levels/six levels, exact at every edge",
	}, true},
	"chargesLaterLevel": {mistaken(chargesLaterLevel), []string{
		"Levels/a level that is created later has no part in a hold", "Levels/a deleted level limits nothing", "Levels/holds of the tenants below",
	}, true},
	"keepsDeadlineBelow": {mistaken(keepsDeadlineBelow), []string{
		"Levels/a deadline is kept at every level by every operation", "Levels/deadlines of many tenants below",
		"Levels/a level with open holds below it is not deleted",
	}, true},
	"listsByPrefix":  {mistaken(listsByPrefix), []string{"Levels/the tree of a tenant"}, false},
	"readsTreeTwice": {mistaken(readsTreeTwice), []string{"Levels/a tree is of one instant"}, false},
	"countsOwnHolds": {mistaken(countsOwnHolds), []string{
		"Levels/a level with open holds below it is not deleted", "Levels/a deadline is kept at every level by every operation",
	}, true},

	"ignoresFrozenAncestor": {mistaken(ignoresFrozenAncestor), []string{
		"Settings/a freeze stops the tenants below", "Settings/no reserve below succeeds after a freeze",
		"Settings/the nearest level that refuses is named",
	}, true},
	"ignoresClosedAncestor": {mistaken(ignoresClosedAncestor), []string{
		"Settings/a closed account stops the tenants below", "Settings/each check is made at all levels before the next",
	}, true},
	"freezeStopsSettles": {mistaken(freezeStopsSettles), []string{
		"Settings/a frozen account refuses only reserves", "Settings/holds end while an account is frozen, capped or closed",
	}, true},
	"freezeStopsExpiry": {mistaken(freezeStopsExpiry), []string{
		"Settings/holds end while an account is frozen, capped or closed",
	}, false},
	"closeStopsWithdrawals": {mistaken(closeStopsWithdrawals), []string{
		"Settings/a closed account refuses reserves, grants and settings", "Settings/a closed account stops the tenants below",
	}, true},
	"grantsToClosed": {mistaken(grantsToClosed), []string{
		"Settings/a closed account refuses reserves, grants and settings", "Settings/no reserve or grant succeeds after a close",
	}, true},
	"reopens": {mistaken(reopens), []string{"Settings/a closed account is not frozen or opened"}, true},
	"ignoresCaps": {mistaken(ignoresCaps), []string{
		"Settings/each cap up to its limit", "Settings/a cap below the reserved amount", "Settings/caps exact at every edge",
		"Settings/concurrent reserves fill caps and exceed none", "Settings/caps are kept while holds end",
	}, true},
	"ignoresAncestorCaps": {mistaken(ignoresAncestorCaps), []string{
		"Settings/caps count the holds of the tenants below", "Settings/the nearest level that refuses is named",
		"Settings/caps of an ancestor are kept while holds end",
	}, true},
	"capsTheLast": {mistaken(capsTheLast), []string{
		"Settings/each cap up to its limit", "Settings/concurrent reserves fill caps and exceed none",
	}, true},
	"capsByEnded": {mistaken(capsByEnded), []string{
		"Settings/a hold counts for caps until it ends", "Settings/caps count the holds of the tenants below",
	}, true},
	"capStopsSettles": {mistaken(capStopsSettles), []string{
		"Settings/holds end while an account is frozen, capped or closed", "Settings/caps are kept while holds end",
	}, true},
	"capsTwoSteps": {cappedTwoSteps, []string{
		"Settings/concurrent reserves fill caps and exceed none", "Settings/caps are kept while holds end",
	}, false},
	"checksLevelByLevel": {mistaken(checksLevelByLevel), []string{
		"Settings/each check is made at all levels before the next",
	}, true},
	"checksMoneyFirst": {mistaken(checksMoneyFirst), []string{
		"Settings/a reserve checks closed, frozen, caps and money in this order",
	}, true},
	"freezesBeforeCloses": {mistaken(freezesBeforeCloses), []string{
		"Settings/a reserve checks closed, frozen, caps and money in this order",
	}, true},
	"reservesOverdraft": {mistaken(reservesOverdraft), []string{
		"Settings/an overdraft is not for reserves", "Settings/every return of money pays the debt first",
	}, true},
	"overdrawsAtTenant": {mistaken(overdrawsAtTenant), []string{
		"Settings/an overdraft covers at every level, or moves nothing", "Settings/commit available charges the least amount of all levels",
		"Settings/concurrent commits use overdrafts of two levels to the lower limit",
	}, true},
	"overdrawsTwoSteps": {overdrawnTwoSteps, []string{"Settings/concurrent commits use an overdraft to its limit"}, false},
	"overrunsByRemaining": {mistaken(overrunsByRemaining), []string{
		"Settings/an overdraft covers at every level, or moves nothing",
	}, true},
	"refusesInDebt": {mistaken(refusesInDebt), []string{"Settings/an overdraft below the debt"}, false},
	"chargesShortfall": {mistaken(chargesShortfall), []string{
		"Settings/commit available charges the available amount", "Settings/commit available beyond an overdraft",
		"Settings/concurrent commits use an overdraft to its limit",
	}, true},
	"takesBackDebt": {mistaken(takesBackDebt), []string{
		"Settings/commit available beyond an overdraft", "Settings/an overdraft below the debt",
	}, false},
	"availableOfTenant": {mistaken(availableOfTenant), []string{
		"Settings/commit available charges the least amount of all levels",
	}, true},
	"hidesDebt": {mistaken(hidesDebt), []string{
		"Settings/an overdraft covers an excess up to its limit", "Settings/the debt of each level",
	}, true},
	"showsDebt": {mistaken(showsDebt), []string{
		"Settings/an overdraft is not for reserves", "Settings/the debt of each level",
	}, true},
	"grantsBeyondOverdraft": {mistaken(grantsBeyondOverdraft), []string{
		"Settings/an overdraft and a budget beyond 64 bits are an error",
	}, true},
	"configuresBeyondGranted": {mistaken(configuresBeyondGranted), []string{
		"Settings/an overdraft and a budget beyond 64 bits are an error",
	}, true},
	"forgetsOtherSettings": {mistaken(forgetsOtherSettings), []string{
		"Settings/a change keeps the settings that it does not name", "Settings/concurrent changes of settings keep each other",
	}, true},
	"configuresExisting": {mistaken(configuresExisting), []string{"Settings/settings of a new tenant"}, true},
	"keepsSettings": {mistaken(keepsSettings), []string{
		"Settings/a recreated tenant has no settings", "Settings/each check is made at all levels before the next",
	}, true},
	"hidesSettings": {mistaken(hidesSettings), []string{
		"Settings/a change keeps the settings that it does not name", "Settings/settings are read with the balance",
	}, true},
	"crossesAbove": {mistaken(crossesAbove), []string{
		"Settings/a threshold is reached at exactly its amount", "Settings/thresholds exact at every edge",
	}, false},
	"crossesOnce": {mistaken(crossesOnce), []string{
		"Settings/a threshold is crossed once until a grant", "Settings/several thresholds at once",
	}, false},
	"crossesRepeatedly": {mistaken(crossesRepeatedly), []string{
		"Settings/a threshold is crossed once until a grant", "Settings/concurrent commits cross each threshold once",
	}, false},
	"crossesAtTenant": {mistaken(crossesAtTenant), []string{"Settings/thresholds of each level"}, false},
	"crossesLate":     {crossedLate, []string{"Settings/a withdrawal and new thresholds cross"}, false},
}

func TestBrokenEnginesAreNoticed(t *testing.T) {
	for name, b := range brokenEngines {
		t.Run(name, func(t *testing.T) {
			for _, check := range b.noticed {
				if passes(t, b.factory, check) {
					t.Errorf("%q passes", check)
				}
			}
			if !b.alone {
				return
			}
			if !differs(t, b.factory) {
				t.Error("the differential passes")
			}
		})
	}
}

// differs reports whether a differential test detects an engine within maxRuns runs, the
// maximum of Differential. One run is not enough: 12 of 100 runs missed overrunsByRemaining.
func differs(t testing.TB, f Factory) bool {
	for range maxRuns {
		if failed, _ := verdict(t, func(t testing.TB) { differential(t, naiveFactory, f, make(map[string]int)) }); failed {
			return true
		}
	}
	return false
}
