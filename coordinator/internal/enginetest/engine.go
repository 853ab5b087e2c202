// Package enginetest runs a node's lanes on a Redis, for tests of packages that package
// coordinator imports.
//
// Only operations that those tests need to create state belong here; an engine with all
// options and checks is in package coordinator.
package enginetest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/dispatch"
	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Config is the configuration of an engine. The zero value of a field is its default.
type Config struct {
	Prefix     string // store.DefaultPrefix
	Partitions int    // 1
	HoldTTL    time.Duration
	Retention  time.Duration // 10 minutes
	Ring       int           // 16,384
	Clock      func() time.Time
}

// An Engine is a node.
type Engine struct {
	Prefix     string
	Partitions int
	Node       *lane.Node
}

// Start returns an engine that is closed when the test ends. It records the number of
// partitions, as the first node of a prefix does.
func Start(t testing.TB, client redis.UniversalClient, c Config) *Engine {
	t.Helper()
	or := func(n, other int) int {
		if n == 0 {
			return other
		}
		return n
	}
	if c.Prefix == "" {
		c.Prefix = store.DefaultPrefix
	}
	c.Partitions = or(c.Partitions, 1)
	if c.Retention == 0 {
		c.Retention = 10 * time.Minute
	}
	record := store.Record{Layout: luascripts.Layout, Partitions: c.Partitions}
	if err := client.SetNX(t.Context(), store.RecordKey(c.Prefix), record.String(), 0).Err(); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	d := dispatch.New(dispatch.Config{Client: client, Prefix: c.Prefix, Breaker: 10 * time.Second, Logger: logger, Now: time.Now})
	n := lane.NewNode(lane.Config{
		Prefix: c.Prefix, Partitions: c.Partitions, Scripts: luascripts.Compose(luascripts.Redis),
		Store:       store.Config{HoldTTL: c.HoldTTL.Milliseconds(), Retention: c.Retention.Milliseconds(), Ring: or(c.Ring, 16384)},
		TenantQueue: 1 << 20, TotalQueue: 1 << 20, CallTimeout: 20 * time.Second,
		Clock: c.Clock, Now: time.Now, Entropy: random, Logger: logger, Observer: lane.NopObserver{}, Wake: d.Wake,
	})
	d.Bind(n)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		n.Close()
		if err := n.Drain(ctx); err != nil {
			t.Error(err)
			n.Die()
		}
		n.WaitIdle()
		d.Stop()
		d.Wait()
	})
	return &Engine{c.Prefix, c.Partitions, n}
}

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// Keys returns the keys of a tenant's partition.
func (e *Engine) Keys(tenant budget.TenantID) store.Keys { return e.Node.LaneOf(tenant).Keys() }

// Do runs one operation; kind is one of package luascripts' kinds.
func (e *Engine) Do(ctx context.Context, kind byte, tenant budget.TenantID, amount budget.Microcents, id budget.ReservationID) (lane.Answer, budget.ReservationID, error) {
	return e.do(ctx, tenant, lane.NewCall(kind, tenant, amount, id))
}

func (e *Engine) do(ctx context.Context, tenant budget.TenantID, c *lane.Call) (lane.Answer, budget.ReservationID, error) {
	if err := errors.Join(tenant.Validate(), e.Node.Admit()); err != nil {
		return lane.Answer{}, budget.ReservationID{}, err
	}
	return e.Node.Do(ctx, c)
}

// Configure changes the settings of an account.
func (e *Engine) Configure(ctx context.Context, tenant budget.TenantID, change *budget.Change) (lane.Answer, error) {
	a, _, err := e.do(ctx, tenant, lane.NewCall(luascripts.KindConfigure, tenant, change.Settings.Overdraft, budget.ReservationID{}).WithChange(change))
	return a, err
}

// Reserve holds money, for the engine's hold TTL or the given one. It returns the zero id
// if it could not.
func (e *Engine) Reserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, ttl ...time.Duration) (budget.ReservationID, error) {
	c := lane.NewCall(luascripts.KindReserve, tenant, cost, budget.ReservationID{})
	if len(ttl) > 0 {
		c.WithTTL(ttl[0])
	}
	a, id, err := e.do(ctx, tenant, c)
	if a.Outcome != budget.Reserved {
		return budget.ReservationID{}, err
	}
	return id, err
}
