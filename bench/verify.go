package bench

import (
	"context"
	"fmt"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/runner"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

// readMoney reads a contender's own accounts when nothing writes any more. Those of an
// engine are also audited.
func (e *candidate) readMoney(ctx context.Context) (report.Overspending, report.Books, error) {
	if !e.decides() {
		return report.Overspending{}, report.Books{}, nil
	}
	if e.accounts == nil {
		spent, err := e.storeSpent(ctx)
		if err != nil {
			return report.Overspending{}, report.Books{}, exit.With(exit.Unavailable, err)
		}
		return e.overspending(spent), report.Books{}, nil
	}
	stored, err := e.accounts(ctx)
	if err != nil {
		return report.Overspending{}, report.Books{}, exit.With(exit.Unavailable, err)
	}
	spent := make([]budget.Microcents, len(e.tenantSet.tenants))
	for i, tenant := range e.tenantSet.tenants {
		balance := stored[tenant].Balance
		if spent[i], err = balance.Committed.Add(balance.Reserved); err != nil {
			spent[i] = budget.MaxMicrocents // above every budget, and the audit says so
		}
	}
	return e.overspending(spent), e.tenantSet.audit(stored, e.ledger), nil
}

func (e *candidate) storeSpent(ctx context.Context) ([]budget.Microcents, error) {
	spent := make([]budget.Microcents, len(e.tenantSet.tenants))
	err := runner.ForEach(ctx, len(spent), func(i int) (err error) {
		spent[i], err = e.store.Spent(ctx, e.tenantSet.tenants[i], e.tenantSet.budgets[i])
		if err != nil {
			err = fmt.Errorf("tenant %q: %w", e.tenantSet.tenants[i], err)
		}
		return err
	})
	return spent, err
}

// overspending compares what was spent with the budgets, and with what the callers
// were told; what is in doubt may be either way.
func (e *candidate) overspending(spent []budget.Microcents) report.Overspending {
	sum := report.Overspending{Kept: true}
	for i, amount := range spent {
		sum.Granted += e.tenantSet.budgets[i]
		sum.Spent += amount
		if over := amount - e.tenantSet.budgets[i]; over > 0 {
			sum.Overspent += over
			sum.Tenants++
		}
		told := e.ledger.Totals(i)
		known := told.Committed + told.Open
		sum.Drift += max(0, known-amount, amount-known-told.Unknown)
	}
	return sum
}

func addMoney(a, b report.Overspending) report.Overspending {
	return report.Overspending{
		Kept: a.Kept || b.Kept, Granted: a.Granted + b.Granted, Spent: a.Spent + b.Spent,
		Overspent: a.Overspent + b.Overspent, Tenants: a.Tenants + b.Tenants, Drift: a.Drift + b.Drift,
	}
}

// audit compares, tenant by tenant, what is stored with the budget that was
// given and with what the callers were told. It trusts no sum of the engine's.
func (f tenantSet) audit(stored map[budget.TenantID]budget.HoldList, l *metrics.Ledger) report.Books {
	var found report.Books
	known := make(map[budget.TenantID]bool, len(f.tenants))
	for i, tenant := range f.tenants {
		known[tenant] = true
		account, told := stored[tenant], l.Totals(i)
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

func auditTenant(account budget.HoldList, granted budget.Microcents, told metrics.Totals) error {
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
	if b.Committed < told.Committed || b.Committed > told.Committed+told.Unknown {
		return fmt.Errorf("committed is %d, and the callers were told %d, %d in doubt", b.Committed, told.Committed, told.Unknown)
	}
	if b.Reserved < told.Open || b.Reserved > told.Open+told.Unknown {
		return fmt.Errorf("reserved is %d, and the callers hold %d, %d in doubt", b.Reserved, told.Open, told.Unknown)
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

func addToBooks(b *report.Books, account budget.HoldList, told metrics.Totals) {
	b.Granted += account.Balance.Granted
	b.Committed += account.Balance.Committed
	b.Reserved += account.Balance.Reserved
	b.Remaining += account.Balance.Remaining
	b.OpenHolds += len(account.Holds)
	b.InDoubt += told.Unknown
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
func addBroken(b *report.Books, found report.Books, name string, contended bool) {
	where := "as kept by " + name
	if contended {
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
