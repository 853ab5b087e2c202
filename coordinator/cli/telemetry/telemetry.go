// Package telemetry exports what a command measures, by the standard OTEL_*
// variables of OpenTelemetry, and does nothing unless one of them asks for it.
// It is an aid: nothing that fails here fails the command.
//
// What belongs here is the SDK and its exporters, which embedders of package
// coordinator do not link.
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

// Bounds of the last export at the end of a command, and of one that was interrupted.
const (
	stopTimeout        = 5 * time.Second
	interruptedTimeout = 500 * time.Millisecond
)

// Start sets OpenTelemetry's global providers for the signals that the environment
// names: OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER (otlp, console, prometheus,
// none), or OTEL_EXPORTER_OTLP_ENDPOINT and its like for both. stop sends what is left
// and ends the exporters.
//
// A signal whose exporter cannot be started is reported once, and is not exported; the
// other one is. What fails later is reported too, each error once in a row.
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

// describe returns the resource that all signals are about. Attributes that cannot be
// read are a fault, and left out.
func describe(ctx context.Context, f *faults) *resource.Resource {
	r, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "bursar")), resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		f.Handle(fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err))
	}
	return r
}
