package telemetry

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// signal is a kind of telemetry.
type signal struct {
	name      string // for messages
	variable  string // part of its variables' names
	exporters string // that autoexport supports, for messages
	// start creates the exporter and sets the global provider.
	start func(context.Context, *resource.Resource) (shutdown func(context.Context) error, err error)
}

var signals = []signal{
	{"traces", "TRACES", "otlp, console or none", startTraces},
	{"metrics", "METRICS", "otlp, console, prometheus or none", startMetrics},
}

func startTraces(ctx context.Context, r *resource.Resource) (func(context.Context) error, error) {
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(r))
	otel.SetTracerProvider(provider)
	return provider.Shutdown, nil
}

func startMetrics(ctx context.Context, r *resource.Resource) (func(context.Context) error, error) {
	reader, err := autoexport.NewMetricReader(ctx)
	if err != nil {
		return nil, err
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(r))
	otel.SetMeterProvider(provider)
	return provider.Shutdown, nil
}

// asked reports whether the environment requests the signal. Without a variable it is not
// exported, unlike the SDK's default, which is to look for a collector on this machine.
func (s signal) asked() bool {
	return s.exporter() != "" || os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv(s.endpointVariable()) != ""
}

func (s signal) exporterVariable() string { return "OTEL_" + s.variable + "_EXPORTER" }

func (s signal) exporter() string { return os.Getenv(s.exporterVariable()) }

func (s signal) endpointVariable() string { return "OTEL_EXPORTER_OTLP_" + s.variable + "_ENDPOINT" }

// open starts the export of the signal. Its error has a remedy if one is known.
func (s signal) open(ctx context.Context, f *faults) (shutdown func(context.Context) error, err error) {
	if err := s.checkEndpoint(); err != nil {
		return nil, err
	}
	shutdown, err = s.start(ctx, describe(ctx, f))
	if err == nil {
		return shutdown, nil
	}
	if s.exporter() != "" {
		err = fmt.Errorf("%s=%q: %w", s.exporterVariable(), s.exporter(), err)
	}
	switch {
	case s.exporter() == "prometheus":
		err = fmt.Errorf("%w; set OTEL_EXPORTER_PROMETHEUS_PORT to a free port", err)
	case strings.Contains(err.Error(), "unknown exporter"):
		err = fmt.Errorf("%w; give %s", err, s.exporters)
	}
	return nil, err
}

// checkEndpoint returns an error for an invalid endpoint, about which the exporter would
// only log an error and send elsewhere. The error does not repeat the endpoint, since it
// may contain a password.
func (s signal) checkEndpoint() error {
	if s.exporter() != "" && s.exporter() != "otlp" {
		return nil
	}
	variable, text := firstSet(s.endpointVariable(), "OTEL_EXPORTER_OTLP_ENDPOINT")
	if text == "" {
		return nil
	}
	_, protocol := firstSet("OTEL_EXPORTER_OTLP_"+s.variable+"_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" && protocol != "grpc" { // gRPC accepts other forms of addresses
		return fmt.Errorf("%s is not the URL of a collector; write the endpoint as http://host:4318", variable)
	}
	return nil
}

// firstSet returns the first of the variables that has a value, and the value.
func firstSet(names ...string) (name, value string) {
	for _, name := range names {
		if value := strings.TrimSpace(os.Getenv(name)); value != "" {
			return name, value
		}
	}
	return "", ""
}
