package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/runner"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

// checkBalances checks every candidate, in the rounds and in the contention test. After one
// could not be read from Redis, the others are not tried.
func (b *benchRun) checkBalances(ctx context.Context, result *report.Report) error {
	var failure error
	for i, c := range b.candidates {
		for _, checked := range []*candidate{c, c.contended} {
			if checked == nil || failure != nil && checked.name != baseline.Local {
				continue
			}
			money, found, err := checked.readMoney(ctx)
			if err != nil {
				failure = c.named(err)
				continue
			}
			if checked == b.target.ours {
				result.Books, result.Audited = found, true
				if result.Windows != nil {
					result.Windows.Epochs = c.epochs
				}
			} else {
				addWrong(&result.Books, found, c.name, checked == c.contended)
			}
			if checked == c.contended {
				result.Candidates[i].Race = &money
			}
			result.Candidates[i].Money = addMoney(result.Candidates[i].Money, money)
		}
	}
	result.Conserved = result.Audited && result.BrokenAll == 0
	return failure
}

// readMoney reads a candidate's own records when nothing writes any more. Those of an engine
// are checked, too.
func (c *candidate) readMoney(ctx context.Context) (money report.Overspending, books report.Books, err error) {
	if !c.decides() {
		return money, books, nil
	}
	spent := make([]budget.Microcents, len(c.tenantSet.tenants))
	set := c.tenantSet
	var stored map[budget.TenantID]budget.HoldList
	if c.accounts == nil {
		err = runner.ForEach(ctx, len(spent), func(i int) (err error) {
			spent[i], err = c.store.Spent(ctx, c.tenantSet.tenants[i], c.tenantSet.budgets[i])
			if err != nil {
				err = fmt.Errorf("tenant %q: %w", c.tenantSet.tenants[i], err)
			}
			return err
		})
	} else if stored, err = c.accounts(ctx); err == nil {
		set, stored, c.epochs = set.overEpochs(stored)
		books = set.verify(stored, c.ledger)
		err = set.verifyLimits(ctx, &books, c.limits, stored)
		for i, tenant := range set.tenants {
			spent[i] = spentOf(stored[tenant].Balance)
		}
	}
	if err != nil {
		return money, books, exit.With(exit.Unavailable, err)
	}
	return c.overspending(set.budgets, spent), books, nil
}

// spentOf returns the amount spent or held. A sum beyond 64 bits is above every budget.
func spentOf(b budget.Balance) budget.Microcents {
	spent, err := b.Committed.Add(b.Reserved)
	if err != nil {
		return budget.MaxMicrocents
	}
	return spent
}

// overspending compares the amounts spent with the budgets and with the workers' answers.
func (c *candidate) overspending(budgets, spent []budget.Microcents) report.Overspending {
	sum := report.Overspending{Kept: true}
	for i, amount := range spent {
		sum.Granted += budgets[i]
		sum.Spent += amount
		if over := amount - budgets[i]; over > 0 {
			sum.Overspent += over
			sum.Tenants++
		}
		answers := c.ledger.Totals(i)
		known := answers.Committed + answers.Open
		sum.Drift += max(0, known-amount, amount-known-answers.Unknown)
	}
	return sum
}

func addMoney(a, b report.Overspending) report.Overspending {
	return report.Overspending{
		Kept: a.Kept || b.Kept, Granted: a.Granted + b.Granted, Spent: a.Spent + b.Spent,
		Overspent: a.Overspent + b.Overspent, Tenants: a.Tenants + b.Tenants, Drift: a.Drift + b.Drift,
	}
}

// verify compares the stored balance of each tenant with its budget and with the workers'
// answers. It trusts no sum of the engine.
func (s tenantSet) verify(stored map[budget.TenantID]budget.HoldList, l *metrics.Ledger) report.Books {
	var found report.Books
	known := make(map[budget.TenantID]bool, len(s.tenants))
	for i, tenant := range s.tenants {
		known[tenant] = true
		account, answers := stored[tenant], l.Totals(i)
		addToBooks(&found, account, answers)
		found.Overspent += max(0, spentOf(account.Balance)-s.budgets[i])
		if err := verifyTenant(account, s.budgets[i], answers); err != nil {
			addProblem(&found, tenant, err)
		}
	}
	for _, a := range s.above {
		known[a.tenant] = true
		a.verify(&found, stored[a.tenant], l)
	}
	for tenant := range stored {
		if !known[tenant] {
			addProblem(&found, tenant, errors.New("unexpected tenant"))
		}
	}
	return found
}

func verifyTenant(account budget.HoldList, granted budget.Microcents, answers metrics.Totals) error {
	if account.Outcome != budget.Found {
		return errors.New("its account is missing")
	}
	if err := account.Audit(); err != nil {
		return err
	}
	b := account.Balance
	if b.Granted != granted {
		return fmt.Errorf("granted is %d, but its budget was %d", b.Granted, granted)
	}
	if over := spentOf(b) - granted; over > 0 {
		return fmt.Errorf("committed %d and reserved %d exceed its budget of %d by %d", b.Committed, b.Reserved, granted, over)
	}
	// A call without an answer took effect once or not at all.
	if b.Committed < answers.Committed || b.Committed > answers.Committed+answers.Unknown {
		return fmt.Errorf("committed is %d, but the workers received answers for %d, with %d in doubt", b.Committed, answers.Committed, answers.Unknown)
	}
	if b.Reserved < answers.Open || b.Reserved > answers.Open+answers.Unknown {
		return fmt.Errorf("reserved is %d, but the workers hold %d, with %d in doubt", b.Reserved, answers.Open, answers.Unknown)
	}
	return nil
}

func addToBooks(b *report.Books, account budget.HoldList, answers metrics.Totals) {
	b.Granted += account.Balance.Granted
	b.Committed += account.Balance.Committed
	b.Reserved += account.Balance.Reserved
	b.Remaining += account.Balance.Remaining
	b.OpenHolds += len(account.Holds)
	b.InDoubt += answers.Unknown
	b.Refused += answers.Refused
	if answers.Refused > 0 {
		b.Exhausted++
	}
}

// shownProblems is the number of tenants that a report names.
const shownProblems = 10

func addProblem(b *report.Books, tenant budget.TenantID, problem error) {
	b.BrokenAll++
	if len(b.Broken) < shownProblems {
		b.Broken = append(b.Broken, report.BrokenBook{Tenant: tenant, Problem: problem.Error()})
	}
}

// addWrong adds the wrong balances of a baseline or of the contention test.
func addWrong(b *report.Books, found report.Books, name string, contended bool) {
	where := "in the contention test"
	if name != baseline.Bursar {
		where = "of the baseline " + name
		if contended {
			where += " in the contention test"
		}
	}
	for _, wrong := range found.Broken {
		wrong.Problem = where + ": " + wrong.Problem
		if len(b.Broken) < shownProblems {
			b.Broken = append(b.Broken, wrong)
		}
	}
	b.BrokenAll += found.BrokenAll
}

func wrongBalances(r report.Report) error {
	if r.BrokenAll == 0 {
		return nil
	}
	first := r.Broken[0]
	return exit.With(exit.Refused, fmt.Errorf("balances are wrong for %d of %s, first for tenant %q: %s",
		r.BrokenAll, wording.Count(r.Tenants, "tenant"), first.Tenant, first.Problem))
}
