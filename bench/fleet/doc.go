// Package fleet is the callers of a run on several nodes, in this process ([New]) or with
// a process for each node ([NewOfProcesses]).
//
// A [Fleet] plays parts of a load, a round each, and records its callers' results over all
// rounds. A stint (stint.go) is one stretch of it, with its callers
// (caller.go), the admission of an open loop (admit.go), the holds that are kept for a
// while (hold.go) and the taker of samples (taker.go).
//
// A [Crew] is the processes. Each is this program, started with [NodeCommand], and
// served by [ServeNode]; what they say to each other is in wire.go.
//
// What belongs here calls engines and records the answers. It knows nothing of the size of
// budgets, of contenders' turns, and of the check of balances.
package fleet
