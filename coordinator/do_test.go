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
		outcome   budget.Outcome
		committed budget.Microcents
	}{
		{name: "success", cost: 60, outcome: budget.Committed, committed: 60},
		{name: "more-than-held", cost: 150, outcome: budget.Committed, committed: 150},
		{name: "more-than-there-is", cost: 5000, want: budget.ErrOverrun, outcome: budget.Committed, committed: 100},
		{name: "negative", cost: -1, want: budget.ErrInvalidAmount, outcome: budget.Released},
		{name: "failure", cost: 60, err: errWork, want: errWork, outcome: budget.Released},
	} {
		tenant := budget.TenantID(test.name)
		ensure(t, c, tenant, 1000)
		s, err := c.Do(t.Context(), tenant, 100, func(context.Context) (budget.Microcents, error) { return test.cost, test.err })
		if !errors.Is(err, test.want) || s.Outcome != test.outcome {
			t.Errorf("%s: %+v, %v; want %s, %v", test.name, s, err, test.outcome, test.want)
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
				t.Error("the panic did not go on")
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
}

// The bound of what waits is for what callers ask anew: a Do that holds money settles.
func TestDoSettlesThoughItsFamilyIsFull(t *testing.T) {
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
		for waiting := range int64(2) { // one on its way, one that waits
			others.Go(func() { _, _ = c.Remaining(context.Background(), "acme") })
			for c.node.InFlight() < waiting+2 {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if _, err := c.Remaining(t.Context(), "acme"); !errors.Is(err, ErrOverloaded) {
			t.Errorf("the family is not full: %v", err)
		}
		time.AfterFunc(50*time.Millisecond, func() { _ = server.Resume() })
		return 7, nil
	})
	if err != nil || settled.Outcome != budget.Committed || settled.Actual != 7 {
		t.Errorf("%+v, %v", settled, err)
	}
}

func TestDoDoesNotWorkOnARefusal(t *testing.T) {
	t.Parallel()
	c, _ := startNode(t)
	ensure(t, c, "acme", 10)
	for tenant, want := range map[budget.TenantID]error{"acme": budget.ErrInsufficient, "nobody": budget.ErrMissingTenant, "": budget.ErrInvalidTenant} {
		_, err := c.Do(t.Context(), tenant, 100, func(context.Context) (budget.Microcents, error) {
			t.Errorf("%q: the work ran without money", tenant)
			return 0, nil
		})
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", tenant, err, want)
		}
	}
}
