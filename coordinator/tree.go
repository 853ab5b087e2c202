package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/internal/store"
)

// Tree returns the accounts of a tenant and of all tenants below it with their balances:
// MissingTenant if there are none; Found. Up to 1,000 accounts are read at one instant,
// unless others are created all the time; see [budget.Tree]. A hold of a tenant below that
// is past its deadline counts as reserved until the next operation on that tenant. An account
// whose epoch has ended begins the next one first, and a rolling window moves on.
//
// Tree reads all fields of the tenant's partition, page by page: it is for operators, not
// for every request.
func (c *Coordinator) Tree(ctx context.Context, tenant budget.TenantID) (budget.Tree, error) {
	o := c.telemetry.begin(ctx, opTree)
	tree, trace, err := c.readTree(ctx, tenant)
	c.telemetry.end(ctx, o, lane.Answer{Outcome: tree.Outcome, Trace: trace}, err)
	return tree, err
}

// readTree also returns the trace of the batch that ended the due holds.
func (c *Coordinator) readTree(ctx context.Context, tenant budget.TenantID) (tree budget.Tree, trace any, err error) {
	if err := tenant.Validate(); err != nil {
		return budget.Tree{}, nil, err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	// This batch ends the holds that are due at the tenant; the pages are read after it.
	a, _, err := c.send(ctx, lane.NewCall(opTree.kind(), tenant, 0, budget.ReservationID{}))
	if err != nil {
		return budget.Tree{}, a.Trace, err
	}
	for attempt := 1; ; attempt++ {
		var behind []budget.TenantID
		tree, behind, err = c.readAccounts(ctx, tenant)
		if err != nil || len(behind) == 0 || attempt == renewAttempts {
			return tree, a.Trace, err
		}
		if err := c.beginEpochs(ctx, behind); err != nil {
			return budget.Tree{}, a.Trace, err
		}
	}
}

// renewAttempts bounds how often accounts are read again because epochs have ended. Those that
// end after the last time were current during the call.
const renewAttempts = 4

// readAccounts reads a tree. behind are the accounts that must begin their present epoch.
func (c *Coordinator) readAccounts(ctx context.Context, tenant budget.TenantID) (tree budget.Tree, behind []budget.TenantID, err error) {
	l := c.node.LaneOf(tenant)
	t := store.NewTree(l.Header(), tenant)
	for !t.Done() {
		if err := c.readPage(ctx, l, tenant, t.Args(), t.Add); err != nil {
			return budget.Tree{}, nil, err
		}
	}
	accounts, behind, err := t.Accounts()
	switch {
	case err != nil:
		return budget.Tree{}, nil, fmt.Errorf("%w: %w: run bursar verify", ErrCorrupt, err)
	case len(accounts) == 0:
		return budget.Tree{Outcome: budget.MissingTenant}, nil, nil
	}
	return budget.Tree{Outcome: budget.Found, Accounts: accounts, Instant: t.Instant}, behind, nil
}

// beginsAtOnce bounds the concurrent calls of beginEpochs.
const beginsAtOnce = 256

// beginEpochs makes each of these accounts begin its present epoch, or move its rolling window on,
// which any operation does.
func (c *Coordinator) beginEpochs(ctx context.Context, tenants []budget.TenantID) error {
	for some := range slices.Chunk(tenants, beginsAtOnce) {
		errs := make([]error, len(some))
		var done sync.WaitGroup
		for i, tenant := range some {
			done.Go(func() {
				_, _, errs[i] = c.send(ctx, lane.NewCall(opRemaining.kind(), tenant, 0, budget.ReservationID{}))
			})
		}
		done.Wait()
		if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
			return errs[i] // one is enough: they fail together
		}
	}
	return nil
}

// readPage runs the page script on the tenant's partition and passes the reply to add.
func (c *Coordinator) readPage(ctx context.Context, l *lane.Lane, tenant budget.TenantID, args []any, add func([]any) error) error {
	reply, err := c.dispatcher.Read(ctx, l, &c.scripts.Page, args)
	if err == nil {
		err = add(reply)
	}
	var refusal store.Refusal
	if errors.As(err, &refusal) {
		return fmt.Errorf("%w: tenant %q: %w", ErrGap, tenant, refusal)
	}
	return err
}
