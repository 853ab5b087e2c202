package coordinator

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A program that embeds this package links go-redis, the OpenTelemetry API and their
// dependencies, and nothing else: no SDK, no exporter, no server, no command line.
func TestNothingHeavyIsLinked(t *testing.T) {
	t.Parallel()
	printed, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.Module.Path}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if standard, err := exec.Command("go", "list", "-deps", ".").Output(); err != nil || strings.Contains(string(standard), "time/tzdata\n") {
		t.Errorf("the time zones are linked, %v: that is the program's choice", err)
	}
	if program, err := exec.Command("go", "list", "-deps", "..").Output(); err != nil || !strings.Contains(string(program), "time/tzdata\n") {
		t.Errorf("the command has no time zones, %v", err)
	}
	modules := strings.Fields(string(printed))
	slices.Sort(modules)
	want := []string{
		"github.com/calybris/bursar",
		"github.com/cespare/xxhash/v2", // digests; also used by go-redis and OpenTelemetry
		"github.com/go-logr/logr",      // of OpenTelemetry
		"github.com/go-logr/stdr",      // of OpenTelemetry
		"github.com/redis/go-redis/v9",
		"go.opentelemetry.io/auto/sdk", // of OpenTelemetry's trace API
		"go.opentelemetry.io/otel",
		"go.opentelemetry.io/otel/log", // of its API
		"go.opentelemetry.io/otel/metric",
		"go.opentelemetry.io/otel/trace",
		"go.uber.org/atomic", // of go-redis
		"golang.org/x/sys",   // of OpenTelemetry, go-redis
	}
	if diff := cmp.Diff(want, slices.Compact(modules)); diff != "" {
		t.Errorf("the linked modules differ (-want +got):\n%s", diff)
	}
}
