package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/internal/store"
)

// Holds implements [budget.Engine]. It reads all holds of the tenant's partition, page by
// page, and is exact while other calls write: for operators and audits, not for every
// request.
func (c *Coordinator) Holds(ctx context.Context, tenant budget.TenantID) (budget.HoldList, error) {
	o := c.telemetry.begin(ctx, opHolds)
	list, trace, err := c.listHolds(ctx, tenant)
	c.telemetry.end(ctx, o, lane.Answer{Outcome: list.Outcome, Trace: trace}, err)
	return list, err
}

// holdsAttempts bounds how often Holds starts over if holds end faster than it reads, or the
// account's epoch ends.
const holdsAttempts = 5

// listHolds also returns the trace of the batch that ended the due holds.
func (c *Coordinator) listHolds(ctx context.Context, tenant budget.TenantID) (list budget.HoldList, trace any, err error) {
	if err := tenant.Validate(); err != nil {
		return budget.HoldList{}, nil, err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	// This batch ends the due holds; the pages are read after it.
	a, _, err := c.send(ctx, lane.NewCall(opHolds.kind(), tenant, 0, budget.ReservationID{}))
	if err != nil || a.Outcome != budget.Found {
		return budget.HoldList{Outcome: a.Outcome, Balance: budget.Balance{Outcome: a.Outcome}}, a.Trace, err
	}
	for range holdsAttempts {
		var behind bool
		list, behind, err = c.readHolds(ctx, tenant)
		if behind {
			err = c.beginEpochs(ctx, []budget.TenantID{tenant})
			if err == nil {
				continue
			}
		}
		if !errors.Is(err, store.ErrBehind) {
			return list, a.Trace, err
		}
	}
	if err == nil {
		return list, a.Trace, nil // its epoch was current during the call
	}
	return budget.HoldList{}, a.Trace, fmt.Errorf("%w: tenant %q: %w: raise WithRetention", ErrUnavailable, tenant, err)
}

// bounded returns a context with a deadline.
func (c *Coordinator) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, bounded := ctx.Deadline(); bounded {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.config.callTimeout)
}

// readHolds also reports whether the account must begin its present epoch first.
func (c *Coordinator) readHolds(ctx context.Context, tenant budget.TenantID) (list budget.HoldList, behind bool, err error) {
	l := c.node.LaneOf(tenant)
	s := store.NewSnapshot(l.Header(), tenant, true)
	for !s.Done() {
		if err := c.readPage(ctx, l, tenant, s.Args(), s.Add); err != nil {
			return budget.HoldList{}, false, err
		}
	}
	account := s.Accounts[store.AccountID{Tenant: tenant}]
	switch {
	case len(s.Damages) > 0:
		return budget.HoldList{}, false, fmt.Errorf("%w: tenant %q: %s: run bursar inspect %q", ErrCorrupt, tenant, s.Damages[0].What, tenant)
	case account == nil:
		return budget.HoldList{Outcome: budget.MissingTenant, Balance: budget.Balance{Outcome: budget.MissingTenant}}, false, nil
	case !account.Matches():
		return budget.HoldList{}, false, fmt.Errorf("%w: tenant %q: %s reserved in %d holds, and its holds are %d of %d microcents: run bursar verify",
			ErrCorrupt, tenant, account.Reserved, account.Account.Holds, account.Count, account.Sum)
	}
	slices.SortFunc(account.Holds, func(a, b budget.Hold) int { return a.ID.Compare(b.ID) })
	list = budget.HoldList{Outcome: budget.Found, Balance: account.Balance(), Holds: account.Holds}
	return list, account.Behind(s.Control.Time), nil
}
