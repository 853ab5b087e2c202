package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// identities are the errors that callers test for with errors.Is.
var identities = []error{
	ErrClosed, ErrOverloaded, ErrUnavailable, ErrUnknownOutcome, ErrGap, ErrRecreated, ErrOutOfMemory, ErrCorrupt, ErrLayout, ErrUnfit,
	budget.ErrInvalidAmount, budget.ErrOverflow, budget.ErrInsufficient, budget.ErrMissingTenant, budget.ErrMissingReservation,
	budget.ErrOverrun, budget.ErrNoAnswer, budget.ErrHoldsOpen, budget.ErrInvalidReservationID, budget.ErrInvalidTenant,
	context.Canceled, context.DeadlineExceeded, redis.Nil, redis.ErrClosed,
}

// sibling is another call's outcome, which a group of goroutines sets as the cause when
// it cancels its other calls.
var sibling = &UnknownOutcomeError{ID: budget.NewReservationID("sibling", 1, 2), Cause: errors.Join(context.Canceled, context.DeadlineExceeded)}

// errForeign matches every identity and the sibling's outcome.
var errForeign = fmt.Errorf("branch: %w", errors.Join(append(slices.Clone(identities), sibling)...))

// ending is a context that a test ends with an error of its own.
type ending struct {
	context.Context
	done  chan struct{}
	ended error
}

func newEnding(parent context.Context, ended error) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	e := &ending{ctx, make(chan struct{}), ended}
	return e, func() { cancel(errForeign); close(e.done) }
}

func (e *ending) Done() <-chan struct{} { return e.done }

func (e *ending) Err() error {
	select {
	case <-e.done:
		return e.ended
	default:
		return nil
	}
}

// endings are the ways in which a context ends, each with a cause of the caller's and the
// error that a call must match.
var endings = []struct {
	name string
	make func(parent context.Context) (ctx context.Context, end func())
	want error
}{
	{"cancelled", func(parent context.Context) (context.Context, func()) {
		ctx, cancel := context.WithCancelCause(parent)
		return ctx, func() { cancel(errForeign) }
	}, context.Canceled},
	{"cancelled above", func(parent context.Context) (context.Context, func()) {
		above, cancel := context.WithCancelCause(parent)
		ctx, end := context.WithTimeout(above, time.Hour)
		return ctx, func() { cancel(errForeign); end() }
	}, context.Canceled},
	{"expired", func(parent context.Context) (context.Context, func()) {
		return newEnding(parent, context.DeadlineExceeded)
	}, context.DeadlineExceeded},
	{"with no cause", func(parent context.Context) (context.Context, func()) { return context.WithCancel(parent) }, context.Canceled},
	{"with an error of its own", func(parent context.Context) (context.Context, func()) {
		return newEnding(parent, errForeign)
	}, context.DeadlineExceeded},
}

// verbs are the operations on a tenant and on a reservation of it.
var verbs = []struct {
	name string
	call func(ctx context.Context, c *Coordinator, id budget.ReservationID) error
}{
	{"EnsureTenant", func(ctx context.Context, c *Coordinator, id budget.ReservationID) error {
		_, err := c.EnsureTenant(ctx, id.Tenant(), 1)
		return err
	}},
	{"TryReserve", func(ctx context.Context, c *Coordinator, id budget.ReservationID) error {
		_, err := c.TryReserve(ctx, id.Tenant(), 1)
		return err
	}},
	{"TryReserve with a TTL", func(ctx context.Context, c *Coordinator, id budget.ReservationID) error {
		_, err := c.TryReserve(ctx, id.Tenant(), 1, budget.WithHoldTTL(time.Hour))
		return err
	}},
	{"Commit", func(ctx context.Context, c *Coordinator, id budget.ReservationID) error {
		_, err := c.Commit(ctx, id, 1)
		return err
	}},
	{"Release", func(ctx context.Context, c *Coordinator, id budget.ReservationID) error {
		_, err := c.Release(ctx, id)
		return err
	}},
	{"Lookup", func(ctx context.Context, c *Coordinator, id budget.ReservationID) error {
		_, err := c.Lookup(ctx, id)
		return err
	}},
	{"Remaining", func(ctx context.Context, c *Coordinator, id budget.ReservationID) error {
		_, err := c.Remaining(ctx, id.Tenant())
		return err
	}},
	{"Balance", func(ctx context.Context, c *Coordinator, id budget.ReservationID) error {
		_, err := c.Balance(ctx, id.Tenant())
		return err
	}},
	{"Holds", func(ctx context.Context, c *Coordinator, id budget.ReservationID) error {
		_, err := c.Holds(ctx, id.Tenant())
		return err
	}},
	{"Grant", func(ctx context.Context, c *Coordinator, id budget.ReservationID) error {
		_, err := c.Grant(ctx, id.Tenant(), 1)
		return err
	}},
	{"Withdraw", func(ctx context.Context, c *Coordinator, id budget.ReservationID) error {
		_, err := c.Withdraw(ctx, id.Tenant(), 1)
		return err
	}},
	{"DeleteTenant", func(ctx context.Context, c *Coordinator, id budget.ReservationID) error {
		_, err := c.DeleteTenant(ctx, id.Tenant())
		return err
	}},
	{"Do", func(ctx context.Context, c *Coordinator, id budget.ReservationID) error {
		_, err := c.Do(ctx, id.Tenant(), 1, func(context.Context) (budget.Microcents, error) { return 1, nil })
		return err
	}},
}

// matchesOnly checks that err matches these identities and no others, and that its
// outcome, if any, is the call's own.
func matchesOnly(t *testing.T, err error, want ...error) {
	t.Helper()
	for _, identity := range identities {
		if got := errors.Is(err, identity); got != slices.Contains(want, identity) {
			t.Errorf("%.200q: matches %q: %t", fmt.Sprint(err), identity, got)
		}
	}
	unknown := (*UnknownOutcomeError)(nil)
	if !errors.As(err, &unknown) {
		return
	}
	if unknown == sibling {
		t.Error("the outcome is another call's")
	}
	matchesOnly(t, unknown.Cause, want[1:]...)
}

// A context's cause belongs to the caller: the error of an interrupted call matches how
// the context ended and what happened to this call, and nothing else.
func TestCauseOfAContextIsTextOnly(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := node(t, server.Client(), withoutProbes())
	for i, ending := range endings {
		for j, verb := range verbs {
			t.Run(ending.name+"/"+verb.name, func(t *testing.T) {
				tenant := numbered("acme", i*len(verbs)+j)
				ensure(t, c, tenant, 1000)
				held, err := c.TryReserve(t.Context(), tenant, 10)
				if err != nil {
					t.Fatal(err)
				}
				ctx, end := ending.make(t.Context())
				end()
				matchesOnly(t, verb.call(ctx, c, held.ID), ErrUnavailable, ending.want)

				err = endWhile(t, c, server, tenant, 0, ending.make, func(ctx context.Context) error { return verb.call(ctx, c, held.ID) })
				matchesOnly(t, err, ErrUnknownOutcome, ending.want)
				err = endWhile(t, c, server, tenant, 1, ending.make, func(ctx context.Context) error { return verb.call(ctx, c, held.ID) })
				matchesOnly(t, err, ErrUnavailable, ending.want)
			})
		}
	}
}

// endWhile calls do while Redis does not answer, with before calls of the tenant ahead of
// it, and ends its context once it is sent or queued behind them.
func endWhile(t *testing.T, c *Coordinator, server *redistest.Server, tenant budget.TenantID, before int,
	make func(context.Context) (context.Context, func()), do func(context.Context) error,
) error {
	t.Helper()
	eventually(t, "the lane is idle", func() bool { queued, inFlight := c.node.LaneOf(tenant).Calls(); return queued+inFlight == 0 })
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Resume(); err != nil {
			t.Error(err)
		}
	}()
	for range before {
		go func() { _, _ = c.Balance(t.Context(), tenant) }()
		awaitLane(t, c, tenant, 0)
	}
	ctx, end := make(t.Context())
	ended := async(func() error { return do(ctx) })
	awaitLane(t, c, tenant, before)
	end()
	return <-ended
}

func async(do func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	return done
}

// withoutProbes keeps a node from probing an idle lane, which awaitLane would take for a
// caller's call.
func withoutProbes() Option { return WithRepair(0, 0) }

// awaitLane waits until one of a tenant's calls is in flight and waiting more are queued.
func awaitLane(t *testing.T, c *Coordinator, tenant budget.TenantID, waiting int) {
	t.Helper()
	l := c.node.LaneOf(tenant)
	for reached := false; !reached; time.Sleep(100 * time.Microsecond) {
		queued, inFlight := l.Calls()
		reached = inFlight == 1 && queued == waiting
		if t.Context().Err() != nil {
			t.Fatal("the call did not get that far")
		}
	}
}

// blockingHook holds some commands back from Redis until release is closed.
type blockingHook struct {
	matches func(cmd redis.Cmder) bool
	arrived chan struct{}
	release chan struct{}
}

func blockCommands(client *redis.Client, matches func(cmd redis.Cmder) bool) blockingHook {
	h := blockingHook{matches, make(chan struct{}, 100), make(chan struct{})}
	client.AddHook(h)
	return h
}

func (h blockingHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h blockingHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h blockingHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !h.matches(cmd) {
			return next(ctx, cmd)
		}
		h.arrived <- struct{}{}
		select {
		case <-ctx.Done():
			err := context.Cause(ctx) // hooks of the client's owner may return it
			cmd.SetErr(err)
			return err
		case <-h.release:
			return next(ctx, cmd)
		}
	}
}

// The same without a lane: Holds while it reads, Ready, Close, New and Inspect.
func TestCauseOfAContextIsTextOnlyOutsideTheLanes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for i, ending := range endings {
		t.Run(ending.name, func(t *testing.T) {
			client := server.Client()
			c := node(t, client)
			tenant := numbered("acme", i)
			ensure(t, c, tenant, 1000)
			reading := blockCommands(client, func(cmd redis.Cmder) bool {
				args := cmd.Args()
				return slices.Contains([]any{c.scripts.Page.SHA, c.scripts.Page.Source, readyScript}, args[min(1, len(args)-1)])
			})
			for _, ask := range []func(ctx context.Context) error{
				func(ctx context.Context) error { _, err := c.Holds(ctx, tenant); return err },
				c.Ready,
			} {
				ctx, end := ending.make(t.Context())
				asked := async(func() error { return ask(ctx) })
				<-reading.arrived
				end()
				matchesOnly(t, <-asked, ErrUnavailable, ending.want)
			}
			close(reading.release)

			starting := server.Client()
			start := blockCommands(starting, func(cmd redis.Cmder) bool { return cmd.Name() == "ping" })
			ctx, end := ending.make(t.Context())
			asked := async(func() error { _, err := New(ctx, starting, quiet()); return err })
			<-start.arrived
			end()
			matchesOnly(t, <-asked, ErrUnavailable, ending.want)
			_, err := New(ctx, server.Client(), quiet())
			matchesOnly(t, err, ErrUnavailable, ending.want)
			checks, err := Inspect(ctx, server.Client())
			if err != nil || len(checks) != 1 {
				t.Fatalf("Inspect: %+v, %v; want one check", checks, err)
			}
			matchesOnly(t, checks[0].Err(), ErrUnavailable, ending.want)
		})
	}
}

func TestCauseOfACloseIsTextOnly(t *testing.T) {
	t.Parallel()
	for _, ending := range endings {
		t.Run(ending.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			for _, waiting := range []bool{true, false} {
				c, err := New(t.Context(), server.Client(), quiet(), withoutProbes())
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.EnsureTenant(t.Context(), "acme", 1000)
				if err != nil {
					t.Fatal(err)
				}
				if err := server.Pause(); err != nil {
					t.Fatal(err)
				}
				if waiting {
					go func() { _, _ = c.Balance(context.Background(), "acme") }()
					awaitLane(t, c, "acme", 0)
				}
				ctx, end := ending.make(t.Context())
				closed := async(func() error { return c.Close(ctx) })
				for !c.node.Closed() {
					time.Sleep(100 * time.Microsecond)
				}
				end()
				matchesOnly(t, <-closed, ErrUnavailable, ending.want)
				if err := server.Resume(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
