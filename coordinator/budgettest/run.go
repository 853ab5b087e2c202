package budgettest

import (
	"testing"
	"time"
)

// Run tests an engine for conformance, vectors, concurrency and linearizability, with a
// subtest for each check.
func Run(t *testing.T, f Factory) {
	for _, s := range suites(keepsLevels(t, f)) {
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
	levels   bool          // tenants have ancestors; see flat
	run      func(x *fixture)
}

// keepsLevels reports whether an engine's levels are to be checked.
func keepsLevels(t testing.TB, f Factory) (levels bool) {
	scoped(t, func(t testing.TB) { levels = f(t, Config{}).Levels })
	return levels
}

func suites(levels bool) []suite {
	all := []suite{
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
	if levels {
		all = append(all, suite{"Levels", levelChecks()})
	}
	return all
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
