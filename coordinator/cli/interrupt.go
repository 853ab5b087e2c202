package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// UntilInterrupted returns a context that is cancelled by Ctrl-C, SIGTERM, or the closing
// of the terminal (SIGHUP), so that a command can clean up. A second signal ends the
// process at once. SIGHUP stays ignored if the process was started so, as by nohup.
//
// It also makes a write to a pipe without a reader return an error, even on stdout,
// instead of ending the process: a command must be able to report a change that it made.
func UntilInterrupted() context.Context {
	// Not signal.Ignore, which child processes would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop)
	return ctx
}
