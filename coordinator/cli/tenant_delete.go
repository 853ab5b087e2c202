package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/internal/wording"
)

func deleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "delete a tenant and its books", ArgsUsage: "TENANT",
		Description: "Refuses while holds are open. With --force it first withdraws what remains, so that\nnothing new is held, then ends the open holds, and prints what was lost. They are\ncommitted in full, since what is released could be held again by others; what was\ncommitted goes with the books. Levels below the tenant are tenants of their own, and\nstay.",
		Flags:       redisFlags(&cli.BoolFlag{Name: "force", Usage: "also with open holds, which end"}),
		Action:      printing(deleteTenant),
	}
}

// deleted is what is gone, as JSON. Withdrawn and the holds are what --force took; the
// balance is that of the end.
type deleted struct {
	Tenant budget.TenantID `json:"tenant"`
	budget.Balance
	Withdrawn budget.Microcents `json:"withdrawn"`
	Ended     []budget.Hold     `json:"ended"`
}

func deleteTenant(cc *cli.Context, out *output) error {
	tenant, err := oneTenant(cc)
	if err != nil {
		return err
	}
	return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
		gone := deleted{Tenant: tenant, Ended: []budget.Hold{}}
		gone.Balance, err = node.DeleteTenant(ctx, tenant)
		if err == nil && gone.Outcome == budget.HoldsOpen && cc.Bool("force") {
			err = gone.force(ctx, node)
		}
		switch {
		case err != nil:
			return unanswered(fmt.Errorf("%w%s", err, gone.sofar()), "look at bursar tenant show "+string(tenant)+", and run it again where the tenant is still there")
		case gone.Outcome == budget.MissingTenant && gone.sofar() != "":
			return refused("somebody else has deleted %s meanwhile%s", tenant, gone.sofar())
		case gone.Outcome == budget.MissingTenant:
			return missingTenant(cc, tenant)
		case gone.Outcome == budget.HoldsOpen:
			return refused("%s has open holds of %s%s; see bursar holds list --tenant %s, settle them, or give --force",
				tenant, gone.Reserved, gone.sofar(), tenant)
		}
		out.did("%s is deleted%s", tenant, gone.sofar())
		return out.show(cc, gone, func(w io.Writer) { gone.print(w) })
	})
}

// forceRounds bounds how often it begins again, because others have settled holds
// meanwhile, and held again what that gave back.
const forceRounds = 100

func (d *deleted) force(ctx context.Context, node *coordinator.Coordinator) error {
	for range forceRounds {
		if err := d.withdraw(ctx, node); err != nil {
			return err
		}
		if err := d.end(ctx, node); err != nil {
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

func (d *deleted) end(ctx context.Context, node *coordinator.Coordinator) error {
	list, err := node.Holds(ctx, d.Tenant)
	if err != nil {
		return err
	}
	for _, hold := range list.Holds {
		s, err := node.Commit(ctx, hold.ID, hold.Held)
		if err != nil {
			return err
		}
		if s.Outcome == budget.Committed {
			d.Ended = append(d.Ended, hold)
		}
	}
	return nil
}

// held is what the ended holds held.
func (d *deleted) held() (sum budget.Microcents) {
	for _, hold := range d.Ended {
		sum += hold.Held // no more than was granted
	}
	return sum
}

// sofar tells what was done before it could not go on.
func (d *deleted) sofar() string {
	if d.Withdrawn == 0 && len(d.Ended) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s were withdrawn already, and %s of %s committed)", d.Withdrawn, wording.Count(len(d.Ended), "hold"), d.held())
}

func (d *deleted) print(w io.Writer) {
	held := d.held()
	fmt.Fprintf(w, "deleted %s: its budget was %s, %s of it were committed, %s held and %s left\n",
		d.Tenant, d.Granted+d.Withdrawn, d.Committed-held, held, d.Remaining+d.Withdrawn)
	for _, hold := range d.Ended {
		fmt.Fprintf(w, "ended %s: %s, held since %s\n", hold.ID, hold.Held, instant(hold.Made, "-"))
	}
}
