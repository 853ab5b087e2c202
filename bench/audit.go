package bench

import (
	"fmt"

	"github.com/calybris/bursar/bench/record"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

// audit compares, tenant by tenant, what is stored with the budget that was
// given and with what the callers were told. It trusts no sum of the engine's.
func (f field) audit(stored map[budget.TenantID]budget.HoldList, l *record.Ledger) report.Books {
	var found report.Books
	known := make(map[budget.TenantID]bool, len(f.tenants))
	for i, tenant := range f.tenants {
		known[tenant] = true
		account, told := stored[tenant], l.Told(i)
		addToBooks(&found, account, told)
		found.Overspent += overspent(account.Balance, f.budgets[i])
		if err := auditTenant(account, f.budgets[i], told); err != nil {
			breakBook(&found, tenant, err)
		}
	}
	for tenant := range stored {
		if !known[tenant] {
			breakBook(&found, tenant, fmt.Errorf("nobody created it"))
		}
	}
	return found
}

func auditTenant(account budget.HoldList, granted budget.Microcents, told record.Told) error {
	if account.Outcome != budget.Found {
		return fmt.Errorf("it is not in the books")
	}
	if err := account.Audit(); err != nil {
		return err
	}
	b := account.Balance
	if b.Granted != granted {
		return fmt.Errorf("granted is %d, and its budget was %d", b.Granted, granted)
	}
	if over := overspent(b, granted); over > 0 {
		return fmt.Errorf("committed %d and reserved %d exceed its budget of %d by %d", b.Committed, b.Reserved, granted, over)
	}
	// An operation in doubt took effect once or never.
	if b.Committed < told.Committed || b.Committed > told.Committed+told.Doubt {
		return fmt.Errorf("committed is %d, and the callers were told %d, %d in doubt", b.Committed, told.Committed, told.Doubt)
	}
	if b.Reserved < told.Open || b.Reserved > told.Open+told.Doubt {
		return fmt.Errorf("reserved is %d, and the callers hold %d, %d in doubt", b.Reserved, told.Open, told.Doubt)
	}
	return nil
}

// overspent is what was spent or promised above the budget. A sum beyond 64
// bits is above every budget.
func overspent(b budget.Balance, granted budget.Microcents) budget.Microcents {
	spent, err := b.Committed.Add(b.Reserved)
	if err != nil {
		return budget.MaxMicrocents - granted
	}
	return max(0, spent-granted)
}

// shownBroken is the number of wrong tenants that a report names.
const shownBroken = 10

func addToBooks(b *report.Books, account budget.HoldList, told record.Told) {
	b.Granted += account.Balance.Granted
	b.Committed += account.Balance.Committed
	b.Reserved += account.Balance.Reserved
	b.Remaining += account.Balance.Remaining
	b.OpenHolds += len(account.Holds)
	b.InDoubt += told.Doubt
	b.Refused += told.Refused
	if told.Refused > 0 {
		b.Exhausted++
	}
}

func breakBook(b *report.Books, tenant budget.TenantID, problem error) {
	b.BrokenAll++
	if len(b.Broken) < shownBroken {
		b.Broken = append(b.Broken, report.BrokenBook{Tenant: tenant, Problem: problem.Error()})
	}
}

// addBroken adds the damage of accounts that aren't ours.
func addBroken(b *report.Books, found report.Books, name string, raced bool) {
	where := "as kept by " + name
	if raced {
		where += " in the race"
	}
	for _, broken := range found.Broken {
		broken.Problem = where + ": " + broken.Problem
		if len(b.Broken) < shownBroken {
			b.Broken = append(b.Broken, broken)
		}
	}
	b.BrokenAll += found.BrokenAll
}

func brokenBooks(r report.Report) error {
	if r.BrokenAll == 0 {
		return nil
	}
	first := r.Broken[0]
	return exit.With(exit.Refused, fmt.Errorf("the books are broken for %d of %s, first for tenant %q: %s",
		r.BrokenAll, wording.Count(r.Tenants, "tenant"), first.Tenant, first.Problem))
}
