package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/runner"
	"github.com/calybris/bursar/bench/workload"
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
	a, err := openTarget(ctx, opening, c, work.TypicalHold())
	defer func() { err = errors.Join(err, a.close(ctx)) }()
	if err != nil {
		return report.Report{}, exit.OrInterrupted(ctx, prepared(opening, c, err))
	}
	m := &benchRun{config: c, work: work, target: a}
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
func (c Config) work() (workload.Workload, error) {
	work, err := workload.New(c.Spec)
	if err != nil {
		return nil, err
	}
	if trace, ok := workload.TraceOf(work); ok && c.Duration == 0 && trace.Lasting(c.Speed) > MaxDuration {
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

// benchRun is one run in progress.
type benchRun struct {
	config     Config
	work       workload.Workload
	target     *target
	candidates []*candidate    // ours first
	contended  tenantSet       // what is played for after the rounds
	watcher    *report.Tracker // nil where nobody watches
	failure    error
	lost       bool // the failure is that Redis is gone
}

// enter lets the contenders beside ours in, with as many nodes and callers, and
// budgets alike.
func (m *benchRun) enter(ctx context.Context) error {
	m.candidates = []*candidate{m.target.ours}
	if len(m.config.Baselines) > 0 {
		var err error
		if m.contended, err = m.target.contentionTenants(m.work.TypicalHold()); err != nil {
			return err
		}
	}
	for _, name := range m.config.Baselines {
		e, err := m.target.enter(ctx, m.config, name, m.target.tenantSet, poolSizes(m.config.Concurrency))
		if err != nil {
			return err
		}
		m.candidates = append(m.candidates, e)
	}
	m.observe()
	return nil
}

// observe keeps the story of ours, and lets a live view see all.
func (m *benchRun) observe() {
	for _, p := range m.target.ours.pools {
		p.runner.KeepStory()
	}
	if m.config.Watch == nil {
		return
	}
	m.watcher = report.NewTracker(m.config.Watch, m.lasting())
	for _, e := range m.candidates {
		for _, p := range e.pools {
			p.runner.Watch(m.watcher.Sampled)
		}
	}
}

// lasting is how long all rounds take with what comes before them; 0 is not known.
func (m *benchRun) lasting() time.Duration {
	c := m.config
	whole := c.Duration * time.Duration(len(m.candidates))
	if trace, ok := workload.TraceOf(m.work); ok && c.Duration == 0 {
		return trace.Lasting(c.Speed) * time.Duration(len(m.candidates))
	}
	for _, e := range m.candidates {
		whole += c.warmupOf(len(e.pools)) * time.Duration(len(e.pools))
	}
	return whole
}

// playAll plays the rounds and the race, unless the Redis behind dies.
func (m *benchRun) playAll(ctx context.Context) {
	watched, end := m.target.watchdog(ctx)
	if m.failure = m.play(watched); m.failure == nil && len(m.candidates) > 1 {
		m.failure = m.race(watched)
	}
	if loss := end(); loss != nil {
		m.failure, m.lost = loss, true // what the callers say of it follows from it
	}
}

// play has the contenders take turns; each round begins with the next of them.
func (m *benchRun) play(ctx context.Context) error {
	turns := m.config.rounds()
	limit := share(m.config.Duration, turns)
	for turn := range turns {
		for i := range m.candidates {
			e := m.candidates[(turn+i)%len(m.candidates)]
			if ctx.Err() != nil {
				return nil
			}
			m.watcher.Announce(turn, turns, e.name)
			if err := e.play(ctx, m.target.stats, m.work, turn, turns, limit); err != nil {
				return err
			}
		}
	}
	return nil
}

// With contenders the time is divided into rounds, in which they take turns, so that
// the machine's mood favours none.
const defaultRounds = 5

func (c Config) rounds() int {
	switch {
	case c.Rounds > 0:
		return c.Rounds
	case len(c.Baselines) > 0:
		return defaultRounds
	default:
		return 1
	}
}

// share divides a duration; 0 stays 0, which is no limit, and nothing else gets there.
func share(whole time.Duration, parts int) time.Duration {
	if whole == 0 {
		return 0
	}
	return max(whole/time.Duration(parts), 1)
}

// finish checks the balances when nothing writes any more.
func (m *benchRun) finish(ctx context.Context) (report.Report, error) {
	result := m.report()
	result.Interrupted = ctx.Err() != nil
	ctx, cancel := context.WithTimeout(m.target.lifetime(), auditTimeout)
	defer cancel()
	failure := m.failure
	if err := m.stopNodes(ctx); failure == nil {
		failure = err // after a failure it would only repeat it
	}
	if m.config.tamper != nil {
		failure = errors.Join(failure, m.config.tamper(m.target))
	}
	if err := m.readBooks(ctx, &result); err != nil {
		if m.lost {
			return result, errors.Join(failure, errors.New("the books could not be checked"))
		}
		return result, errors.Join(failure, fmt.Errorf("the books could not be checked: %w", err))
	}
	return result, errors.Join(brokenBooks(result), failure)
}

// readBooks reads every contender's, in the rounds and in the race. Where Redis does
// not answer it says so once.
func (m *benchRun) readBooks(ctx context.Context, result *report.Report) error {
	var failure error
	for i, e := range m.candidates {
		for _, played := range []*candidate{e, e.race} {
			if played == nil || failure != nil && played.name != baseline.Local {
				continue
			}
			money, found, err := played.readMoney(ctx)
			if err != nil {
				failure = e.named(err)
				continue
			}
			if played == m.target.ours {
				result.Books, result.Audited = found, true
			} else {
				addBroken(&result.Books, found, e.name, played == e.race)
			}
			if played == e.race {
				result.Contenders[i].Race = &money
			}
			result.Contenders[i].Money = addMoney(result.Contenders[i].Money, money)
		}
	}
	result.Conserved = result.Audited && result.BrokenAll == 0
	return failure
}

func (m *benchRun) stopNodes(ctx context.Context) error {
	patience := runner.StopTimeout
	if m.failure != nil {
		patience = giveUpAfter
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return m.target.stop(ctx)
}
