package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
)

// limitTerms are the terms of a further limit, with its renewal.
type limitTerms struct {
	budget.Balance
	renewal renewal
}

// MarshalJSON returns the balance as that of an account, and the renewal.
func (l limitTerms) MarshalJSON() ([]byte, error) {
	return append(terms(l.Balance), l.renewal).MarshalJSON()
}

// furtherLimits returns the limits that a tenant has beside the base limit with this balance,
// at one instant after it.
func furtherLimits(ctx context.Context, c *connect.Connection, node *coordinator.Coordinator, tenant budget.TenantID, base budget.Balance) ([]limitTerms, error) {
	if base.Settings.Limits == 0 {
		return nil, nil
	}
	list, err := node.Limits(ctx, tenant)
	if err != nil {
		return nil, unanswered(err, runAgain)
	}
	if list.Outcome != budget.Found {
		return nil, nil // deleted since
	}
	return withRenewals(ctx, c, tenant, list.Limits[1:]...)
}

// withRenewals adds their renewals to the balances of limits.
func withRenewals(ctx context.Context, c *connect.Connection, tenant budget.TenantID, limits ...budget.Balance) ([]limitTerms, error) {
	all := make([]limitTerms, len(limits))
	rolling := false
	for i, b := range limits {
		all[i] = limitTerms{b, renewal{At: b.Epoch.End}}
		rolling = rolling || b.Limit.Rolling()
	}
	if !rolling {
		return all, nil
	}
	returns, err := audit.LimitReturns(ctx, c.Client, c.Prefix, tenant)
	if err != nil {
		return nil, ofState(err)
	}
	for i := range all {
		if next := returns[all[i].Limit]; len(next) > 0 {
			all[i].renewal = renewal{next[0].At, next[0].Amount}
		}
	}
	return all, nil
}

// print prints a limit as tenant show prints an account.
func (l limitTerms) print(w io.Writer) {
	fmt.Fprintf(w, "limit      %s\n", l.Limit)
	printTerms(w, l.Balance, "")
	printRenewal(w, l.renewal)
	printEpoch(w, l.Balance, "in")
}
