package lane

import (
	"errors"
	"strings"
	"testing"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// Tenants take turns: the batch after the one in flight has a call of each.
func TestTenantsTakeTurns(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, nil)
	for range 3 * luascripts.MaxOperations {
		ask(t, n, l, luascripts.KindReserve, 1, budget.ReservationID{})
	}
	quiet := askFor(t, n, l, "globex", luascripts.KindRemaining, 0, budget.ReservationID{})
	l.Next()
	if last := l.pending.calls[1]; last != quiet {
		t.Errorf("the quiet tenant's call is not among the first two")
	}
}

// A tenant at its queue limit leaves room for others.
func TestQueueLimitIsATenants(t *testing.T) {
	t.Parallel()
	n, l, _ := openLane(t, func(c *Config) { c.TenantQueue = 4 })
	for range 4 {
		ask(t, n, l, luascripts.KindReserve, 1, budget.ReservationID{})
	}
	err := l.enqueue(NewCall(luascripts.KindReserve, "acme/search", 1, budget.ReservationID{}))
	if !errors.Is(err, ErrOverloaded) || !strings.Contains(err.Error(), `tenant "acme"`) {
		t.Errorf("a fifth call of the root tenant: %v", err)
	}
	askFor(t, n, l, "globex", luascripts.KindReserve, 1, budget.ReservationID{})
	if err := l.enqueue(NewCall(luascripts.KindCommit, "acme", 1, budget.NewReservationID("acme", 1, 1)).MustSend()); err != nil {
		t.Errorf("a Do's settlement: %v", err)
	}
}
