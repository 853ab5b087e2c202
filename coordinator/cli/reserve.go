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

func reserveCommand() *cli.Command {
	return &cli.Command{
		Name: "reserve", Usage: "hold an amount of a tenant's budget", ArgsUsage: "TENANT AMOUNT",
		Description: "Prints the reservation's id, for commit or release. The hold expires at its\ndeadline.\n\n" + amountHelp,
		Flags: redisFlags(&cli.DurationFlag{
			Name: "ttl", Usage: "time until the hold is released; 0 for never", Value: budget.DefaultHoldTTL,
		}),
		Action: printing(reserve),
	}
}

func reserve(cc *cli.Context, out *output) error {
	tenant, amount, err := tenantAndAmount(cc, budget.Microcent)
	if err != nil {
		return err
	}
	ttl := cc.Duration("ttl")
	if budget.ValidateHoldTTL(ttl) != nil {
		return exit.With(exit.Usage, fmt.Errorf("--ttl %s: give %s, of whole milliseconds, at most %s, or 0 for none", ttl, aDuration, budget.MaxHoldTTL))
	}
	return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
		r, err := node.TryReserve(ctx, tenant, amount, budget.WithHoldTTL(ttl))
		switch {
		case err != nil:
			return unanswered(err, "if it is held, it expires at its deadline; see bursar lookup")
		case r.Outcome == budget.MissingTenant:
			return missingTenant(cc, out, tenant)
		case r.Outcome == budget.Insufficient:
			return insufficient(cc, out, levelText(r.Level, r.Limit), r, r.Remaining, r.Required, r.Renews)
		case r.Err() != nil:
			return restricted(cc, out, r, amount)
		}
		out.did("%s of %s is held as %s", amount, wording.Name(tenant), r.ID)
		return out.show(cc, r, func(w io.Writer) {
			fmt.Fprintf(w, "%s\nreserved %s; %s has %s left\n", r.ID, amount, levelText(r.Level, r.Limit), r.Remaining)
		})
	})
}

func commitCommand() *cli.Command {
	return &cli.Command{
		Name: "commit", Usage: "settle a reservation at its actual cost", ArgsUsage: "ID AMOUNT",
		Description: "Any surplus goes back to the tenant; any excess is charged if the tenant can cover it,\nwith its overdraft. '$0' charges nothing. With --available the excess is never refused:\nthe tenant pays what it can, and the rest is printed as the shortfall.\n\n" + amountHelp,
		Flags:       redisFlags(&cli.BoolFlag{Name: "available", Usage: "charge as much of the excess as the tenant can pay"}),
		Action:      printing(commit),
	}
}

func commit(cc *cli.Context, out *output) error {
	given, err := arguments(cc, "ID", "AMOUNT")
	if err != nil {
		return err
	}
	id, err := idArgument(given[0])
	if err != nil {
		return err
	}
	amount, err := amountArgument(given[1], 0)
	if err != nil {
		return err
	}
	return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
		settle := node.Commit
		if cc.Bool("available") {
			settle = node.CommitAvailable
		}
		s, err := settle(ctx, id, amount)
		return settled(cc, out, id, s, err)
	})
}

func releaseCommand() *cli.Command {
	return &cli.Command{
		Name: "release", Usage: "release a reservation without charging", ArgsUsage: "ID",
		Flags: redisFlags(), Action: printing(release),
	}
}

func release(cc *cli.Context, out *output) error {
	id, err := oneID(cc)
	if err != nil {
		return err
	}
	return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
		s, err := node.Release(ctx, id)
		return settled(cc, out, id, s, err)
	})
}

func oneID(cc *cli.Context) (budget.ReservationID, error) {
	given, err := arguments(cc, "ID")
	if err != nil {
		return budget.ReservationID{}, err
	}
	return idArgument(given[0])
}

// settled prints the result of a commit or release. It returns an error unless the hold
// was settled.
func settled(cc *cli.Context, out *output, id budget.ReservationID, s budget.Settlement, err error) error {
	if err != nil {
		return unanswered(err, "it may be repeated: a hold settles once")
	}
	if s.Err() == nil {
		out.did("%s is %s", id, s.Outcome)
	}
	if err := out.show(cc, s, func(w io.Writer) {
		// Other outcomes are reported by the error.
		if s.Outcome == budget.Committed {
			fmt.Fprintf(w, "committed %s; %s has %s left\n", s.Actual, levelText(s.Level, s.Limit), s.Remaining)
		}
		if s.Shortfall > 0 {
			fmt.Fprintf(w, "shortfall %s, which was not charged\n", s.Shortfall)
		}
		if s.Outcome == budget.Released {
			fmt.Fprintf(w, "released %s; %s has %s left\n", s.Returned, levelText(s.Level, s.Limit), s.Remaining)
		}
	}); err != nil {
		return err
	}
	switch {
	case s.Outcome == budget.Overrun:
		more := "grant more"
		if s.Limit != budget.NoPeriod {
			more = "raise the limit" // which takes no grants
		}
		return refused("the cost is above the hold, and %s has only %s left for the difference; the hold stays open: commit less, %s, or give --available", levelText(s.Level, s.Limit), s.Remaining, more)
	case s.Outcome == budget.MissingReservation && s.Prior != budget.Unknown:
		return refused("%s is not open: it was %s before; see bursar lookup", id, s.Prior)
	case s.Err() != nil:
		return notOpen(cc, id)
	}
	return nil
}

func notOpen(cc *cli.Context, id budget.ReservationID) error {
	return refused("no open reservation is named %s under the prefix %q: it ended too long ago, was never made, or is under another --prefix or on another Redis",
		id, cc.String("prefix"))
}

func lookupCommand() *cli.Command {
	return &cli.Command{
		Name: "lookup", Usage: "show what happened to a reservation", ArgsUsage: "ID",
		Description: "A reservation's outcome is remembered for 10 minutes, but at most for the last 16,384\nsettled reservations of a partition, unless the nodes set WithRetention.",
		Flags:       redisFlags(), Action: printing(lookup),
	}
}

func lookup(cc *cli.Context, out *output) error {
	id, err := oneID(cc)
	if err != nil {
		return err
	}
	return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
		f, err := node.Lookup(ctx, id)
		if err != nil {
			return unanswered(err, runAgain)
		}
		if err := out.show(cc, f, func(w io.Writer) {
			if f.Outcome == budget.Reserved {
				fmt.Fprintf(w, "open: %s, held since %s until %s\n", f.Amount, instant(f.At, "-"), instant(f.Deadline, "it is settled"))
			} else if f.Outcome != budget.NotKnown {
				fmt.Fprintf(w, "%s %s at %s\n", f.Outcome, f.Amount, instant(f.At, "-"))
			}
		}); err != nil {
			return err
		}
		if f.Outcome == budget.NotKnown {
			return notOpen(cc, id)
		}
		return nil
	})
}
