// Package cli holds the operator's commands of bursar, one file each: tenants and
// their budgets, single reservations, open holds, verification of the books, the
// doctor, and replay. Run is the whole command line, to which main adds what it wants
// beside them.
//
// What belongs here is arguments, output and exit codes; what a command does
// belongs to the package that it shows. Of the packages below, exit is the codes,
// connect finds the operator's Redis, scratch gives a command a Redis for a while, and
// telemetry exports what is measured.
package cli
