package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

const dryRunName = "dry-run"

var dryRunFlag = &cli.BoolFlag{Name: dryRunName, Usage: "change nothing; print the settings and when the window renews the budget"}

// previewBoundaries is the number of boundaries that a dry run prints.
const previewBoundaries = 8

// boundary is an instant at which a window renews its budget.
type boundary struct {
	Local time.Time `json:"local"` // by the clock of the window's zone
	UTC   time.Time `json:"utc"`
}

// boundariesOf returns the first boundaries of a window after a time, or none without a window of
// the calendar.
func boundariesOf(w budget.Window, after time.Time) ([]boundary, error) {
	if w.Period == budget.NoPeriod || w.Period.Rolling() {
		return nil, nil
	}
	instants, err := w.Boundaries(after, previewBoundaries)
	boundaries := make([]boundary, len(instants))
	for i, at := range instants {
		boundaries[i] = boundary{at.In(zoneOf(w)), at}
	}
	return boundaries, err
}

// preview is the result of a dry run.
type preview struct {
	Tenant  budget.TenantID `json:"tenant"`
	Outcome budget.Outcome  `json:"outcome"` // that the command would have
	DryRun  bool            `json:"dry_run"`
	previewTerms
	Limits []previewTerms `json:"limits,omitempty"` // further ones of a new tenant
}

// previewTerms are the terms and settings that a limit would have.
type previewTerms struct {
	Limit      budget.Period     `json:"limit,omitzero"`
	Granted    budget.Microcents `json:"granted"`
	Settings   budget.Settings   `json:"settings,omitzero"`
	Boundaries []boundary        `json:"boundaries,omitempty"`

	// The length of a rolling window's parts, and when the present committed amount returns.
	PartSeconds int64          `json:"part_seconds,omitzero"`
	Returns     []audit.Return `json:"returns,omitempty"`
}

func (p preview) print(w io.Writer) {
	fmt.Fprintf(w, "dry run: nothing was changed\ntenant     %s\n", wording.Name(p.Tenant))
	p.previewTerms.print(w)
	for _, l := range p.Limits {
		fmt.Fprintln(w)
		l.print(w)
	}
}

func (p previewTerms) print(w io.Writer) {
	if p.Limit != budget.NoPeriod {
		fmt.Fprintf(w, "limit      %s\n", p.Limit)
	}
	fmt.Fprintf(w, "granted    %s\n", p.Granted)
	printSettings(w, p.Settings, budget.Thresholds{})
	label := "boundaries"
	for _, b := range p.Boundaries {
		fmt.Fprintf(w, "%-10s %s  %s\n", label, localTime(b.Local, b.Local.Location()), instant(b.UTC, ""))
		label = ""
	}
	p.printReturns(w)
}

// previewEnsure prints the tenant that tenant ensure would create. It writes nothing to Redis,
// so it reads the account without a node.
func previewEnsure(ctx context.Context, cc *cli.Context, out *output, c *connect.Connection, tenant budget.TenantID, amount budget.Microcents, planned plan) error {
	b, err := audit.Balance(ctx, c.Client, c.Prefix, tenant)
	if err != nil {
		return ofState(err)
	}
	if b.Outcome == budget.Found {
		p := preview{Tenant: tenant, Outcome: budget.Exists, DryRun: true, previewTerms: previewTerms{Granted: b.Granted, Settings: b.Settings}}
		return out.show(cc, p, func(w io.Writer) {
			fmt.Fprintf(w, "dry run: %s already exists and would not be changed; see bursar tenant set\n", wording.Name(tenant))
		})
	}
	p := preview{Tenant: tenant, Outcome: budget.Created, previewTerms: previewTerms{Granted: amount, Settings: planned.after}}
	for _, l := range planned.limits {
		p.Limits = append(p.Limits, previewTerms{Limit: l.Window.Period, Granted: l.Window.Amount, Settings: settingsOfLimit(l)})
	}
	return showPreview(ctx, cc, out, c, p, b)
}

// previewSet prints the settings that tenant set would leave.
func previewSet(ctx context.Context, cc *cli.Context, out *output, c *connect.Connection, tenant budget.TenantID, r requested) error {
	b, err := audit.Balance(ctx, c.Client, c.Prefix, tenant)
	if err != nil {
		return ofState(err)
	}
	if b.Outcome == budget.MissingTenant {
		return missingTenant(cc, out, tenant)
	}
	if b.Settings.Closed {
		return closed(cc, out, tenant, fields{of{tenant}, budget.Configuration{Outcome: budget.Closed}})
	}
	planned, err := r.plan(tenant, b)
	if err != nil {
		return exit.With(exit.Refused, err)
	}
	p := preview{Tenant: tenant, Outcome: budget.Configured, previewTerms: previewTerms{Granted: planned.granted, Settings: planned.after}}
	return showPreview(ctx, cc, out, c, p, b)
}

// previewLimit prints the limit that tenant limit set would leave.
func previewLimit(ctx context.Context, cc *cli.Context, out *output, c *connect.Connection, tenant budget.TenantID, l limitChange) error {
	list, err := audit.Limits(ctx, c.Client, c.Prefix, tenant)
	if err != nil {
		return ofState(err)
	}
	planned, granted, err := l.planFor(cc, out, tenant, list)
	if err != nil {
		return err
	}
	period := planned.Window.Period
	p := preview{Tenant: tenant, Outcome: budget.Configured, previewTerms: previewTerms{Limit: period, Granted: granted, Settings: settingsOfLimit(planned)}}
	return showPreview(ctx, cc, out, c, p, limitIn(list, period))
}

// showPreview prints a preview as of Redis' time. b is the present balance of its limit.
func showPreview(ctx context.Context, cc *cli.Context, out *output, c *connect.Connection, p preview, b budget.Balance) error {
	var returns []audit.Return
	if p.Settings.Window.Period.Rolling() && b.Settings.Window.Period.Rolling() {
		all, err := audit.LimitReturns(ctx, c.Client, c.Prefix, p.Tenant)
		if err != nil {
			return ofState(err)
		}
		returns = all[p.Limit]
	}
	now, err := c.Client.Time(ctx).Result()
	if err == nil {
		err = p.at(now, b, returns)
	}
	for i := range p.Limits {
		err = errors.Join(err, p.Limits[i].at(now, budget.Balance{}, nil))
	}
	if err != nil {
		return exit.With(exit.Unavailable, err)
	}
	p.DryRun = true
	return out.show(cc, p, p.print)
}

// at sets the boundaries or the returns of a window as of a time. returns are those of the present
// window.
func (p *previewTerms) at(now time.Time, b budget.Balance, returns []audit.Return) (err error) {
	if p.Settings.Window.Period.Rolling() {
		p.roll(b, returns, now)
		return nil
	}
	p.Boundaries, err = boundariesOf(p.Settings.Window, now)
	return err
}
