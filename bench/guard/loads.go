package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/calybris/bursar/coordinator/budget"
)

const (
	alone    = 200 // turns of one caller
	together = 64  // callers of a crowd
	crowds   = 10  // of reserves, and as many of commits

	// So many calls are on the wire before others wait: a partition has one in flight, a
	// server two.
	aheadOfPartition = 1
	aheadOfServer    = 2

	hot          budget.TenantID = "acme"
	wealth                       = budget.Microcents(1) << 55 // no run changes its number of digits
	cost, actual                 = 100 * budget.Microcents(1), 90 * budget.Microcents(1)
	beyond                       = wealth * 2
)

// A load is played the same way each time. What comes before it is not measured.
type load struct {
	name      string
	decisions int
	before    func(ctx context.Context) error
	play      func(ctx context.Context) error
}

// A meter measures what is played between begin and end.
type meter interface {
	begin(ctx context.Context) error
	end(ctx context.Context, l load) ([]figure, error)
}

// measure plays each load twice: to warm up, and for the meter.
func (s *stage) measure(ctx context.Context, m meter) ([]figure, error) {
	loads, err := s.loads(ctx)
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, metered := range []bool{false, true} {
		for _, l := range loads {
			more, err := measureLoad(ctx, l, m, metered)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", l.name, err)
			}
			figures = append(figures, more...)
		}
	}
	return figures, nil
}

func measureLoad(ctx context.Context, l load, m meter, metered bool) ([]figure, error) {
	if l.before != nil {
		if err := l.before(ctx); err != nil {
			return nil, err
		}
	}
	if !metered {
		return nil, l.play(ctx)
	}
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	if err := l.play(ctx); err != nil {
		return nil, err
	}
	return m.end(ctx, l)
}

// loads ensures the tenants, and returns what is to be played in this order.
func (s *stage) loads(ctx context.Context) ([]load, error) {
	tenants := make([]budget.TenantID, together)
	for k := range tenants {
		tenants[k] = budget.TenantID(fmt.Sprintf("tenant-%02d", k))
	}
	for _, tenant := range append([]budget.TenantID{hot}, tenants...) {
		if _, err := s.node.EnsureTenant(ctx, tenant, wealth); err != nil {
			return nil, err
		}
	}
	ids := make([]budget.ReservationID, alone)
	reserve := func(ctx context.Context, i int) (err error) { ids[i], err = s.reserve(ctx, hot); return err }
	commit := func(ctx context.Context, i int) error { return s.settle(ctx, ids[i], budget.Committed) }
	release := func(ctx context.Context, i int) error { return s.settle(ctx, ids[i], budget.Released) }
	// The crowds leave few records with many tombstones in the ring of the partition; one
	// caller's settlements are to find many with one.
	settle := func(ctx context.Context, _ int) error {
		id, err := s.reserve(ctx, hot)
		if err != nil {
			return err
		}
		return s.settle(ctx, id, budget.Released)
	}
	reserveEach := func(ctx context.Context, k int) (err error) { ids[k], err = s.reserve(ctx, tenants[k]); return err }

	crowd := func(ahead int, reserve turn) func(context.Context) error {
		return func(ctx context.Context) error {
			for range crowds {
				if err := s.crowd(ctx, ahead, reserve); err != nil {
					return err
				}
				if err := s.crowd(ctx, ahead, commit); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return []load{
		{name: "one caller, reserve", decisions: alone, before: repeat(settle), play: repeat(reserve)},
		{name: "one caller, commit", decisions: alone, play: repeat(commit)},
		{name: "one caller, release", decisions: alone, before: repeat(reserve), play: repeat(release)},
		{name: "one caller, refusal", decisions: alone, play: repeat(func(ctx context.Context, _ int) error { return s.refused(ctx, hot) })},
		{name: fmt.Sprintf("%d callers of a tenant", together), decisions: 2 * crowds * together, play: crowd(aheadOfPartition, reserve)},
		{name: fmt.Sprintf("%d tenants", together), decisions: 2 * crowds * together, play: crowd(aheadOfServer, reserveEach)},
	}, nil
}

// repeat plays a turn of one caller again and again. The worker that brought its
// answer comes to its end first, or chance would decide which worker, the old one or
// a new one with what it allocates, takes the next call.
func repeat(t turn) func(context.Context) error {
	return func(ctx context.Context) error {
		for i := range alone {
			runtime.Gosched()
			if err := t(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}
}

func (s *stage) reserve(ctx context.Context, tenant budget.TenantID) (budget.ReservationID, error) {
	r, err := s.node.TryReserve(ctx, tenant, cost)
	if err == nil && r.Outcome != budget.Reserved {
		err = fmt.Errorf("a reserve came to %+v", r)
	}
	return r.ID, err
}

func (s *stage) refused(ctx context.Context, tenant budget.TenantID) error {
	r, err := s.node.TryReserve(ctx, tenant, beyond)
	if err == nil && r.Outcome != budget.Insufficient {
		err = fmt.Errorf("a reserve beyond the budget came to %+v", r)
	}
	return err
}

func (s *stage) settle(ctx context.Context, id budget.ReservationID, want budget.Outcome) (err error) {
	var settled budget.Settlement
	if want == budget.Committed {
		settled, err = s.node.Commit(ctx, id, actual)
	} else {
		settled, err = s.node.Release(ctx, id)
	}
	if err == nil && settled.Outcome != want {
		err = fmt.Errorf("a settlement came to %+v", settled)
	}
	return err
}
