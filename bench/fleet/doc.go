// Package fleet is who plays: callers on several nodes, in this process ([New]) or each
// node in one of its own ([NewOfProcesses]).
//
// A [Fleet] plays parts of a load, a round each, and keeps what its callers were told
// over all rounds. A stint (stint.go) is one stretch of it, with its callers
// (caller.go), the admission of an open loop (admit.go), the holds that are kept for a
// while (hold.go) and the taker of samples (taker.go).
//
// A [Crew] is the processes. Each is this program, started with [NodeCommand], and
// served by [ServeNode]; what they say to each other is in wire.go.
//
// What belongs here asks engines and notes the answers. It knows nothing of how large
// budgets are, of contenders' turns, and of books.
package fleet
