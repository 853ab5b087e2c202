package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

func deleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "delete a tenant with its record of spending", ArgsUsage: "TENANT",
		Description: "Needs --yes; without it, it prints the money that would be lost, and exits with 2.\nRefused while holds are open. With --force it first withdraws the remaining money, so\nthat nothing new is held, then commits the open holds in full, since released money\ncould be held again, and prints the loss. Among them are holds of\ntenants below it that took from its budget. The tenants below are kept, and are no\nlonger limited by it.",
		Flags: redisFlags(
			&cli.BoolFlag{Name: "yes", Usage: "delete the tenant and its remaining money"},
			&cli.BoolFlag{Name: "force", Usage: "delete it despite open holds, which are ended"},
		),
		Action: printing(deleteTenant),
	}
}

// deleted is the result of a deletion: the last balance read, the amount that --force
// withdrew, and the holds that it ended.
type deleted struct {
	tenant budget.TenantID
	budget.Balance
	withdrawn budget.Microcents
	ended     []budget.Hold
	earlier   budget.Microcents // held by those of them that were of ended epochs
}

func (d *deleted) json() fields {
	taken := struct {
		Withdrawn budget.Microcents `json:"withdrawn"`
		Ended     []budget.Hold     `json:"ended"`
	}{d.withdrawn, d.ended}
	return fields{of{d.tenant}, d.Balance, taken}
}

func deleteTenant(cc *cli.Context, out *output) error {
	tenant, err := oneTenant(cc)
	if err != nil {
		return err
	}
	return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
		deletion := deleted{tenant: tenant, ended: []budget.Hold{}}
		if cc.Bool("yes") {
			err = deletion.delete(ctx, node, cc.Bool("force"))
		} else {
			err = deletion.look(ctx, node, cc.Bool("force"))
		}
		name := wording.Name(tenant)
		switch {
		case err != nil:
			return unanswered(fmt.Errorf("%w%s", err, deletion.soFar()), "run bursar tenant show "+wording.Argument(tenant)+", and delete it again if it still exists")
		case deletion.Outcome == budget.MissingTenant && deletion.soFar() == "":
			return missingTenant(cc, out, tenant)
		case deletion.Outcome == budget.MissingTenant:
			return out.refusal(cc, deletion.json(), "%s was deleted concurrently%s", name, deletion.soFar())
		case deletion.Outcome == budget.HoldsOpen:
			return out.refusal(cc, deletion.json(), "%s has open holds of %s%s; see bursar holds list --tenant %s, settle them, or give --force",
				name, deletion.Reserved+deletion.Ended, deletion.soFar(), wording.Word(tenant))
		case deletion.Outcome == budget.Found:
			return exit.With(exit.Usage, fmt.Errorf("this would delete %s: granted %s, remaining %s, reserved %s, committed %s; add --yes to do it",
				name, deletion.Granted, deletion.Remaining, deletion.Reserved+deletion.Ended, deletion.Committed))
		}
		out.did("%s is deleted%s", name, deletion.soFar())
		return out.show(cc, deletion.json(), func(w io.Writer) { deletion.print(w) })
	})
}

// look sets the outcome that a deletion would have, without deleting: Found if it would
// succeed.
func (d *deleted) look(ctx context.Context, node *coordinator.Coordinator, force bool) (err error) {
	if d.Balance, err = node.Balance(ctx, d.tenant); err == nil && d.Reserved+d.Ended > 0 && !force {
		d.Outcome = budget.HoldsOpen
	}
	return err
}

func (d *deleted) delete(ctx context.Context, node *coordinator.Coordinator, force bool) (err error) {
	if d.Balance, err = node.DeleteTenant(ctx, d.tenant); err == nil && d.Outcome == budget.HoldsOpen && force {
		err = d.force(ctx, node)
	}
	return err
}

// forceRounds is the maximum number of attempts. One fails if other callers settle holds
// after its withdrawal and reserve the returned money again.
const forceRounds = 100

func (d *deleted) force(ctx context.Context, node *coordinator.Coordinator) error {
	for range forceRounds {
		if err := d.withdraw(ctx, node); err != nil {
			return err
		}
		if err := d.end(ctx, node); err != nil {
			return err
		}
		b, err := node.DeleteTenant(ctx, d.tenant)
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
	b, err := node.Balance(ctx, d.tenant) // Remaining may be that of another level
	if err != nil || b.Remaining <= 0 {
		return err
	}
	taken, err := node.Withdraw(ctx, d.tenant, b.Remaining)
	if err == nil && taken.Outcome == budget.Withdrawn {
		d.withdrawn += b.Remaining
	}
	return err
}

func (d *deleted) end(ctx context.Context, node *coordinator.Coordinator) error {
	list, err := node.Holds(ctx, d.tenant)
	if err != nil {
		return err
	}
	earlier := ofEnded(list)
	for _, hold := range list.Holds {
		s, err := node.Commit(ctx, hold.ID, hold.Held)
		if err != nil {
			return err
		}
		if s.Outcome == budget.Committed {
			d.ended = append(d.ended, hold)
			if earlier[hold.ID] {
				d.earlier += hold.Held
			}
		}
	}
	return nil
}

// held returns the sum of the ended holds.
func (d *deleted) held() (sum budget.Microcents) {
	for _, hold := range d.ended {
		sum += hold.Held // within the granted budget: no overflow
	}
	return sum
}

// soFar describes the effects of --force, or is "" without any.
func (d *deleted) soFar() string {
	if d.withdrawn == 0 && len(d.ended) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s was already withdrawn, and %s of %s committed)", d.withdrawn, wording.Count(len(d.ended), "hold"), d.held())
}

func (d *deleted) print(w io.Writer) {
	held := d.held() - d.earlier
	fmt.Fprintf(w, "deleted %s: its budget was %s, of which %s was committed, %s held and %s left\n",
		wording.Name(d.tenant), d.Granted+d.withdrawn, max(d.Committed-held, 0), held, d.Remaining+d.withdrawn)
	for _, hold := range d.ended {
		fmt.Fprintf(w, "ended %s: %s, held since %s\n", hold.ID, hold.Held, instant(hold.Made, "-"))
	}
}
