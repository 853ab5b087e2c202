// Package faults breaks the Redis, the network and the processes of coordinators and
// checks their guarantees. It has only tests, behind the build tag faults (make
// test-faults).
//
// Each test runs two or more processes, whose callers reserve and settle on a real Redis;
// injects one fault and shows that operations were in flight; and then compares the
// answers to every caller with the state of Redis: the invariant, the sum of the open
// holds, each reservation's end, and, if nothing was lost, one order of events that
// explains every answer. Tests that need several processes or a broken Redis belong here;
// tests of one process are next to the code.
package faults
