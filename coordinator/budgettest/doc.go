// Package budgettest holds the suites that every [budget.Engine] must pass, as
// testing/fstest does for file systems. An engine's own test is a few lines:
//
//	func TestEngine(t *testing.T) {
//		budgettest.Run(t, func(t testing.TB, c budgettest.Config) budgettest.Subject {
//			engine, err := local.New(local.WithHoldTTL(c.HoldTTL), local.WithClock(c.Clock))
//			if err != nil {
//				t.Fatal(err)
//			}
//			return budgettest.Subject{Engine: engine}
//		})
//	}
//
// [Run] runs all checks: conformance (every outcome of every operation, with one caller),
// the traces that were recorded from calybris-core, concurrency (the final state after
// many concurrent callers, and the invariant while they run) and linearizability (some
// order of the operations explains every result). [Differential] and [FuzzDifferential]
// apply the same random operations, with the same clock, to two engines, and compare every
// result and the whole state after each step. [Linearizability] alone is for engines under
// faults: an operation that returned an error may have taken effect, or may take effect
// later, or never.
//
// Subject.Levels enables the checks of tenants with ancestors in all of them: in Run the
// suite Levels, and in the others histories and operations on a tree of tenants. Without it
// no tenant of a suite is an ancestor of another. Subject.Settings does the same for the
// settings of accounts: in Run it enables the suite Settings; and Subject.Windows for their
// windows: in Run it enables the suite Windows, and in Differential a clock that jumps to
// boundaries; and Subject.Limits for several limits a tenant: in Run it enables the suite
// Limits. The histories have neither windows nor several limits.
//
// After every test, [Audit] checks the invariant of every account, in the engine's own
// results and in its store.
//
// Tests of an engine's promises beyond [budget.Engine] belong to that engine.
package budgettest
