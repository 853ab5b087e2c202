package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

const epochName = "epoch"

func showCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "print a tenant's balance", ArgsUsage: "TENANT",
		Description: "With a window of the calendar the balance is that of the current epoch. The last three\nended epochs can be shown, too, and all that have open holds: --epoch takes a time in one\nof them, such as 2026-03-01T12:00:00Z, or a date of the window's zone, for the start of\nthat day. With a rolling window it also shows when some of the budget next returns.",
		Flags:       redisFlags(&cli.StringFlag{Name: epochName, Usage: "print the balance of the epoch at `TIME`", DefaultText: "now"}),
		Action:      printing(showTenant),
	}
}

func showTenant(cc *cli.Context, out *output) error {
	tenant, err := oneTenant(cc)
	if err != nil {
		return err
	}
	if cc.IsSet(epochName) {
		return showEpoch(cc, out, tenant)
	}
	return withNodeAndRedis(cc, func(ctx context.Context, c *connect.Connection, node *coordinator.Coordinator) error {
		list, err := node.Holds(ctx, tenant)
		if err != nil {
			return unanswered(err, runAgain)
		}
		if list.Outcome == budget.MissingTenant {
			return missingTenant(cc, out, tenant)
		}
		renewals, err := renewalsOf(ctx, c, budget.Account{Tenant: tenant, Balance: list.Balance})
		if err != nil {
			return err
		}
		return out.show(cc, account(tenant, list, renewals[tenant]), func(w io.Writer) {
			ended := len(ofEnded(list))
			printBalance(w, tenant, list.Balance, " in "+wording.Count(len(list.Holds)-ended, "open hold"))
			printRenewal(w, renewals[tenant])
			printEpoch(w, list.Balance, ended)
		})
	})
}

// printBalance prints a balance with its settings. holds follows the reserved amount.
func printBalance(w io.Writer, tenant budget.TenantID, b budget.Balance, holds string) {
	fmt.Fprintf(w, "tenant     %s\ngranted    %s\nremaining  %s\nreserved   %s%s\ncommitted  %s\n",
		wording.Name(tenant), b.Granted, b.Remaining, b.Reserved, holds, b.Committed)
	if debt := b.Debt(); debt > 0 {
		fmt.Fprintf(w, "debt       %s\n", debt)
	}
	printSettings(w, b.Settings, b.Crossed())
}

// epochTime is the value of --epoch.
type epochTime struct {
	at   time.Time // zero for a date
	date string
}

func parseEpochTime(text string) (e epochTime, err error) {
	if e.at, err = time.Parse(time.RFC3339, text); err == nil {
		return e, nil
	}
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return e, exit.With(exit.Usage, fmt.Errorf("--%s: %q is not a time: give one such as 2026-03-01T12:00:00Z, or a date such as 2026-03-01", epochName, text))
	}
	return epochTime{date: text}, nil
}

// in returns the time, or the first instant of the date in the zone of a window.
func (e epochTime) in(w budget.Window) (time.Time, error) {
	if e.date == "" {
		return e.at, nil
	}
	date, err := time.Parse(time.DateOnly, e.date)
	if err != nil {
		return time.Time{}, err
	}
	// No zone differs from UTC by more than a day; a zone may skip a date.
	days := budget.Window{Period: budget.Day, Zone: w.Zone}
	starts, err := days.Boundaries(date.Add(-48*time.Hour), 5)
	for _, start := range starts {
		if start.In(zoneOf(w)).Format(time.DateOnly) >= e.date {
			return start, nil
		}
	}
	return date, err
}

// showEpoch prints the balance of the epoch that --epoch names.
func showEpoch(cc *cli.Context, out *output, tenant budget.TenantID) error {
	epoch, err := parseEpochTime(cc.String(epochName))
	if err != nil {
		return err
	}
	return withNodeAndRedis(cc, func(ctx context.Context, c *connect.Connection, node *coordinator.Coordinator) error {
		present, err := node.Balance(ctx, tenant)
		if err != nil {
			return unanswered(err, runAgain)
		}
		if present.Outcome == budget.MissingTenant {
			return missingTenant(cc, out, tenant)
		}
		at, err := epoch.in(present.Settings.Window)
		if err == nil {
			err = checkPast(ctx, c, at)
		}
		if err != nil {
			return err
		}
		b, err := node.Balance(ctx, tenant, budget.AtEpoch(at))
		switch {
		case errors.Is(err, budget.ErrNoEpoch):
			return noEpoch(tenant, at, present)
		case err != nil:
			return unanswered(err, runAgain)
		case b.Outcome == budget.MissingTenant:
			return missingTenant(cc, out, tenant)
		}
		return out.show(cc, standing(tenant, b), func(w io.Writer) {
			printBalance(w, tenant, b, "")
			printEpoch(w, b, 0)
		})
	})
}

// checkPast returns an error unless a time has passed, by Redis' clock.
func checkPast(ctx context.Context, c *connect.Connection, at time.Time) error {
	now, err := c.Client.Time(ctx).Result()
	if err != nil {
		return exit.With(exit.Unavailable, err)
	}
	if at.After(now) {
		return exit.With(exit.Usage, fmt.Errorf("--%s: %s is in the future: give a time up to now, %s", epochName, instant(at, ""), instant(now, "")))
	}
	return nil
}

// noEpoch returns the error for an epoch that the tenant doesn't keep.
func noEpoch(tenant budget.TenantID, at time.Time, present budget.Balance) error {
	if p := present.Settings.Window.Period; p.Rolling() {
		return refused("--%s: %s has a window of the last %s, which has no epochs, and keeps none from before it at %s: leave the flag out",
			epochName, wording.Name(tenant), p, instant(at, ""))
	}
	if present.Epoch == (budget.Epoch{}) {
		return refused("--%s: %s has had no window, so it has no epochs: leave the flag out", epochName, wording.Name(tenant))
	}
	return refused("--%s: %s keeps no epoch at %s: it keeps the current one, since %s, the last three before it, and those with open holds",
		epochName, wording.Name(tenant), instant(at, ""), present.Epoch.Start)
}
