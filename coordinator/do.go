package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/lane"
)

// Do reserves limit, runs work, and always settles at the cost that work returns. A cost
// above 0 is committed even if work also returns an error, since it was spent before the
// failure. A cost of 0 with an error releases the hold, and so does a panic, which
// continues. A negative cost releases it with budget.ErrInvalidAmount. If work cost more
// than limit and the budget does not cover the difference, limit is committed and the
// error is budget.ErrOverrun. work is not run unless limit is held; a refusal is an error
// such as budget.ErrInsufficient.
//
// The hold is settled even if ctx has ended. The error of work is returned unchanged, or
// joined with the settlement's error if there is one.
func (c *Coordinator) Do(ctx context.Context, tenant budget.TenantID, limit budget.Microcents, work func(ctx context.Context) (actual budget.Microcents, err error)) (settled budget.Settlement, err error) {
	if err := c.node.Admit(); err != nil { // Close waits until the hold is settled
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
			_, _ = c.settleHeld(after, opRelease, reserved.ID, 0) // no caller is left to return an error to; the deadline remains
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

// settleContext outlives the request that it is derived from: a hold is settled even if
// its request has ended.
func (c *Coordinator) settleContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), c.config.callTimeout)
}

// settleHeld settles even while the coordinator closes, and waits while the circuit
// breaker rejects other calls: the money is already held.
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

// settledErr returns the error of the outcome, if there is one.
func settledErr(s budget.Settlement, err error) error {
	if err != nil {
		return nil
	}
	return s.Err()
}
