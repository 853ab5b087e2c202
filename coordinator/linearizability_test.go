package coordinator

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/budgettest"
	"github.com/calybris/bursar/coordinator/redistest"
)

// shortTimeouts gives up on operations that move money, but not too soon: on a busy machine
// half of a history had no answer after 25 ms, which left porcupine too many orders to
// try.
type shortTimeouts struct{ *Coordinator }

func shortTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 150*time.Millisecond)
}

func (e shortTimeouts) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	ctx, cancel := shortTimeout(ctx)
	defer cancel()
	return e.Coordinator.TryReserve(ctx, tenant, cost, opts...)
}

func (e shortTimeouts) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	ctx, cancel := shortTimeout(ctx)
	defer cancel()
	return e.Coordinator.Commit(ctx, id, actual)
}

func (e shortTimeouts) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	ctx, cancel := shortTimeout(ctx)
	defer cancel()
	return e.Coordinator.Release(ctx, id)
}

// TestLinearizableUnderFaults looks for one order of events while batches are
// lost, delayed and repeated and callers give up.
func TestLinearizableUnderFaults(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	random := seeded(t)
	budgettest.Linearizability(t, func(t testing.TB, c budgettest.Config) budgettest.Subject {
		f := &faults{random: rand.New(rand.NewPCG(random.Uint64(), 0)), count: make(map[fault]int)}
		var nodes []budget.Engine
		for range 2 {
			opts := server.Options()
			opts.Dialer = f.dial
			client := redis.NewClient(opts)
			t.Cleanup(func() { client.Close() })
			nodes = append(nodes, shortTimeouts{node(t, client, WithHoldTTL(c.HoldTTL), WithClock(c.Clock))})
		}
		f.on.Store(true)   // New gives up after a few attempts
		t.Cleanup(func() { // cleanups run in reverse order, so the nodes close without faults
			f.on.Store(false)
			t.Logf("faults %v", f.counts())
		})
		return budgettest.Subject{Engine: budgettest.Spread(nodes...), Levels: true, Settings: true, Windows: true}
	})
}
