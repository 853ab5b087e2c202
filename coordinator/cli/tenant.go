package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/wording"
)

const amountHelp = `An AMOUNT has a unit: '$12.50' (in quotes: the shell reads $1 as its own), 1250c
(cents) or 25000000uc (microcents). A TENANT may have levels: acme/search/key-7. Each of
them that has a budget, acme and acme/search too, limits what the key reserves.`

const partitionsName = "partitions"

var partitionsFlag = &cli.IntFlag{
	Name: partitionsName, Category: connect.Category, Usage: "number of partitions for a new prefix, a power of two",
	DefaultText: fmt.Sprintf("%d, on a Cluster %d", coordinator.DefaultPartitions, coordinator.DefaultClusterPartitions),
}

func tenantCommand() *cli.Command {
	return &cli.Command{
		Name: "tenant", Usage: "create, show, change and delete tenants and their budgets",
		Subcommands: []*cli.Command{
			{
				Name: "ensure", Usage: "create a tenant with its budget, unless it exists", ArgsUsage: "TENANT AMOUNT",
				Description: "An existing tenant is not changed, whatever the amount and the settings; see bursar\ntenant set. The first tenant of a prefix fixes its number of partitions permanently.\n\n" + settingsHelp + "\n\n" + windowHelp + "\n\n" + ensureLimitHelp + "\n\n" + amountHelp,
				Flags:       redisFlags(append(settingFlags(), limitFlag, dryRunFlag, partitionsFlag)...), Action: printing(ensureTenant),
			},
			showCommand(),
			{
				Name: "list", Usage: "print every tenant's balance",
				Description: "Reads Redis' state page by page, without stopping a busy Redis: each line is\nconsistent, but the lines are read at different times. A hold that is past its\ndeadline counts as reserved until the next operation on its tenant, and a tenant has the\nbalance of an ended epoch until then.",
				Flags:       redisFlags(), Action: printing(listTenants),
			},
			{
				Name: "tree", Usage: "print the balances of a tenant and of all tenants below it", ArgsUsage: "TENANT",
				Description: "Up to 1,000 balances are those of one instant. With windows\nit prints when each budget renews. Reads the tenant's partition page by page, without\nstopping a busy Redis. A hold that is past its deadline counts as reserved until the next\noperation on its tenant.",
				Flags:       redisFlags(), Action: printing(showTree),
			},
			{
				Name: "grant", Usage: "add to a tenant's budget", ArgsUsage: "TENANT AMOUNT", Description: amountHelp,
				Flags: redisFlags(), Action: printing(adjust((*coordinator.Coordinator).Grant)),
			},
			{
				Name: "withdraw", Usage: "take from a tenant's remaining budget", ArgsUsage: "TENANT AMOUNT", Description: amountHelp,
				Flags: redisFlags(), Action: printing(adjust((*coordinator.Coordinator).Withdraw)),
			},
			setCommand(),
			limitCommand(),
			freezeCommand(),
			unfreezeCommand(),
			closeCommand(),
			deleteCommand(),
			watchCommand(),
		},
	}
}

// of is the JSON field for the tenant of an answer.
type of struct {
	Tenant budget.TenantID `json:"tenant"`
}

// standing returns the JSON form of a tenant's balance.
func standing(tenant budget.TenantID, b budget.Balance) fields {
	return append(fields{of{tenant}}, terms(b)...)
}

// terms returns the JSON form of a balance, with its debt.
func terms(b budget.Balance) fields {
	debt := struct {
		Debt budget.Microcents `json:"debt,omitzero"`
	}{b.Debt()}
	return fields{b, debt}
}

// account is standing with the renewal, the number of open holds and the further limits, or only
// the outcome without an account.
func account(tenant budget.TenantID, list budget.HoldList, r renewal, further ...limitTerms) fields {
	if list.Outcome != budget.Found {
		return fields{of{tenant}, budget.Balance{Outcome: list.Outcome}}
	}
	holds := struct {
		Holds  int          `json:"holds"`
		Limits []limitTerms `json:"limits,omitempty"`
	}{len(list.Holds), further}
	return append(standing(tenant, list.Balance), r, holds)
}

func ensureTenant(cc *cli.Context, out *output) error {
	tenant, amount, err := tenantAndAmount(cc, 0)
	if err != nil {
		return err
	}
	r, err := requestedBy(cc)
	if err == nil {
		r.limits, err = limitsOf(cc, tenant)
	}
	if err != nil {
		return err
	}
	planned, err := r.initial(tenant, amount)
	if err != nil {
		return err
	}
	wanted := cc.Int(partitionsName)
	if cc.IsSet(partitionsName) {
		if err := store.ValidatePartitions(wanted); err != nil {
			return exit.With(exit.Usage, fmt.Errorf("--%s: %w", partitionsName, err))
		}
	}
	ensure := func(ctx context.Context, node *coordinator.Coordinator) error {
		r, err := node.EnsureTenant(ctx, tenant, amount, planned.settings...)
		if err != nil {
			return unanswered(err, "it may be repeated: an existing tenant is not changed")
		}
		return showEnsured(cc, out, tenant, r, planned)
	}
	return withRedis(cc, func(ctx context.Context, c *connect.Connection) error {
		var opts []coordinator.Option
		if wanted != 0 {
			if err := checkPartitions(ctx, c, wanted); err != nil {
				return err
			}
			opts = append(opts, coordinator.WithPartitions(wanted))
		}
		if cc.Bool(dryRunName) {
			return previewEnsure(ctx, cc, out, c, tenant, amount, planned)
		}
		return onNode(ctx, cc, c, ensure, opts...)
	})
}

// checkPartitions returns an error if the prefix has another number of partitions than
// wanted. A node would use the prefix's number and only log that, and the log is dropped.
func checkPartitions(ctx context.Context, c *connect.Connection, wanted int) error {
	p, err := audit.Partitions(ctx, c.Client, c.Prefix)
	if err == nil && p.Partitions != 0 && p.Partitions != wanted {
		err = refused("prefix %q has %s, which never changes: leave out --%s, or use another --prefix", c.Prefix, wording.Count(p.Partitions, "partition"), partitionsName)
	}
	return ofState(err)
}

func tenantAndAmount(cc *cli.Context, least budget.Microcents) (budget.TenantID, budget.Microcents, error) {
	given, err := arguments(cc, "TENANT", "AMOUNT")
	if err != nil {
		return "", 0, err
	}
	tenant, err := tenantArgument(given[0])
	if err != nil {
		return "", 0, err
	}
	amount, err := amountArgument(given[1], least)
	return tenant, amount, err
}

func oneTenant(cc *cli.Context) (budget.TenantID, error) {
	given, err := arguments(cc, "TENANT")
	if err != nil {
		return "", err
	}
	return tenantArgument(given[0])
}

// missingTenant returns the error for a tenant that does not exist, and with --json
// prints the outcome.
func missingTenant(cc *cli.Context, out *output, tenant budget.TenantID) error {
	answer := account(tenant, budget.HoldList{Outcome: budget.MissingTenant}, renewal{})
	return out.refusal(cc, answer, "no tenant is named %q under the prefix %q; create it with bursar tenant ensure, or give its --prefix", tenant, cc.String("prefix"))
}

func listTenants(cc *cli.Context, out *output) error {
	if _, err := arguments(cc); err != nil {
		return err
	}
	return withPartitions(cc, func(ctx context.Context, c *connect.Connection) error {
		inJSON := cc.Bool(jsonFlag.Name)
		balances := make(map[budget.TenantID]budget.Balance) // only for text, which is sorted
		limits := false
		rows := out.table(cc, "") // of JSON
		err := audit.EachAccount(ctx, c.Client, c.Prefix, func(tenant budget.TenantID, b budget.Balance) error {
			if inJSON {
				return rows.row(standing(tenant, b), "")
			}
			balances[tenant] = b
			limits = limits || b.Settings.Limits != 0
			return nil
		})
		if inJSON {
			return ofState(err)
		}
		t := out.balances(cc, limits, false)
		for _, tenant := range slices.Sorted(maps.Keys(balances)) {
			if err := t.balance(tenant, balances[tenant], renewal{}); err != nil {
				return err
			}
		}
		return t.closeAfter(ofState(err))
	})
}

func showTree(cc *cli.Context, out *output) error {
	tenant, err := oneTenant(cc)
	if err != nil {
		return err
	}
	return withNodeAndRedis(cc, func(ctx context.Context, c *connect.Connection, node *coordinator.Coordinator) error {
		tree, err := node.Tree(ctx, tenant)
		if err != nil {
			return unanswered(err, runAgain)
		}
		if tree.Outcome == budget.MissingTenant {
			return missingTenant(cc, out, tenant)
		}
		renewals, err := renewalsOf(ctx, c, tree.Accounts...)
		if err != nil {
			return err
		}
		return out.tree(cc, tree, renewals)
	})
}

// balanceTable prints a balance a row.
type balanceTable struct {
	*table
	limits, windows bool // whether there are columns for them
}

func (o *output) balances(cc *cli.Context, limits, windows bool) balanceTable {
	columns := "TENANT\tGRANTED\tREMAINING\tRESERVED\tCOMMITTED"
	if limits {
		columns += "\tLIMITS"
	}
	if windows {
		columns += "\tWINDOW\tRENEWS"
	}
	return balanceTable{o.table(cc, columns), limits, windows}
}

func (t balanceTable) balance(tenant budget.TenantID, b budget.Balance, r renewal) error {
	format, cells := "%s\t%s\t%s\t%s\t%s", []any{wording.Name(tenant), b.Granted, b.Remaining, b.Reserved, b.Committed}
	if t.limits {
		format, cells = format+"\t%s", append(cells, cmp.Or(periodsText(b.Settings.Limits), "-"))
	}
	if t.windows {
		format, cells = format+"\t%s\t%s", append(cells, periodText(b.Settings.Window.Period), r)
	}
	return t.row(append(standing(tenant, b), r), format, cells...)
}

// tree prints the accounts of a tree. It has columns for windows and limits if one of them has
// some.
func (o *output) tree(cc *cli.Context, tree budget.Tree, renewals map[budget.TenantID]renewal) error {
	limits, windows := false, false
	for _, a := range tree.Accounts {
		limits = limits || a.Balance.Settings.Limits != 0
		windows = windows || a.Balance.Settings.Window.Period != budget.NoPeriod
	}
	t := o.balances(cc, limits, windows)
	for _, a := range tree.Accounts {
		if err := t.balance(a.Tenant, a.Balance, renewals[a.Tenant]); err != nil {
			return t.closeAfter(err)
		}
	}
	if !tree.Instant {
		fmt.Fprintf(cc.App.ErrWriter, "bursar: these %s were not read at one instant\n", wording.Count(len(tree.Accounts), "balance"))
	}
	return t.closeAfter(nil)
}

type adjustment = func(*coordinator.Coordinator, context.Context, budget.TenantID, budget.Microcents) (budget.Adjustment, error)

// adjust returns the action of grant or withdraw.
func adjust(do adjustment) func(cc *cli.Context, out *output) error {
	return func(cc *cli.Context, out *output) error {
		tenant, amount, err := tenantAndAmount(cc, budget.Microcent)
		if err != nil {
			return err
		}
		return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
			r, err := do(node, ctx, tenant, amount)
			if err != nil {
				return unanswered(err, fmt.Sprintf("run bursar tenant show %s before you repeat it", wording.Argument(tenant)))
			}
			if r.Outcome == budget.MissingTenant {
				return missingTenant(cc, out, tenant)
			}
			answer := fields{of{tenant}, r}
			if r.Outcome == budget.Insufficient {
				return insufficient(cc, out, wording.Name(tenant), answer, r.Remaining, r.Required, 0)
			}
			if r.Outcome == budget.Closed {
				return closed(cc, out, tenant, answer)
			}
			out.did("%s was %s", amount, r.Outcome)
			return out.show(cc, answer, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s; %s has %s left\n", r.Outcome, amount, wording.Name(tenant), r.Remaining)
			})
		})
	}
}

// insufficient returns the error for an insufficient budget, and with --json prints the
// answer. level is the level and limit that refused; renews is the time at which the budget
// renews, 0 for never.
func insufficient(cc *cli.Context, out *output, level string, answer any, remaining, required budget.Microcents, renews budget.Instant) error {
	more := ""
	if renews != 0 {
		more = "; it renews at " + renews.String()
	}
	return out.refusal(cc, answer, "insufficient budget: %s has %s left, but %s was requested%s", level, remaining, required, more)
}
