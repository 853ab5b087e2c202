// Package faults breaks what is under coordinators and holds them to what they
// promise. It has tests only, behind the build tag faults (make test-faults).
//
// Each test runs two or more processes, whose callers reserve and settle on a real
// Redis; injects one fault and shows that it met operations in flight; and then
// compares what every caller was told with what Redis has: the law, the sum of the
// open holds, each reservation's end, and, where nothing was lost, one order of
// events that explains every answer. What belongs here needs several processes or
// a broken Redis; what one process can show is tested beside the code.
package faults
