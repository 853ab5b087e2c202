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
	"github.com/calybris/bursar/coordinator/redistest"
)

// A fixture is a node on a private Redis, with callers that ask when they are told to.
type fixture struct {
	server  *redistest.Server
	admin   *redis.Client // beside the wire
	client  *redis.Client
	wire    *wire
	node    *coordinator.Coordinator
	callers []*caller
}

// prefix of the fixture's keys.
const prefix = "guard"

// retained is the number of tombstones of a partition. Each measured load finds as many,
// as on a Redis that has been in use for a while.
const retained = 128

func newFixture(ctx context.Context, opts ...redistest.Option) (*fixture, error) {
	server, err := redistest.Spawn(ctx, opts...)
	if err != nil {
		return nil, err
	}
	s := &fixture{server: server, admin: server.Client(), wire: newWire()}
	options := server.Options()
	options.Dialer = s.wire.dial
	s.client = redis.NewClient(options)
	s.node, err = coordinator.New(ctx, s.client, coordinator.WithKeyPrefix(prefix),
		coordinator.WithRetention(coordinator.DefaultRetention, retained),
		coordinator.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, errors.Join(err, s.client.Close(), server.Close())
	}
	for k := range together {
		s.callers = append(s.callers, newCaller(ctx, k))
	}
	return s, nil
}

// close ends the fixture and checks the balances: a fast figure of wrong ones is worthless.
func (s *fixture) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, c := range s.callers {
		close(c.turns)
	}
	errs := []error{s.node.Close(ctx)}
	accounts, err := audit.Read(ctx, s.admin, prefix)
	errs = append(errs, err)
	for tenant, account := range accounts {
		if err := account.Audit(); err != nil {
			errs = append(errs, fmt.Errorf("tenant %s: %w", tenant, err))
		}
	}
	return errors.Join(append(errs, s.client.Close(), s.server.Close())...)
}

// A turn is what one caller asks.
type turn func(ctx context.Context, caller int) error

// crowd lets all callers ask at once: the calls of the first ones are held on the
// wire until the others stand in their queues, in order. What is sent next carries
// them all.
func (s *fixture) crowd(ctx context.Context, ahead int, t turn) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	release := s.wire.hold()
	defer release()
	for k, c := range s.callers {
		select {
		case <-c.queued: // of the turn before, told twice
		default:
		}
		c.turns <- t
		if err := await(ctx, c.queued, "to queue its call"); err != nil {
			return err
		}
		if k < ahead {
			if err := await(ctx, s.wire.held, "to have its call sent"); err != nil {
				return err
			}
		}
	}
	release()
	var errs []error
	for _, c := range s.callers {
		errs = append(errs, <-c.ended)
	}
	return errors.Join(errs...)
}

func await(ctx context.Context, told <-chan struct{}, what string) error {
	select {
	case <-told:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("a caller was awaited %s, in vain: has the coordinator another way now? see bench/regress/fixture.go: %w", what, context.Cause(ctx))
	}
}

// A caller is a goroutine that stays, so that starting it is no part of a figure.
type caller struct {
	turns  chan turn
	ended  chan error
	queued chan struct{}
}

func newCaller(ctx context.Context, k int) *caller {
	c := &caller{turns: make(chan turn), ended: make(chan error, 1), queued: make(chan struct{}, 1)}
	var own context.Context = queuedContext{Context: ctx, told: c.queued}
	go func() {
		for t := range c.turns {
			c.ended <- t(own, k)
		}
	}()
	return c
}

// queuedContext says when its call stands in its queue: a coordinator asks for Done
// after that, when it begins to wait.
type queuedContext struct {
	context.Context //nolint:containedctx // it is one
	told            chan<- struct{}
}

func (q queuedContext) Done() <-chan struct{} {
	select {
	case q.told <- struct{}{}:
	default:
	}
	return q.Context.Done()
}

// wire is all connections of a client: it counts what goes over them, and can hold
// back what is sent.
type wire struct {
	sent, received atomic.Int64
	held           chan struct{} // told of each write that is held back

	mu   sync.Mutex
	gate chan struct{} // closed to let the writes go; nil while nothing is held
}

func newWire() *wire { return &wire{held: make(chan struct{})} }

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: conn, wire: w}, nil
}

// hold makes every write wait for release, which may be called twice.
func (w *wire) hold() (release func()) {
	gate := make(chan struct{})
	w.mu.Lock()
	w.gate = gate
	w.mu.Unlock()
	return sync.OnceFunc(func() {
		w.mu.Lock()
		w.gate = nil
		w.mu.Unlock()
		close(gate)
	})
}

func (w *wire) pass() {
	w.mu.Lock()
	gate := w.gate
	w.mu.Unlock()
	if gate == nil {
		return
	}
	select {
	case w.held <- struct{}{}:
		<-gate
	case <-gate:
	}
}

type countedConn struct {
	net.Conn
	wire *wire
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.wire.pass()
	n, err := c.Conn.Write(b)
	c.wire.sent.Add(int64(n))
	return n, err
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.wire.received.Add(int64(n))
	return n, err
}
