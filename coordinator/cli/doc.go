// Package cli holds the operator's commands of bursar, one file each: tenants and their
// budgets, single reservations, open holds, verify, inspect, doctor, and replay. Run is
// the whole command line, to which main adds further commands.
//
// What belongs here is arguments, output and exit codes; what a command does belongs to
// the package that it shows. Of the packages below, exit has the codes, connect finds the
// operator's Redis, scratch provides a temporary Redis, and telemetry exports traces and
// metrics.
package cli
