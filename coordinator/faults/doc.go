// Package faults breaks the Redis, the network and the processes of coordinators and
// checks their guarantees. It has tests only, behind the build tag faults (make
// test-faults).
//
// Each test runs two or more processes, whose callers reserve and settle on a real Redis;
// injects one fault and shows that operations were in flight; and then compares the
// answers of every caller with the state of Redis: the invariant, the sum of the open
// holds, each reservation's end, and, if nothing was lost, one order of events that
// explains every answer. What belongs here needs several processes or a broken Redis;
// what one process can show is tested beside the code.
package faults
