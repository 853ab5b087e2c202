package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/fatih/color"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/books"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

const verifyDescription = `For every tenant: remaining + reserved + committed = granted, and the open holds sum
up to reserved. It reads Redis' own state, not what a node says of it, page by page,
without stopping a busy Redis, and changes nothing.

A family with more than 5,000 fields is read in pages, and counts only where nothing
of it began or ended meanwhile; one that changes too fast for that is named, and the
exit code is 3. With --at-once such a family is read in one go, and Redis answers
nobody else meanwhile (the operators' page says for how long).`

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "check the law and the sum of holds, for one family or all", Description: verifyDescription,
		Flags: redisFlags(
			&cli.StringFlag{Name: "tenant", Usage: "only the family of `TENANT`"},
			&cli.BoolFlag{Name: "at-once", Usage: "read large families in one go"},
		),
		Action: printing(verify),
	}
}

// verdict is the result as JSON.
type verdict struct {
	Tenants     int               `json:"tenants"`
	Holds       int               `json:"holds"`
	Differences []difference      `json:"differences"`
	Unsettled   []budget.TenantID `json:"unsettled"` // families that changed too fast
}

type difference struct {
	Tenant budget.TenantID `json:"tenant"`
	What   string          `json:"what"`
}

func verify(cc *cli.Context, out *output) error {
	if _, err := arguments(cc); err != nil {
		return err
	}
	f, err := filterOf(cc)
	if err != nil {
		return err
	}
	return withRedis(cc, func(ctx context.Context, c *connect.Connection) error {
		v := verdict{Differences: []difference{}, Unsettled: []budget.TenantID{}}
		progress := newProgress(cc.App.ErrWriter)
		err := v.read(ctx, cc, c, f.tenant, progress)
		progress.end()
		if err != nil {
			return exit.With(exit.Unavailable, fmt.Errorf("%w; %s had been verified", err, count(v.Tenants, "tenant")))
		}
		if f.tenant != "" && v.Tenants == 0 {
			return missingTenant(cc, f.tenant)
		}
		if err := out.show(cc, v, func(w io.Writer) { v.print(w) }); err != nil {
			return err
		}
		return v.err()
	})
}

func (v *verdict) read(ctx context.Context, cc *cli.Context, c *connect.Connection, tenant budget.TenantID, progress *progress) error {
	family := func(root budget.TenantID) error {
		report, err := books.Verify(ctx, c.Client, c.Prefix, root, cc.Bool("at-once"))
		if err != nil {
			return err
		}
		v.Tenants += report.Tenants
		v.Holds += report.Holds
		for _, d := range report.Differences {
			v.Differences = append(v.Differences, difference{d.Tenant, d.What.Error()})
		}
		if report.Unsettled {
			v.Unsettled = append(v.Unsettled, root)
		}
		progress.at(v.Tenants)
		return nil
	}
	if tenant != "" {
		return family(tenant.Root())
	}
	return books.EachFamily(ctx, c.Client, c.Prefix, func(page []budget.TenantID) error {
		for _, root := range page {
			if err := family(root); err != nil {
				return err
			}
		}
		return nil
	})
}

func (v *verdict) print(w io.Writer) {
	for _, d := range v.Differences {
		fmt.Fprintf(w, "%s  %s: %s\n", tinted(w, color.FgRed, "broken"), d.Tenant, d.What)
	}
	for _, root := range v.Unsettled {
		fmt.Fprintf(w, "%s  family %s changes too fast to be read page by page; run verify --tenant %s --at-once\n", tinted(w, color.FgYellow, "unsettled"), root, root)
	}
	if len(v.Differences) == 0 && len(v.Unsettled) == 0 {
		fmt.Fprintf(w, "%s  %s with %s: the law stands, and the holds sum up\n", tinted(w, color.FgGreen, "sound"), count(v.Tenants, "tenant"), count(v.Holds, "open hold"))
	}
}

func (v *verdict) err() error {
	switch {
	case len(v.Differences) > 0:
		return refused("the books are broken: %s in %s; keep a copy of Redis' data, and report it", count(len(v.Differences), "difference"), count(v.Tenants, "tenant"))
	case len(v.Unsettled) > 0:
		return exit.With(exit.Unavailable, fmt.Errorf("%d families changed too fast to be verified; see --at-once", len(v.Unsettled)))
	}
	return nil
}

// progress shows how far long work has come: a bar on a terminal, else a line now
// and then.
type progress struct {
	w    io.Writer
	bar  *progressbar.ProgressBar // nil where nobody watches
	next int
}

// linesEvery is how many tenants are between two lines.
const linesEvery = 10_000

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, next: linesEvery}
	if isTerminal(w) {
		p.bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("verifying tenants"),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionClearOnFinish(),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetItsString("tenants"))
	}
	return p
}

func (p *progress) at(n int) {
	if p.bar != nil {
		_ = p.bar.Set(n) // what cannot be shown is not the command's failure
		return
	}
	if n >= p.next {
		fmt.Fprintf(p.w, "%d tenants verified\n", n)
		p.next = n - n%linesEvery + linesEvery
	}
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish() // as above
	}
}
