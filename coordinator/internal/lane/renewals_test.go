package lane

import (
	"testing"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// A call whose levels and limits all lack their boundaries waits for one batch that stores them,
// not for one each.
func TestBoundariesOfAllLimitsAreStoredAtOnce(t *testing.T) {
	t.Parallel()
	n, client := onRedis(t, nil)
	l := n.Lanes()[0]
	tenant := budget.TenantID("acme")
	for range 3 {
		change := changeOf(t, budget.InWindow(budget.Window{Period: budget.Hour}),
			limitOf(budget.Hour, 500), limitOf(budget.Day, 400), limitOf(budget.Week, 500), limitOf(budget.Month, 500))
		ensure := NewCall(luascripts.KindEnsure, tenant, 1000, budget.ReservationID{})
		for _, c := range []*Call{ensure, configureCall(tenant, change)} {
			n.AdmitSettlement()
			if err := l.enqueue(c); err != nil {
				t.Fatal(err)
			}
			carry(t, client, l)
			if a := result(t, c); a.Err != nil {
				t.Fatal(a.Err)
			}
		}
		tenant += "/below"
	}
	tenant = tenant[:len(tenant)-len("/below")]
	c := NewCall(luascripts.KindReserve, tenant, 1, budget.ReservationID{})
	n.AdmitSettlement()
	if err := l.enqueue(c); err != nil {
		t.Fatal(err)
	}
	commands := carry(t, client, l)
	// The first one shows the limits, the second one what they lack.
	if a := result(t, c); a.Outcome != budget.Reserved || commands > 3 {
		t.Errorf("%s, %v after %d commands, want at most 3", a.Outcome, a.Err, commands)
	}
}
