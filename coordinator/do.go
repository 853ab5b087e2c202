package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
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
	if err := c.admit(); err != nil { // Close waits until all is settled
		return budget.Settlement{}, err
	}
	defer c.leave()
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
			_, _ = c.settleHeld(after, luascripts.KindRelease, reserved.ID, 0) // nobody is left to tell; the deadline is behind it
		}
	}()
	actual, workErr := work(ctx)
	returned = true
	after, cancel := c.settleContext(ctx)
	defer cancel()
	settled, err = c.settleWork(after, reserved.ID, limit, actual, workErr != nil)
	if workErr != nil && err == nil {
		return settled, workErr
	}
	return settled, errors.Join(workErr, err)
}

// settleContext outlives the request that it is derived from: a hold is settled
// also when its request has ended.
func (c *Coordinator) settleContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), c.config.callTimeout)
}

// settleHeld settles also while the coordinator closes, and waits where others are
// refused because Redis does not answer: the money is held already.
func (c *Coordinator) settleHeld(ctx context.Context, kind byte, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	c.enter()
	o := c.telemetry.begin(ctx, operationOf(kind))
	op := newCall(kind, id.Tenant(), actual, id)
	op.owed = true
	a, _, err := c.dispatch(ctx, op)
	c.telemetry.end(ctx, o, a, err)
	if err != nil {
		return budget.Settlement{}, err
	}
	return a.settlement(), nil
}

// settleWork settles a hold at what the work cost; failed work that cost nothing
// releases it.
func (c *Coordinator) settleWork(ctx context.Context, id budget.ReservationID, limit, actual budget.Microcents, failed bool) (budget.Settlement, error) {
	if actual < 0 || actual == 0 && failed {
		var invalid error
		if actual < 0 {
			invalid = fmt.Errorf("%w: the work returned a cost of %s", budget.ErrInvalidAmount, actual)
		}
		settled, err := c.settleHeld(ctx, luascripts.KindRelease, id, 0)
		return settled, errors.Join(invalid, err, settledErr(settled, err))
	}
	settled, err := c.settleHeld(ctx, luascripts.KindCommit, id, actual)
	if err != nil || settled.Outcome != budget.Overrun {
		return settled, errors.Join(err, settledErr(settled, err))
	}
	settled, err = c.settleHeld(ctx, luascripts.KindCommit, id, limit)
	return settled, errors.Join(fmt.Errorf("%w: the work cost %s, and %s was held", budget.ErrOverrun, actual, limit), err, settledErr(settled, err))
}

// settledErr is what the outcome says, where there is one.
func settledErr(s budget.Settlement, err error) error {
	if err != nil {
		return nil
	}
	return s.Err()
}
