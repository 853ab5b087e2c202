// Package local is the in-process engine: the budgets of one node, in memory,
// with the behaviour of the Redis engine. Use it where one process decides alone,
// in tests, and as the reference that other engines are compared with.
//
//	engine, err := local.New()
//	_, err = engine.EnsureTenant(ctx, "acme", 50*budget.Dollar)
//	res, err := engine.TryReserve(ctx, "acme", 2*budget.Cent)
//
// # Guarantees
//
// Every operation is linearizable, and exact up to [budget.MaxMicrocents].
// Balance and Holds show one instant. TryReserve, Commit and Release allocate
// nothing without options, but for a reserve that takes a tenant to more open
// holds than it ever had, which makes room for them. Open holds are bounded by
// memory (and 2^32 a tenant); what a tenant once needed, it keeps.
//
// Nothing blocks for long, so the context is ignored: an operation succeeds under a
// cancelled one, too, and its result is always definitive.
//
// It keeps nothing across a restart. What was held, committed and granted is
// gone with the process, and ids of an earlier one, or of another Engine, settle
// nothing: they are MissingReservation.
//
// The end of a hold (Lookup, Settlement.Prior) is remembered for ten minutes, for at least
// the last 32 endings of a tenant.
//
// # Time
//
// Deadlines are kept in whole milliseconds by a clock of the engine. It is read
// from the machine's each millisecond while the engine is in use, and never runs
// backwards. It lags the machine's by a millisecond or two; where more goroutines
// are busy than there are processors, by as long as the Go scheduler keeps a timer
// waiting: 112 ms at worst in a test of three seconds on two processors, both
// oversubscribed. A hold is never released early for that, only so much later, and
// all operations see the same clock, so they agree on what is due. The first
// operation after a pause reads the machine's clock itself. With [WithClock] the
// clock is asked each time.
//
// # How it works
//
// An account is one word, what remains, and the fields that it guards. A reserve is a
// compare-and-swap on that word (debitIfAvailable), which takes the money and sets the
// word's mark; the goroutine records the hold and clears the mark. Settlements set the
// mark in the same way. So a reserve that is refused and a Remaining take no lock at all,
// and other operations wait for the few nanoseconds of another's bookkeeping, never for a
// queue.
//
// Two other designs were measured, everything else being equal: a sync.Mutex for
// everything, and a compare-and-swap debit that takes a mutex only to record the hold.
// With one goroutine the three are alike. With many on one tenant the mark is the fastest:
// it takes one atomic operation less than the second, and its waiters stay away from the
// word for a while, so it doesn't travel between cores with each operation. The second
// also has a moment in which money is neither remaining nor reserved, which Balance and
// Holds would have to wait out. bench-seed.sh in this folder compares a cycle with that of
// calybris-core, the engine that Bursar reimplements.
//
// What does not belong here: anything that must outlive the process or be shared
// with another, which is package coordinator.
package local
