package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// fixture is a node on a private Redis, with callers that work on command.
type fixture struct {
	server  *redistest.Server
	admin   *redis.Client // not over conns
	client  *redis.Client
	conns   *connections
	node    *coordinator.Coordinator
	callers []*caller
}

const (
	prefix    = "guard" // its length is part of the bytes sent
	retention = 128     // tombstones of a partition, as on a Redis in use
)

func newFixture(ctx context.Context, opts ...redistest.Option) (*fixture, error) {
	server, err := redistest.Spawn(ctx, opts...)
	if err != nil {
		return nil, err
	}
	f := &fixture{server: server, admin: server.Client(), conns: &connections{held: make(chan struct{})}}
	options := server.Options()
	options.Dialer = f.conns.dial
	f.client = redis.NewClient(options)
	f.node, err = coordinator.New(ctx, f.client, coordinator.WithKeyPrefix(prefix),
		coordinator.WithRetention(coordinator.DefaultRetention, retention),
		coordinator.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, errors.Join(err, f.client.Close(), server.Close())
	}
	for k := range together {
		f.callers = append(f.callers, newCaller(ctx, k))
	}
	return f, nil
}

// close also checks the balances: figures of wrong ones are worthless.
func (f *fixture) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, c := range f.callers {
		close(c.calls)
	}
	errs := []error{f.node.Close(ctx)}
	accounts, err := audit.Read(ctx, f.admin, prefix)
	errs = append(errs, err)
	for tenant, account := range accounts {
		if err := account.Audit(); err != nil {
			errs = append(errs, fmt.Errorf("tenant %s: %w", tenant, err))
		}
	}
	return errors.Join(append(errs, f.client.Close(), f.server.Close())...)
}

func (f *fixture) reserve(ctx context.Context, tenant budget.TenantID) (budget.ReservationID, error) {
	r, err := f.node.TryReserve(ctx, tenant, cost)
	return r.ID, expect("reserve", r.Outcome, budget.Reserved, err)
}

func (f *fixture) refused(ctx context.Context, tenant budget.TenantID) error {
	r, err := f.node.TryReserve(ctx, tenant, beyond)
	return expect("reserve beyond the budget", r.Outcome, budget.Insufficient, err)
}

func (f *fixture) commit(ctx context.Context, id budget.ReservationID) error {
	settled, err := f.node.Commit(ctx, id, actual)
	return expect("commit", settled.Outcome, budget.Committed, err)
}

func (f *fixture) release(ctx context.Context, id budget.ReservationID) error {
	settled, err := f.node.Release(ctx, id)
	return expect("release", settled.Outcome, budget.Released, err)
}

func expect(call string, got, want budget.Outcome, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("%s: the answer is %s, want %s", call, got, want)
	}
	return err
}

// call is one call of a caller.
type call func(ctx context.Context, caller int) error

// crowd makes the same call of all callers at once: the first ones are held back on their
// connections until the others are queued, in order, and are then sent together.
func (f *fixture) crowd(ctx context.Context, ahead int, do call) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	release := f.conns.hold()
	defer release()
	for k, c := range f.callers {
		select {
		case <-c.queued: // left over from the last call
		default:
		}
		c.calls <- do
		if err := await(ctx, c.queued, "queued"); err != nil {
			return err
		}
		if k < ahead {
			if err := await(ctx, f.conns.held, "sent"); err != nil {
				return err
			}
		}
	}
	release()
	var errs []error
	for _, c := range f.callers {
		errs = append(errs, <-c.ended)
	}
	return errors.Join(errs...)
}

func await(ctx context.Context, event <-chan struct{}, state string) error {
	select {
	case <-event:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("a call was not %s: has the path through the coordinator changed? see bench/regress/fixture.go: %w", state, context.Cause(ctx))
	}
}

// caller is a goroutine that outlives its calls, so that no figure includes its start.
type caller struct {
	calls  chan call
	ended  chan error
	queued chan struct{}
}

func newCaller(ctx context.Context, k int) *caller {
	c := &caller{calls: make(chan call), ended: make(chan error, 1), queued: make(chan struct{}, 1)}
	var own context.Context = queuedContext{Context: ctx, queued: c.queued}
	go func() {
		for do := range c.calls {
			c.ended <- do(own, k)
		}
	}()
	return c
}

// queuedContext signals that its call is queued: a coordinator calls Done when it begins to
// wait after that.
type queuedContext struct {
	context.Context //nolint:containedctx // it is one
	queued          chan<- struct{}
}

func (q queuedContext) Done() <-chan struct{} {
	select {
	case q.queued <- struct{}{}:
	default:
	}
	return q.Context.Done()
}

// connections counts the bytes of all connections of a client, and can hold back writes.
type connections struct {
	sent, received atomic.Int64
	held           chan struct{} // receives for each write that is held back

	mu   sync.Mutex
	gate chan struct{} // closed to let the writes go; nil unless they are held back
}

func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: conn, all: c}, nil
}

// hold makes every write wait for release, which may be called twice.
func (c *connections) hold() (release func()) {
	gate := make(chan struct{})
	c.setGate(gate)
	return sync.OnceFunc(func() {
		c.setGate(nil)
		close(gate)
	})
}

func (c *connections) setGate(gate chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gate = gate
}

func (c *connections) pass() {
	c.mu.Lock()
	gate := c.gate
	c.mu.Unlock()
	if gate == nil {
		return
	}
	select {
	case c.held <- struct{}{}:
		<-gate
	case <-gate:
	}
}

type countedConn struct {
	net.Conn
	all *connections
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.all.pass()
	n, err := c.Conn.Write(b)
	c.all.sent.Add(int64(n))
	return n, err
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.all.received.Add(int64(n))
	return n, err
}
