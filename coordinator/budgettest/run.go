package budgettest

import (
	"testing"
	"time"
)

// Run tests an engine for conformance, vectors, concurrency and linearizability, with a
// subtest for each check.
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

// check is a test on a new engine.
type check struct {
	name     string
	ttl      time.Duration // the engine's default hold TTL; 0 is none
	ownClock bool          // use the engine's own clock, not a clock that the check advances
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

// apply runs the check, and the audit after it, unless the check has failed already.
func (c check) apply(t testing.TB, f Factory) {
	t.Helper()
	x := newFixture(t, f, c)
	c.run(x)
	if !t.Failed() {
		x.audit()
	}
}
