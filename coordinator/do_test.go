package coordinator

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

func TestDoAlwaysSettles(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	errWork := errors.New("work failed")
	for _, test := range []struct {
		name      string
		cost      budget.Microcents
		err       error
		want      error
		also      error // joined with that of the work
		outcome   budget.Outcome
		committed budget.Microcents
	}{
		{name: "success", cost: 60, outcome: budget.Committed, committed: 60},
		{name: "more-than-held", cost: 150, outcome: budget.Committed, committed: 150},
		{name: "more-than-there-is", cost: 5000, want: budget.ErrOverrun, outcome: budget.Committed, committed: 100},
		{name: "negative", cost: -1, want: budget.ErrInvalidAmount, outcome: budget.Released},
		{name: "failure", err: errWork, want: errWork, outcome: budget.Released},
		{name: "failure-with-a-cost", cost: 60, err: errWork, want: errWork, outcome: budget.Committed, committed: 60},
		{name: "failure-with-the-smallest-cost", cost: 1, err: context.Canceled, want: context.Canceled, outcome: budget.Committed, committed: 1},
		{name: "failure-above-the-hold", cost: 150, err: errWork, want: errWork, outcome: budget.Committed, committed: 150},
		{name: "failure-beyond-the-budget", cost: 5000, err: errWork, want: errWork, also: budget.ErrOverrun, outcome: budget.Committed, committed: 100},
		{name: "failure-with-a-negative-cost", cost: -1, err: errWork, want: errWork, also: budget.ErrInvalidAmount, outcome: budget.Released},
		{name: "success-at-no-cost", outcome: budget.Committed},
	} {
		tenant := budget.TenantID(test.name)
		ensure(t, c, tenant, 1000)
		s, err := c.Do(t.Context(), tenant, 100, func(context.Context) (budget.Microcents, error) { return test.cost, test.err })
		if !errors.Is(err, test.want) || test.also != nil && !errors.Is(err, test.also) || s.Outcome != test.outcome || s.Actual != test.committed {
			t.Errorf("%s: %+v, %v; want %s, %v, %v", test.name, s, err, test.outcome, test.want, test.also)
		}
		if test.err != nil && test.also == nil && err != test.err { //nolint:errorlint // the identical error
			t.Errorf("%s: %v does not wrap the error of the work", test.name, err)
		}
		if b := audit(t, client)[tenant].Balance; b.Reserved != 0 || b.Committed != test.committed {
			t.Errorf("%s: %+v, want %d committed and nothing held", test.name, b, test.committed)
		}
	}
}

func TestDoSettlesAfterAPanicAndAfterItsContext(t *testing.T) {
	t.Parallel()
	c, client := startNode(t)
	ensure(t, c, "acme", 1000)
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("Do swallowed the panic")
			}
		}()
		_, _ = c.Do(t.Context(), "acme", 100, func(context.Context) (budget.Microcents, error) { panic("boom") })
	}()
	if b := audit(t, client)["acme"].Balance; b.Reserved != 0 || b.Committed != 0 {
		t.Errorf("after a panic: %+v", b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, err := c.Do(ctx, "acme", 100, func(context.Context) (budget.Microcents, error) {
		cancel()
		return 40, nil
	})
	if err != nil || s.Outcome != budget.Committed {
		t.Errorf("the request ended during the work: %+v, %v", s, err)
	}
	if b := audit(t, client)["acme"].Balance; b.Reserved != 0 || b.Committed != 40 {
		t.Errorf("after the request ended: %+v", b)
	}
	ctx, cancel = context.WithCancel(t.Context())
	s, err = c.Do(ctx, "acme", 100, func(ctx context.Context) (budget.Microcents, error) {
		cancel()
		return 30, ctx.Err()
	})
	if err != context.Canceled || s.Outcome != budget.Committed { //nolint:errorlint // the identical error
		t.Errorf("the client hung up during the work: %+v, %v", s, err)
	}
	if b := audit(t, client)["acme"].Balance; b.Reserved != 0 || b.Committed != 70 {
		t.Errorf("after the client hung up: %+v", b)
	}
}

// Queue limits apply to new calls only: a Do that holds money settles.
func TestDoSettlesWithAFullQueue(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := node(t, server.Client(), WithQueueLimits(1, 100))
	ensure(t, c, "acme", 1000)
	var others sync.WaitGroup
	defer others.Wait()
	settled, err := c.Do(t.Context(), "acme", 100, func(context.Context) (budget.Microcents, error) {
		if err := server.Pause(); err != nil {
			return 0, err
		}
		for waiting := range int64(2) { // one in flight, one queued
			others.Go(func() { _, _ = c.Remaining(context.Background(), "acme") })
			for c.node.InFlight() < waiting+2 {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if _, err := c.Remaining(t.Context(), "acme"); !errors.Is(err, ErrOverloaded) {
			t.Errorf("the queue is not full: %v", err)
		}
		time.AfterFunc(50*time.Millisecond, func() { _ = server.Resume() })
		return 7, nil
	})
	if err != nil || settled.Outcome != budget.Committed || settled.Actual != 7 {
		t.Errorf("%+v, %v", settled, err)
	}
}

func TestDoSkipsWorkAfterARefusal(t *testing.T) {
	t.Parallel()
	c, _ := startNode(t)
	ensure(t, c, "acme", 10)
	for tenant, want := range map[budget.TenantID]error{"acme": budget.ErrInsufficient, "nobody": budget.ErrMissingTenant, "": budget.ErrInvalidTenant} {
		_, err := c.Do(t.Context(), tenant, 100, func(context.Context) (budget.Microcents, error) {
			t.Errorf("%q: the work ran without a reservation", tenant)
			return 0, nil
		})
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", tenant, err, want)
		}
	}
}
