package bench

import (
	"context"
	"fmt"

	"github.com/calybris/bursar/bench/fleet"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// readMoney reads a contender's own accounts when nothing writes any more. Those of an
// engine are also audited.
func (e *entrant) readMoney(ctx context.Context) (report.Overspending, report.Books, error) {
	if !e.decides() {
		return report.Overspending{}, report.Books{}, nil
	}
	if e.accounts == nil {
		spent, err := e.keptByHand(ctx)
		if err != nil {
			return report.Overspending{}, report.Books{}, exit.With(exit.Unavailable, err)
		}
		return e.overspending(spent), report.Books{}, nil
	}
	stored, err := e.accounts(ctx)
	if err != nil {
		return report.Overspending{}, report.Books{}, exit.With(exit.Unavailable, err)
	}
	spent := make([]budget.Microcents, len(e.field.tenants))
	for i, tenant := range e.field.tenants {
		balance := stored[tenant].Balance
		if spent[i], err = balance.Committed.Add(balance.Reserved); err != nil {
			spent[i] = budget.MaxMicrocents // above every budget, and the audit says so
		}
	}
	return e.overspending(spent), e.field.audit(stored, e.ledger), nil
}

func (e *entrant) keptByHand(ctx context.Context) ([]budget.Microcents, error) {
	spent := make([]budget.Microcents, len(e.field.tenants))
	err := fleet.ForEach(ctx, len(spent), func(i int) (err error) {
		spent[i], err = e.keeper.Spent(ctx, e.field.tenants[i], e.field.budgets[i])
		if err != nil {
			err = fmt.Errorf("tenant %q: %w", e.field.tenants[i], err)
		}
		return err
	})
	return spent, err
}

// overspending compares what was spent with the budgets, and with what the callers
// were told; what is in doubt may be either way.
func (e *entrant) overspending(spent []budget.Microcents) report.Overspending {
	sum := report.Overspending{Kept: true}
	for i, amount := range spent {
		sum.Granted += e.field.budgets[i]
		sum.Spent += amount
		if over := amount - e.field.budgets[i]; over > 0 {
			sum.Overspent += over
			sum.Tenants++
		}
		told := e.ledger.Told(i)
		known := told.Committed + told.Open
		sum.Drift += max(0, known-amount, amount-known-told.Doubt)
	}
	return sum
}

func addMoney(a, b report.Overspending) report.Overspending {
	return report.Overspending{
		Kept: a.Kept || b.Kept, Granted: a.Granted + b.Granted, Spent: a.Spent + b.Spent,
		Overspent: a.Overspent + b.Overspent, Tenants: a.Tenants + b.Tenants, Drift: a.Drift + b.Drift,
	}
}
