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
// [Run] is the whole of it: conformance (every outcome of every operation, one
// caller), the vectors that were recorded from the seed's engine, concurrency
// (what many callers must find in the end, and the law while they run) and
// linearizability (every answer of many callers fits one order of events).
// [Differential] and [FuzzDifferential] drive two engines with the same random
// operations and the same clock, and compare every result and the whole state
// after each step. [Linearizability] alone is for engines under faults: there an
// operation that returned an error may have happened, or not, or happen later.
//
// After every test the law is checked on every account ([Audit]), in the
// engine's own answers and in its store as it is.
//
// What does not belong here: what one engine promises beyond the model.
package budgettest
