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

// Commands are all of this package, in the order of the help.
func Commands() []*cli.Command {
	return []*cli.Command{
		tenantCommand(), reserveCommand(), commitCommand(), releaseCommand(), lookupCommand(),
		holdsCommand(), verifyCommand(), inspectCommand(), doctorCommand(), Replay(), versionCommand(), completionCommand(),
	}
}

var (
	jsonFlag    = &cli.BoolFlag{Name: "json", Usage: "print JSON, amounts in microcents; of a list one object a line"}
	timeoutFlag = &cli.DurationFlag{
		Name: "timeout", Category: connect.Category, Value: 10 * time.Second,
		Usage: "timeout for each Redis reply; doubled when an outcome is unknown",
	}
)

// redisFlags are those of a command that uses the operator's Redis.
func redisFlags(own ...cli.Flag) []cli.Flag {
	return slices.Concat(own, []cli.Flag{jsonFlag}, connect.Flags(), []cli.Flag{timeoutFlag})
}

// arguments returns what the command was given, one for each name.
func arguments(cc *cli.Context, names ...string) ([]string, error) {
	given := cc.Args().Slice()
	if len(given) == len(names) {
		return given, nil
	}
	wanted := "needs " + strings.Join(names, " ")
	if len(names) == 0 {
		wanted = "takes no argument"
	}
	return nil, exit.With(exit.Usage, fmt.Errorf("%s %s, and was given %s; see %s --help",
		cc.Command.HelpName, wanted, wording.Count(len(given), "argument"), cc.Command.HelpName))
}

func tenantArgument(text string) (budget.TenantID, error) {
	tenant := budget.TenantID(text)
	return tenant, exit.With(exit.Usage, tenant.Validate())
}

// amountArgument reads an amount that is least or more.
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

// open makes the client for the operator's Redis, which waits for each answer as long
// as --timeout says.
func open(cc *cli.Context) (*connect.Connection, error) {
	timeout := cc.Duration(timeoutFlag.Name)
	if timeout < time.Millisecond || timeout > time.Hour {
		return nil, exit.With(exit.Usage, fmt.Errorf("--timeout %s: give 1ms to 1h", timeout))
	}
	return connect.Open(cc, timeout)
}

// withRedis runs do on the operator's Redis.
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

// withPartitions runs do on the operator's Redis, unless that is one node of a Cluster,
// which has only a share of the partitions.
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

// interrupted is exit.OrInterrupted, except that an unknown outcome is never hidden.
func interrupted(ctx context.Context, err error) error {
	if errors.Is(err, coordinator.ErrUnknownOutcome) {
		return err
	}
	return exit.OrInterrupted(ctx, err)
}

// withNode runs do on a node of its own. Closing it resolves what is unknown, and
// releases what nobody was told of.
func withNode(cc *cli.Context, do func(ctx context.Context, node *coordinator.Coordinator) error, opts ...coordinator.Option) error {
	return withRedis(cc, func(ctx context.Context, connection *connect.Connection) error {
		return onNode(ctx, cc, connection, do, opts...)
	})
}

func onNode(ctx context.Context, cc *cli.Context, connection *connect.Connection, do func(ctx context.Context, node *coordinator.Coordinator) error, opts ...coordinator.Option) error {
	opts = append(opts,
		coordinator.WithKeyPrefix(connection.Prefix), coordinator.WithCallTimeout(cc.Duration(timeoutFlag.Name)),
		// It tells all that is remembered, and forgets nothing for the fleet.
		coordinator.WithRetention(24*time.Hour, 1_000_000), coordinator.WithRepair(0, 0),
		// What an operator must read of a single operation is in its error.
		coordinator.WithLogger(slog.New(slog.DiscardHandler)))
	starting, cancel := context.WithTimeout(ctx, cc.Duration(timeoutFlag.Name))
	defer cancel()
	node, err := coordinator.New(starting, connection.Client, opts...)
	if err != nil {
		return exit.OfStart(fmt.Errorf("%s: %w", connection.Name, err))
	}
	err = do(ctx, node)
	lingering, end := connect.Linger(ctx) // to release what nobody was told of, unless Redis is silent
	defer end()
	after, cancel := context.WithTimeout(lingering, cc.Duration(timeoutFlag.Name))
	defer cancel()
	closeErr := node.Close(after)
	switch {
	case err != nil && ctx.Err() != nil:
		return err // and what is unresolved follows from the interruption
	case err != nil:
		return errors.Join(err, closeErr)
	}
	return nil // a session that is not closed goes by itself
}

// unanswered gives the error of a node its code: there was no answer, unless it is that
// the amount is too large, or the tenant has too many holds. The remedy is for an unknown outcome; after
// other errors that operation did nothing.
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

// ofState gives an error of package audit its code.
func ofState(err error) error {
	switch {
	case errors.Is(err, audit.ErrLayout):
		return exit.With(exit.Refused, err)
	case errors.Is(err, audit.ErrUnreadable):
		err = fmt.Errorf("%w; see bursar verify", err)
	}
	return exit.With(exit.Unavailable, err)
}

// lookAgain is the remedy where the question was only one to read.
const lookAgain = "ask again"

// refused is the error of an answer that is no.
func refused(format string, args ...any) error {
	return exit.With(exit.Refused, fmt.Errorf(format, args...))
}

// refusal is refused, whose answer is printed as well in JSON.
func (o *output) refusal(cc *cli.Context, answer any, format string, args ...any) error {
	if err := o.show(cc, answer, func(io.Writer) {}); err != nil {
		return err
	}
	return refused(format, args...)
}

// output is where a command prints. The first write that fails is the command's
// error: a full disk must not pass for an empty answer.
type output struct {
	w    io.Writer
	err  error
	done string // what has been changed, for who will not read it in the output
}

// did says what a command has changed, before it prints that: where the output is
// lost, the error tells.
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
		o.err = exit.With(exit.Refused, fmt.Errorf("%s, and the output could not be written: %w", o.done, err))
	case errors.Is(err, syscall.EPIPE):
		o.err = errUnread
	default:
		o.err = exit.With(exit.Refused, fmt.Errorf("the output could not be written: %w", err))
	}
	return n, o.err
}

// errUnread is the error of a command that changed nothing, and whose output is a
// pipe without a reader, as in "bursar tenant list | head -1". Run does not print it.
var errUnread = exit.With(exit.Refused, errors.New("the reader of the output has gone"))

// printing runs a command's action with its output.
func printing(action func(cc *cli.Context, out *output) error) cli.ActionFunc {
	return func(cc *cli.Context) error {
		out := &output{w: cc.App.Writer}
		err := action(cc, out)
		switch {
		case out.err == nil, errors.Is(err, out.err), err != nil && errors.Is(out.err, errUnread):
			return err
		default:
			return errors.Join(out.err, err)
		}
	}
}
