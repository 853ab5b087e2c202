package telemetry_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/calybris/bursar/coordinator/cli/telemetry"
)

// start sets variables and starts telemetry. Its t.Setenv keeps these tests from running
// in parallel, which OpenTelemetry's globals do not allow.
func start(t *testing.T, variables ...string) (stop func(context.Context) error, reported []string) {
	t.Helper()
	for i := 0; i < len(variables); i += 2 {
		t.Setenv(variables[i], variables[i+1])
	}
	otel.SetTracerProvider(noop.NewTracerProvider())
	stop = telemetry.Start(t.Context(), func(err error) { reported = append(reported, err.Error()) })
	return stop, reported
}

func traced() bool {
	_, span := otel.Tracer("test").Start(context.Background(), "test", trace.WithNewRoot())
	defer span.End()
	return span.SpanContext().IsValid()
}

// Without variables nothing is exported, and no collector is looked for.
func TestNothingIsExportedByDefault(t *testing.T) {
	for _, variables := range [][]string{
		nil,
		{"OTEL_SDK_DISABLED", "TRUE", "OTEL_TRACES_EXPORTER", "no-such"},
	} {
		stop, reported := start(t, variables...)
		if err := stop(t.Context()); err != nil || reported != nil || traced() {
			t.Errorf("%v: %v, %q, traced %t", variables, err, reported, traced())
		}
	}
}

// Each signal fails independently of the other, and reports its fault in one error.
func TestFaultsAreReported(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for _, c := range []struct {
		variables []string
		want      []string
		traced    bool
	}{
		{[]string{"OTEL_TRACES_EXPORTER", "smoke"}, []string{`no traces are exported: OTEL_TRACES_EXPORTER="smoke": `}, false},
		{[]string{"OTEL_TRACES_EXPORTER", "otlp", "OTEL_METRICS_EXPORTER", "pigeon", endpoint, "http://127.0.0.1:1"}, []string{`no metrics are exported: OTEL_METRICS_EXPORTER="pigeon": `}, true},
		{[]string{"OTEL_METRICS_EXPORTER", "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT", "x"}, []string{`no metrics are exported: `}, false},
		{[]string{"OTEL_TRACES_EXPORTER", "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL", "smoke"}, []string{"invalid OTLP protocol"}, false},
		{[]string{endpoint, "://secret"}, []string{"no traces are exported: " + endpoint, "no metrics are exported: " + endpoint}, false},
		{[]string{endpoint, " \x01secret"}, []string{"no traces are exported: " + endpoint, "no metrics are exported: " + endpoint}, false},
		{[]string{endpoint, "localhost:4318"}, []string{"no traces are exported: " + endpoint, "no metrics are exported: " + endpoint}, false},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://:secret:1"}, []string{"no traces are exported: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"}, false},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1", endpoint, "http://:secret:1", "OTEL_METRICS_EXPORTER", "none"}, []string{"telemetry: parse url: not a URL"}, true},
		{[]string{"OTEL_TRACES_EXPORTER", "otlp", endpoint, "localhost:1", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_METRICS_EXPORTER", "none"}, nil, true},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS", "authorization=%zz secret"}, []string{"telemetry: escape header value: "}, true},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1", "OTEL_RESOURCE_ATTRIBUTES", "no equals sign"}, []string{"telemetry: OTEL_RESOURCE_ATTRIBUTES: "}, true},
	} {
		t.Run(strings.Join(c.variables, " "), func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
			stop, reported := start(t, c.variables...)
			if len(reported) != len(c.want) || traced() != c.traced {
				t.Errorf("traced %t, %q; want %q", traced(), reported, c.want)
			}
			for i, text := range reported {
				if i >= len(c.want) || !strings.Contains(text, c.want[i]) || strings.Contains(text, "secret") {
					t.Errorf("%q", text)
				}
			}
			interrupted, cancel := context.WithCancel(t.Context())
			cancel()
			_ = stop(interrupted) // fails without a collector
		})
	}
}

// Errors between Start and stop are reported, each once in a row. Later ones are dropped.
func TestFaultsInTheMiddle(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	var reported []string
	stop := telemetry.Start(t.Context(), func(err error) { reported = append(reported, err.Error()) })
	for _, text := range []string{"a", "a", "b", "a"} {
		otel.Handle(errors.New(text))
	}
	if want := []string{"telemetry: a", "telemetry: b", "telemetry: a"}; !slices.Equal(reported, want) {
		t.Errorf("%q, want %q", reported, want)
	}
	if err := stop(t.Context()); err != nil {
		t.Error(err)
	}
	if otel.Handle(errors.New("late")); len(reported) != 3 {
		t.Errorf("after the end: %q", reported)
	}
}

// A requested signal is started, and stop returns without a collector, also after Ctrl-C.
func TestStartAndStop(t *testing.T) {
	stop, reported := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT", "100")
	if reported != nil || !traced() {
		t.Fatalf("%q, traced %t", reported, traced())
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := stop(ended); err == nil {
		t.Error("the spans were lost without an error")
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the shutdown took %s", took)
	}
}
