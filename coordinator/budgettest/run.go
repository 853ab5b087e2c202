package budgettest

import (
	"slices"
	"testing"
	"time"
)

// Run tests an engine for conformance, vectors, concurrency and linearizability, with a
// subtest for each check.
func Run(t *testing.T, f Factory) {
	for _, s := range suites(features(t, f)) {
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

// features reports whether an engine's levels and settings are to be checked.
func features(t testing.TB, f Factory) (levels, settings bool) {
	scoped(t, func(t testing.TB) {
		s := f(t, Config{})
		levels, settings = s.Levels, s.Settings
	})
	return levels, settings
}

func suites(levels, settings bool) []suite {
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
	if settings {
		checks := slices.DeleteFunc(settingChecks(), func(c check) bool { return c.levels && !levels })
		all = append(all, suite{"Settings", checks})
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
