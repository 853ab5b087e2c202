package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
)

func deleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "delete a tenant and its books", ArgsUsage: "TENANT",
		Description: "Refuses while holds are open. With --force it first withdraws what remains, so that\nnothing new is held, and releases the open holds; what they were held for is then\nnot charged. It prints what was lost. Levels below the tenant are tenants of their\nown, and stay.",
		Flags:       redisFlags(&cli.BoolFlag{Name: "force", Usage: "also with open holds, which are released"}),
		Action:      printing(deleteTenant),
	}
}

// deleted is what is gone, as JSON.
type deleted struct {
	Tenant budget.TenantID `json:"tenant"`
	budget.Balance
	Withdrawn budget.Microcents `json:"withdrawn"`
	Released  []budget.Hold     `json:"released"`
}

func deleteTenant(cc *cli.Context, out *output) error {
	tenant, err := oneTenant(cc)
	if err != nil {
		return err
	}
	return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
		gone := deleted{Tenant: tenant, Released: []budget.Hold{}}
		gone.Balance, err = node.DeleteTenant(ctx, tenant)
		if err == nil && gone.Outcome == budget.HoldsOpen && cc.Bool("force") {
			err = gone.force(ctx, node)
		}
		switch {
		case err != nil:
			return unanswered(fmt.Errorf("%w%s; run it again", err, gone.sofar()))
		case gone.Outcome == budget.MissingTenant:
			return missingTenant(cc, tenant)
		case gone.Outcome == budget.HoldsOpen:
			return refused("%s has open holds of %s%s; see bursar holds list --tenant %s, settle them, or give --force",
				tenant, gone.Reserved, gone.sofar(), tenant)
		}
		return out.show(cc, gone, func(w io.Writer) { gone.print(w) })
	})
}

// forceRounds bounds how often the holds that others made meanwhile are released.
const forceRounds = 10

// force withdraws, releases and deletes, until nobody has held anything in between.
func (d *deleted) force(ctx context.Context, node *coordinator.Coordinator) error {
	for range forceRounds {
		if err := d.withdraw(ctx, node); err != nil {
			return err
		}
		if err := d.release(ctx, node); err != nil {
			return err
		}
		if err := d.withdraw(ctx, node); err != nil { // what the holds gave back
			return err
		}
		b, err := node.DeleteTenant(ctx, d.Tenant)
		if err != nil {
			return err
		}
		if d.Balance = b; b.Outcome != budget.HoldsOpen {
			return nil
		}
	}
	return nil
}

func (d *deleted) withdraw(ctx context.Context, node *coordinator.Coordinator) error {
	r, err := node.Remaining(ctx, d.Tenant)
	if err != nil || r.Remaining <= 0 {
		return err
	}
	taken, err := node.Withdraw(ctx, d.Tenant, r.Remaining)
	if err == nil && taken.Outcome == budget.Withdrawn {
		d.Withdrawn += r.Remaining
	}
	return err
}

func (d *deleted) release(ctx context.Context, node *coordinator.Coordinator) error {
	list, err := node.Holds(ctx, d.Tenant)
	if err != nil {
		return err
	}
	for _, hold := range list.Holds {
		s, err := node.Release(ctx, hold.ID)
		if err != nil {
			return err
		}
		if s.Outcome == budget.Released {
			d.Released = append(d.Released, hold)
		}
	}
	return nil
}

// sofar tells what was done before it could not go on.
func (d *deleted) sofar() string {
	if d.Withdrawn == 0 && len(d.Released) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s were withdrawn and %s released already)", d.Withdrawn, count(len(d.Released), "hold"))
}

func (d *deleted) print(w io.Writer) {
	fmt.Fprintf(w, "deleted %s: its budget was %s, %s of it were committed and %s left\n",
		d.Tenant, d.Granted+d.Withdrawn, d.Committed, d.Remaining+d.Withdrawn)
	for _, hold := range d.Released {
		fmt.Fprintf(w, "released %s: %s, held since %s\n", hold.ID, hold.Held, instant(hold.Made, "-"))
	}
}
