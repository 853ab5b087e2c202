// Package cli implements the operator's commands of bursar: tenants and their budgets,
// single reservations, open holds, verify, inspect, doctor, and replay. [Run] runs a
// command line; main passes it further commands.
//
// The package parses arguments, prints results and returns exit codes. The work itself is
// done by the packages that the commands call. Package exit defines the exit codes,
// connect makes the client for the operator's Redis, scratch provides a temporary Redis,
// and telemetry exports traces and metrics.
package cli
