package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

func watchCommand() *cli.Command {
	return &cli.Command{
		Name: "watch", Usage: "print tenants' balances continuously, and export them as metrics", ArgsUsage: "TENANT…",
		Description: "Prints a line for each tenant at every interval, until Ctrl-C, with the thresholds that\nit has reached, the holds of ended epochs, and when its budget renews, and a line for each\nof its other limits. With the OTEL_* variables set it exports the balances as metrics, for\nexample for Prometheus at :9464 with OTEL_METRICS_EXPORTER=prometheus.",
		Flags: redisFlags(
			&cli.DurationFlag{Name: "every", Usage: "interval between two lines of a tenant, at least 100ms", Value: 10 * time.Second},
			&cli.IntFlag{Name: "times", Usage: "stop after `N` lines for each tenant", DefaultText: "never"},
		),
		Action: printing(watchTenants),
	}
}

func watchTenants(cc *cli.Context, out *output) error {
	tenants, err := watched(cc)
	if err != nil {
		return err
	}
	return withNodeAndRedis(cc, func(ctx context.Context, c *connect.Connection, node *coordinator.Coordinator) error {
		ticker := time.NewTicker(cc.Duration("every"))
		defer ticker.Stop()
		for round := 1; ; round++ {
			for _, tenant := range tenants {
				if ctx.Err() != nil {
					return nil // Ctrl-C is the normal end
				}
				if err := watchOnce(ctx, cc, out, c, node, tenant); err != nil {
					return err
				}
			}
			if round == cc.Int("times") {
				return nil
			}
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	}, coordinator.WithObservedTenants(tenants...))
}

func watched(cc *cli.Context) ([]budget.TenantID, error) {
	given := cc.Args().Slice()
	if len(given) == 0 {
		return nil, exit.With(exit.Usage, fmt.Errorf("%s needs at least one TENANT", cc.Command.HelpName))
	}
	if len(given) > coordinator.MaxObservedTenants {
		return nil, exit.With(exit.Usage, fmt.Errorf("%d tenants: give at most %d", len(given), coordinator.MaxObservedTenants))
	}
	if times := cc.Int("times"); times < 0 {
		return nil, exit.With(exit.Usage, fmt.Errorf("--times %d: give 0 or more", times))
	}
	if every := cc.Duration("every"); every < 100*time.Millisecond {
		return nil, exit.With(exit.Usage, fmt.Errorf("--every %s: give 100ms or more", every))
	}
	tenants := make([]budget.TenantID, len(given))
	for i, text := range given {
		var err error
		if tenants[i], err = tenantArgument(text); err != nil {
			return nil, err
		}
	}
	return tenants, nil
}

func watchOnce(ctx context.Context, cc *cli.Context, out *output, c *connect.Connection, node *coordinator.Coordinator, tenant budget.TenantID) error {
	// A read that is in flight at the interruption may complete.
	lingering, end := connect.Linger(ctx)
	defer end()
	list, err := node.Holds(lingering, tenant)
	if err != nil {
		return unanswered(err, runAgain)
	}
	now, b := time.Now().UTC(), list.Balance
	renewals, err := renewalsOf(lingering, c, budget.Account{Tenant: tenant, Balance: b})
	if err != nil {
		return err
	}
	further, err := furtherLimits(lingering, c, node, tenant, b)
	if err != nil {
		return err
	}
	t := out.table(cc, "")
	if t.text == nil {
		at := struct {
			Time time.Time `json:"time"`
		}{now}
		return t.row(append(fields{at}, account(tenant, list, renewals[tenant], further...)...), "")
	}
	if list.Outcome == budget.MissingTenant {
		fmt.Fprintf(out, "%s  %s  no such tenant\n", instant(now, ""), wording.Name(tenant))
		return out.err
	}
	ended := len(ofEnded(list))
	fmt.Fprintf(out, "%s  %s  remaining %s  reserved %s in %s  committed %s%s%s\n",
		instant(now, ""), wording.Name(tenant), b.Remaining, b.Reserved, wording.Count(len(list.Holds)-ended, "hold"), b.Committed,
		reachedText(b), epochText(b, renewals[tenant], " in "+wording.Count(ended, "hold")))
	for _, l := range further {
		fmt.Fprintf(out, "%s  %s  remaining %s  reserved %s  committed %s%s%s\n",
			instant(now, ""), levelText(tenant, l.Limit), l.Remaining, l.Reserved, l.Committed, reachedText(l.Balance), epochText(l.Balance, l.renewal, ""))
	}
	return out.err
}

// reachedText lists the thresholds that a limit has reached, for a line of tenant watch.
func reachedText(b budget.Balance) string {
	crossed := b.Crossed()
	if crossed.IsZero() {
		return ""
	}
	return "  reached " + percents(crossed, budget.Thresholds{})
}
