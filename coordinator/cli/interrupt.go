package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// UntilInterrupted is a context that ends with Ctrl-C, SIGTERM, or a terminal that is
// closed (SIGHUP), so that a command cleans up after itself. From the second on the
// process ends at once. What this process was started to ignore (nohup) is ignored.
//
// From then on a write to a pipe without a reader returns an error, on stdout as well,
// and does not end the process: a command must be able to report what it has changed.
func UntilInterrupted() context.Context {
	// Not signal.Ignore, which the processes that this one starts would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop)
	return ctx
}
