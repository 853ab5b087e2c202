// Package simredis is a Redis for simulations: it runs the shipped Lua on maps, in one
// goroutine, with a clock and a memory limit that the caller sets. The same commands on
// the same store always give the same replies and the same store.
//
// The part of Redis that the scripts use belongs here, and a test compares it with a real
// Redis: the commands they call, the first line that a script may have, and the errors
// that a node must understand. The effects of a network on commands belong to the
// simulation. It is for tests, and not a reference for Redis itself.
package simredis
