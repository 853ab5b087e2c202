// Package live shows a run while it goes on. A [Watcher] makes a [Progress] of samples
// a few times a second, and a [Line] draws it on a terminal, where there is one.
//
// What belongs here is told what happens, and decides nothing.
package live
