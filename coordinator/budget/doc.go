// Package budget is the model that every Bursar engine shares: amounts, tenant
// and reservation ids, outcomes, results, and the [Engine] interface.
//
// A caller reserves the worst case before expensive work and settles after it:
//
//	res, err := engine.TryReserve(ctx, "acme", worstCase)
//	if err != nil { ... }                    // the question was not answered
//	if res.Outcome != budget.Reserved { ... } // it was, and the answer is no
//	cost := work()
//	_, err = engine.Commit(ctx, res.ID, cost) // or Release, where nothing was spent
//
// # Outcomes and errors
//
// An expected answer is a value: an [Outcome] inside a result struct. An error
// means that the question was not answered: a bad argument, a store out of
// reach, an outcome that is unknown. The zero Outcome is [Unknown], so that a
// forgotten assignment never reads as money granted. Every result has an Err
// method for callers who prefer errors.Is to a switch.
//
// # The law
//
// For every tenant, at every instant that an observer can see:
//
//	remaining + reserved + committed = granted
//
// and the sum of the open holds equals reserved. [Balance] carries all four
// terms from one atomic read.
//
// # What belongs here
//
// Only what all engines must agree on, and only the standard library: this
// package is a leaf. How an engine stores its accounts belongs to the engine.
package budget
