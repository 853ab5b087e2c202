package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/books"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
)

const amountHelp = `An AMOUNT has a unit: '$12.50' (in quotes: the shell reads $1 as its own), 1250c
(cents) or 25000000uc (microcents). A TENANT may have levels: acme/search/key-7.`

func tenantCommand() *cli.Command {
	return &cli.Command{
		Name: "tenant", Usage: "make, show, change and delete tenants and their budgets",
		Subcommands: []*cli.Command{
			{
				Name: "ensure", Usage: "create a tenant with its budget, unless it is there", ArgsUsage: "TENANT AMOUNT",
				Description: "A tenant that is there stays as it is, whatever the amount.\n\n" + amountHelp,
				Flags:       redisFlags(), Action: printing(ensureTenant),
			},
			{
				Name: "show", Usage: "print a tenant's balance", ArgsUsage: "TENANT",
				Flags: redisFlags(), Action: printing(showTenant),
			},
			{
				Name: "list", Usage: "print every tenant's balance",
				Description: "Reads the books page by page, without stopping a busy Redis: each tenant's line\nis of one instant, and not all lines of the same. Holds that are past their\ndeadline count as reserved until something asks their tenant.",
				Flags:       redisFlags(), Action: printing(listTenants),
			},
			{
				Name: "grant", Usage: "add to a tenant's budget", ArgsUsage: "TENANT AMOUNT", Description: amountHelp,
				Flags: redisFlags(), Action: printing(adjust((*coordinator.Coordinator).Grant)),
			},
			{
				Name: "withdraw", Usage: "take from what a tenant has left", ArgsUsage: "TENANT AMOUNT", Description: amountHelp,
				Flags: redisFlags(), Action: printing(adjust((*coordinator.Coordinator).Withdraw)),
			},
			deleteCommand(),
			watchCommand(),
		},
	}
}

// standing is a tenant's balance as JSON.
type standing struct {
	Tenant budget.TenantID `json:"tenant"`
	budget.Balance
	Debt budget.Microcents `json:"debt,omitzero"`
}

func standingOf(tenant budget.TenantID, b budget.Balance) standing {
	return standing{tenant, b, b.Debt()}
}

// account is the same with the number of open holds.
type account struct {
	standing
	Holds int `json:"holds"`
}

func ensureTenant(cc *cli.Context, out *output) error {
	tenant, amount, err := tenantAndAmount(cc, 0)
	if err != nil {
		return err
	}
	return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
		r, err := node.EnsureTenant(ctx, tenant, amount)
		if err != nil {
			return unanswered(err, "it may be repeated: a tenant that exists stays as it is")
		}
		if r.Outcome == budget.Created {
			out.did("%s is created with %s", tenant, r.Remaining)
		}
		answer := struct {
			Tenant budget.TenantID `json:"tenant"`
			budget.Ensured
		}{tenant, r}
		return out.show(cc, answer, func(w io.Writer) {
			if r.Outcome == budget.Created {
				fmt.Fprintf(w, "created %s with %s\n", tenant, r.Remaining)
			} else {
				fmt.Fprintf(w, "%s exists, and stays as it is; %s remain\n", tenant, r.Remaining)
			}
		})
	})
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

func showTenant(cc *cli.Context, out *output) error {
	tenant, err := oneTenant(cc)
	if err != nil {
		return err
	}
	return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
		list, err := node.Holds(ctx, tenant)
		if err != nil {
			return unanswered(err, lookAgain)
		}
		if list.Outcome == budget.MissingTenant {
			return missingTenant(cc, tenant)
		}
		return out.show(cc, account{standingOf(tenant, list.Balance), len(list.Holds)}, func(w io.Writer) {
			printBalance(w, tenant, list.Balance, len(list.Holds))
		})
	})
}

func printBalance(w io.Writer, tenant budget.TenantID, b budget.Balance, holds int) {
	fmt.Fprintf(w, "tenant     %s\ngranted    %s\nremaining  %s\nreserved   %s in %s\ncommitted  %s\n",
		tenant, b.Granted, b.Remaining, b.Reserved, count(holds, "open hold"), b.Committed)
	if debt := b.Debt(); debt > 0 {
		fmt.Fprintf(w, "debt       %s\n", debt)
	}
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func missingTenant(cc *cli.Context, tenant budget.TenantID) error {
	return refused("no tenant is named %q under the prefix %q; make it with bursar tenant ensure, or give its --prefix", tenant, cc.String("prefix"))
}

func listTenants(cc *cli.Context, out *output) error {
	if _, err := arguments(cc); err != nil {
		return err
	}
	return withRedis(cc, func(ctx context.Context, c *connect.Connection) error {
		t := out.table(cc, "TENANT\tGRANTED\tREMAINING\tRESERVED\tCOMMITTED")
		return t.closeAfter(eachFamily(ctx, c, "", func(root budget.TenantID) error { return listFamily(ctx, c, root, t) }))
	})
}

func listFamily(ctx context.Context, c *connect.Connection, root budget.TenantID, t *table) error {
	accounts, err := books.Accounts(ctx, c.Client, c.Prefix, root)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		b := a.Balance
		if err := t.row(standingOf(a.Tenant, b), "%s\t%s\t%s\t%s\t%s", a.Tenant, b.Granted, b.Remaining, b.Reserved, b.Committed); err != nil {
			return err
		}
	}
	return nil
}

type adjustment = func(*coordinator.Coordinator, context.Context, budget.TenantID, budget.Microcents, ...budget.ReserveOption) (budget.Adjustment, error)

// adjust is grant and withdraw.
func adjust(do adjustment) func(cc *cli.Context, out *output) error {
	return func(cc *cli.Context, out *output) error {
		tenant, amount, err := tenantAndAmount(cc, budget.Microcent)
		if err != nil {
			return err
		}
		return withNode(cc, func(ctx context.Context, node *coordinator.Coordinator) error {
			r, err := do(node, ctx, tenant, amount)
			if err != nil {
				return unanswered(err, fmt.Sprintf("look at bursar tenant show %s before you repeat it", tenant))
			}
			if r.Outcome == budget.MissingTenant {
				return missingTenant(cc, tenant)
			}
			answer := struct {
				Tenant budget.TenantID `json:"tenant"`
				budget.Adjustment
			}{tenant, r}
			if r.Outcome == budget.Insufficient {
				return insufficient(cc, out, tenant, answer, r.Remaining, r.Required)
			}
			out.did("%s were %s", amount, r.Outcome)
			return out.show(cc, answer, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s; %s has %s left\n", r.Outcome, amount, tenant, r.Remaining)
			})
		})
	}
}

// insufficient is the refusal of a budget; in JSON the answer is printed as well.
func insufficient(cc *cli.Context, out *output, tenant budget.TenantID, answer any, remaining, required budget.Microcents) error {
	if err := out.show(cc, answer, func(io.Writer) {}); err != nil {
		return err
	}
	return refused("insufficient budget: %s has %s left, and %s were asked for", tenant, remaining, required)
}
