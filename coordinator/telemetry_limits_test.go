package coordinator

import (
	"testing"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// Each limit of an observed tenant has series of its own; those of the base limit have the
// attributes that they have without another limit.
func TestTelemetryOfLimits(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c, reader, _ := telemetered(t, server, WithObservedTenants("acme"))
	ensure(t, c, "acme", 1000)
	thresholds, err := budget.NewThresholds(20)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Configure(t.Context(), "acme", budget.AtThresholds(4),
		budget.SetLimit(budget.Limit{Window: budget.Window{Period: budget.Day, Amount: 200}, Thresholds: thresholds}),
		budget.SetLimit(budget.Limit{Window: budget.Window{Period: budget.Last24Hours, Amount: 300}}))
	if err != nil || r.Err() != nil {
		t.Fatal(r, err)
	}
	id := reserve(t, c, 50)
	reserve(t, c, 7)
	if s, err := c.Commit(t.Context(), id, 50); err != nil || s.Limit != budget.Day {
		t.Fatal(s, err)
	}

	got, _ := read(t, reader)
	for name, want := range map[string]map[string]int64{
		"bursar.tenant.granted":    {"": 1000, "day": 200, "24h": 300},
		"bursar.tenant.remaining":  {"": 943, "day": 143, "24h": 243},
		"bursar.tenant.reserved":   {"": 7, "day": 7, "24h": 7},
		"bursar.tenant.committed":  {"": 50, "day": 50, "24h": 50},
		"bursar.tenant.ended":      {"day": 0},
		"bursar.tenant.holds":      {"": 1},
		"bursar.threshold.crossed": {"": 1, "day": 1},
	} {
		found := make(map[string]int64)
		for _, p := range got[name] {
			limit, is := p.attributes.Value(limitKey)
			if is != (limit.AsString() != "") {
				t.Errorf("%s has an empty %s", name, limitKey)
			}
			found[limit.AsString()] += p.value
		}
		if len(found) != len(want) {
			t.Errorf("%s of %v, want %v", name, found, want)
		}
		for limit, value := range want {
			if found[limit] != value {
				t.Errorf("%s of the limit %q is %d, want %d", name, limit, found[limit], value)
			}
		}
	}
}
