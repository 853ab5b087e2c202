package coordinator

import (
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/local"
)

// A nil option is an error, whatever the verb, and the call has no effect.
func TestNilOptionOfACall(t *testing.T) {
	t.Parallel()
	onRedis, _ := startNode(t)
	inProcess, err := local.New()
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for name, e := range map[string]budget.Engine{"coordinator": onRedis, "local": inProcess} {
		if _, err := e.EnsureTenant(ctx, "acme", 100); err != nil {
			t.Fatal(err)
		}
		if _, err := e.TryReserve(ctx, "acme", 60); err != nil {
			t.Fatal(err)
		}
		for place, opts := range map[string][]budget.ReserveOption{"option 1 is nil": {nil}, "option 2 is nil": {budget.WithHoldTTL(time.Second), nil}} {
			if _, err := e.TryReserve(ctx, "acme", 1, opts...); err == nil || !strings.Contains(err.Error(), place) {
				t.Errorf("%s: error %v, want %q", name, err, place)
			}
		}
		want := budget.Balance{Outcome: budget.Found, Granted: 100, Remaining: 40, Reserved: 60}
		if b, err := e.Balance(ctx, "acme"); err != nil || b != want {
			t.Errorf("%s: afterwards %+v, %v; want %+v", name, b, err, want)
		}
	}
}
