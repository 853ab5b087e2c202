package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

const (
	overdraftName   = "overdraft"
	capHoldName     = "cap-hold"
	capReservedName = "cap-reserved"
	capHoldsName    = "cap-holds"
	thresholdName   = "threshold"

	noSetting = "none" // the value of a flag that removes a setting
)

const settingsHelp = `The value none, or 0, removes a setting. The thresholds replace all earlier ones: give
--threshold once for each, in ascending order. Settings limit the account that they are
set on, so a level's caps count the holds of all tenants below it.`

// settingFlags returns the flags of settings, for tenant set and tenant ensure.
func settingFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: overdraftName, Usage: "let commits spend `AMOUNT` beyond the budget"},
		&cli.StringFlag{Name: capHoldName, Usage: "limit each hold to `AMOUNT`"},
		&cli.StringFlag{Name: capReservedName, Usage: "limit the sum of all open holds to `AMOUNT`"},
		&cli.StringFlag{Name: capHoldsName, Usage: "limit the number of open holds to `N`"},
		&cli.StringSliceFlag{Name: thresholdName, Usage: "report when `PERCENT` of the budget is committed; may be repeated"},
	}, windowFlags()...)
}

// settingsOf returns the settings that the flags give. An error names the flag.
func settingsOf(cc *cli.Context) (settings []budget.Setting, err error) {
	for _, f := range []struct {
		name  string
		parse func(cc *cli.Context, name string) (budget.Setting, error)
	}{
		{overdraftName, amountSetting(budget.Overdraft)},
		{capHoldName, amountSetting(budget.CapHold)},
		{capReservedName, amountSetting(budget.CapReserved)},
		{capHoldsName, holdsSetting},
		{thresholdName, thresholdSetting},
	} {
		if !cc.IsSet(f.name) {
			continue
		}
		setting, err := f.parse(cc, f.name)
		if err != nil {
			return nil, exit.With(exit.Usage, fmt.Errorf("--%s: %w", f.name, err))
		}
		settings = append(settings, setting)
	}
	return settings, nil
}

func amountSetting(set func(budget.Microcents) budget.Setting) func(cc *cli.Context, name string) (budget.Setting, error) {
	return func(cc *cli.Context, name string) (budget.Setting, error) {
		amount, err := optionalAmount(cc.String(name))
		return set(amount), err
	}
}

// optionalAmount parses an amount, or none as 0.
func optionalAmount(text string) (budget.Microcents, error) {
	if text == noSetting || text == "0" {
		return 0, nil
	}
	amount, err := budget.ParseMicrocents(text)
	if err == nil && amount < 0 {
		err = fmt.Errorf("%w %q: give %s or more", budget.ErrInvalidAmount, text, budget.Microcents(0))
	}
	return amount, err
}

func holdsSetting(cc *cli.Context, name string) (budget.Setting, error) {
	text := cc.String(name)
	if text == noSetting {
		return budget.CapHolds(0), nil
	}
	holds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || holds < 0 || holds > budget.MaxCapHolds {
		return budget.Setting{}, fmt.Errorf("%q is not a number of holds: give 1 to %d, or %s", text, int64(budget.MaxCapHolds), noSetting)
	}
	return budget.CapHolds(holds), nil
}

func thresholdSetting(cc *cli.Context, name string) (budget.Setting, error) {
	t, err := thresholdsOf(cc.StringSlice(name))
	return budget.AtThresholds(t.Percents()...), err
}

// thresholdsOf parses percentages, or none alone.
func thresholdsOf(texts []string) (budget.Thresholds, error) {
	if len(texts) == 1 && (texts[0] == noSetting || texts[0] == "0") {
		return budget.Thresholds{}, nil
	}
	percents := make([]int, len(texts))
	for i, text := range texts {
		var err error
		if percents[i], err = strconv.Atoi(text); err != nil {
			return budget.Thresholds{}, fmt.Errorf("%q is not a percentage: give whole numbers from 1 to %d, or only %s", text, budget.MaxThreshold, noSetting)
		}
	}
	return budget.NewThresholds(percents...)
}

// requested are the changes of settings that the flags of a command ask for.
type requested struct {
	settings []budget.Setting // all but the window and limits
	window   windowChange
	limits   []budget.Limit // of a new tenant
}

func requestedBy(cc *cli.Context) (r requested, err error) {
	if r.settings, err = settingsOf(cc); err == nil {
		r.window, err = windowOf(cc)
	}
	return r, err
}

func (r requested) isZero() bool { return len(r.settings) == 0 && r.window.given == "" }

// plan is a change of an account's settings with its effect.
type plan struct {
	settings []budget.Setting
	after    budget.Settings
	granted  budget.Microcents // of the current epoch, after a change of the window's amount
	limits   []budget.Limit    // of a new tenant
}

// plan returns the effect of the changes on a tenant with this balance. The first epoch of a
// new tenant, whose balance has no outcome, has its budget, whatever the window grants. An
// error means that the tenant can't have such settings.
func (r requested) plan(tenant budget.TenantID, b budget.Balance) (p plan, err error) {
	p.settings, p.granted = slices.Clone(r.settings), b.Granted
	if r.window.given != "" {
		w, err := r.window.apply(tenant, b.Settings.Window)
		if err != nil {
			return p, err
		}
		p.settings = append(p.settings, budget.InWindow(w))
	}
	p.limits = r.limits
	for _, l := range r.limits {
		p.settings = append(p.settings, budget.SetLimit(l))
	}
	change, err := budget.NewChange(p.settings...)
	if err != nil {
		return p, err
	}
	p.after = change.Apply(b.Settings)
	if w := &p.after.Window; w.Period != budget.NoPeriod {
		if p.granted, err = grant(w, b); err != nil {
			return p, fmt.Errorf("--%s: %w", windowAmountName, err)
		}
		if _, err = w.Amount.Add(p.after.Overdraft); err != nil {
			each := " in each epoch"
			if w.Period.Rolling() {
				each = ""
			}
			return p, fmt.Errorf("--%s: %s%s and an overdraft of %s: %w: lower one of them", windowAmountName, w.Amount, each, p.after.Overdraft, err)
		}
	}
	if err = budget.ValidateOverdraft(tenant, p.granted, p.after.Overdraft); err != nil {
		return p, fmt.Errorf("--%s: %w", overdraftName, err)
	}
	return p, nil
}

// initial is plan for a new tenant.
func (r requested) initial(tenant budget.TenantID, amount budget.Microcents) (plan, error) {
	p, err := r.plan(tenant, budget.Balance{Granted: amount})
	return p, exit.With(exit.Usage, err)
}

// showEnsured prints the result of tenant ensure. A tenant that exists keeps its settings.
func showEnsured(cc *cli.Context, out *output, tenant budget.TenantID, r budget.Ensured, p plan) error {
	name := wording.Name(tenant)
	if r.Outcome == budget.Created {
		out.did("%s is created with %s", name, r.Remaining)
		applied := struct {
			Settings budget.Settings `json:"settings,omitzero"`
		}{p.after}
		return out.show(cc, fields{of{tenant}, r, applied}, func(w io.Writer) {
			fmt.Fprintf(w, "created %s with %s\n", name, r.Remaining)
			printSettings(w, p.after, budget.Thresholds{})
		})
	}
	return out.show(cc, fields{of{tenant}, r}, func(w io.Writer) {
		fmt.Fprintf(w, "%s already exists and was not changed; %s remains\n", name, r.Remaining)
		if len(p.settings) > 0 {
			more := ""
			if len(p.limits) > 0 {
				more = " and bursar tenant limit set"
			}
			fmt.Fprintf(w, "the settings were not applied; use bursar tenant set%s\n", more)
		}
	})
}

func setCommand() *cli.Command {
	return &cli.Command{
		Name: "set", Usage: "change a tenant's settings, and print all of them", ArgsUsage: "TENANT",
		Description: "Needs at least one flag of a setting; the other settings stay as they are.\n\n" + settingsHelp + "\n\n" + windowHelp + "\n\n" + amountHelp,
		Flags:       redisFlags(append(settingFlags(), dryRunFlag)...), Action: printing(setTenant),
	}
}

func setTenant(cc *cli.Context, out *output) error {
	tenant, err := oneTenant(cc)
	if err != nil {
		return err
	}
	r, err := requestedBy(cc)
	if err != nil {
		return err
	}
	if r.isZero() {
		return exit.With(exit.Usage, fmt.Errorf("%s needs at least one of --%s, --%s, --%s, --%s, --%s and --%s; see %s --help",
			cc.Command.HelpName, overdraftName, capHoldName, capReservedName, capHoldsName, thresholdName, windowName, cc.Command.HelpName))
	}
	if cc.Bool(dryRunName) {
		return withRedis(cc, func(ctx context.Context, c *connect.Connection) error {
			return previewSet(ctx, cc, out, c, tenant, r)
		})
	}
	return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
		return r.configure(ctx, cc, out, node, tenant)
	})
}

// configure changes a tenant's settings. A change of a window needs the present one.
func (r requested) configure(ctx context.Context, cc *cli.Context, out *output, node *coordinator.Coordinator, tenant budget.TenantID) error {
	settings := r.settings
	if r.window.given != "" {
		b, err := node.Balance(ctx, tenant)
		switch {
		case err != nil:
			return unanswered(err, runAgain)
		case b.Outcome == budget.MissingTenant:
			return missingTenant(cc, out, tenant)
		case b.Settings.Closed:
			return closed(cc, out, tenant, fields{of{tenant}, budget.Configuration{Outcome: budget.Closed}})
		}
		planned, err := r.plan(tenant, b)
		if err != nil {
			return exit.With(exit.Refused, err)
		}
		settings = planned.settings
	}
	c, err := node.Configure(ctx, tenant, settings...)
	if errors.Is(err, budget.ErrOverflow) {
		cause := overdraftName
		if r.window.amount > 0 {
			cause = windowAmountName
		}
		err = fmt.Errorf("--%s: %w", cause, err)
	}
	return configured(cc, out, tenant, c, err, "the settings of "+wording.Name(tenant)+" are changed", func(w io.Writer) {
		fmt.Fprintf(w, "tenant     %s\n", wording.Name(tenant))
		printSettings(w, c.Settings, budget.Thresholds{})
		if c.Settings == (budget.Settings{}) {
			fmt.Fprintln(w, "settings   none")
		}
	})
}

// configured prints the result of a change of settings. did is the change, for the error of
// a failed write.
// more are further fields of its JSON.
func configured(cc *cli.Context, out *output, tenant budget.TenantID, c budget.Configuration, err error, did string, text func(w io.Writer), more ...any) error {
	if err != nil {
		return unanswered(err, "it may be repeated: it sets the same again")
	}
	answer := fields{of{tenant}, c}
	if c.Outcome == budget.MissingTenant {
		return missingTenant(cc, out, tenant)
	}
	if c.Outcome == budget.Closed {
		return closed(cc, out, tenant, answer)
	}
	out.did("%s", did)
	return out.show(cc, append(answer, more...), text)
}

// stateChange is an operation that freezes, unfreezes or closes a tenant.
type stateChange = func(*coordinator.Coordinator, context.Context, budget.TenantID) (budget.Configuration, error)

func freezeCommand() *cli.Command {
	return &cli.Command{
		Name: "freeze", Usage: "stop reserves of a tenant and of all tenants below it", ArgsUsage: "TENANT",
		Description: "The next reserve on any node is refused. Open holds can still be committed and released,\nand expire at their deadlines; grants and withdrawals go on. bursar tenant unfreeze ends\nit.",
		Flags:       redisFlags(), Action: printing(changeState((*coordinator.Coordinator).FreezeTenant, "frozen", "; bursar tenant unfreeze ends it")),
	}
}

func unfreezeCommand() *cli.Command {
	return &cli.Command{
		Name: "unfreeze", Usage: "let a frozen tenant reserve again", ArgsUsage: "TENANT",
		Description: "Reserves are still refused while one of the tenant's ancestors is frozen.",
		Flags:       redisFlags(), Action: printing(changeState((*coordinator.Coordinator).UnfreezeTenant, "no longer frozen", "")),
	}
}

// changeState returns the action of freeze or unfreeze.
func changeState(do stateChange, state, more string) func(cc *cli.Context, out *output) error {
	return func(cc *cli.Context, out *output) error {
		tenant, err := oneTenant(cc)
		if err != nil {
			return err
		}
		return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
			c, err := do(node, ctx, tenant)
			is := wording.Name(tenant) + " is " + state
			return configured(cc, out, tenant, c, err, is, func(w io.Writer) { fmt.Fprintf(w, "%s%s\n", is, more) })
		})
	}
}

func closeCommand() *cli.Command {
	return &cli.Command{
		Name: "close", Usage: "end a tenant permanently: no reserves, grants or settings", ArgsUsage: "TENANT",
		Description: "Needs --yes; without it, it prints the tenant's balance, and exits with 2. Reserves of\nthe tenants below it are refused, too. Open holds can still be committed and released,\nand expire at their deadlines. Then withdraw and delete it.",
		Flags:       redisFlags(&cli.BoolFlag{Name: "yes", Usage: "close the tenant, which is final"}),
		Action:      printing(closeTenant),
	}
}

func closeTenant(cc *cli.Context, out *output) error {
	tenant, err := oneTenant(cc)
	if err != nil {
		return err
	}
	return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
		if !cc.Bool("yes") {
			return lookBeforeClose(ctx, cc, out, node, tenant)
		}
		c, err := node.CloseTenant(ctx, tenant)
		is := wording.Name(tenant) + " is closed"
		return configured(cc, out, tenant, c, err, is, func(w io.Writer) {
			fmt.Fprintf(w, "%s; open holds can still settle, then withdraw and delete it\n", is)
		})
	})
}

func lookBeforeClose(ctx context.Context, cc *cli.Context, out *output, node *coordinator.Coordinator, tenant budget.TenantID) error {
	b, err := node.Balance(ctx, tenant)
	switch {
	case err != nil:
		return unanswered(err, runAgain)
	case b.Outcome == budget.MissingTenant:
		return missingTenant(cc, out, tenant)
	case b.Settings.Closed:
		return exit.With(exit.Usage, fmt.Errorf("%s is already closed; nothing was changed", wording.Name(tenant)))
	}
	return exit.With(exit.Usage, fmt.Errorf("this would close %s permanently: granted %s, remaining %s, reserved %s, committed %s; add --yes to do it",
		wording.Name(tenant), b.Granted, b.Remaining, b.Reserved+b.Ended, b.Committed))
}

// closed returns the error for a tenant that is closed, and with --json prints the answer.
func closed(cc *cli.Context, out *output, tenant budget.TenantID, answer any) error {
	return out.refusal(cc, answer, "%s is closed, which is final; use another tenant", wording.Name(tenant))
}

// restricted returns the error for a reserve that a setting of a level refused, and with
// --json prints the answer.
func restricted(cc *cli.Context, out *output, r budget.Reservation, amount budget.Microcents) error {
	level, argument, limit := wording.Name(r.Level), wording.Argument(r.Level), budget.Microcents(r.CapLimit)
	switch {
	case r.Outcome == budget.Closed:
		return closed(cc, out, r.Level, r)
	case r.Outcome == budget.Frozen:
		return out.refusal(cc, r, "%s is frozen: it and the tenants below it reserve nothing; end it with bursar tenant unfreeze %s", level, argument)
	case r.Cap == budget.HoldCap:
		return out.refusal(cc, r, "%s limits each hold to %s, but %s was requested; reserve less, or raise it with bursar tenant set --%s AMOUNT %s",
			level, limit, amount, capHoldName, argument)
	case r.Cap == budget.ReservedCap:
		return out.refusal(cc, r, "%s limits its open holds to %s in all, and %s more would exceed it; wait until some settle, or raise it with bursar tenant set --%s AMOUNT %s",
			level, limit, amount, capReservedName, argument)
	default:
		return out.refusal(cc, r, "%s has as many open holds as it may have (%d); wait until some settle, or raise it with bursar tenant set --%s N %s",
			level, r.CapLimit, capHoldsName, argument)
	}
}

// printSettings prints a line for each setting that the account has.
func printSettings(w io.Writer, s budget.Settings, reached budget.Thresholds) {
	if s.Overdraft > 0 {
		fmt.Fprintf(w, "overdraft  %s\n", s.Overdraft)
	}
	var caps []string
	if s.CapHold > 0 {
		caps = append(caps, fmt.Sprintf("%s a hold", s.CapHold))
	}
	if s.CapReserved > 0 {
		caps = append(caps, fmt.Sprintf("%s reserved", s.CapReserved))
	}
	if s.CapHolds > 0 {
		caps = append(caps, wording.Count(s.CapHolds, "open hold"))
	}
	if len(caps) > 0 {
		fmt.Fprintf(w, "caps       %s\n", strings.Join(caps, ", "))
	}
	if !s.Thresholds.IsZero() {
		fmt.Fprintf(w, "thresholds %s\n", percents(s.Thresholds, reached))
	}
	if s.Window.Period != budget.NoPeriod {
		fmt.Fprintf(w, "window     %s\n", windowText(s.Window))
	}
	if s.Limits != 0 {
		fmt.Fprintf(w, "limits     %s\n", periodsText(s.Limits))
	}
	switch {
	case s.Closed:
		fmt.Fprintln(w, "state      closed")
	case s.Frozen:
		fmt.Fprintln(w, "state      frozen")
	}
}

// percents formats thresholds, and marks those that are reached.
func percents(thresholds, reached budget.Thresholds) string {
	var texts []string
	for _, percent := range thresholds.Percents() {
		text := fmt.Sprintf("%d %%", percent)
		if slices.Contains(reached.Percents(), percent) {
			text += " (reached)"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}
