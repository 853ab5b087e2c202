package host

import (
	"strings"
	"testing"
)

func TestMachine(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "1GiB")
	got := Machine()
	if got.Cores < 1 || got.GOMAXPROCS < 1 || got.Go == "" || got.Version == "" || !strings.Contains(got.OS, "/") {
		t.Errorf("%+v", got)
	}
	if got.GOGC != "100" || got.GOMEMLIMIT != "1GiB" {
		t.Errorf("GOGC %q, GOMEMLIMIT %q", got.GOGC, got.GOMEMLIMIT)
	}
}
