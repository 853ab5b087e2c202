package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/runner"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/scratch"
	"github.com/calybris/bursar/coordinator/wording"
)

const description = `Callers reserve and commit without a pause, on several nodes that share the
tenants' budgets, until the time is over; some budgets run out meanwhile. Then
the books are read from Redis' own state over a separate connection and checked
for each tenant: a broken book ends with exit code 1.

The Redis is that of --redis or of BURSAR_REDIS_URL; without either, an embedded one.
On a Redis of yours, it writes under a random prefix (bursar-bench-…) or the one
that you give, and deletes what it made at the end, also after Ctrl-C.

Examples:
  bursar bench
  bursar bench --redis spawn --baselines all --html report.html
  bursar bench --redis redis://localhost:6379 --nodes 1 --concurrency 256 --tenants 1
  bursar bench --trace usage.csv --input-price '$2.50' --output-price '$10.00'`

// Command is `bursar bench`.
func Command() *cli.Command {
	return &cli.Command{
		Name:        "bench",
		Usage:       "measure budget decisions under load, and check the books",
		Description: description,
		Action:      act,
		Flags:       append(flags(Defaults()), report.OutputFlags()...),
		Subcommands: []*cli.Command{sweepCommand(), nodeSubcommand()},
	}
}

// nodeSubcommand is in no help: only a run uses it.
func nodeSubcommand() *cli.Command {
	return &cli.Command{
		Name: runner.NodeCommand, Hidden: true,
		Usage: "be a node of bench --processes, which speaks with it over pipes",
		Action: func(cc *cli.Context) error {
			return runner.ServeNode(cc.Context, cc.App.Reader, cc.App.Writer)
		},
	}
}

func act(cc *cli.Context) error {
	c, err := configOf(cc)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	return perform(cc, c, Run)
}

// perform runs what a command stands for, and writes what it came to.
func perform(cc *cli.Context, c Config, run func(context.Context, Config) (report.Report, error)) error {
	outputs, err := report.OutputsOf(cc)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	view := report.OpenProgress(cc.Context, cc.App.ErrWriter)
	c.Logger, c.Watch = warnings(view), view.Watch()
	variable := variableOf(cc, c)
	if variable != "" {
		c.Opened = saying(view, variable)
	}
	began := time.Now()
	result, err := run(cc.Context, c)
	view.Close()
	if result.Rounds == 0 { // it never began
		return err
	}
	result.Began, result.Command, result.Variable = began, commandLine(cc, result.Redis), variable
	return errors.Join(err, outputs.Write(result, cc.App.Writer))
}

// variableOf returns the name of the variable that the Redis is taken from, if it is.
func variableOf(cc *cli.Context, c Config) string {
	_, variable := connect.AddressOf(cc)
	if c.Redis == "" {
		return ""
	}
	return variable
}

// saying returns what says once, before the load, that this is the variable's Redis:
// that may be one for other work.
func saying(w io.Writer, variable string) func(redis string) {
	var once sync.Once
	return func(redis string) {
		once.Do(func() { fmt.Fprintf(w, "bursar: the bench runs on %s, which %s names\n", redis, variable) })
	}
}

// warnings prints what a person must read, without the time of day.
func warnings(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// commandLine is what to type for the same run again. Of the Redis it says its
// name, because its URL may hold a password.
func commandLine(cc *cli.Context, redisName string) string {
	words := []string{"bursar", cc.Command.HelpName}
	if full := cc.Command.HelpName; strings.Contains(full, " ") {
		words = strings.Fields(full)
	}
	for _, flag := range cc.Command.Flags {
		name := flag.Names()[0]
		if !cc.IsSet(name) {
			continue
		}
		value := fmt.Sprint(cc.Value(name))
		if name == "redis" && value != scratch.Embedded && value != scratch.Spawn {
			value = redisName
		}
		words = append(words, "--"+name)
		if _, isBool := flag.(*cli.BoolFlag); !isBool {
			words = append(words, wording.Word(value))
		}
	}
	return strings.Join(words, " ")
}
