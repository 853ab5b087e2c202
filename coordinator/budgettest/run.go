package budgettest

import (
	"slices"
	"testing"
	"time"
)

// Run tests an engine for conformance, vectors, concurrency and linearizability, with a
// subtest for each check.
func Run(t *testing.T, f Factory) {
	able := abilitiesOf(t, f)
	for _, s := range suites(able) {
		t.Run(s.name, func(t *testing.T) {
			for _, c := range s.checks {
				t.Run(c.name, func(t *testing.T) { c.apply(t, f) })
			}
		})
	}
	if !able.windows {
		t.Run("Windows", func(t *testing.T) { t.Skip("the engine has no windows: Subject.Windows is false") })
	}
	if !able.limits {
		t.Run("Limits", func(t *testing.T) { t.Skip("the engine has no further limits: Subject.Limits is false") })
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

// abilitiesOf returns the abilities of a factory's engines.
func abilitiesOf(t testing.TB, f Factory) (able abilities) {
	scoped(t, func(t testing.TB) { able = f(t, Config{}).abilities() })
	return able
}

func suites(able abilities) []suite {
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
	if able.levels {
		all = append(all, suite{"Levels", levelChecks()})
	}
	possible := func(checks []check) []check {
		return slices.DeleteFunc(checks, func(c check) bool { return c.levels && !able.levels })
	}
	if able.settings {
		all = append(all, suite{"Settings", possible(settingChecks())})
	}
	if able.windows {
		all = append(all, suite{"Windows", possible(windowChecks())})
	}
	if able.limits {
		all = append(all, suite{"Limits", possible(limitChecks())})
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
