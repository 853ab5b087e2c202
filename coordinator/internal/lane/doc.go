// Package lane is the client's side of the protocol between a node and a partition
// (PROTOCOL.md): the commands that a node sends to a partition, and the handling of their
// replies. A [Node] is a node's lanes and their shared state; a [Lane] queues calls,
// sends them in numbered batches, one at a time, and repeats a batch byte for byte until
// its session shows whether it took effect.
//
// A Lane is a state machine: Next returns the next command, and Handle takes its reply.
// They must be called one at a time. If Handle leaves callers to be answered, Answer does
// so while the next command is in flight. A Lane has no goroutines, no go-redis, no
// OpenTelemetry and no clock of its own.
//
// The protocol belongs here: queue, batch, session, journal, repair. Sending commands to
// a server belongs to package dispatch, encodings belong to package store.
package lane
