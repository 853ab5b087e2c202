package baseline

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// between runs a function just before a command is sent.
type between struct {
	command string
	act     func()
}

func (b between) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b between) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == b.command {
			b.act()
		}
		return next(ctx, cmd)
	}
}

func (b between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == b.command {
			b.act()
		}
		return next(ctx, cmds)
	}
}

// reserve60 reserves 60 on another node.
func reserve60(t *testing.T, k Store) {
	if res, err := k.TryReserve(t.Context(), "a", 60); err != nil || res.Outcome != budget.Reserved {
		t.Errorf("the other: %+v, %v", res, err)
	}
}

// A reserve between the GET and the DECRBY sees the same money, and both get it.
func TestCheckOverspends(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client, other := server.Client(), New(Check, server.Client(), "p")
	k := New(Check, client, "p")
	if err := k.Create(t.Context(), "a", 100); err != nil {
		t.Fatal(err)
	}
	client.AddHook(between{"decrby", func() { reserve60(t, other) }})
	res, err := k.TryReserve(t.Context(), "a", 60)
	if err != nil || res.Outcome != budget.Reserved || res.Remaining != -20 {
		t.Errorf("%+v, %v; want it to take what is not there", res, err)
	}
	if spent, err := other.Spent(t.Context(), "a", 100); err != nil || spent != 120 {
		t.Errorf("spent %d of 100, %v; want 120", spent, err)
	}
}

// An optimistic lock retries, and refuses.
func TestWatchRetries(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client, other := server.Client(), New(Watch, server.Client(), "p")
	k := New(Watch, client, "p")
	if err := k.Create(t.Context(), "a", 100); err != nil {
		t.Fatal(err)
	}
	came := 0
	client.AddHook(between{"multi", func() { came++; reserve60(t, other) }})
	res, err := k.TryReserve(t.Context(), "a", 60)
	if err != nil || res != (budget.Reservation{Outcome: budget.Insufficient, Remaining: 40, Required: 60}) || came != 1 {
		t.Errorf("%+v, %v after %d", res, err, came)
	}
}

// It gives up after a bounded number of attempts and changes nothing.
func TestWatchGivesUp(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client, other := server.Client(), New(Watch, server.Client(), "p")
	k := New(Watch, client, "p")
	if err := k.Create(t.Context(), "a", 10_000); err != nil {
		t.Fatal(err)
	}
	held, err := other.TryReserve(t.Context(), "a", 40)
	if err != nil {
		t.Fatal(err)
	}
	came := 0
	client.AddHook(between{"multi", func() { came++; reserve60(t, other) }})
	if res, err := k.TryReserve(t.Context(), "a", 1); !errors.Is(err, ErrConflict) || res != (budget.Reservation{}) {
		t.Errorf("reserve: %+v, %v", res, err)
	}
	if settled, err := k.Commit(t.Context(), held.ID, 1); !errors.Is(err, ErrConflict) || settled != (budget.Settlement{}) {
		t.Errorf("commit: %+v, %v", settled, err)
	}
	if came != 2*watchAttempts {
		t.Errorf("%d attempts, want %d", came, 2*watchAttempts)
	}
	if spent, err := other.Spent(t.Context(), "a", 10_000); err != nil || spent != budget.Microcents(40+60*came) {
		t.Errorf("spent %d, %v; want 40 and %d times 60", spent, err, came)
	}
}
