package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

const limitHelp = `Beside its budget, the base limit, a tenant can have up to 4 limits, at most one of each
PERIOD: hour, day, week or month, or the last 24h, 7d or 30d. A reserve takes its amount from
all of them, or from none.`

const limitSetHelp = `A new limit begins with the whole AMOUNT; holds that are open don't count in it. If the
limit exists, a larger AMOUNT counts at once, a smaller one from the next epoch, or at once if
the limit rolls. Flags that are left out keep their parts of it, and the value none removes an
overdraft, thresholds or a carry-over.`

const ensureLimitHelp = `--limit gives the tenant a limit beside its budget; see bursar tenant limit set, which has
the time zone and the other parts.`

// limitFlag is that of tenant ensure.
var limitFlag = &cli.StringSliceFlag{Name: limitName, Usage: "limit each period, too, as `PERIOD=AMOUNT`, such as 'day=$20', by the clock of UTC; may be repeated"}

func limitCommand() *cli.Command {
	return &cli.Command{
		Name: "limit", Usage: "set and remove a tenant's limits beside its base limit",
		Subcommands: []*cli.Command{
			{
				Name: "set", Usage: "give a tenant a limit for a period, or change it", ArgsUsage: "TENANT PERIOD AMOUNT",
				Description: limitHelp + "\n\n" + limitSetHelp + "\n\n" + amountHelp,
				Flags:       redisFlags(append(limitFlags(), dryRunFlag)...), Action: printing(setLimit),
			},
			{
				Name: "remove", Usage: "remove a tenant's limit for a period, if it has one", ArgsUsage: "TENANT PERIOD",
				Description: limitHelp + "\n\nA removed limit is gone at once, with its epochs, also if holds are open.",
				Flags:       redisFlags(), Action: printing(removeLimit),
			},
		},
	}
}

// limitFlags returns the flags of a limit: those of its calendar, its overdraft and its thresholds.
func limitFlags() []cli.Flag {
	return slices.DeleteFunc(settingFlags(), func(f cli.Flag) bool {
		name := f.Names()[0]
		return !slices.Contains([]string{zoneName, weekStartsName, monthStartsName, carryName, overdraftName, thresholdName}, name)
	})
}

// limitChange is a change of a limit that a command line asks for.
type limitChange struct {
	window     windowChange
	overdraft  *budget.Microcents // nil leaves it as it is
	thresholds *budget.Thresholds
}

// limitChangeOf parses the arguments and flags of tenant limit set.
func limitChangeOf(cc *cli.Context) (tenant budget.TenantID, l limitChange, err error) {
	given, err := arguments(cc, "TENANT", "PERIOD", "AMOUNT")
	if err != nil {
		return "", l, err
	}
	if tenant, err = tenantArgument(given[0]); err != nil {
		return "", l, err
	}
	if l.window, err = windowOf(cc); err != nil {
		return "", l, err
	}
	l.window.ofLimit = true
	if l.window.period, err = periodOf(given[1]); err != nil {
		return "", l, exit.With(exit.Usage, err)
	}
	if l.window.amount, err = amountArgument(given[2], budget.Microcent); err != nil {
		return "", l, err
	}
	if cc.IsSet(overdraftName) {
		amount, err := optionalAmount(cc.String(overdraftName))
		if err != nil {
			return "", l, exit.With(exit.Usage, fmt.Errorf("--%s: %w", overdraftName, err))
		}
		l.overdraft = &amount
	}
	if cc.IsSet(thresholdName) {
		thresholds, err := thresholdsOf(cc.StringSlice(thresholdName))
		if err != nil {
			return "", l, exit.With(exit.Usage, fmt.Errorf("--%s: %w", thresholdName, err))
		}
		l.thresholds = &thresholds
	}
	// The parts of the calendar don't depend on the present limit, which has the same period.
	_, err = l.window.apply(tenant, budget.Window{})
	return tenant, l, exit.With(exit.Usage, err)
}

// plan returns the limit after the change of a tenant with these limits, and what the limit is
// granted then.
func (l limitChange) plan(tenant budget.TenantID, list budget.LimitList) (planned budget.Limit, granted budget.Microcents, err error) {
	base := list.Limits[0]
	present := limitIn(list, l.window.period)
	if planned.Window, err = l.window.apply(tenant, present.Settings.Window); err != nil {
		return planned, 0, err
	}
	planned.Overdraft, planned.Thresholds = present.Settings.Overdraft, present.Settings.Thresholds
	if l.overdraft != nil {
		planned.Overdraft = *l.overdraft
	}
	if l.thresholds != nil {
		planned.Thresholds = *l.thresholds
	}
	change, err := budget.NewChange(budget.SetLimit(planned))
	if err != nil {
		return planned, 0, err
	}
	planned = change.Limits[0].Limit // with its defaults
	if change.Apply(base.Settings).Limits.Len() > budget.MaxLimits {
		return planned, 0, tooManyLimits(tenant, base.Settings.Limits)
	}
	if present.Outcome != budget.Found {
		present.Granted = planned.Window.Amount
	}
	if granted, err = grant(&planned.Window, present); err == nil {
		err = budget.ValidateOverdraft(tenant, granted, planned.Overdraft)
	}
	return planned, granted, err
}

// limitIn returns the balance of a further limit in a list, or the zero value.
func limitIn(list budget.LimitList, p budget.Period) budget.Balance {
	if i := slices.IndexFunc(list.Limits, func(b budget.Balance) bool { return b.Limit == p }); i > 0 {
		return list.Limits[i]
	}
	return budget.Balance{}
}

func tooManyLimits(tenant budget.TenantID, has budget.Periods) error {
	return exit.With(exit.Refused, fmt.Errorf("%w: %s has %d beside its base limit (%s), which is the most: remove one with bursar tenant limit remove %s PERIOD",
		budget.ErrTooManyLimits, wording.Name(tenant), has.Len(), periodsText(has), wording.Argument(tenant)))
}

func setLimit(cc *cli.Context, out *output) error {
	tenant, l, err := limitChangeOf(cc)
	if err != nil {
		return err
	}
	if cc.Bool(dryRunName) {
		return withRedis(cc, func(ctx context.Context, c *connect.Connection) error {
			return previewLimit(ctx, cc, out, c, tenant, l)
		})
	}
	return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
		list, err := node.Limits(ctx, tenant)
		if err != nil {
			return unanswered(err, runAgain)
		}
		planned, _, err := l.planFor(cc, out, tenant, list)
		if err != nil {
			return err
		}
		c, err := node.Configure(ctx, tenant, budget.SetLimit(planned))
		if errors.Is(err, budget.ErrTooManyLimits) { // a concurrent change
			return tooManyLimits(tenant, list.Limits[0].Settings.Limits)
		}
		return showLimit(cc, out, tenant, planned, c, err)
	})
}

// planFor is plan for a tenant that was read. The error is that of the command if the tenant
// can't have the limit.
func (l limitChange) planFor(cc *cli.Context, out *output, tenant budget.TenantID, list budget.LimitList) (budget.Limit, budget.Microcents, error) {
	if list.Outcome == budget.MissingTenant {
		return budget.Limit{}, 0, missingTenant(cc, out, tenant)
	}
	if list.Limits[0].Settings.Closed {
		return budget.Limit{}, 0, closed(cc, out, tenant, fields{of{tenant}, budget.Configuration{Outcome: budget.Closed}})
	}
	planned, granted, err := l.plan(tenant, list)
	return planned, granted, exit.With(exit.Refused, err)
}

// ofLimit is the JSON field for the period of a limit.
type ofLimit struct {
	Limit budget.Period `json:"limit"`
}

// showLimit prints the result of tenant limit set.
func showLimit(cc *cli.Context, out *output, tenant budget.TenantID, l budget.Limit, c budget.Configuration, err error) error {
	p := l.Window.Period
	return configured(cc, out, tenant, c, err, fmt.Sprintf("the limit %s of %s is set", p, wording.Name(tenant)), func(w io.Writer) {
		fmt.Fprintf(w, "tenant     %s\nlimit      %s\n", wording.Name(tenant), p)
		printSettings(w, settingsOfLimit(l), budget.Thresholds{})
	}, ofLimit{p}, l)
}

// settingsOfLimit returns the settings that the balance of a limit has.
func settingsOfLimit(l budget.Limit) budget.Settings {
	return budget.Settings{Overdraft: l.Overdraft, Thresholds: l.Thresholds, Window: l.Window}
}

func removeLimit(cc *cli.Context, out *output) error {
	given, err := arguments(cc, "TENANT", "PERIOD")
	if err != nil {
		return err
	}
	tenant, err := tenantArgument(given[0])
	if err != nil {
		return err
	}
	p, err := periodOf(given[1])
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
		c, err := node.Configure(ctx, tenant, budget.RemoveLimit(p))
		now := fmt.Sprintf("%s has no limit %s", wording.Name(tenant), p)
		return configured(cc, out, tenant, c, err, now, func(w io.Writer) {
			if left := c.Settings.Limits; left != 0 {
				now += "; it has " + periodsText(left)
			}
			fmt.Fprintln(w, now)
		}, ofLimit{p})
	})
}

// limitsOf parses the values of --limit of tenant ensure.
func limitsOf(cc *cli.Context, tenant budget.TenantID) (limits []budget.Limit, err error) {
	if !cc.IsSet(limitName) {
		return nil, nil
	}
	given := cc.StringSlice(limitName)
	settings := make([]budget.Setting, len(given))
	for i, text := range given {
		l, err := parseLimit(tenant, text)
		if err != nil {
			return nil, exit.With(exit.Usage, fmt.Errorf("--%s: %w", limitName, err))
		}
		settings[i] = budget.SetLimit(l)
	}
	change, err := budget.NewChange(settings...)
	if err != nil {
		return nil, exit.With(exit.Usage, fmt.Errorf("--%s: %w", limitName, err))
	}
	for _, l := range change.Limits { // in their order
		limits = append(limits, l.Limit)
	}
	return limits, nil
}

// parseLimit parses PERIOD=AMOUNT.
func parseLimit(tenant budget.TenantID, text string) (l budget.Limit, err error) {
	period, amount, found := strings.Cut(text, "=")
	if !found {
		return l, fmt.Errorf("%q has no amount: give PERIOD=AMOUNT, such as 'day=$20'", text)
	}
	c := windowChange{ofLimit: true}
	if c.period, err = periodOf(period); err != nil {
		return l, err
	}
	if c.amount, err = amountArgument(amount, budget.Microcent); err != nil {
		return l, err
	}
	l.Window, err = c.apply(tenant, budget.Window{})
	return l, err
}

// periodsText lists periods.
func periodsText(all budget.Periods) string {
	return strings.ReplaceAll(all.String(), ",", ", ")
}

// levelText names a level, with its limit unless that is the base limit.
func levelText(level budget.TenantID, limit budget.Period) string {
	if limit == budget.NoPeriod {
		return wording.Name(level)
	}
	return fmt.Sprintf("%s (limit %s)", wording.Name(level), limit)
}
