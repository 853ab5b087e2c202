// Command bursar keeps budgets on a Redis (tenant, reserve, commit, release, holds),
// checks them (verify, inspect, doctor), and load-tests a Redis before it is trusted (bench,
// replay).
package main

import (
	"os"
	_ "time/tzdata" // for the time zones of windows on machines without tzdata

	"github.com/calybris/bursar/bench"
	"github.com/calybris/bursar/coordinator/cli"
)

func main() {
	os.Exit(cli.Run(cli.UntilInterrupted(), os.Args, os.Stdout, os.Stderr, bench.Command()))
}
