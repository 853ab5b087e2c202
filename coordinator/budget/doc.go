// Package budget defines the types that all Bursar engines share: amounts, tenant and
// reservation IDs, outcomes, results, and the [Engine] interface.
//
// A caller reserves the worst case before expensive work and settles after it:
//
//	res, err := engine.TryReserve(ctx, "acme", worstCase)
//	if err != nil { ... }                     // no result
//	if res.Outcome != budget.Reserved { ... } // refused
//	cost := work()
//	_, err = engine.Commit(ctx, res.ID, cost) // or Release if nothing was spent
//
// # Outcomes and errors
//
// An expected result, including a refusal, is a value: an [Outcome] in a result struct. An
// error means that the operation has no result: an argument is invalid, the store is
// unreachable, or the outcome is unknown. The zero Outcome is [Unknown], so that a
// forgotten assignment never reads as money granted. Every result has an Err method for
// callers who prefer errors.Is to a switch.
//
// # The invariant
//
// For every tenant, in every state that a caller can observe:
//
//	remaining + reserved + committed = granted
//
// and the sum of the open holds equals reserved: the tenant's own, and those of tenants
// below it that took from its account. A [Balance] holds all four terms, read atomically.
//
// # Windows
//
// A [Window] makes a budget renew, each hour, day, week or month of a time zone. Each epoch has
// the four terms and the invariant of its own, and a hold settles in the epoch in which it was
// made:
//
//	_, err = engine.Configure(ctx, "acme", budget.InWindow(budget.Window{
//		Period: budget.Day, Zone: "Europe/Berlin", Amount: 20 * budget.Dollar,
//	}))
//
// A [Balance] has the terms of the current epoch, or with [AtEpoch] those of an ended one. A
// window of [Last24Hours], [Last7Days] or [Last30Days] has no epochs: it rolls, and committed
// amounts return as they get older than that. An insufficient [Reservation] says when its level
// renews.
//
// # Scope
//
// This package holds only the types and rules that all engines must agree on, and imports
// only the standard library and package wording. The storage of accounts belongs to the
// engines.
package budget
