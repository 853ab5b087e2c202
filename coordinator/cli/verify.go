package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fatih/color"
	"github.com/redis/go-redis/v9"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/wording"
)

const verifyDescription = `Checks for every limit of every tenant that remaining + reserved + committed = granted, and
that the open holds sum up to reserved; and that every other record, the timers and the
partitions are whole. It reads Redis' own state page by page, exactly also on a busy
Redis, and changes nothing. bursar inspect shows a damaged record in words.

Exit code 1 if something is damaged; 3 if a partition changes faster than it can be
read, and nothing is damaged.`

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "check all balances, holds and timers, and report each damage", Description: verifyDescription,
		Flags:  redisFlags(&cli.StringFlag{Name: tenantFlag.Name, Usage: "report only on `TENANT`, its levels, and the shared records of its partition"}),
		Action: printing(verify),
	}
}

func verify(cc *cli.Context, out *output) error {
	if _, err := arguments(cc); err != nil {
		return err
	}
	f, err := filterOf(cc)
	if err != nil {
		return err
	}
	return withPartitions(cc, func(ctx context.Context, c *connect.Connection) error {
		progress := newProgress(cc.App.ErrWriter)
		report, err := audit.Verify(ctx, c.Client, c.Prefix, audit.Options{
			Root:     f.tenant.Root(),
			Progress: func(tenants, _ int) { progress.at(tenants) },
		})
		progress.end()
		switch {
		case errors.Is(err, audit.ErrUnreadable), errors.Is(err, audit.ErrLayout):
			return exit.With(exit.Refused, err)
		case err != nil:
			return exit.With(exit.Unavailable, fmt.Errorf("%w; %s had been read", err, wording.Count(progress.tenants, "tenant")))
		}
		if len(report.Damages) == 0 && f.tenant != "" {
			if exists, err := hasAccount(ctx, c, f.tenant); err != nil || !exists {
				return cmp.Or(ofState(err), missingTenant(cc, out, f.tenant))
			}
		}
		if err := out.show(cc, report, func(w io.Writer) { printReport(w, report) }); err != nil {
			return err
		}
		return verdict(report)
	})
}

// hasAccount reports whether a tenant has an account. A root may only have levels.
func hasAccount(ctx context.Context, c *connect.Connection, tenant budget.TenantID) (bool, error) {
	p, err := audit.Partitions(ctx, c.Client, c.Prefix)
	if err != nil || p.Partitions == 0 {
		return false, err
	}
	keys := store.KeysOf(c.Prefix, p.Partitions, store.PartitionOf(tenant, p.Partitions))
	record, err := c.Client.HGet(ctx, keys.Ledger, store.AccountField(tenant)).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	_, exists, errParse := store.ParseAccount(record)
	return exists, errors.Join(err, errParse)
}

func printReport(w io.Writer, r audit.Report) {
	for _, d := range r.Damages {
		fmt.Fprintf(w, "%s  %s\n", tinted(w, color.FgRed, "damaged"), d)
	}
	if r.Unnamed > 0 {
		fmt.Fprintf(w, "%s  %s more\n", tinted(w, color.FgRed, "damaged"), wording.Count(r.Unnamed, "hold"))
	}
	for _, i := range r.Unsettled {
		fmt.Fprintf(w, "%s  partition %d changes faster than it can be read: run verify again when it is less busy\n", tinted(w, color.FgYellow, "unsettled"), i)
	}
	if len(r.Damages)+len(r.Unsettled) == 0 {
		tenants := wording.Count(r.Tenants, "tenant")
		if r.Limits > 0 {
			tenants += " with " + wording.Count(r.Limits, "further limit")
		}
		fmt.Fprintf(w, "%s  %s, %s, %s: all balances add up\n", tinted(w, color.FgGreen, "ok"),
			tenants, wording.Count(r.Holds, "open hold"), wording.Count(r.Partitions, "partition"))
	}
}

func verdict(r audit.Report) error {
	if n := len(r.Damages) + r.Unnamed; n > 0 {
		return refused("%s among %s; keep a copy of Redis' data before anything is changed", wording.Count(n, "damage"), wording.Count(r.Tenants, "tenant"))
	}
	if n := len(r.Unsettled); n > 0 {
		return exit.With(exit.Unavailable, fmt.Errorf("%s changed faster than it can be read", wording.Count(n, "partition")))
	}
	return nil
}

// progress displays the progress of a long command: a bar on a terminal, and a line from
// time to time elsewhere.
type progress struct {
	w       io.Writer
	bar     *progressbar.ProgressBar // nil if w is not a terminal
	tenants int
	next    int
}

// linesEvery is the number of tenants between two lines.
const linesEvery = 10_000

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, next: linesEvery}
	if isTerminal(w) {
		p.bar = newBar(w)
	}
	return p
}

// newBar returns a bar that is drawn only when it is set: the library's periodic drawing
// reads the bar's state without its lock.
func newBar(w io.Writer) *progressbar.ProgressBar {
	return progressbar.NewOptions(-1, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("reading tenants"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionClearOnFinish(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetItsString("tenants"),
		progressbar.OptionSetSpinnerChangeInterval(0))
}

func (p *progress) at(n int) {
	p.tenants = n
	if p.bar != nil {
		_ = p.bar.Set(n) // a failure to draw does not fail the command
		return
	}
	if n >= p.next {
		fmt.Fprintf(p.w, "%s read\n", wording.Count(n, "tenant"))
		p.next = n - n%linesEvery + linesEvery
	}
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish() // as in at
	}
}
