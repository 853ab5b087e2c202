// Package output is where a report goes: which of its forms the flags of a command ask
// for, to stdout or to files that are written whole or not at all.
//
// What belongs here knows the forms of package report, and nothing of what is in them.
package output
