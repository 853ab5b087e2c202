package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/bench/fleet"
	"github.com/calybris/bursar/bench/report"
)

// finish checks the balances when nothing writes any more.
func (m *match) finish(ctx context.Context) (report.Report, error) {
	result := m.report()
	result.Interrupted = ctx.Err() != nil
	ctx, cancel := context.WithTimeout(m.arena.lifetime(), auditTimeout)
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
