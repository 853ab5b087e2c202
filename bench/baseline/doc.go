// Package baseline implements the usual alternatives to Bursar, so that a run can compare
// with them: a counter without a decision (incr), a Lua script per call (script),
// optimistic locking (watch), and read, compare, decrement, as many gateways do it (check).
//
// Each is written as well as it is usually written: none sleeps or makes an unnecessary
// call, and amounts are as exact as its means allow. Its comment names its weaknesses.
//
// The package also reads what a baseline has spent by its own records ([Store.Spent]), and
// has the instruments that apply to all alike: [RoundTrips] at the client, [RedisStats] at
// the server.
package baseline
