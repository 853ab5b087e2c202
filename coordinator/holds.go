package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/luascripts"
)

// Holds implements [budget.Engine]. It reads the whole family, in one script
// call whose time grows with the family's holds: for operators and audits, not
// for every request.
func (c *Coordinator) Holds(ctx context.Context, tenant budget.TenantID, opts ...budget.Option) (budget.HoldList, error) {
	o := c.telemetry.begin(ctx, opHolds)
	list, batch, err := c.listHolds(ctx, tenant, opts)
	c.telemetry.end(ctx, o, answer{outcome: list.Outcome, batch: batch}, err)
	return list, err
}

// listHolds also returns the span of the batch that ended what was due.
func (c *Coordinator) listHolds(ctx context.Context, tenant budget.TenantID, opts []budget.Option) (budget.HoldList, *trace.SpanContext, error) {
	if err := errors.Join(tenant.Validate(), validateOptions(opts)); err != nil {
		return budget.HoldList{}, nil, err
	}
	began := now()
	// What the script reads is later than this batch.
	a, _, err := c.carry(ctx, newCall(luascripts.KindRemaining, tenant, 0, budget.ReservationID{}))
	if err != nil || a.outcome != budget.Found {
		return budget.HoldList{Outcome: a.outcome, Balance: budget.Balance{Outcome: a.outcome}}, a.batch, err
	}
	list, err := c.askHolds(ctx, tenant, began)
	return list, a.batch, err
}

// askHolds waits until ctx ends or, if it has no deadline, until the call timeout has
// passed since began.
func (c *Coordinator) askHolds(ctx context.Context, tenant budget.TenantID, began time.Time) (budget.HoldList, error) {
	var expired <-chan time.Time
	if _, bounded := ctx.Deadline(); !bounded {
		timer := time.NewTimer(c.config.callTimeout - now().Sub(began))
		defer timer.Stop()
		expired = timer.C
	}
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	l := c.lane(tenant.Root())
	family := *l.met.Load() // the lane has just answered
	type result struct {
		words []any
		err   error
	}
	done := make(chan result, 1)
	go func() {
		words, err := c.readHolds(reading, l, family, tenant.Level())
		done <- result{words, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return budget.HoldList{}, r.err
		}
		return l.holdList(r.words)
	case <-ctx.Done():
		return budget.HoldList{}, fmt.Errorf("%w in time: %w", ErrUnavailable, contextError(ctx))
	case <-expired:
		return budget.HoldList{}, fmt.Errorf("%w within %s", ErrUnavailable, c.config.callTimeout)
	}
}

// readHolds asks until Redis answers or ctx ends.
func (c *Coordinator) readHolds(ctx context.Context, l *lane, family, level string) ([]any, error) {
	script, began, unknown := &c.scripts.Holds, now(), 0
	for wait := firstBackoff; ; wait = min(2*wait, maxBackoff) {
		value, err := c.ask(c.client, []any{"eval", script.Source, "1", l.booksKey, family, level})
		if words, ok := value.([]any); ok {
			return words, nil
		}
		if err == nil {
			err = unreadable(value)
		}
		if c.ctx.Err() != nil {
			return nil, ErrClosed
		}
		kind := classify(err)
		if kind == failureUnknown {
			unknown++
		}
		if kind == failureRefused || c.misdirected(err) || unknown >= maxRefusals {
			return nil, &refusedError{c.explain(l.root, err), kind == failureRefused || c.misdirected(err)}
		}
		if c.closed.Load() || now().Sub(began) > c.config.callTimeout {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w in time: %w", ErrUnavailable, contextError(ctx))
		case <-time.After(wait):
		}
	}
}

func (l *lane) holdList(words []any) (budget.HoldList, error) {
	texts := make([]string, len(words))
	for i, word := range words {
		texts[i], _ = word.(string)
	}
	word, rest, _ := strings.Cut(texts[0], " ")
	switch {
	case word == luascripts.HoldsFound && len(texts) >= 2 && len(texts)%2 == 0:
	case word == luascripts.NoTenant:
		return budget.HoldList{Outcome: budget.MissingTenant, Balance: budget.Balance{Outcome: budget.MissingTenant}}, nil
	case word == luascripts.NoFamily:
		return budget.HoldList{}, fmt.Errorf("%w: family %q is gone", ErrGap, l.root)
	case word == luascripts.Incarnation:
		return budget.HoldList{}, l.recreated()
	case word == luascripts.Layout:
		return budget.HoldList{}, l.layoutError(rest)
	default:
		return budget.HoldList{}, l.corrupt(fmt.Sprintf("unreadable list of holds %.60q", texts[0]))
	}
	balance, err := layout.ParseAccount(texts[1])
	if err != nil {
		return budget.HoldList{}, l.corrupt(err.Error())
	}
	list := budget.HoldList{Outcome: budget.Found, Balance: balance}
	for i := 2; i < len(texts); i += 2 {
		hold, _, err := layout.ParseHold(l.root, texts[i], texts[i+1])
		if err != nil {
			return budget.HoldList{}, l.corrupt(err.Error())
		}
		list.Holds = append(list.Holds, hold)
	}
	slices.SortFunc(list.Holds, layout.CompareHolds)
	return list, nil
}
