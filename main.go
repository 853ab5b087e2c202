// Command bursar load-tests budgets on a Redis (bench), and replays recorded
// operations on an engine (replay).
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/bench"
	commands "github.com/calybris/bursar/coordinator/cli"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// From the second Ctrl-C on, the process ends at once.
	context.AfterFunc(ctx, stop)
	redis.SetLogger(&logging.VoidLogger{}) // what matters comes back as an error
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// run returns the exit code. An error is one line on stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := &cli.App{
		Name:            "bursar",
		Usage:           "budgets that a fleet shares, exact to the microcent",
		Commands:        []*cli.Command{bench.Command(), commands.Replay()},
		Action:          noCommand,
		OnUsageError:    usageError,
		Writer:          stdout,
		ErrWriter:       stderr,
		ExitErrHandler:  func(*cli.Context, error) {}, // the code is the caller's matter
		HideHelpCommand: true,
	}
	for _, command := range app.Commands {
		command.OnUsageError = usageError
		command.HideHelpCommand = true
	}
	err := app.RunContext(ctx, args)
	if err != nil {
		fmt.Fprintln(stderr, "bursar:", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return exit.Code(err)
}

func usageError(cc *cli.Context, err error, _ bool) error {
	return exit.With(exit.Usage, fmt.Errorf("%w; see %s --help", err, cc.App.Name))
}

func noCommand(cc *cli.Context) error {
	if !cc.Args().Present() {
		return cli.ShowAppHelp(cc)
	}
	return exit.With(exit.Usage, fmt.Errorf("no command is named %q; see bursar --help", cc.Args().First()))
}
