package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/scratch"
	"github.com/calybris/bursar/coordinator/trace"
	"github.com/calybris/bursar/coordinator/wording"
	"github.com/calybris/bursar/local"
)

const (
	shownDifferences = 10               // further ones are only counted
	closeTimeout     = 10 * time.Second // for closing the node of a file
)

const replayDescription = `Applies recorded operations, each file from an empty state, and compares every
field of every answer. Prints the first differences with file and line, and ends
with "N operations, N differences"; with any, the exit code is 1. All files are
read before the first is applied.

A file has one JSON object a line:
  {"op":"ensure","tenant":T,"budget":B}
  {"op":"reserve","tenant":T,"cost":C,"as":NAME,"want":W}
  {"op":"commit","id":NAME,"actual":A,"want":W}
  {"op":"release","id":NAME,"want":W}
  {"op":"remaining","tenant":T,"want":W}

On a Redis of yours, it writes under random prefixes (bursar-replay-…) only, and
deletes them at the end, also after Ctrl-C.`

// Replay returns the replay command.
func Replay() *cli.Command {
	return &cli.Command{
		Name:        "replay",
		Usage:       "apply recorded operations to an engine and compare every answer",
		ArgsUsage:   "FILE…",
		Description: replayDescription,
		Action:      replay,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "engine", Usage: "`NAME`: local (in this process), embedded (miniredis), redis", DefaultText: "redis if one is given, else local"},
		}, connect.ServerFlags("", "`WHERE`: embedded (miniredis), spawn (a private redis-server), or the URL of your own: redis://, rediss://, redis+sentinel://, redis+cluster://, unix://")...),
	}
}

func replay(cc *cli.Context) error {
	address, err := replayAddress(cc)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	secrets, err := replaySecrets(cc, address)
	if err != nil {
		return err
	}
	traces, err := readTraces(cc.Args().Slice())
	if err != nil {
		return err
	}
	engines, err := openEngines(cc.Context, address, secrets)
	if err != nil {
		return exit.OrInterrupted(cc.Context, err)
	}
	err = exit.OrInterrupted(cc.Context, replayAll(cc, engines, traces))
	return errors.Join(err, engines.close(cc.Context))
}

// replayAddress returns the address of the engine's Redis, for scratch.Open, or "" for
// the local engine.
func replayAddress(cc *cli.Context) (string, error) {
	if !cc.Args().Present() {
		return "", errors.New("replay needs at least one FILE; see bursar replay --help")
	}
	engine := cc.String("engine")
	address, variable := connect.AddressOf(cc)
	if variable != "" && (engine == "local" || engine == "embedded") {
		address = "" // the variable is only a default for engines that use it
	}
	if engine == "" {
		engine = "local"
		if cc.IsSet("redis") {
			engine = "redis"
		}
	}
	switch {
	case engine != "local" && engine != "embedded" && engine != "redis":
		return "", fmt.Errorf("--engine %q: give local, embedded or redis", engine)
	case engine == "embedded" && (address == "" || address == scratch.Embedded):
		return scratch.Embedded, nil
	case engine != "redis" && address != "":
		return "", fmt.Errorf("--engine %s does not use your Redis: leave out --redis, or give --engine redis", engine)
	case engine == "redis" && address == "":
		return "", errors.New("--engine redis needs --redis: give redis://host:6379, or spawn")
	default:
		return address, nil
	}
}

// replaySecrets returns the secrets for a Redis of the user's. For any other address it
// returns an error if a flag sets one.
func replaySecrets(cc *cli.Context, address string) (connect.Secrets, error) {
	if address == "" || scratch.IsOwn(address) {
		return connect.Secrets{}, connect.NoServer(cc)
	}
	return connect.SecretsOf(cc)
}

func readTraces(names []string) ([]trace.Trace, error) {
	traces := make([]trace.Trace, len(names))
	for i, name := range names {
		var err error
		if traces[i], err = readTrace(name); err != nil {
			return nil, err
		}
	}
	return traces, nil
}

func readTrace(name string) (trace.Trace, error) {
	file, err := os.Open(name)
	if err != nil {
		return trace.Trace{}, err
	}
	defer file.Close()
	return trace.Parse(name, file)
}

// engines creates an empty engine for each file.
type engines struct {
	space  *scratch.Space // nil for the local engine
	client redis.UniversalClient
}

func openEngines(ctx context.Context, address string, secrets connect.Secrets) (engines, error) {
	if address == "" {
		return engines{}, nil
	}
	space, err := scratch.Open(ctx, address, secrets)
	if err != nil {
		return engines{}, err
	}
	return engines{space, space.Client()}, nil
}

func (e engines) close(ctx context.Context) error {
	if e.space == nil {
		return nil
	}
	return e.space.Close(ctx)
}

// with runs do on a new, empty engine whose holds have no deadline.
func (e engines) with(ctx context.Context, do func(budget.Engine) error) error {
	if e.space == nil {
		engine, err := local.New(local.WithHoldTTL(0))
		if err != nil {
			return err
		}
		return do(engine)
	}
	node, err := coordinator.New(ctx, e.client,
		coordinator.WithKeyPrefix(e.space.Prefix("replay")), coordinator.WithHoldTTL(0),
		coordinator.WithLogger(slog.New(slog.DiscardHandler))) // its state is temporary
	if err != nil {
		return exit.OfStart(fmt.Errorf("%s: %w", e.space.Name, err))
	}
	err = do(node)
	closing, cancel := context.WithTimeout(e.space.Lifetime(), closeTimeout) // also after an interruption, if Redis answers
	defer cancel()
	return errors.Join(err, node.Close(closing))
}

// replayAll replays the traces, and stops at the first error of an engine.
func replayAll(cc *cli.Context, e engines, traces []trace.Trace) error {
	var operations, differences int
	for _, t := range traces {
		err := e.with(cc.Context, func(engine budget.Engine) error {
			applied, found, err := trace.Replay(cc.Context, engine, t)
			operations += applied
			show(cc.App.Writer, found, differences)
			differences += len(found)
			return err
		})
		if err != nil {
			return exit.With(exit.Unavailable, err)
		}
	}
	if _, err := fmt.Fprintln(cc.App.Writer, total(operations, differences)); err != nil {
		return err
	}
	if differences > 0 {
		return fmt.Errorf("the engine's answers differ from the recorded ones: %s", total(operations, differences))
	}
	return nil
}

func show(w io.Writer, found []trace.Difference, before int) {
	for i, difference := range found {
		if before+i == shownDifferences {
			fmt.Fprintln(w, "… and more, not shown")
		}
		if before+i >= shownDifferences {
			return
		}
		fmt.Fprintln(w, difference)
	}
}

func total(operations, differences int) string {
	return wording.Count(operations, "operation") + ", " + wording.Count(differences, "difference")
}
