package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/wording"
)

var (
	tenantFlag = &cli.StringFlag{Name: "tenant", Usage: "only holds of `TENANT` and of those below it that took from its budget"}
	olderFlag  = &cli.DurationFlag{Name: "older-than", Usage: "only holds that are at least this old"}
)

func holdsCommand() *cli.Command {
	return &cli.Command{
		Name: "holds", Usage: "list and release open holds",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "print each open hold with its amount, times and node",
				Description: "Reads Redis' state page by page, without stopping a busy Redis. A hold that is past\nits deadline and has not ended yet is due: the next operation on its tenant ends it.",
				Flags:       redisFlags(tenantFlag, olderFlag), Action: printing(listHolds),
			},
			{
				Name: "release", Usage: "release holds, by their ids or by tenant and age", ArgsUsage: "[ID…]",
				Description: "Give ids, or --tenant, --older-than or both with --yes; without --yes it lists the\nholds that it would release. A released hold costs nothing.",
				Flags: redisFlags(tenantFlag, olderFlag,
					&cli.BoolFlag{Name: "yes", Usage: "release what --tenant and --older-than name"}),
				Action: printing(releaseHolds),
			},
		},
	}
}

// openHold is the JSON form of an open hold.
type openHold struct {
	budget.Hold
	Tenant budget.TenantID `json:"tenant"`
	Node   string          `json:"node"`
	Due    bool            `json:"due"` // past its deadline, but not ended yet
}

// filter selects holds by --tenant and --older-than.
type filter struct {
	tenant budget.TenantID // "" for all
	older  time.Duration
}

func filterOf(cc *cli.Context) (filter, error) {
	f := filter{older: cc.Duration(olderFlag.Name)}
	if f.older < 0 || f.older == 0 && cc.IsSet(olderFlag.Name) {
		return f, exit.With(exit.Usage, fmt.Errorf("--older-than %s: give a time above 0", f.older))
	}
	if !cc.IsSet(tenantFlag.Name) {
		return f, nil
	}
	tenant, err := tenantArgument(cc.String(tenantFlag.Name))
	f.tenant = tenant
	return f, err
}

// each visits the open holds that match the filter. Ages, like deadlines, are by Redis'
// clock.
func (f filter) each(ctx context.Context, c *connect.Connection, visit func(h openHold) error) error {
	now, err := c.Client.Time(ctx).Result()
	if err != nil {
		return exit.With(exit.Unavailable, err)
	}
	return ofState(audit.EachHold(ctx, c.Client, c.Prefix, f.tenant, func(h budget.Hold) error {
		if now.Sub(h.Made) < f.older {
			return nil
		}
		node, _ := store.MakerOf(h.ID)
		return visit(openHold{
			Hold: h, Tenant: h.ID.Tenant(), Node: store.HexID(node),
			Due: !h.Deadline.IsZero() && !h.Deadline.After(now),
		})
	}))
}

func listHolds(cc *cli.Context, out *output) error {
	if _, err := arguments(cc); err != nil {
		return err
	}
	f, err := filterOf(cc)
	if err != nil {
		return err
	}
	return withPartitions(cc, func(ctx context.Context, c *connect.Connection) error {
		t := out.table(cc, "ID\tTENANT\tHELD\tSINCE\tUNTIL\tNODE")
		return t.closeAfter(f.each(ctx, c, func(h openHold) error {
			until := instant(h.Deadline, "settled")
			if h.Due {
				until += " (due)"
			}
			return t.row(h, "%s\t%s\t%s\t%s\t%s\t%s", h.ID, wording.Name(h.Tenant), h.Held, instant(h.Made, "-"), until, h.Node)
		}))
	})
}

func releaseHolds(cc *cli.Context, out *output) error {
	f, err := filterOf(cc)
	if err != nil {
		return err
	}
	ids, err := idsOf(cc)
	if err != nil {
		return err
	}
	return withPartitions(cc, func(ctx context.Context, c *connect.Connection) error {
		if len(ids) == 0 {
			if ids, err = matching(ctx, cc, c, f); err != nil {
				return err
			}
		}
		return onNode(ctx, cc, c, func(ctx context.Context, node *coordinator.Coordinator) error {
			return releaseEach(ctx, cc, out, node, ids)
		})
	})
}

// idsOf returns the ids on the command line, or none if flags select the holds.
func idsOf(cc *cli.Context) ([]budget.ReservationID, error) {
	given := cc.Args().Slice()
	flagged := cc.IsSet(tenantFlag.Name) || cc.IsSet(olderFlag.Name)
	if flagged == (len(given) > 0) {
		return nil, exit.With(exit.Usage, fmt.Errorf("%s needs ids, or --tenant or --older-than, and not both", cc.Command.HelpName))
	}
	ids := make([]budget.ReservationID, len(given))
	for i, text := range given {
		var err error
		if ids[i], err = idArgument(text); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// matching returns the ids of the holds that the filter selects. Without --yes it also
// returns an error with their number and sum.
func matching(ctx context.Context, cc *cli.Context, c *connect.Connection, f filter) ([]budget.ReservationID, error) {
	var ids []budget.ReservationID
	var sum budget.Microcents
	err := f.each(ctx, c, func(h openHold) (err error) {
		ids = append(ids, h.ID)
		sum, err = sum.Add(h.Held)
		return err
	})
	if err == nil && !cc.Bool("yes") {
		err = exit.With(exit.Usage, fmt.Errorf("this would release %s of %s in total, without charging; add --yes to do it", wording.Count(len(ids), "hold"), sum))
	}
	return ids, err
}

// releasesAtOnce is the number of holds that are released concurrently, to share script
// calls.
const releasesAtOnce = 512

// releasedHold is the result of releasing one hold.
type releasedHold struct {
	ID budget.ReservationID
	budget.Settlement
	err error
}

func (h releasedHold) json() fields {
	of := struct {
		ID budget.ReservationID `json:"id"`
	}{h.ID}
	return fields{of, h.Settlement}
}

func releaseEach(ctx context.Context, cc *cli.Context, out *output, node *coordinator.Coordinator, ids []budget.ReservationID) error {
	if len(ids) == 0 && !cc.Bool(jsonFlag.Name) {
		fmt.Fprintln(out, "none of them is open")
	}
	var notReleased []error
	released := 0
	for some := range slices.Chunk(ids, releasesAtOnce) {
		var failed error
		answers := releaseTogether(ctx, node, some)
		for _, a := range answers {
			switch {
			case a.err != nil:
				// Keep the first error, unless a later one is an unknown outcome.
				if failed == nil || errors.Is(a.err, coordinator.ErrUnknownOutcome) {
					failed = a.err
				}
			case a.Outcome == budget.Released:
				released++
			default:
				notReleased = append(notReleased, fmt.Errorf("%s (%s)", a.ID, priorOr(a.Settlement)))
			}
		}
		out.did("%d of %s released", released, wording.Count(len(ids), "hold"))
		if err := showReleased(cc, out, answers); err != nil {
			return err
		}
		if failed != nil {
			return unanswered(fmt.Errorf("%w (%d of %s released)", failed, released, wording.Count(len(ids), "hold")), "run it again: released holds stay released")
		}
	}
	if len(notReleased) > 0 {
		return refused("%d of %d were not open: %w", len(notReleased), len(ids), errors.Join(notReleased...))
	}
	return nil
}

func releaseTogether(ctx context.Context, node *coordinator.Coordinator, ids []budget.ReservationID) []releasedHold {
	answers := make([]releasedHold, len(ids))
	var done sync.WaitGroup
	for i, id := range ids {
		done.Go(func() {
			s, err := node.Release(ctx, id)
			answers[i] = releasedHold{id, s, err}
		})
	}
	done.Wait()
	return answers
}

func showReleased(cc *cli.Context, out *output, answers []releasedHold) error {
	for _, a := range answers {
		if a.err != nil {
			continue
		}
		if err := out.show(cc, a.json(), func(w io.Writer) {
			if a.Outcome == budget.Released {
				fmt.Fprintf(w, "released %s: %s\n", a.ID, a.Returned)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

func priorOr(s budget.Settlement) string {
	if s.Prior == budget.Unknown {
		return "not known"
	}
	return s.Prior.String()
}
