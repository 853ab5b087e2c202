// Package contender has the usual alternatives to this project, as a team would
// write them by hand on a Redis, so that bench can play them beside it: a counter
// that decides nothing (incr), a Lua script a call (script), optimistic locking
// (watch), and read, compare, decrement, the way most gateways do it (check).
//
// Each is written as well as it is usually written: none sleeps, none makes a call
// that it does not need, and the amounts are exact up to what its means allow. What
// each of them gives up is said in its comment.
//
// What belongs here is the contenders, their own accounts ([Keeper.Spent]), and the
// meters that are applied to all alike: [Trips] at the client, [Meter] at Redis. It
// knows nothing of callers, rounds and reports.
package contender
