// Package telemetry exports what a command measures, by the standard OTEL_*
// variables of OpenTelemetry, and does nothing where none of them asks for it.
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

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

// stopTimeout bounds how long the end of a command waits for the last export.
const stopTimeout = 5 * time.Second

// Start sets OpenTelemetry's global providers for the signals that the environment
// names: OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER (otlp, console, prometheus,
// none), or OTEL_EXPORTER_OTLP_ENDPOINT and its like for both. stop sends what is left
// and ends the exporters. An exporter that does not exist is a usage error.
func Start(ctx context.Context) (stop func(context.Context) error, err error) {
	var stops []func(context.Context) error
	stop = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		var errs []error
		for _, end := range stops {
			errs = append(errs, end(ctx))
		}
		return errors.Join(errs...)
	}
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return stop, nil
	}
	who, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "bursar")), resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return stop, exit.With(exit.Usage, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err))
	}
	if asked("TRACES") {
		exporter, err := autoexport.NewSpanExporter(ctx)
		if err != nil {
			return stop, unusable("TRACES", err, stop(ctx))
		}
		provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(who))
		otel.SetTracerProvider(provider)
		stops = append(stops, provider.Shutdown)
	}
	if asked("METRICS") {
		reader, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return stop, unusable("METRICS", err, stop(ctx))
		}
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(who))
		otel.SetMeterProvider(provider)
		stops = append(stops, provider.Shutdown)
	}
	return stop, nil
}

// asked reports whether the environment wants a signal to be exported. Without a
// word it is not: the SDK's own default would look for a collector on this machine.
func asked(signal string) bool {
	for _, name := range []string{"OTEL_" + signal + "_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

func unusable(signal string, err, stopErr error) error {
	return errors.Join(exit.With(exit.Usage, fmt.Errorf(
		"OTEL_%s_EXPORTER=%q: %w; give otlp, console or none, and for metrics also prometheus", signal, os.Getenv("OTEL_"+signal+"_EXPORTER"), err)), stopErr)
}
