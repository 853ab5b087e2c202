package budgettest

import (
	"testing"
	"time"
)

// Run holds an engine to the model: conformance, vectors, concurrency and
// linearizability, one subtest each.
func Run(t *testing.T, f Factory) {
	for _, s := range suites() {
		t.Run(s.name, func(t *testing.T) {
			for _, c := range s.checks {
				t.Run(c.name, func(t *testing.T) { c.apply(t, f) })
			}
		})
	}
}

type suite struct {
	name   string
	checks []check
}

// check is one test on one fresh engine.
type check struct {
	name     string
	ttl      time.Duration // the engine's default for holds
	ownClock bool          // the engine's own instead of one that stands still
	run      func(x *fixture)
}

func suites() []suite {
	return []suite{
		{"Ensure", ensureChecks()},
		{"Reserve", reserveChecks()},
		{"Commit", commitChecks()},
		{"Settle", settleChecks()},
		{"Lookup", lookupChecks()},
		{"Adjust", adjustChecks()},
		{"Read", readChecks()},
		{"Tenant", tenantChecks()},
		{"Deadline", deadlineChecks()},
		{"Vector", vectorChecks()},
		{"Concurrency", concurrencyChecks()},
		{"Linearizability", linearizabilityChecks()},
	}
}

// apply runs the check. The audit comes last in every one, except where the
// check has failed already and its state means nothing.
func (c check) apply(t testing.TB, f Factory) {
	t.Helper()
	x := newFixture(t, f, c)
	c.run(x)
	if !t.Failed() {
		x.audit()
	}
}
