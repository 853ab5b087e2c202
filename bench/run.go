package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/bench/fleet"
	"github.com/calybris/bursar/bench/live"
	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// With contenders the time is divided into rounds, in which they take turns, so that
// the machine's mood favours none.
const defaultRounds = 5

// Bounds of what comes before the measurement and after it.
const (
	prepareTimeout = 10 * time.Minute
	giveUpAfter    = 3 * time.Second // of a Redis that has failed already
	auditTimeout   = 10 * time.Minute
)

// Run plays a Config and returns the Report, also beside an error where there is
// something to report: the books are read whatever happened. It leaves nothing
// behind, and errors carry an exit code: Usage for a bad Config, Refused for
// broken books, Unavailable where Redis gave no answer.
//
// When ctx ends, the callers finish the call that they are in, and the books are
// checked as at any other end; that is no error.
func Run(ctx context.Context, c Config) (result report.Report, err error) {
	if err := c.Validate(); err != nil {
		return report.Report{}, err
	}
	work, err := c.work()
	if err != nil {
		return report.Report{}, err
	}
	opening, opened := context.WithTimeout(ctx, cmp.Or(c.patience, prepareTimeout))
	defer opened()
	a, err := openArena(opening, c, work.Typical())
	if err != nil {
		return report.Report{}, exit.OrInterrupted(ctx, prepared(opening, c, err))
	}
	defer func() { err = errors.Join(err, a.close(ctx)) }()
	m := &match{config: c, work: work, arena: a}
	if err := m.enter(opening); err != nil {
		return report.Report{}, exit.OrInterrupted(ctx, prepared(opening, c, err))
	}
	opened()
	m.playAll(ctx)
	return m.finish(ctx)
}

// work is what is played, if it ends in time.
func (c Config) work() (load.Workload, error) {
	work, err := load.New(c.Spec)
	if err != nil {
		return nil, err
	}
	if trace, ok := load.TraceOf(work); ok && c.Duration == 0 && trace.Lasting(c.Speed) > MaxDuration {
		return nil, exit.With(exit.Usage, fmt.Errorf("--trace %s lasts %s at --speed %g: give more speed, or --duration", c.Trace, trace.Lasting(c.Speed), c.Speed))
	}
	return work, nil
}

// prepared explains an error that comes of the bound of all preparations.
func prepared(opening context.Context, c Config, err error) error {
	if opening.Err() != context.DeadlineExceeded {
		return err
	}
	return exit.With(exit.Unavailable, fmt.Errorf("%d tenants and %d holds were not prepared within %s: give fewer, or a faster Redis", c.Tenants, c.HoldsBefore, cmp.Or(c.patience, prepareTimeout)))
}

// match is one run in progress.
type match struct {
	config   Config
	work     load.Workload
	arena    *arena
	entrants []*entrant    // ours first
	raced    field         // what is played for after the rounds
	watcher  *live.Watcher // nil where nobody watches
	failure  error
	lost     bool // the failure is that Redis is gone
}

// enter lets the contenders beside ours in, with as many nodes and callers, and
// budgets alike.
func (m *match) enter(ctx context.Context) error {
	m.entrants = []*entrant{m.arena.ours}
	if len(m.config.Against) > 0 {
		var err error
		if m.raced, err = m.arena.raceField(m.work.Typical()); err != nil {
			return err
		}
	}
	for _, name := range m.config.Against {
		e, err := m.arena.enter(ctx, m.config, name, m.arena.field, poolSizes(m.config.Concurrency))
		if err != nil {
			return err
		}
		m.entrants = append(m.entrants, e)
	}
	m.observe()
	return nil
}

// observe keeps the story of ours, and lets a live view see all.
func (m *match) observe() {
	for _, p := range m.arena.ours.pools {
		p.fleet.KeepStory()
	}
	if m.config.Watch == nil {
		return
	}
	m.watcher = live.NewWatcher(m.config.Watch, m.lasting())
	for _, e := range m.entrants {
		for _, p := range e.pools {
			p.fleet.Watch(m.watcher.Sampled)
		}
	}
}

// lasting is how long all rounds take with what comes before them; 0 is not known.
func (m *match) lasting() time.Duration {
	c := m.config
	whole := c.Duration * time.Duration(len(m.entrants))
	if trace, ok := load.TraceOf(m.work); ok && c.Duration == 0 {
		return trace.Lasting(c.Speed) * time.Duration(len(m.entrants))
	}
	for _, e := range m.entrants {
		whole += c.warmupOf(len(e.pools)) * time.Duration(len(e.pools))
	}
	return whole
}

// playAll plays the rounds and the race, unless the Redis behind dies.
func (m *match) playAll(ctx context.Context) {
	watched, end := m.arena.vigil(ctx)
	if m.failure = m.play(watched); m.failure == nil && len(m.entrants) > 1 {
		m.failure = m.race(watched)
	}
	if loss := end(); loss != nil {
		m.failure, m.lost = loss, true // what the callers say of it follows from it
	}
}

// play has the contenders take turns; each round begins with the next of them.
func (m *match) play(ctx context.Context) error {
	turns := m.config.rounds()
	limit := share(m.config.Duration, turns)
	for turn := range turns {
		for i := range m.entrants {
			e := m.entrants[(turn+i)%len(m.entrants)]
			if ctx.Err() != nil {
				return nil
			}
			m.watcher.Announce(turn, turns, e.name)
			if err := e.play(ctx, m.arena.meter, m.work, turn, turns, limit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c Config) rounds() int {
	switch {
	case c.Rounds > 0:
		return c.Rounds
	case len(c.Against) > 0:
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

// finish reads the books when nothing writes to them any more.
func (m *match) finish(ctx context.Context) (report.Report, error) {
	result := m.report()
	result.Interrupted = ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	failure := m.failure
	if err := m.stopNodes(ctx); failure == nil {
		failure = err // after a failure it would only repeat it
	}
	if m.config.tamper != nil {
		failure = errors.Join(failure, m.config.tamper(m.arena))
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
func (m *match) readBooks(ctx context.Context, result *report.Report) error {
	var failure error
	for i, e := range m.entrants {
		for _, played := range []*entrant{e, e.race} {
			if played == nil || failure != nil && played.name != contender.Local {
				continue
			}
			money, found, err := played.readMoney(ctx)
			if err != nil {
				failure = e.named(err)
				continue
			}
			if played == m.arena.ours {
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

func (m *match) stopNodes(ctx context.Context) error {
	patience := fleet.StopTimeout
	if m.failure != nil {
		patience = giveUpAfter
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return m.arena.stop(ctx)
}
