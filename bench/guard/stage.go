package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/redistest"
)

// A stage is a node on a private Redis, with callers that ask when they are told to.
type stage struct {
	server  *redistest.Server
	admin   *redis.Client // beside the wire
	client  *redis.Client
	wire    *wire
	node    *coordinator.Coordinator
	callers []*caller
}

// prefix of the stage's keys.
const prefix = "guard"

// retained is the number of tombstones of a partition. Each measured load finds as many,
// as on a Redis that has been in use for a while.
const retained = 128

func newStage(ctx context.Context, opts ...redistest.Option) (*stage, error) {
	server, err := redistest.Spawn(ctx, opts...)
	if err != nil {
		return nil, err
	}
	s := &stage{server: server, admin: server.Client(), wire: newWire()}
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

// close ends the stage and checks the balances: a fast figure of wrong ones is worthless.
func (s *stage) close() error {
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
func (s *stage) crowd(ctx context.Context, ahead int, t turn) error {
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
		return fmt.Errorf("a caller was awaited %s, in vain: has the coordinator another way now? see bench/guard/stage.go: %w", what, context.Cause(ctx))
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
