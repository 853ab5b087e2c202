package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	audits "github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

func quiet() Option { return WithLogger(slog.New(slog.DiscardHandler)) }

// node returns a coordinator that is closed when the test ends.
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

// setupContext returns a context for setting up a test, whatever the node's call timeout is.
func setupContext(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 20*time.Second)
}

func ensure(t testing.TB, c *Coordinator, tenant budget.TenantID, amount budget.Microcents) {
	t.Helper()
	ctx, cancel := setupContext(t)
	defer cancel()
	if r, err := c.EnsureTenant(ctx, tenant, amount); err != nil || r.Outcome != budget.Created {
		t.Fatalf("EnsureTenant(%s) = %+v, %v", tenant, r, err)
	}
}

// reserve holds money of acme, which must exist.
func reserve(t testing.TB, c *Coordinator, cost budget.Microcents) budget.ReservationID {
	t.Helper()
	ctx, cancel := setupContext(t)
	defer cancel()
	r, err := c.TryReserve(ctx, "acme", cost)
	if err != nil || r.Outcome != budget.Reserved {
		t.Fatalf("TryReserve(%d) = %+v, %v", cost, r, err)
	}
	return r.ID
}

// audit checks every account in the stored state and returns them.
func audit(t testing.TB, client redis.UniversalClient) map[budget.TenantID]budget.HoldList {
	t.Helper()
	all, err := audits.Read(context.Background(), client, "bursar")
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

// acmeLedger and acmeTimers are the keys of acme's partition.
var (
	acmePartition = store.PartitionOf("acme", DefaultPartitions)
	acmeLedger    = store.KeysOf("bursar", DefaultPartitions, acmePartition).Ledger
	acmeTimers    = store.KeysOf("bursar", DefaultPartitions, acmePartition).Timers
)

// elsewhere returns a tenant of another partition.
func elsewhere(tenant budget.TenantID) budget.TenantID {
	for i := 0; ; i++ {
		if other := numbered("elsewhere", i); store.PartitionOf(other, DefaultPartitions) != store.PartitionOf(tenant, DefaultPartitions) {
			return other
		}
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// storedAccount reads the record of a tenant's account.
func storedAccount(t *testing.T, client redis.UniversalClient, tenant budget.TenantID) store.Account {
	t.Helper()
	keys := store.KeysOf("bursar", DefaultPartitions, store.PartitionOf(tenant, DefaultPartitions))
	account, _, err := store.ParseAccount(client.HGet(t.Context(), keys.Ledger, store.AccountField(tenant)).Val())
	if err != nil {
		t.Fatal(err)
	}
	return account
}
