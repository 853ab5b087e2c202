package books_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/books"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// before does something at one of the commands of a kind, counted from 0: nothing
// more where it returns nil, else it is what the command and all later ones return.
type before struct {
	name string
	at   int64
	do   func() error
	seen atomic.Int64
	err  atomic.Value
}

func (h *before) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *before) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *before) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == h.name && h.seen.Add(1) == h.at+1 {
			if err := h.do(); err != nil {
				h.err.Store(err)
			}
		}
		if err, gone := h.err.Load().(error); gone {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

var errGone = errors.New("the server is gone")

func gone() error { return errGone }

// A Redis that goes between two pages is an error, wherever it goes.
func TestRedisGoesBetweenPages(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	fill(t, startNode(t, server.Client()), "acme")
	largeFamily(t, server.Client())
	visitHolds := func(ctx context.Context, client redis.UniversalClient, root budget.TenantID) error {
		return books.EachHold(ctx, client, "bursar", root, func(budget.Hold) error { return nil })
	}
	visitFamilies := func(ctx context.Context, client redis.UniversalClient, _ budget.TenantID) error {
		return books.EachFamily(ctx, client, "bursar", func([]budget.TenantID) error { return nil })
	}
	accounts := func(ctx context.Context, client redis.UniversalClient, root budget.TenantID) error {
		_, err := books.Accounts(ctx, client, "bursar", root)
		return err
	}
	verified := func(atOnce bool) func(context.Context, redis.UniversalClient, budget.TenantID) error {
		return func(ctx context.Context, client redis.UniversalClient, root budget.TenantID) error {
			r, err := books.Verify(ctx, client, "bursar", root, atOnce)
			if len(r.Differences) > 0 {
				t.Errorf("a server that is gone is said to be broken: %v", r.Differences)
			}
			return err
		}
	}
	server.Client().HSet(t.Context(), "bursar:{headless}:books", "a", "0 0 0 0")
	for _, c := range []struct {
		name string
		at   int64
		do   func(context.Context, redis.UniversalClient, budget.TenantID) error
		root budget.TenantID
	}{
		{"hget", 0, visitHolds, "acme"},
		{"hget", 1, visitHolds, "headless"},
		{"hlen", 0, visitHolds, "ghost"},
		{"hscan", 1, visitHolds, "acme"},
		{"scan", 0, visitFamilies, ""},
		{"hget", 0, accounts, "acme"},
		{"hscan", 1, accounts, "acme"},
		{"hlen", 0, verified(false), "acme"},
		{"hscan", 1, verified(false), "acme"},  // of the accounts
		{"hscan", 8, verified(false), "acme"},  // of the holds
		{"hscan", 15, verified(false), "acme"}, // of the accounts afterwards
		{"hmget", 0, verified(false), "acme"},
		{"hmget", 1, verified(false), "acme"},
		{"hgetall", 0, verified(true), "acme"},
	} {
		client := server.Client()
		client.AddHook(&before{name: c.name, at: c.at, do: gone})
		if err := c.do(t.Context(), client, c.root); !errors.Is(err, errGone) {
			t.Errorf("at %s %d: %v", c.name, c.at, err)
		}
	}
}

func TestRedisIsKilledBetweenPages(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	client.HSet(t.Context(), key, "f", "1 0123456789abcdef", "a", "0 0 0 0")
	largeFamily(t, client)
	client.AddHook(&before{name: "hscan", at: 1, do: func() error { server.Kill(); return nil }})
	if r, err := books.Verify(t.Context(), client, "bursar", "acme", false); err == nil {
		t.Errorf("nobody noticed: %+v", r)
	}
}

// A family without its field is broken, and not absent.
func TestFamilyWithoutItsField(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	fill(t, startNode(t, client), "acme")
	client.HDel(t.Context(), key, "f")
	if _, err := books.Accounts(t.Context(), client, "bursar", "acme"); err == nil {
		t.Error("accounts of a family without its field were read")
	}
	if err := books.EachHold(t.Context(), client, "bursar", "acme", func(budget.Hold) error { return nil }); err == nil {
		t.Error("holds of a family without its field were read")
	}
	// Made by a node between the two looks, it is there, and sound.
	client.AddHook(&before{name: "hlen", do: func() error { return client.HSet(t.Context(), key, "f", "1 0123456789abcdef").Err() }})
	if accounts, err := books.Accounts(t.Context(), client, "bursar", "acme"); err != nil || len(accounts) != 1 {
		t.Errorf("a family that was made meanwhile: %v, %v", accounts, err)
	}
}

func TestNewerLayoutIsRefused(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	fill(t, startNode(t, client), "acme")
	client.HSet(t.Context(), key, "f", "9 0123456789abcdef")
	if _, err := books.Accounts(t.Context(), client, "bursar", "acme"); !errors.Is(err, books.ErrLayout) {
		t.Errorf("accounts: %v", err)
	}
	err := books.EachHold(t.Context(), client, "bursar", "acme", func(budget.Hold) error { return nil })
	if !errors.Is(err, books.ErrLayout) {
		t.Errorf("holds: %v", err)
	}
}
