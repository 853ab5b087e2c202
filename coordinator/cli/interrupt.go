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
func UntilInterrupted() context.Context {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop)
	return ctx
}
