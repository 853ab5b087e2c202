package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fatih/color"
	"github.com/redis/go-redis/v9"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/books"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/coordinator/wording"
)

const verifyDescription = `For every tenant: remaining + reserved + committed = granted, and the open holds sum
up to reserved. It reads Redis' own state, not what a node says of it, page by page,
without stopping a busy Redis, and changes nothing.

A family with more than 5,000 fields is read in pages, and counts only where nothing
of it began or ended meanwhile; one that changes too fast for that is named, and the
exit code is 3. With --at-once such a family is read in one go, and Redis answers
nobody else meanwhile (the operators' page says for how long).

A family of another layout does not stop the others; it is named, and the exit code is
3 unless a difference was found, which is 1.`

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
	Unsettled   []budget.TenantID `json:"unsettled"`  // families that changed too fast
	Unreadable  []difference      `json:"unreadable"` // families of another layout
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
	return withFamilies(cc, func(ctx context.Context, c *connect.Connection) error {
		v := verdict{Differences: []difference{}, Unsettled: []budget.TenantID{}, Unreadable: []difference{}}
		progress := newProgress(cc.App.ErrWriter)
		err := v.read(ctx, cc, c, f.tenant, progress)
		progress.end()
		if err != nil {
			return exit.With(exit.Unavailable, fmt.Errorf("%w; %s had been verified", err, wording.Count(v.Tenants, "tenant")))
		}
		if err := v.missing(ctx, cc, c, out, f.tenant); err != nil {
			return err
		}
		if err := out.show(cc, v, func(w io.Writer) { v.print(w) }); err != nil {
			return err
		}
		return v.err()
	})
}

func (v *verdict) read(ctx context.Context, cc *cli.Context, c *connect.Connection, tenant budget.TenantID, progress *progress) error {
	return eachFamily(ctx, c, tenant, func(root budget.TenantID) error {
		report, err := books.Verify(ctx, c.Client, c.Prefix, root, cc.Bool("at-once"))
		if errors.Is(err, books.ErrLayout) {
			v.Unreadable = append(v.Unreadable, difference{root, err.Error()})
			return nil
		}
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
	})
}

// missing is the refusal of a tenant that is not there: one below its root may be none
// of the family that was verified, and a root may have levels only.
func (v *verdict) missing(ctx context.Context, cc *cli.Context, c *connect.Connection, out *output, tenant budget.TenantID) error {
	if tenant == "" || tenant.Level() == "" && v.Tenants > 0 || len(v.Differences)+len(v.Unreadable) > 0 {
		return nil
	}
	text, err := c.Client.HGet(ctx, layout.KeysOf(c.Prefix, tenant.Root()).Books, layout.AccountField(tenant)).Result()
	if errors.Is(err, redis.Nil) || err == nil && text == layout.DeletedAccount {
		return missingTenant(cc, out, tenant)
	}
	return exit.With(exit.Unavailable, err)
}

func (v *verdict) print(w io.Writer) {
	for _, d := range v.Differences {
		fmt.Fprintf(w, "%s  %s: %s\n", tinted(w, color.FgRed, "broken"), wording.Name(d.Tenant), d.What)
	}
	for _, root := range v.Unsettled {
		fmt.Fprintf(w, "%s  family %s changes too fast to be read page by page; run verify --tenant %s --at-once\n", tinted(w, color.FgYellow, "unsettled"), wording.Name(root), wording.Word(root))
	}
	for _, d := range v.Unreadable {
		fmt.Fprintf(w, "%s  family %s: %s\n", tinted(w, color.FgYellow, "unreadable"), wording.Name(d.Tenant), d.What)
	}
	if len(v.Differences)+len(v.Unsettled)+len(v.Unreadable) == 0 {
		fmt.Fprintf(w, "%s  %s with %s: the law stands, and the holds sum up\n", tinted(w, color.FgGreen, "sound"), wording.Count(v.Tenants, "tenant"), wording.Count(v.Holds, "open hold"))
	}
}

func (v *verdict) err() error {
	if len(v.Differences) > 0 {
		return refused("the books are broken: %s in %s; keep a copy of Redis' data, and report it", wording.Count(len(v.Differences), "difference"), wording.Count(v.Tenants, "tenant"))
	}
	var unverified []error
	if n := len(v.Unsettled); n > 0 {
		unverified = append(unverified, fmt.Errorf("%s changed too fast to be verified; see --at-once", wording.Count(n, "family")))
	}
	if n := len(v.Unreadable); n > 0 {
		unverified = append(unverified, fmt.Errorf("%s of another layout could not be verified; use the bursar that wrote it", wording.Count(n, "family")))
	}
	return exit.With(exit.Unavailable, errors.Join(unverified...))
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
		fmt.Fprintf(p.w, "%s verified\n", wording.Count(n, "tenant"))
		p.next = n - n%linesEvery + linesEvery
	}
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish() // as above
	}
}
