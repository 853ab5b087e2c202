// Package simredis is a Redis for simulations: it runs the shipped Lua on maps, in
// one goroutine, with a clock and a memory that are the caller's to set. The same
// commands on the same store always give the same replies and the same store.
//
// What belongs here is the part of Redis that the scripts use, held to a real
// Redis by a test: the commands they call, the first line that a script may have,
// and the errors that a node must understand. What a network does to commands
// belongs to the simulation. It is for tests, and no oracle on Redis itself.
package simredis
