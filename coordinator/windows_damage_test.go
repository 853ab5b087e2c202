package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

// heldRenewal holds back the first batch that stores boundaries.
type heldRenewal struct {
	met, free chan struct{}
	once      sync.Once
}

func (h *heldRenewal) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *heldRenewal) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.meet(cmd)
		return next(ctx, cmd)
	}
}

func (h *heldRenewal) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.meet(cmds...)
		return next(ctx, cmds)
	}
}

func (h *heldRenewal) meet(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		if a := cmd.Args(); strings.HasPrefix(cmd.Name(), "eval") && len(a) > 12 && strings.Contains(fmt.Sprint(a[11]), "v") {
			h.once.Do(func() { close(h.met); <-h.free })
		}
	}
}

// Boundaries that a node sends late are of no other window that was set in the same millisecond.
func TestLateRenewalOfAnotherWindow(t *testing.T) {
	t.Parallel()
	for _, w := range []budget.Window{{Period: budget.Day}, {Period: budget.Last24Hours}, {Period: budget.Hour, Zone: "Asia/Kathmandu"}} {
		server := redistest.Start(t)
		now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
		clock := WithClock(func() time.Time { return now })
		first, slow := node(t, server.Client(), clock), server.Client()
		held := &heldRenewal{met: make(chan struct{}), free: make(chan struct{})}
		slow.AddHook(held)
		second := node(t, slow, clock)
		ensureWindow(t, first, "acme", 100, budget.Window{Period: budget.Hour})
		done := make(chan error)
		go func() {
			_, err := second.Balance(context.Background(), "acme")
			done <- err
		}()
		<-held.met
		if _, err := first.Balance(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		if _, err := first.Configure(t.Context(), "acme", budget.InWindow(w)); err != nil {
			t.Fatal(err)
		}
		close(held.free)
		if err := <-done; err != nil {
			t.Error(err)
		}
		var want budget.Instant
		if ends, err := w.Boundaries(now, 1); err == nil {
			want = budget.InstantOf(ends[0])
		}
		if b, err := first.Balance(t.Context(), "acme"); err != nil || b.Epoch.End != want {
			t.Errorf("the epoch of a window by the %s is %+v, want its end at %s; %v", w.Period, b.Epoch, want, err)
		}
	}
}

// A damaged window concerns only its account, not the others of a batch.
func TestDamagedWindowIsItsAccountsOwn(t *testing.T) {
	t.Parallel()
	for _, w := range []budget.Window{{Period: budget.Hour, Zone: "Europe/Berlin", Carry: 5}, {Period: budget.Last24Hours}} {
		c, _, advance := nodeWithClock(t)
		other := neighbour("acme")
		ensure(t, c, other, 1_000_000)
		ensureWindow(t, c, "acme", 1000, w)
		for range 3 {
			reserve(t, c, 10)
			commit(t, c, reserve(t, c, 7), 5)
			advance(time.Hour)
		}
		if _, err := c.Balance(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		field := store.AccountField("acme")
		good := c.client.HGet(t.Context(), acmeLedger, field).Val()
		for i := 94; i < len(good); i++ { // the window
			damaged := []byte(good)
			damaged[i] ^= 0x80
			c.client.HSet(t.Context(), acmeLedger, field, string(damaged))
			var calls sync.WaitGroup
			for range 3 {
				calls.Go(func() {
					if _, err := c.TryReserve(t.Context(), other, 1); err != nil {
						t.Errorf("byte %d: the neighbour's reserve: %v", i, err)
					}
				})
				calls.Go(func() {
					if _, err := c.Balance(t.Context(), "acme"); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, budget.ErrInvalidSetting) {
						t.Errorf("byte %d: %v", i, err)
					}
				})
			}
			calls.Wait()
			c.client.HSet(t.Context(), acmeLedger, field, good)
		}
	}
}

// A time beyond 48 bits is in no epoch.
func TestAtEpochOfFarTimes(t *testing.T) {
	t.Parallel()
	c, at, _ := nodeWithClock(t)
	ensureWindow(t, c, "acme", 100, budget.Window{Period: budget.Hour})
	for _, far := range []int64{1 << 48, -1 << 48} {
		b, err := c.Balance(t.Context(), "acme", budget.AtEpoch(time.UnixMilli(at().UnixMilli()+far)))
		wantErr(t, fmt.Sprintf("Balance = %+v", b), err, budget.ErrNoEpoch)
	}
}

// A node without an account's time zone gives up the release of an abandoned hold, instead of
// repeating it until another node renews the account.
func TestAbandonedHoldInAnUnknownZone(t *testing.T) {
	t.Parallel()
	var ms atomic.Int64
	ms.Store(time.Date(2026, time.March, 1, 10, 30, 0, 0, time.UTC).UnixMilli())
	c, client := startNode(t, WithHoldTTL(0), WithClock(func() time.Time { return time.UnixMilli(ms.Load()) }))
	ensureWindow(t, c, "acme", 100, budget.Window{Period: budget.Hour, Zone: "Europe/Berlin"})
	field := store.AccountField("acme")
	reserve(t, c, 1)
	record := client.HGet(t.Context(), acmeLedger, field).Val()
	client.HSet(t.Context(), acmeLedger, field, strings.Replace(record, "Europe/Berlin", "Europe/Atopia", 1))
	client.ClientPause(t.Context(), 300*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.TryReserve(ctx, "acme", 1); !errors.Is(err, ErrUnknownOutcome) {
		t.Fatal(err)
	}
	ms.Add((100 * time.Hour).Milliseconds())
	closing, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	if err := c.Close(closing); err != nil {
		t.Errorf("Close: %v", err)
	}
}
