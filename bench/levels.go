package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/runner"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

const (
	rootName      = "org"
	defaultFanOut = 10
	maxFanOut     = 10_000
)

// ancestor is an account above some of the tenants. Its budget is the sum of theirs, so that
// the tenants' own budgets refuse.
type ancestor struct {
	tenant  budget.TenantID
	granted budget.Microcents
	below   []int          // numbers of the tenants
	first   budget.Instant // start of its first epoch, with windows
}

func (c Config) validateLevels() error {
	errs := []error{
		workload.Within("levels", int64(c.Levels), 1, budget.MaxTenantLevels),
		workload.Within("fanout", int64(c.FanOut), 1, maxFanOut),
	}
	return errors.Join(errs...)
}

// levelled returns the set with the tenants below one root. The levels between have at most
// fanOut accounts below each account of the level above, and the tenants are dealt to them in
// turn. The baselines other than the local engine have no levels and use the same names.
func (s tenantSet) levelled(levels, fanOut int) tenantSet {
	if levels < 2 {
		return s
	}
	numbers := make(map[budget.TenantID]int)
	for i, tenant := range s.tenants {
		path, group := budget.TenantID(rootName), i
		for range levels - 2 {
			path += budget.TenantID(fmt.Sprintf("/group-%d", group%fanOut))
			group /= fanOut
		}
		s.tenants[i] = path + "/" + tenant
		for ; path != ""; path = path.Parent() {
			n, known := numbers[path]
			if !known {
				n = len(s.above)
				numbers[path], s.above = n, append(s.above, ancestor{tenant: path})
			}
			s.above[n].granted += s.budgets[i] // budgetsOf has checked the sum
			s.above[n].below = append(s.above[n].below, i)
		}
	}
	return s
}

// createAncestors creates the accounts above the tenants, before those, so that each hold
// debits them.
func createAncestors(ctx context.Context, s tenantSet, node budget.Engine) error {
	return runner.ForEach(ctx, len(s.above), func(i int) error {
		first, err := s.create(ctx, node, s.above[i].tenant, s.above[i].granted)
		s.above[i].first = first
		return exit.With(exit.Unavailable, err)
	})
}

// verify compares the stored balance of an ancestor with the workers' answers for all tenants
// below it.
func (a ancestor) verify(found *report.Books, account budget.HoldList, l *metrics.Ledger) {
	var sum metrics.Totals
	for _, i := range a.below {
		answers := l.Totals(i)
		sum.Committed += answers.Committed
		sum.Open += answers.Open
		sum.Unknown += answers.Unknown
	}
	if err := verifyTenant(account, a.granted, sum); err != nil {
		addProblem(found, a.tenant, err)
	}
}
