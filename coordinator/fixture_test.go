package coordinator

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/books"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

func quiet() Option { return WithLogger(slog.New(slog.DiscardHandler)) }

// node makes a coordinator that is closed at the test's end.
func node(t testing.TB, client redis.UniversalClient, opts ...Option) *Coordinator {
	t.Helper()
	c, err := New(t.Context(), client, append([]Option{quiet()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

func startNode(t testing.TB, opts ...Option) (*Coordinator, *redis.Client) {
	t.Helper()
	client := redistest.Start(t).Client()
	return node(t, client, opts...), client
}

// patiently returns the context for setting up a test. Its deadline replaces the node's
// call timeout, which may be too short for a busy machine.
func patiently(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 20*time.Second)
}

func ensure(t testing.TB, c *Coordinator, tenant budget.TenantID, amount budget.Microcents) {
	t.Helper()
	ctx, cancel := patiently(t)
	defer cancel()
	if r, err := c.EnsureTenant(ctx, tenant, amount); err != nil || r.Outcome != budget.Created {
		t.Fatalf("EnsureTenant(%s) = %+v, %v", tenant, r, err)
	}
}

// reserve holds money of acme, which the test has ensured.
func reserve(t testing.TB, c *Coordinator, cost budget.Microcents) budget.ReservationID {
	t.Helper()
	ctx, cancel := patiently(t)
	defer cancel()
	r, err := c.TryReserve(ctx, "acme", cost)
	if err != nil || r.Outcome != budget.Reserved {
		t.Fatalf("TryReserve(%d) = %+v, %v", cost, r, err)
	}
	return r.ID
}

// audit checks every account in Redis' own state and returns them.
func audit(t testing.TB, client redis.UniversalClient) map[budget.TenantID]budget.HoldList {
	t.Helper()
	all, err := books.Read(context.Background(), client, "bursar")
	if err != nil {
		t.Fatal(err)
	}
	for tenant, account := range all {
		if err := account.Audit(); err != nil {
			t.Errorf("tenant %s: %v", tenant, err)
		}
	}
	return all
}

// seeded returns random numbers and prints their seed.
func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func numbered(name string, i int) budget.TenantID {
	return budget.TenantID(fmt.Sprintf("%s-%d", name, i))
}
