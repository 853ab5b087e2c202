package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/fatih/color"
	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

const doctorDescription = `Makes every check that a node makes when it starts, a line each with a remedy if it is
not ok. Changes nothing. The checks: reachable, version, role, topology, eviction,
persistence, min-replicas, rights, clock, scripts, partitions (of the prefix, and how
many of them are on each server). "unknown" means that the server does not report it.
The exit code is that of every command there: 1 for an unsupported Redis
configuration (a check failed, a node refuses to start), 3 if Redis is out of reach or
refuses for the moment.`

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "check whether a Redis is fit for budgets, with a remedy for each fault", Description: doctorDescription,
		Flags: redisFlags(), Action: printing(doctor),
	}
}

func doctor(cc *cli.Context, out *output) error {
	if _, err := arguments(cc); err != nil {
		return err
	}
	connection, err := open(cc)
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(cc.Context, cc.Duration(timeoutFlag.Name))
	defer cancel()
	checks, err := coordinator.Inspect(ctx, connection.Client, coordinator.WithKeyPrefix(connection.Prefix))
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	if cc.Err() != nil {
		return exit.ErrInterrupted
	}
	diagnose(cc.Context, connection, checks)
	answer := struct {
		Redis  string              `json:"redis"`
		Checks []coordinator.Check `json:"checks"`
	}{connection.Name, checks}
	if err := out.show(cc, answer, func(w io.Writer) { printChecks(w, checks) }); err != nil {
		return err
	}
	return diagnosis(connection.Name, checks)
}

// diagnose replaces the finding and the remedy of an unreachable server with ones that
// consider the address and the flags, which package coordinator doesn't have.
func diagnose(ctx context.Context, connection *connect.Connection, checks []coordinator.Check) {
	for i, c := range checks {
		if c.Name != "reachable" || c.Status != coordinator.CheckFailed {
			continue
		}
		if found, remedy := connection.Diagnose(ctx, c.Found); remedy != "" {
			checks[i].Found, checks[i].Remedy = found, remedy
		}
	}
}

func printChecks(w io.Writer, checks []coordinator.Check) {
	colours := map[coordinator.Status]color.Attribute{
		coordinator.CheckOK: color.FgGreen, coordinator.CheckWarning: color.FgYellow,
		coordinator.CheckFailed: color.FgRed, coordinator.CheckUnknown: color.FgYellow,
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		found := c.Found
		if c.Remedy != "" {
			found += "; " + c.Remedy
		}
		server := ""
		if c.Server != "" {
			server = c.Server + "\t"
		}
		fmt.Fprintf(t, "%s\t%s%s\t%s\n", tinted(w, colours[c.Status], c.Status.String()), server, c.Name, found)
	}
	_ = t.Flush() // output keeps the error
}

func diagnosis(name string, checks []coordinator.Check) error {
	var unavailable error
	unfit := 0
	for _, c := range checks {
		switch err := c.Err(); {
		case err == nil:
		case c.Name == "reachable" || !errors.Is(err, coordinator.ErrUnfit):
			unavailable = cmp.Or(unavailable, fmt.Errorf("%s: %s; %s", name, c.Found, c.Remedy))
		default:
			unfit++
		}
	}
	if unfit > 0 {
		return refused("%s: %w: %s failed", name, coordinator.ErrUnfit, wording.Count(unfit, "check"))
	}
	return exit.With(exit.Unavailable, unavailable)
}
