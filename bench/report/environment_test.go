package report

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/calybris/bursar/coordinator/redistest"
)

func TestMachine(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "1GiB")
	got := DescribeMachine()
	if got.Cores < 1 || got.GOMAXPROCS < 1 || got.Go == "" || got.Version == "" || !strings.Contains(got.OS, "/") {
		t.Errorf("%+v", got)
	}
	if got.GOGC != "100" || got.GOMEMLIMIT != "1GiB" {
		t.Errorf("GOGC %q, GOMEMLIMIT %q", got.GOGC, got.GOMEMLIMIT)
	}
}

// The description of a Redis has its settings and no secret.
func TestServer(t *testing.T) {
	t.Parallel()
	protected := redistest.Start(t, redistest.WithPassword("secret1"), redistest.WithConfig("appendonly yes", "save 60 1000", "hz 20"))
	got := DescribeServer(t.Context(), protected.Client())
	binary, err := redistest.Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	says, err := exec.CommandContext(t.Context(), binary, "--version").Output()
	if err != nil || !strings.HasPrefix(string(says), got.Name+" server v="+got.Version+" ") || got.Mode != "standalone" {
		t.Errorf("%s %s, mode %q, and it says %s, %v", got.Name, got.Version, got.Mode, says, err)
	}
	want := map[string]string{
		"appendonly": "yes", "appendfsync": "everysec", "save": "60 1000", "maxmemory": "0",
		"maxmemory-policy": "noeviction", "io-threads": "1", "hz": "20",
	}
	if !maps.Equal(got.Settings, want) {
		t.Errorf("settings %q, want %q", got.Settings, want)
	}
	if strings.Contains(got.String(), "secret1") {
		t.Errorf("%s", got)
	}
}

// Without CONFIG the settings in INFO are used; without both there are none, and no error.
func TestServerWithRestrictions(t *testing.T) {
	t.Parallel()
	managed := redistest.Start(t, redistest.WithConfig("appendonly yes"))
	client := managed.Client()
	if err := client.Do(t.Context(), "ACL", "SETUSER", "default", "-config").Err(); err != nil {
		t.Fatal(err)
	}
	got := DescribeServer(t.Context(), client)
	names := slices.Sorted(maps.Keys(got.Settings))
	if got.Version == "" || !slices.Equal(names, []string{"appendonly", "hz", "maxmemory", "maxmemory-policy"}) || got.Settings["appendonly"] != "yes" {
		t.Errorf("%+v", got)
	}
	if err := client.Do(t.Context(), "ACL", "SETUSER", "default", "-info").Err(); err != nil {
		t.Fatal(err)
	}
	silent := DescribeServer(t.Context(), client)
	if silent.Version != "" || len(silent.Settings) != 0 || silent.String() != "Redis of unknown version" {
		t.Errorf("%+v", silent)
	}
}
