package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/lane"
)

// Do reserves limit, runs work, and always settles at the cost that work returns. A
// cost above 0 is committed also if work returns an error beside it: what was used up
// before the failure is paid for. A cost of 0 beside an error releases the hold, and so
// does a panic, which goes on. A negative cost releases it with budget.ErrInvalidAmount.
// If work cost more than limit and the budget does not cover the difference, limit is
// committed and the error is budget.ErrOverrun. work is not run unless limit is held; a
// refusal is an error such as budget.ErrInsufficient.
//
// The hold is settled also when ctx has ended. The error of work is returned as it is,
// or joined with that of the settlement if there is one.
func (c *Coordinator) Do(ctx context.Context, tenant budget.TenantID, limit budget.Microcents, work func(ctx context.Context) (actual budget.Microcents, err error)) (settled budget.Settlement, err error) {
	if err := c.node.Admit(); err != nil { // Close waits until all is settled
		return budget.Settlement{}, err
	}
	defer c.node.Done()
	reserved, err := c.TryReserve(ctx, tenant, limit)
	if err == nil {
		err = reserved.Err()
	}
	if err != nil {
		return budget.Settlement{}, err
	}
	returned := false
	defer func() {
		if !returned { // a panic, or runtime.Goexit
			after, cancel := c.settleContext(ctx)
			defer cancel()
			_, _ = c.settleHeld(after, opRelease, reserved.ID, 0) // there is no caller left; the deadline remains
		}
	}()
	actual, workErr := work(ctx)
	returned = true
	after, cancel := c.settleContext(ctx)
	defer cancel()
	if actual == 0 && workErr != nil {
		settled, err = c.settleHeld(after, opRelease, reserved.ID, 0)
		err = errors.Join(err, settledErr(settled, err))
	} else {
		settled, err = c.commitWork(after, reserved.ID, limit, actual)
	}
	if err != nil {
		return settled, errors.Join(workErr, err)
	}
	return settled, workErr
}

// settleContext outlives the request that it is derived from: a hold is settled
// also when its request has ended.
func (c *Coordinator) settleContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), c.config.callTimeout)
}

// settleHeld settles also while the coordinator closes, and waits while others are
// rejected because Redis does not answer: the money is held already.
func (c *Coordinator) settleHeld(ctx context.Context, op operation, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	c.node.AdmitSettlement()
	o := c.telemetry.begin(ctx, op)
	a, _, err := c.node.Do(ctx, lane.NewCall(op.kind(), id.Tenant(), actual, id).MustSend())
	c.telemetry.end(ctx, o, a, err)
	if err != nil {
		return budget.Settlement{}, err
	}
	return settlement(a), nil
}

func (c *Coordinator) commitWork(ctx context.Context, id budget.ReservationID, limit, actual budget.Microcents) (budget.Settlement, error) {
	if actual < 0 {
		settled, err := c.settleHeld(ctx, opRelease, id, 0)
		return settled, errors.Join(fmt.Errorf("%w: the work returned a cost of %s", budget.ErrInvalidAmount, actual), err, settledErr(settled, err))
	}
	settled, err := c.settleHeld(ctx, opCommit, id, actual)
	if err != nil || settled.Outcome != budget.Overrun {
		return settled, errors.Join(err, settledErr(settled, err))
	}
	settled, err = c.settleHeld(ctx, opCommit, id, limit)
	return settled, errors.Join(fmt.Errorf("%w: the work cost %s, and %s was held", budget.ErrOverrun, actual, limit), err, settledErr(settled, err))
}

// settledErr is the error of the outcome, if there is one.
func settledErr(s budget.Settlement, err error) error {
	if err != nil {
		return nil
	}
	return s.Err()
}
