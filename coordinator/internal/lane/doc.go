// Package lane is the client's side of the protocol between a node and a partition
// (PROTOCOL.md): what one node sends to one partition, and what it makes of the
// replies. A [Node] is a node's lanes and what they share; a [Lane] queues calls, sends
// them in numbered batches, one at a time, and repeats a batch byte for byte until its
// session shows whether it took effect.
//
// A Lane is a state machine: Next returns the next command, Handle takes its reply, and
// whoever carries commands calls them one at a time. It has no goroutines, no go-redis,
// no OpenTelemetry and no clock of its own.
//
// What belongs here is the protocol: queue, batch, session, journal, repair. How
// commands reach a server belongs to package dispatch, bytes belong to package store.
package lane
