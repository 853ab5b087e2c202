package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
)

// A run with several limits checks each of them, at each level.
func TestRunLimits(t *testing.T) {
	t.Parallel()
	c := counted(2000)
	c.Tenants, c.Levels, c.Limits = 30, 2, 3
	result, err := Run(t.Context(), c)
	if err != nil || !result.Conserved || result.Limits != 3 {
		t.Errorf("%v: %+v", err, result.Books)
	}
	c.Engine, c.Redis, c.Nodes = report.EngineLocal, "", 1
	if result, err = Run(t.Context(), c); err != nil || !result.Conserved {
		t.Errorf("local: %v: %+v", err, result.Books)
	}
	c.Limits, c.LimitAmount, c.Budget, c.Workload = 2, budget.Cent, 1000*budget.Dollar, workload.Storm
	if result, err = Run(t.Context(), c); err != nil || !result.Conserved || result.Refused == 0 {
		t.Errorf("limits that refuse: %v: %+v", err, result.Books)
	}
}

func TestVerifyLimitsOf(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC)
	s := tenantSet{limits: Config{Limits: 2}.limits(), began: now.Add(-time.Minute)}
	base := budget.Balance{Outcome: budget.Found, Granted: 100, Remaining: 60, Reserved: 10, Committed: 30}
	day := budget.Balance{Outcome: budget.Found, Limit: budget.Day, Granted: 200, Remaining: 160, Reserved: 10, Committed: 30}
	with := func(change func(b *budget.Balance)) budget.LimitList {
		b := day
		change(&b)
		return budget.LimitList{Outcome: budget.Found, Limits: []budget.Balance{base, b}}
	}
	for _, c := range []struct {
		name string
		list budget.LimitList
		want string
	}{
		{"right", with(func(*budget.Balance) {}), ""},
		{"no limit", budget.LimitList{Outcome: budget.Found, Limits: []budget.Balance{base}}, "it has 0 limits beside the base limit, but 1 were set"},
		{"a microcent too many", with(func(b *budget.Balance) { b.Remaining++ }), "the limit day doesn't add up: remaining 161"},
		{"a commit too few", with(func(b *budget.Balance) { b.Committed--; b.Remaining++ }), "the limit day has committed 29 and reserved 10 of 200, but the base limit has 30 and 10"},
		{"another amount", with(func(b *budget.Balance) { b.Granted++; b.Remaining++ }), "of 201"},
	} {
		err := s.verifyLimitsOf(c.list, base, 100, now)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	s.began = now.Add(-13 * time.Hour)
	if err := s.verifyLimitsOf(with(func(b *budget.Balance) { b.Committed--; b.Remaining++ }), base, 100, now); err != nil {
		t.Errorf("after a boundary: %v", err)
	}
}
