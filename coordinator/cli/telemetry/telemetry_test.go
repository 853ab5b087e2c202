package telemetry_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"

	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/cli/telemetry"
)

// start sets variables; t.Setenv keeps these tests from running in parallel, and
// OpenTelemetry's globals are the process'.
func start(t *testing.T, variables ...string) (stop func(context.Context) error, err error) {
	t.Helper()
	for i := 0; i < len(variables); i += 2 {
		t.Setenv(variables[i], variables[i+1])
	}
	return telemetry.Start(t.Context())
}

func traced() bool {
	_, span := otel.Tracer("test").Start(context.Background(), "test", trace.WithNewRoot())
	defer span.End()
	return span.SpanContext().IsValid()
}

// Without a word nothing is exported: nobody's collector is looked for.
func TestNothingIsStartedUnasked(t *testing.T) {
	for _, variables := range [][]string{
		nil,
		{"OTEL_SDK_DISABLED", "TRUE", "OTEL_TRACES_EXPORTER", "no-such"},
	} {
		stop, err := start(t, variables...)
		if err != nil || stop(t.Context()) != nil || traced() {
			t.Errorf("%v: %v, traced %t", variables, err, traced())
		}
	}
}

func TestUnknownExportersAndAttributesAreUsageErrors(t *testing.T) {
	for _, c := range []struct {
		variables []string
		want      string
	}{
		{[]string{"OTEL_TRACES_EXPORTER", "smoke"}, `OTEL_TRACES_EXPORTER="smoke"`},
		{[]string{"OTEL_TRACES_EXPORTER", "none", "OTEL_METRICS_EXPORTER", "pigeon"}, "give otlp, console or none, and for metrics also prometheus"},
		{[]string{"OTEL_METRICS_EXPORTER", "none", "OTEL_TRACES_EXPORTER", "none", "OTEL_RESOURCE_ATTRIBUTES", "no equals sign"}, "OTEL_RESOURCE_ATTRIBUTES"},
	} {
		t.Run(c.want, func(t *testing.T) {
			stop, err := start(t, c.variables...)
			if exit.Code(err) != exit.Usage || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("code %d, %v", exit.Code(err), err)
			}
			if err := stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is asked for is started, and ends although nobody listens, also after Ctrl-C.
func TestStartAndStop(t *testing.T) {
	stop, err := start(t, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT", "100")
	if err != nil || !traced() {
		t.Fatalf("%v, traced %t", err, traced())
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := stop(ended); err == nil {
		t.Error("the spans went to nobody, and no error says so")
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the end took %s", took)
	}
}
