// Command bursar keeps budgets on a Redis (tenant, reserve, commit, release, holds),
// checks them (verify, doctor), and load-tests a Redis before it is trusted (bench,
// replay).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/calybris/bursar/bench"
	"github.com/calybris/bursar/coordinator/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// From the second Ctrl-C on, the process ends at once.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, os.Args, os.Stdout, os.Stderr, bench.Command()))
}
