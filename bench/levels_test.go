package bench

import (
	"slices"
	"strings"
	"testing"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/budget"
)

func TestLevelled(t *testing.T) {
	t.Parallel()
	set := func() tenantSet {
		return tenantSet{tenants: tenantNames(4), budgets: []budget.Microcents{1, 2, 4, 8}}
	}
	if s := set().levelled(1, 2); len(s.above) > 0 || s.tenants[0] != "tenant-0" {
		t.Errorf("one level: %+v", s)
	}
	s := set().levelled(4, 2)
	want := []budget.TenantID{"org/group-0/group-0/tenant-0", "org/group-1/group-0/tenant-1", "org/group-0/group-1/tenant-2", "org/group-1/group-1/tenant-3"}
	if !slices.Equal(s.tenants, want) {
		t.Errorf("tenants %q, want %q", s.tenants, want)
	}
	granted := make(map[budget.TenantID]budget.Microcents)
	for _, a := range s.above {
		granted[a.tenant] = a.granted
	}
	if len(granted) != 7 || granted["org"] != 15 || granted["org/group-0"] != 5 || granted["org/group-1/group-1"] != 8 {
		t.Errorf("above are %v", granted)
	}
}

// A run with levels checks the accounts above the tenants, too.
func TestRunLevels(t *testing.T) {
	t.Parallel()
	c := counted(2000)
	c.Tenants, c.Levels = 30, 3
	result, err := Run(t.Context(), c)
	if err != nil || !result.Conserved || result.Levels != 3 {
		t.Errorf("%v: %+v", err, result)
	}
	c.tamper = func(a *target) error {
		return rewriteAccount(a, rootName, func(terms []budget.Microcents) { terms[1]++; terms[3]-- })
	}
	if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), `for tenant "org": committed is`) {
		t.Errorf("money was moved at the root: %v", err)
	}
	c.Engine, c.Redis, c.Nodes, c.tamper = report.EngineLocal, "", 1, nil
	if result, err = Run(t.Context(), c); err != nil || !result.Conserved {
		t.Errorf("local: %v: %+v", err, result)
	}
}
