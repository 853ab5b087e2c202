// Package load is what is played: pieces of paid work, the tenants that ask for them,
// and the times at which they are due.
//
// A [Spec] says what is asked for. [Spec.Read] reads its usage trace, if it has one, and
// [New] makes it a [Workload]: requests drawn from a seed (drawn.go), the rows of the trace
// (trace.go), either of them up to a count (limited.go), or, after the rounds, a [Rush]. A workload comes in a [Part] a round,
// a part in a [Source] a caller. Whatever it is, each caller is asked for the same in
// each run. In an open loop, [Arrivals] say when.
//
// What belongs here knows no engine, no clock and no caller: it is drawn, read and
// priced before anything is measured, so that handing it out costs a caller next to
// nothing.
package load
