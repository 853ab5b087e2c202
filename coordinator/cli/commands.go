package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

// Commands returns all commands of this package, in the order of the help.
func Commands() []*cli.Command {
	return []*cli.Command{
		tenantCommand(), reserveCommand(), commitCommand(), releaseCommand(), lookupCommand(),
		holdsCommand(), verifyCommand(), inspectCommand(), doctorCommand(), Replay(), versionCommand(), completionCommand(),
	}
}

var (
	jsonFlag    = &cli.BoolFlag{Name: "json", Usage: "print JSON (amounts in microcents; one object per line for lists)"}
	timeoutFlag = &cli.DurationFlag{
		Name: "timeout", Category: connect.Category, Value: 10 * time.Second,
		Usage: "timeout for each Redis reply; doubled when an outcome is unknown",
	}
)

// redisFlags returns own, followed by the flags of all commands on the operator's Redis.
func redisFlags(own ...cli.Flag) []cli.Flag {
	return slices.Concat(own, []cli.Flag{jsonFlag}, connect.Flags(), []cli.Flag{timeoutFlag})
}

// arguments returns the arguments, or an error unless there is one for each name.
func arguments(cc *cli.Context, names ...string) ([]string, error) {
	given := cc.Args().Slice()
	if len(given) == len(names) {
		return given, nil
	}
	wanted := "needs " + strings.Join(names, " ")
	if len(names) == 0 {
		wanted = "takes no argument"
	}
	return nil, exit.With(exit.Usage, fmt.Errorf("%s %s, but was given %s; see %s --help",
		cc.Command.HelpName, wanted, wording.Count(len(given), "argument"), cc.Command.HelpName))
}

func tenantArgument(text string) (budget.TenantID, error) {
	tenant := budget.TenantID(text)
	return tenant, exit.With(exit.Usage, tenant.Validate())
}

// amountArgument parses an amount, which must not be below least.
func amountArgument(text string, least budget.Microcents) (budget.Microcents, error) {
	amount, err := budget.ParseMicrocents(text)
	if err == nil && amount < least {
		err = fmt.Errorf("%w %q: give %s or more", budget.ErrInvalidAmount, text, least)
	}
	return amount, exit.With(exit.Usage, err)
}

func idArgument(text string) (budget.ReservationID, error) {
	id, err := budget.ParseReservationID(text)
	return id, exit.With(exit.Usage, err)
}

// open returns a client for the operator's Redis that waits up to --timeout for each
// reply.
func open(cc *cli.Context) (*connect.Connection, error) {
	timeout := cc.Duration(timeoutFlag.Name)
	if timeout < time.Millisecond || timeout > time.Hour {
		return nil, exit.With(exit.Usage, fmt.Errorf("--timeout %s: give 1ms to 1h", timeout))
	}
	return connect.Open(cc, timeout)
}

// withRedis connects to the operator's Redis, pings it and runs do.
func withRedis(cc *cli.Context, do func(ctx context.Context, connection *connect.Connection) error) error {
	connection, err := open(cc)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.Ping(cc.Context); err != nil {
		return exit.OrInterrupted(cc.Context, err)
	}
	return interrupted(cc.Context, do(cc.Context, connection))
}

// withPartitions is withRedis for commands that read all partitions. It returns an error
// if the topology check fails, as on one node of a Cluster, which has only some of them.
func withPartitions(cc *cli.Context, do func(ctx context.Context, connection *connect.Connection) error) error {
	return withRedis(cc, func(ctx context.Context, connection *connect.Connection) error {
		within, cancel := context.WithTimeout(ctx, cc.Duration(timeoutFlag.Name))
		defer cancel()
		checks, err := coordinator.Inspect(within, connection.Client, coordinator.WithKeyPrefix(connection.Prefix))
		if err != nil {
			return exit.With(exit.Usage, err)
		}
		for _, check := range checks {
			if err := check.Err(); err != nil && check.Name == "topology" {
				return exit.OfStart(fmt.Errorf("%s: %w", connection.Name, err))
			}
		}
		return do(ctx, connection)
	})
}

// interrupted is exit.OrInterrupted, except that it keeps an unknown outcome.
func interrupted(ctx context.Context, err error) error {
	if errors.Is(err, coordinator.ErrUnknownOutcome) {
		return err
	}
	return exit.OrInterrupted(ctx, err)
}

// withNode runs do on a new node and closes it. Close resolves unknown outcomes and
// releases abandoned holds.
func withNode(cc *cli.Context, do func(ctx context.Context, node *coordinator.Coordinator) error) error {
	return withRedis(cc, func(ctx context.Context, connection *connect.Connection) error {
		return onNode(ctx, cc, connection, do)
	})
}

// withNodeAndRedis is withNode for commands that also read Redis themselves.
func withNodeAndRedis(cc *cli.Context, do func(ctx context.Context, connection *connect.Connection, node *coordinator.Coordinator) error, opts ...coordinator.Option) error {
	return withRedis(cc, func(ctx context.Context, connection *connect.Connection) error {
		return onNode(ctx, cc, connection, func(ctx context.Context, node *coordinator.Coordinator) error {
			return do(ctx, connection, node)
		}, opts...)
	})
}

func onNode(ctx context.Context, cc *cli.Context, connection *connect.Connection, do func(ctx context.Context, node *coordinator.Coordinator) error, opts ...coordinator.Option) error {
	opts = append(opts,
		coordinator.WithKeyPrefix(connection.Prefix), coordinator.WithCallTimeout(cc.Duration(timeoutFlag.Name)),
		// The longest retention: lookup finds, and no command drops, the settled
		// reservations that the fleet still retains.
		coordinator.WithRetention(24*time.Hour, 1_000_000), coordinator.WithRepair(0, 0),
		// The error of a single operation has all that an operator needs, without a log.
		coordinator.WithLogger(slog.New(slog.DiscardHandler)))
	starting, cancel := context.WithTimeout(ctx, cc.Duration(timeoutFlag.Name))
	defer cancel()
	node, err := coordinator.New(starting, connection.Client, opts...)
	if err != nil {
		return exit.OfStart(fmt.Errorf("%s: %w", connection.Name, err))
	}
	err = do(ctx, node)
	lingering, end := connect.Linger(ctx) // to release abandoned holds, if Redis answers
	defer end()
	after, cancel := context.WithTimeout(lingering, cc.Duration(timeoutFlag.Name))
	defer cancel()
	closeErr := node.Close(after)
	switch {
	case err != nil && ctx.Err() != nil:
		return err // closeErr is a consequence of the interruption
	case err != nil:
		return errors.Join(err, closeErr)
	}
	return nil // a session that is left open expires
}

// unanswered gives a node's error its exit code: Refused for an overflow or too many
// holds, and Unavailable otherwise. It adds the remedy if the outcome is unknown; after
// other errors the operation had no effect.
func unanswered(err error, remedy string) error {
	switch {
	case errors.Is(err, budget.ErrOverflow), errors.Is(err, coordinator.ErrTooManyHolds):
		return exit.With(exit.Refused, err)
	case errors.Is(err, coordinator.ErrUnknownOutcome):
		err = fmt.Errorf("%w; %s", err, remedy)
	case errors.Is(err, coordinator.ErrCorrupt):
		err = fmt.Errorf("%w; see bursar verify", err)
	}
	return exit.With(exit.Unavailable, err)
}

// ofState gives an error of package audit its exit code.
func ofState(err error) error {
	switch {
	case errors.Is(err, audit.ErrLayout):
		return exit.With(exit.Refused, err)
	case errors.Is(err, audit.ErrUnreadable):
		err = fmt.Errorf("%w; see bursar verify", err)
	}
	return exit.With(exit.Unavailable, err)
}

// runAgain is the remedy for a read.
const runAgain = "run it again"

// refused returns an error with the code Refused.
func refused(format string, args ...any) error {
	return exit.With(exit.Refused, fmt.Errorf(format, args...))
}

// refusal is refused, and with --json also prints the answer.
func (o *output) refusal(cc *cli.Context, answer any, format string, args ...any) error {
	if err := o.show(cc, answer, func(io.Writer) {}); err != nil {
		return err
	}
	return refused(format, args...)
}

// output is the standard output of a command. The first write error becomes the
// command's error: a full disk must not look like an empty answer.
type output struct {
	w    io.Writer
	err  error
	done string // the change that the command made, for the error of a failed write
}

// did records the change that a command made, before it is printed: if the output is
// lost, the error names the change.
func (o *output) did(format string, args ...any) { o.done = fmt.Sprintf(format, args...) }

func (o *output) Write(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(b)
	switch {
	case err == nil:
		return n, nil
	case o.done != "":
		o.err = exit.With(exit.Refused, fmt.Errorf("%s, but the output could not be written: %w", o.done, err))
	case errors.Is(err, syscall.EPIPE):
		o.err = errClosedPipe
	default:
		o.err = exit.With(exit.Refused, fmt.Errorf("the output could not be written: %w", err))
	}
	return n, o.err
}

// errClosedPipe is the error of a command that changed nothing and whose output is a pipe
// without a reader, as in "bursar tenant list | head -1". Run does not print it.
var errClosedPipe = exit.With(exit.Refused, errors.New("the reader closed the output"))

// printing returns a command action that also reports the write error of its output.
func printing(action func(cc *cli.Context, out *output) error) cli.ActionFunc {
	return func(cc *cli.Context) error {
		out := &output{w: cc.App.Writer}
		err := action(cc, out)
		switch {
		case out.err == nil, errors.Is(err, out.err), err != nil && errors.Is(out.err, errClosedPipe):
			return err
		default:
			return errors.Join(out.err, err)
		}
	}
}
