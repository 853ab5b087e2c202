package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
)

// Do reserves max, runs work, and always settles: it commits what work returns,
// or releases the hold where work returns an error or panics (the panic goes on).
// work is not run unless max is held; a refusal is an error such as
// budget.ErrInsufficient. Where work cost more than max and the budget does not
// cover the difference, max is committed and the error is budget.ErrOverrun.
//
// The hold is settled also when ctx has ended. The error of work is returned as
// it is, joined with that of the settlement if that fails too.
func (c *Coordinator) Do(ctx context.Context, tenant budget.TenantID, limit budget.Microcents, work func(ctx context.Context) (actual budget.Microcents, err error)) (settled budget.Settlement, err error) {
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
			_, _ = c.Release(after, reserved.ID) // nobody is left to tell; the deadline is behind it
		}
	}()
	actual, workErr := work(ctx)
	returned = true
	after, cancel := c.settleContext(ctx)
	defer cancel()
	if workErr == nil {
		return c.commitWork(after, reserved.ID, limit, actual)
	}
	settled, err = c.Release(after, reserved.ID)
	if err == nil {
		err = settled.Err()
	}
	if err == nil {
		return settled, workErr
	}
	return settled, errors.Join(workErr, err)
}

// settleContext outlives the request that it is derived from: a hold is settled
// also when its request has ended.
func (c *Coordinator) settleContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), c.config.callTimeout)
}

func (c *Coordinator) commitWork(ctx context.Context, id budget.ReservationID, limit, actual budget.Microcents) (budget.Settlement, error) {
	settled, err := c.Commit(ctx, id, actual)
	if err != nil {
		return settled, err
	}
	if settled.Outcome == budget.Overrun {
		settled, err = c.Commit(ctx, id, limit)
		return settled, errors.Join(fmt.Errorf("%w: cost %s, held and committed %s", budget.ErrOverrun, actual, limit), err)
	}
	if settled.Outcome == budget.InvalidAmount {
		settled, err = c.Release(ctx, id)
		return settled, errors.Join(fmt.Errorf("%w: the work returned a cost of %s; its hold is released", budget.ErrInvalidAmount, actual), err)
	}
	return settled, settled.Err()
}
