package cli

import (
	"context"
	"errors"
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

const appDescription = `Flags stand before or after arguments; "--" ends them, for an argument that begins
with a dash.

Exit codes: 0 done; 1 refused by a budget, a failed check, or an unsupported Redis
configuration; 2 usage; 3 Redis unreachable, an outcome unknown, or interrupted. Metrics
and traces are exported if the standard OTEL_* variables say so.`

// Run runs the bursar command line args and returns its exit code. The commands of more
// precede this package's own in the help. An error is printed as one line on stderr.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer, more ...*cli.Command) int {
	redis.SetLogger(&logging.VoidLogger{}) // relevant errors are returned as well
	app := newApp(stdout, stderr, more...)
	err := dispatch(ctx, app, args)
	if err != nil && !errors.Is(err, errClosedPipe) {
		fmt.Fprintln(stderr, "bursar:", oneLine(err))
	}
	return exit.Code(err)
}

func newApp(stdout, stderr io.Writer, more ...*cli.Command) *cli.App {
	app := &cli.App{
		Name:                 "bursar",
		Usage:                "shared budgets for a fleet, exact to the microcent",
		Description:          appDescription,
		Flags:                []cli.Flag{versionFlag, cli.HelpFlag},
		Action:               cli.ShowAppHelp,
		OnUsageError:         usageError,
		Writer:               stdout,
		ErrWriter:            stderr,
		ExitErrHandler:       func(*cli.Context, error) {}, // Run returns the code
		HideHelpCommand:      true,                         // helpCommand replaces it
		EnableBashCompletion: true,
	}
	root := &cli.Command{Name: app.Name, Subcommands: slices.Concat(more, Commands())}
	prepare([]*cli.Command{root})
	app.Commands = root.Subcommands
	return app
}

// dispatch puts a command line into the order that urfave/cli needs, and runs it.
func dispatch(ctx context.Context, app *cli.App, args []string) error {
	root := &cli.Command{Name: app.Name, Subcommands: app.Commands, Flags: app.Flags}
	if args[len(args)-1] == completionFlag {
		arranged, ask := arrangeCompletion(root, args)
		if !ask {
			return nil
		}
		return app.RunContext(ctx, arranged)
	}
	arranged, err := arrange(root, args)
	if err != nil {
		return err
	}
	return app.RunContext(ctx, arranged)
}

// prepare makes the last command of path, and those below it, report usage errors in one
// line and export telemetry, and gives each group of commands a help command.
func prepare(path []*cli.Command) {
	command := path[len(path)-1]
	command.OnUsageError = usageError
	command.HideHelpCommand = true // helpCommand replaces it
	if measures(command) {
		command.Action = exporting(command.Action, command.Hidden)
	}
	if len(command.Subcommands) == 0 {
		return
	}
	if command.Action == nil {
		command.Action = cli.ShowSubcommandHelp
	}
	for _, below := range command.Subcommands {
		prepare(append(path[:len(path):len(path)], below))
	}
	command.Subcommands = append(command.Subcommands, helpCommand(path, len(path) > 1))
}

// measures reports whether a command exports telemetry: one that uses a Redis, or a
// hidden one, which runs as a part of another command.
func measures(command *cli.Command) bool {
	return command.Hidden || slices.ContainsFunc(command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), "redis") })
}

// exporting returns action with telemetry. A fault of telemetry is a line on stderr and
// does not fail the action. If the command is a part of another, that one reports the
// same faults, and this one is silent.
func exporting(action cli.ActionFunc, part bool) cli.ActionFunc {
	return func(cc *cli.Context) error {
		report := func(err error) { fmt.Fprintln(cc.App.ErrWriter, "bursar:", oneLine(err)) }
		if part {
			report = func(error) {}
		}
		stop := telemetry.Start(cc.Context, report)
		err := action(cc)
		if stopErr := stop(cc.Context); stopErr != nil {
			report(fmt.Errorf("the last telemetry was not exported: %w", stopErr))
		}
		return err
	}
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func usageError(cc *cli.Context, err error, _ bool) error {
	remedy := ""
	if cc.Command.ArgsUsage != "" && strings.HasPrefix(err.Error(), "flag provided but not defined") {
		remedy = "write an argument that begins with a dash after --, or "
	}
	return exit.With(exit.Usage, fmt.Errorf("%w; %ssee %s --help", err, remedy, cc.Command.HelpName))
}
