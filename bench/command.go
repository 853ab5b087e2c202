package bench

import (
	"cmp"
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

const description = `Workers on several nodes reserve and commit against shared budgets, some of
which run out. Then every tenant's balance is read from Redis over a separate
connection and checked: a wrong one ends with exit code 1, as does a condition
of --fail-if.

The server is that of --redis or BURSAR_REDIS_URL, or else an embedded one. On a
server of yours, the bench writes under a random prefix (bursar-bench-…) or the
one that you give, and deletes its keys at the end, also after Ctrl-C.

Examples:
  bursar bench
  bursar bench --redis spawn --baselines all --html report.html
  bursar bench --redis redis://localhost:6379 --nodes 1 --concurrency 256 --tenants 1
  bursar bench --redis spawn --rate 5000 --fail-if 'p99>10ms'
  bursar bench --trace usage.csv --input-price '$2.50' --output-price '$10.00'`

// Command is `bursar bench`.
func Command() *cli.Command {
	return &cli.Command{
		Name:        "bench",
		Usage:       "measure budget decisions under load, and check the balances",
		Description: description,
		Action:      act,
		Flags:       append(flags(Defaults()), report.OutputFlags()...),
		Subcommands: []*cli.Command{sweepCommand(), nodeSubcommand()},
	}
}

// nodeSubcommand is hidden: only a run uses it.
func nodeSubcommand() *cli.Command {
	return &cli.Command{
		Name: runner.NodeCommand, Hidden: true,
		Usage: "run a node of bench --processes",
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

// perform runs a command and writes its report.
func perform(cc *cli.Context, c Config, run func(context.Context, Config) (report.Report, error)) error {
	outputs, errOutputs := report.OutputsOf(cc)
	conditions, errConditions := conditionsOf(cc)
	earlier, errEarlier := earlierOf(cc)
	if err := cmp.Or(errOutputs, errConditions, errEarlier); err != nil {
		return exit.With(exit.Usage, err)
	}
	view := report.OpenProgress(cc.Context, cc.App.ErrWriter)
	c.Logger, c.Watch = warnings(view), view.Watch()
	_, variable := connect.AddressOf(cc)
	if c.Redis == "" {
		variable = "" // has no effect on the local engine
	}
	if variable != "" {
		c.Opened = announce(view, variable)
	}
	began := time.Now()
	result, err := run(cc.Context, c)
	view.Close()
	if result.Rounds == 0 { // it did not begin
		return err
	}
	result.Began, result.Command, result.Variable = began, commandLine(cc, result.Redis), variable
	if earlier != nil {
		result.CompareTo(*earlier, cc.String(compareFlag))
	}
	failed := result.Check(conditions)
	return errors.Join(err, failed, outputs.Write(result, cc.App.Writer))
}

const (
	failFlag    = "fail-if"
	compareFlag = "compare-to"
)

func conditionsOf(cc *cli.Context) ([]report.Condition, error) {
	var conditions []report.Condition
	for _, text := range cc.StringSlice(failFlag) {
		c, err := report.ParseCondition(text)
		if err != nil {
			return nil, err
		}
		conditions = append(conditions, c)
	}
	return conditions, nil
}

// earlierOf reads the report of --compare-to before the run, so that a mistake is found at
// once.
func earlierOf(cc *cli.Context) (*report.Report, error) {
	if !cc.IsSet(compareFlag) {
		return nil, nil
	}
	earlier, err := report.ReadEarlier(cc.String(compareFlag))
	if err == nil && (earlier.Sweep != nil) != (cc.Command.Name == sweepName) {
		err = fmt.Errorf("--%s %s: one of both reports is of a sweep: compare a sweep with a sweep", compareFlag, cc.String(compareFlag))
	}
	return &earlier, err
}

// announce returns a function that prints once, before the load, that the address comes from
// the variable: that Redis may be meant for other work.
func announce(w io.Writer, variable string) func(redis string) {
	var once sync.Once
	return func(redis string) {
		once.Do(func() { fmt.Fprintf(w, "bursar: the bench runs on %s, which %s names\n", redis, variable) })
	}
}

// warnings returns a logger of warnings without the time.
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

// commandLine returns the command that repeats the run. It has the name of the Redis, because
// the URL may hold a password.
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
		if texts, isSlice := cc.Value(name).(cli.StringSlice); isSlice {
			for _, text := range texts.Value() {
				words = append(words, "--"+name, wording.Word(text))
			}
			continue
		}
		words = append(words, "--"+name)
		if _, isBool := flag.(*cli.BoolFlag); !isBool {
			words = append(words, wording.Word(value))
		}
	}
	return strings.Join(words, " ")
}
