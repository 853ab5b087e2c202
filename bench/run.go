package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/calybris/bursar/bench/report"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

// With a baseline the time is divided into rounds, in which the contenders take
// turns, so that the machine's mood favours none.
const rounds = 5

// Bounds of what follows the measurement.
const (
	stopTimeout  = time.Minute
	giveUpAfter  = 3 * time.Second // of a Redis that has failed already
	auditTimeout = 10 * time.Minute
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
	work, err := newWorkload(c)
	if err != nil {
		return report.Report{}, err
	}
	a, err := openArena(ctx, c, work.typical())
	if err != nil {
		return report.Report{}, exit.OrInterrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, a.close(ctx)) }()
	m := &match{config: c, work: work, arena: a}
	if c.Baseline {
		if m.rivals, err = a.rivals(ctx, c); err != nil {
			return report.Report{}, exit.OrInterrupted(ctx, err)
		}
	}
	m.play(ctx)
	return m.finish(ctx)
}

// match is one run in progress.
type match struct {
	config  Config
	work    workload
	arena   *arena
	rivals  []*rival
	fleet   *fleet
	paces   []pace
	failure error
}

func (m *match) play(ctx context.Context) {
	nodes := make([]decider, len(m.arena.nodes))
	for i, node := range m.arena.nodes {
		nodes[i] = node
	}
	m.fleet = newFleet(nodes, m.config, m.arena.tenants)
	turns := 1
	if len(m.rivals) > 0 {
		turns = rounds
	}
	for turn := 0; turn < turns && ctx.Err() == nil && m.failure == nil; turn++ {
		var paced pace
		paced, m.failure = m.fleet.play(ctx, m.work.part(turn, turns), share(m.config.Duration, turns))
		m.paces = append(m.paces, paced)
		for _, rival := range m.rivals {
			if m.failure == nil && ctx.Err() == nil {
				m.failure = rival.play(ctx, m.config, turn, m.work)
			}
		}
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
	stored, err := m.arena.readBooks(ctx)
	if err != nil {
		return result, errors.Join(failure, fmt.Errorf("the books could not be checked: %w", err))
	}
	audited(&result, m.arena.audit(stored, m.fleet.ledger))
	return result, errors.Join(brokenBooks(result), failure)
}

func (m *match) stopNodes(ctx context.Context) error {
	patience := stopTimeout
	if m.failure != nil {
		patience = giveUpAfter
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return m.arena.stop(ctx)
}
