package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

const inspectDescription = `Without an argument it lists the partitions of the prefix. A TENANT shows its account,
and what its open holds sum up to; a RESERVATION its hold, open or ended; --partition
its header, control record, sessions and next timers, how many records of each kind
there are, and every damage; --node the sessions of a node and the stored replies to
its last batches. It reads Redis' own state page by page, and changes nothing.

Exit code 1 if something is damaged or absent.`

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name: "inspect", Usage: "print stored records in readable form, damaged ones too", ArgsUsage: "[TENANT | RESERVATION]", Description: inspectDescription,
		Flags: redisFlags(
			&cli.IntFlag{Name: "partition", Usage: "show partition `N`"},
			&cli.StringFlag{Name: "node", Usage: "show the sessions of node `ID`, 16 hexadecimal digits"},
		),
		Action: printing(inspect),
	}
}

type inspection = func(ctx context.Context, c *connect.Connection) (audit.Inspection, error)

func inspect(cc *cli.Context, out *output) error {
	read, err := inspectionOf(cc)
	if err != nil {
		return err
	}
	return withPartitions(cc, func(ctx context.Context, c *connect.Connection) error {
		i, err := read(ctx, c)
		switch {
		case errors.Is(err, audit.ErrAbsent), errors.Is(err, audit.ErrUnreadable):
			return exit.With(exit.Refused, err)
		case err != nil:
			return ofState(err)
		}
		if err := out.show(cc, i, func(w io.Writer) { _ = i.WriteText(w) }); err != nil { // out keeps its error
			return err
		}
		if n := len(i.Damages); n > 0 {
			return refused("%s: %s; keep a copy of Redis' data before anything is changed", i.Subject, wording.Count(n, "damage"))
		}
		return nil
	})
}

// inspectionOf returns the inspection that the arguments and flags select.
func inspectionOf(cc *cli.Context) (inspection, error) {
	given := cc.Args().Slice()
	selected := len(given)
	for _, flag := range []string{"partition", "node"} {
		if cc.IsSet(flag) {
			selected++
		}
	}
	switch {
	case selected > 1:
		return nil, exit.With(exit.Usage, fmt.Errorf("%s shows one thing: give a tenant, a reservation, --partition or --node", cc.Command.HelpName))
	case cc.IsSet("partition"):
		return func(ctx context.Context, c *connect.Connection) (audit.Inspection, error) {
			return audit.InspectPartition(ctx, c.Client, c.Prefix, cc.Int("partition"))
		}, nil
	case cc.IsSet("node"):
		node, err := strconv.ParseUint(cc.String("node"), 16, 64)
		if err != nil || len(cc.String("node")) != 16 {
			return nil, exit.With(exit.Usage, fmt.Errorf("--node %q: give 16 hexadecimal digits, as holds list prints them", cc.String("node")))
		}
		return func(ctx context.Context, c *connect.Connection) (audit.Inspection, error) {
			return audit.InspectNode(ctx, c.Client, c.Prefix, node)
		}, nil
	case len(given) == 1:
		return inspectionOfName(given[0])
	default:
		return func(ctx context.Context, c *connect.Connection) (audit.Inspection, error) {
			return audit.Inspect(ctx, c.Client, c.Prefix)
		}, nil
	}
}

// inspectionOfName inspects a reservation if text is an id, and a tenant otherwise.
func inspectionOfName(text string) (inspection, error) {
	if id, err := budget.ParseReservationID(text); err == nil {
		return func(ctx context.Context, c *connect.Connection) (audit.Inspection, error) {
			return audit.InspectReservation(ctx, c.Client, c.Prefix, id)
		}, nil
	}
	tenant, err := tenantArgument(text)
	return func(ctx context.Context, c *connect.Connection) (audit.Inspection, error) {
		return audit.InspectTenant(ctx, c.Client, c.Prefix, tenant)
	}, err
}
