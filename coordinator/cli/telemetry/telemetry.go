// Package telemetry exports the traces and metrics of a command if OpenTelemetry's
// standard OTEL_* variables ask for it. A failure to export never fails the command.
//
// The SDK and its exporters are imported only here, so that programs that embed package
// coordinator do not link them.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
)

// Timeouts of the last export at the end of a command, and of an interrupted one.
const (
	stopTimeout        = 5 * time.Second
	interruptedTimeout = 500 * time.Millisecond
)

// Start sets OpenTelemetry's global providers for the signals that the environment
// requests: by OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER (otlp, console, prometheus,
// none), by the endpoint variable of a signal, such as OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
// or for both by OTEL_EXPORTER_OTLP_ENDPOINT. stop exports the remaining data and shuts
// the exporters down.
//
// If the exporter of a signal cannot be started, that is reported once, and only the
// other signal is exported. Later errors are reported too, each once in a row.
func Start(ctx context.Context, report func(error)) (stop func(context.Context) error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return func(context.Context) error { return nil }
	}
	f := collectFaults(report)
	var shutdowns []func(context.Context) error
	for _, s := range signals {
		if !s.asked() {
			continue
		}
		shutdown, err := s.open(ctx, f)
		if err != nil {
			report(fmt.Errorf("no %s are exported: %w", s.name, err))
			continue
		}
		shutdowns = append(shutdowns, shutdown)
	}
	f.reportFromNow()
	return func(ctx context.Context) error {
		timeout := stopTimeout
		if ctx.Err() != nil {
			timeout = interruptedTimeout
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		f.collectFromNow()
		var errs []error
		for _, shutdown := range shutdowns {
			errs = append(errs, shutdown(ctx))
		}
		return errors.Join(append(errs, f.end())...)
	}
}

// describe returns the resource of all signals. Attributes that cannot be parsed are
// reported to f, and left out.
func describe(ctx context.Context, f *faults) *resource.Resource {
	r, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "bursar")), resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		f.Handle(fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err))
	}
	return r
}
