package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

// Bounds of what comes before the measurement and after it.
const (
	prepareTimeout = 10 * time.Minute
	giveUpAfter    = 3 * time.Second // of a Redis that has failed already
	auditTimeout   = 10 * time.Minute
)

// Run plays a Config and returns the Report, also with an error if there is something to
// report: the balances are checked whatever happened. It leaves nothing behind, and
// errors carry an exit code: Usage for a bad Config, Refused for balances that are wrong,
// Unavailable if Redis did not answer.
//
// When ctx ends, the callers finish the call that they are in, and the balances are
// checked as at any other end; that is not an error.
func Run(ctx context.Context, c Config) (result report.Report, err error) {
	if err := c.Validate(); err != nil {
		return report.Report{}, err
	}
	if c.Spec, err = c.Read(ctx, c.input()); err != nil {
		return report.Report{}, err
	}
	work, err := c.work()
	if err != nil {
		return report.Report{}, err
	}
	opening, opened := context.WithTimeout(ctx, cmp.Or(c.patience, prepareTimeout))
	defer opened()
	a, err := openArena(ctx, opening, c, work.Typical())
	defer func() { err = errors.Join(err, a.close(ctx)) }()
	if err != nil {
		return report.Report{}, exit.OrInterrupted(ctx, prepared(opening, c, err))
	}
	m := &match{config: c, work: work, arena: a}
	if err := m.enter(opening); err != nil {
		return report.Report{}, exit.OrInterrupted(ctx, prepared(opening, c, err))
	}
	opened()
	m.playAll(ctx)
	return m.finish(ctx)
}

// input is where a trace from standard input comes from.
func (c Config) input() io.Reader {
	if c.Input == nil {
		return os.Stdin
	}
	return c.Input
}

// work is what is played, if it ends in time.
func (c Config) work() (load.Workload, error) {
	work, err := load.New(c.Spec)
	if err != nil {
		return nil, err
	}
	if trace, ok := load.TraceOf(work); ok && c.Duration == 0 && trace.Lasting(c.Speed) > MaxDuration {
		return nil, exit.With(exit.Usage, fmt.Errorf("--trace %s lasts %s at --speed %g: give more speed, or --duration", c.TraceName(), trace.Lasting(c.Speed), c.Speed))
	}
	return work, nil
}

// prepared explains an error that comes of the bound of all preparations.
func prepared(opening context.Context, c Config, err error) error {
	if opening.Err() != context.DeadlineExceeded {
		return err
	}
	return exit.With(exit.Unavailable, fmt.Errorf("%s and %s were not prepared within %s: give fewer, or a faster Redis",
		wording.Count(c.Tenants, "tenant"), wording.Count(c.HoldsBefore, "hold"), cmp.Or(c.patience, prepareTimeout)))
}
