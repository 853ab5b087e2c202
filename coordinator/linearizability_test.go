package coordinator

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/budgettest"
	"github.com/calybris/bursar/coordinator/redistest"
)

// shortTimeouts gives up early on one of four operations that move money. On a busy machine
// each of them may have no answer in time, and if all of a history did, then porcupine would
// have too many orders to try.
type shortTimeouts struct {
	*Coordinator
	calls *atomic.Int64
}

func (e shortTimeouts) shortTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if e.calls.Add(1)%4 == 0 {
		return context.WithTimeout(ctx, 30*time.Millisecond)
	}
	return ctx, func() {}
}

func (e shortTimeouts) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	ctx, cancel := e.shortTimeout(ctx)
	defer cancel()
	return e.Coordinator.TryReserve(ctx, tenant, cost, opts...)
}

func (e shortTimeouts) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	ctx, cancel := e.shortTimeout(ctx)
	defer cancel()
	return e.Coordinator.Commit(ctx, id, actual)
}

func (e shortTimeouts) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	ctx, cancel := e.shortTimeout(ctx)
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
			nodes = append(nodes, shortTimeouts{node(t, client, WithHoldTTL(c.HoldTTL), WithClock(c.Clock)), new(atomic.Int64)})
		}
		f.on.Store(true)   // New gives up after a few attempts
		t.Cleanup(func() { // cleanups run in reverse order, so the nodes close without faults
			f.on.Store(false)
			t.Logf("faults %v", f.counts())
		})
		return budgettest.Subject{Engine: budgettest.Spread(nodes...), Levels: true, Settings: true, Windows: true, Limits: true}
	})
}
