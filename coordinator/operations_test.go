package coordinator

import (
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/local"
)

// A nil option is an error of the call, whatever the verb, and nothing happens.
func TestNilOptionOfACall(t *testing.T) {
	t.Parallel()
	onRedis, _ := startNode(t)
	inProcess, err := local.New()
	if err != nil {
		t.Fatal(err)
	}
	ctx, engine := t.Context(), budget.Engine(nil)
	var id budget.ReservationID
	calls := map[string]func(...budget.Option) (any, error){
		"EnsureTenant": func(o ...budget.Option) (any, error) { return engine.EnsureTenant(ctx, "acme/new", 1, o...) },
		"TryReserve":   func(o ...budget.Option) (any, error) { return engine.TryReserve(ctx, "acme", 1, o...) },
		"Commit":       func(o ...budget.Option) (any, error) { return engine.Commit(ctx, id, 1, o...) },
		"Release":      func(o ...budget.Option) (any, error) { return engine.Release(ctx, id, o...) },
		"Lookup":       func(o ...budget.Option) (any, error) { return engine.Lookup(ctx, id, o...) },
		"Remaining":    func(o ...budget.Option) (any, error) { return engine.Remaining(ctx, "acme", o...) },
		"Balance":      func(o ...budget.Option) (any, error) { return engine.Balance(ctx, "acme", o...) },
		"Holds":        func(o ...budget.Option) (any, error) { return engine.Holds(ctx, "acme", o...) },
		"Grant":        func(o ...budget.Option) (any, error) { return engine.Grant(ctx, "acme", 1, o...) },
		"Withdraw":     func(o ...budget.Option) (any, error) { return engine.Withdraw(ctx, "acme", 1, o...) },
		"DeleteTenant": func(o ...budget.Option) (any, error) { return onRedis.DeleteTenant(ctx, "acme", o...) },
	}
	for name, e := range map[string]budget.Engine{"coordinator": onRedis, "local": inProcess} {
		engine = e
		if _, err := e.EnsureTenant(ctx, "acme", 100); err != nil {
			t.Fatal(err)
		}
		r, err := e.TryReserve(ctx, "acme", 60)
		if err != nil {
			t.Fatal(err)
		}
		id = r.ID
		for verb, call := range calls {
			for place, opts := range map[string][]budget.Option{"option 1 is nil": {nil}, "option 2 is nil": {budget.WithHoldTTL(time.Second), nil}} {
				if _, err := call(opts...); err == nil || !strings.Contains(err.Error(), place) {
					t.Errorf("%s, %s: error %v, want %q", name, verb, err, place)
				}
			}
		}
		want := budget.Balance{Outcome: budget.Found, Granted: 100, Remaining: 40, Reserved: 60}
		if b, err := e.Balance(ctx, "acme"); err != nil || b != want {
			t.Errorf("%s: afterwards %+v, %v; want %+v", name, b, err, want)
		}
	}
}
