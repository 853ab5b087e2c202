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

const (
	epochName = "epoch"
	limitName = "limit" // of show a period, of ensure a period and an amount
)

func showCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "print a tenant's balance", ArgsUsage: "TENANT",
		Description: "With a window of the calendar the balance is that of the current epoch. The last three\nended epochs can be shown, too, and all that have open holds: --epoch takes a time in one\nof them, such as 2026-03-01T12:00:00Z, or a date of the window's zone, for the start of\nthat day. With a rolling window it also shows when some of the budget next returns.\nThe limits beside the base limit follow, each with its terms, epoch and settings.",
		Flags: redisFlags(
			&cli.StringFlag{Name: limitName, Usage: "print only the limit of `PERIOD`", DefaultText: "all"},
			&cli.StringFlag{Name: epochName, Usage: "print the balance of the epoch at `TIME`", DefaultText: "now"},
		),
		Action: printing(showTenant),
	}
}

func showTenant(cc *cli.Context, out *output) error {
	tenant, err := oneTenant(cc)
	if err != nil {
		return err
	}
	limit, err := shownLimit(cc)
	if err != nil {
		return err
	}
	switch {
	case cc.IsSet(epochName):
		return showEpoch(cc, out, tenant, limit)
	case limit != budget.NoPeriod:
		return showOneLimit(cc, out, tenant, limit)
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
		further, err := furtherLimits(ctx, c, node, tenant, list.Balance)
		if err != nil {
			return err
		}
		return out.show(cc, account(tenant, list, renewals[tenant], further...), func(w io.Writer) {
			ended := len(ofEnded(list))
			printBalance(w, tenant, list.Balance, " in "+wording.Count(len(list.Holds)-ended, "open hold"))
			printRenewal(w, renewals[tenant])
			printEpoch(w, list.Balance, "in "+wording.Count(ended, "open hold")+" of")
			for _, l := range further {
				fmt.Fprintln(w)
				l.print(w)
			}
		})
	})
}

// shownLimit returns the value of --limit, or NoPeriod.
func shownLimit(cc *cli.Context) (p budget.Period, err error) {
	if cc.IsSet(limitName) {
		if p, err = periodOf(cc.String(limitName)); err != nil {
			err = fmt.Errorf("--%s: %w", limitName, err)
		}
	}
	return p, exit.With(exit.Usage, err)
}

// showOneLimit prints the limit that --limit names.
func showOneLimit(cc *cli.Context, out *output, tenant budget.TenantID, limit budget.Period) error {
	return withNodeAndRedis(cc, func(ctx context.Context, c *connect.Connection, node *coordinator.Coordinator) error {
		b, err := node.Balance(ctx, tenant, budget.OfLimit(limit))
		if err := unread(cc, out, tenant, limit, b, err); err != nil {
			return err
		}
		all, err := withRenewals(ctx, c, tenant, b)
		if err != nil {
			return err
		}
		l := all[0]
		return out.show(cc, append(standing(tenant, b), l.renewal), func(w io.Writer) {
			fmt.Fprintf(w, "tenant     %s\n", wording.Name(tenant))
			l.print(w)
		})
	})
}

// unread returns the error of a command that needs the balance of a limit, unless it was read.
func unread(cc *cli.Context, out *output, tenant budget.TenantID, limit budget.Period, b budget.Balance, err error) error {
	switch {
	case errors.Is(err, budget.ErrNoLimit):
		return refused("--%s: %s has no limit %s: see bursar tenant show %s, or set one with bursar tenant limit set",
			limitName, wording.Name(tenant), limit, wording.Argument(tenant))
	case err != nil:
		return unanswered(err, runAgain)
	case b.Outcome == budget.MissingTenant:
		return missingTenant(cc, out, tenant)
	default:
		return nil
	}
}

// printBalance prints the balance of a base limit with its settings. holds follows the reserved
// amount.
func printBalance(w io.Writer, tenant budget.TenantID, b budget.Balance, holds string) {
	fmt.Fprintf(w, "tenant     %s\n", wording.Name(tenant))
	printTerms(w, b, holds)
}

func printTerms(w io.Writer, b budget.Balance, holds string) {
	fmt.Fprintf(w, "granted    %s\nremaining  %s\nreserved   %s%s\ncommitted  %s\n", b.Granted, b.Remaining, b.Reserved, holds, b.Committed)
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

// showEpoch prints the balance of the epoch that --epoch names, of a limit.
func showEpoch(cc *cli.Context, out *output, tenant budget.TenantID, limit budget.Period) error {
	epoch, err := parseEpochTime(cc.String(epochName))
	if err != nil {
		return err
	}
	return withNodeAndRedis(cc, func(ctx context.Context, c *connect.Connection, node *coordinator.Coordinator) error {
		present, err := node.Balance(ctx, tenant, budget.OfLimit(limit))
		if err := unread(cc, out, tenant, limit, present, err); err != nil {
			return err
		}
		at, err := epoch.in(present.Settings.Window)
		if err == nil {
			err = checkPast(ctx, c, at)
		}
		if err != nil {
			return err
		}
		b, err := node.Balance(ctx, tenant, budget.OfLimit(limit), budget.AtEpoch(at))
		if errors.Is(err, budget.ErrNoEpoch) {
			return noEpoch(levelText(tenant, limit), at, present)
		}
		if err := unread(cc, out, tenant, limit, b, err); err != nil {
			return err
		}
		return out.show(cc, standing(tenant, b), func(w io.Writer) {
			fmt.Fprintf(w, "tenant     %s\n", wording.Name(tenant))
			if limit != budget.NoPeriod {
				fmt.Fprintf(w, "limit      %s\n", limit)
			}
			printTerms(w, b, "")
			printEpoch(w, b, "in")
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

// noEpoch returns the error for an epoch that a limit doesn't keep.
func noEpoch(limit string, at time.Time, present budget.Balance) error {
	if p := present.Settings.Window.Period; p.Rolling() {
		return refused("--%s: %s has a window of the last %s, which has no epochs, and keeps none from before it at %s: leave the flag out",
			epochName, limit, p, instant(at, ""))
	}
	if present.Epoch == (budget.Epoch{}) {
		return refused("--%s: %s has had no window, so it has no epochs: leave the flag out", epochName, limit)
	}
	return refused("--%s: %s keeps no epoch at %s: it keeps the current one, since %s, the last three before it, and those with open holds",
		epochName, limit, instant(at, ""), present.Epoch.Start)
}
