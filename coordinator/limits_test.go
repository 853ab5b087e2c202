package coordinator

import (
	"strings"
	"testing"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

func TestOpenHoldsAreBounded(t *testing.T) {
	t.Parallel()
	c, client := startNode(t, WithMaxHolds(5))
	ensure(t, c, "acme", 1000)
	ensure(t, c, "acme/search", 1000)
	var ids []budget.ReservationID
	for range 4 { // and the node's session
		ids = append(ids, reserve(t, c, 1))
	}
	for _, tenant := range []budget.TenantID{"acme", "acme/search"} {
		_, err := c.TryReserve(t.Context(), tenant, 1)
		wantErr(t, "one hold too many", err, ErrOverloaded)
		if !strings.Contains(err.Error(), "WithMaxHolds") {
			t.Error(err)
		}
	}
	if b := audit(t, client)["acme"].Balance; b.Reserved != 4 {
		t.Errorf("%+v", b)
	}
	if s, err := c.Commit(t.Context(), ids[0], 1); err != nil || s.Outcome != budget.Committed {
		t.Error(s, err)
	}
	reserve(t, c, 1)
	// More than there is room for in one batch: as many as fit.
	full, fullClient := startNode(t, WithMaxHolds(50))
	ensure(t, full, "acme", 1000)
	var group []*call
	for range 80 {
		group = append(group, newCall(luascripts.KindReserve, "acme", 1, budget.ReservationID{}))
	}
	granted := 0
	for _, a := range inOneBatch(t, full, fullClient, group) {
		if a.outcome == budget.Reserved {
			granted++
		}
	}
	if granted != 49 {
		t.Errorf("%d of 80 were granted at once, want 49", granted)
	}
}
