// Package cli holds the operator's commands of bursar. Each is a function that
// returns a urfave/cli command: [Replay].
//
// What belongs here is arguments, output and exit codes; what a command does
// belongs to the package that it shows. Package exit, below, is the codes;
// package scratch gives a command a Redis for a while.
package cli
