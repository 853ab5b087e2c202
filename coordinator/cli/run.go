package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/telemetry"
)

const appDescription = `Exit codes: 0 done, 1 refused by a budget or a failed check, 2 usage, 3 Redis
unreachable or an outcome unknown. Metrics and traces are exported where the
standard OTEL_* variables say so.`

// Run is the bursar command: it runs what args say, of this package's commands and of
// more, which come first in the help, and returns the exit code. An error is one line
// on stderr.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer, more ...*cli.Command) int {
	redis.SetLogger(&logging.VoidLogger{}) // what matters comes back as an error
	app := &cli.App{
		Name:                 "bursar",
		Usage:                "budgets that a fleet shares, exact to the microcent",
		Description:          appDescription,
		Commands:             slices.Concat(more, Commands()),
		Action:               noCommand,
		OnUsageError:         usageError,
		Writer:               stdout,
		ErrWriter:            stderr,
		ExitErrHandler:       func(*cli.Context, error) {}, // the code is the caller's matter
		HideHelpCommand:      true,
		EnableBashCompletion: true,
	}
	prepare(app.Commands)
	stop, err := telemetry.Start(ctx)
	if err == nil {
		err = app.RunContext(ctx, args)
		if stopErr := stop(ctx); stopErr != nil {
			fmt.Fprintln(stderr, "bursar: the last telemetry was not exported:", oneLine(stopErr))
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "bursar:", oneLine(err))
	}
	return exit.Code(err)
}

// prepare makes every command say a usage error in one line.
func prepare(list []*cli.Command) {
	for _, command := range list {
		command.OnUsageError = usageError
		command.HideHelpCommand = true
		if len(command.Subcommands) > 0 {
			if command.Action == nil {
				command.Action = noSubcommand
			}
			prepare(command.Subcommands)
		}
	}
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func usageError(cc *cli.Context, err error, _ bool) error {
	return exit.With(exit.Usage, fmt.Errorf("%w; see %s --help", err, cc.Command.HelpName))
}

func noCommand(cc *cli.Context) error {
	if !cc.Args().Present() {
		return cli.ShowAppHelp(cc)
	}
	return exit.With(exit.Usage, fmt.Errorf("no command is named %q; see bursar --help", cc.Args().First()))
}

func noSubcommand(cc *cli.Context) error {
	if !cc.Args().Present() {
		return cli.ShowSubcommandHelp(cc)
	}
	return exit.With(exit.Usage, fmt.Errorf("%s has no command named %q; see %s --help", cc.Command.HelpName, cc.Args().First(), cc.Command.HelpName))
}
