// Package local implements the in-process engine: it keeps the budgets of one process in
// memory and behaves like the Redis engine. Use it if a single process spends the budgets,
// in tests, and as the reference for other engines.
//
//	engine, err := local.New()
//	_, err = engine.EnsureTenant(ctx, "acme", 50*budget.Dollar)
//	res, err := engine.TryReserve(ctx, "acme", 2*budget.Cent)
//
// # Guarantees
//
// Every operation is linearizable, and exact up to [budget.MaxMicrocents]. The results of
// Balance and Holds are consistent snapshots. TryReserve, Commit and Release without
// options don't allocate, except for a reserve when a tenant has more open holds than ever
// before, and a commit that crosses a threshold. Open holds are bounded by memory and by 2^32 per tenant; the
// memory of a tenant's holds, and of a deleted tenant, is reused but not freed.
//
// No operation blocks for long, so the context is ignored: an operation succeeds even if
// the context is cancelled, and its result is always definitive.
//
// Nothing survives a restart: granted, committed and held amounts are lost with the
// process. A commit or release of an ID of an earlier process, or of another Engine, is
// MissingReservation.
//
// The end of a hold (Lookup, Settlement.Prior) is remembered for ten minutes, for at least
// the last 32 holds of a tenant that ended.
//
// # Time
//
// Deadlines are whole milliseconds of the engine's own clock, which never runs backwards.
// While the engine is in use, a timer updates it from the machine's clock every
// millisecond. It lags the machine's clock by a millisecond or two or, if there are more
// busy goroutines than processors, by as long as the Go scheduler delays a timer: up to
// 112 ms in a test of three seconds on two oversubscribed processors. The lag never
// releases a hold early, only later by that time, and all operations use the same clock,
// so they agree on which holds are due. The first operation after a pause reads the
// machine's clock itself. With [WithClock], every operation calls the given clock.
//
// # How it works
//
// An account is one atomic word, the remaining amount, and the fields that it guards. A
// reserve is a compare-and-swap on that word (debitIfAvailable) that takes the amount and
// leaves a mark; then the goroutine records the hold and stores what remains. Settlements set
// the mark in the same way. So Remaining and a refused reserve take no lock, and any other
// operation waits only while another updates the account, for a few nanoseconds.
//
// The word of an account with settings is a constant that covers no cost; its remaining
// amount is kept with the settings, under the lock. So a reserve of such an account locks it
// and checks the settings, and other accounts pay nothing for them.
//
// An account with a window has the amounts of its current epoch, and keeps the ended epochs
// with the settings. An operation that reads the account begins the epoch of its own time
// first, under the same lock (roll). A hold doesn't record its epochs: at each level it belongs
// to the epoch in which it was made.
//
// A rolling window has one epoch, without an end, and a ring of the committed amounts of its parts. The
// operation that would begin an epoch moves the window to its own time instead (slide).
//
// A further limit of an account is one more ledger, which is kept with the settings, and each
// operation that moves the base limit moves it under the same lock. A hold doesn't record its
// limits: a limit counts the holds of its account that were made after it, by the time and, within
// a millisecond, by the generation (limit.counts).
//
// A reserve of a tenant with ancestors locks its levels that exist, from the root to the
// tenant, so that goroutines never wait for each other in a circle. It checks them all,
// debits them all, and records one hold, in the tenant's account, with the set of levels
// that it debited. The set is part of the ID, so a settlement locks exactly these levels.
// Whether a level exists is part of its word; a counter in the root (family.shape) shows
// whether one was created or deleted in the meantime. The root keeps the time of all
// accounts below it, so the first operation in a new millisecond, on any level, ends the
// due holds of the whole family. A tenant without ancestors and settings has one level, and
// its reserve does none of this.
//
// Two other designs were measured with everything else equal: a sync.Mutex for every
// operation, and a compare-and-swap debit that takes a mutex only to record the hold. With
// one goroutine the three are equally fast. With many goroutines on one tenant the mark is
// the fastest: it takes one atomic operation less than the second design, and its waiters
// back off from the word, so that its cache line doesn't move between cores on each
// operation. In the second design there is also a moment in which money is neither
// remaining nor reserved, for which Balance and Holds would have to wait. bench-seed.sh in
// this folder compares a cycle with that of calybris-core, the engine that Bursar
// reimplements.
//
// State that must outlive the process or be shared with other processes belongs in package
// coordinator.
package local
