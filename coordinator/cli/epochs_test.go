package cli_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

func nextBoundary(t *testing.T, w budget.Window, after time.Time) time.Time {
	t.Helper()
	boundaries, err := w.Boundaries(after, 1)
	if err != nil {
		t.Fatal(err)
	}
	return boundaries[0]
}

// The command shows ended epochs, and the holds that belong to them.
func TestEndedEpochs(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("BURSAR_REDIS_URL", server.URL())
	window := budget.Window{Period: budget.Hour, Zone: "Asia/Kathmandu"} // UTC+05:45
	if now := time.Now(); nextBoundary(t, window, now).Sub(now) < time.Minute {
		window.Zone = "Asia/Kolkata" // UTC+05:30, so that no boundary passes during the test
	}
	clock := time.Now().Add(-90 * time.Minute).UTC().Truncate(time.Second)
	end := nextBoundary(t, window, clock)
	node := newNode(t, server, coordinator.WithClock(func() time.Time { return clock }), coordinator.WithHoldTTL(24*time.Hour))
	if _, err := node.EnsureTenant(t.Context(), "acme", 10*budget.Dollar, budget.InWindow(window)); err != nil {
		t.Fatal(err)
	}
	r, err := node.TryReserve(t.Context(), "acme", 3*budget.Dollar)
	if err != nil || r.Err() != nil {
		t.Fatal(r, err)
	}
	must(t, "reserve", "acme", "$2")
	out := must(t, "tenant", "show", "acme")
	for _, want := range []string{
		"\nremaining  $8.00\nreserved   $2.00 in 1 open hold\n",
		"\nwindow     by the hour in " + window.Zone + ", $10.00 each\nepoch      ",
		":00:00 +05:",
		"\nended      $3.00 reserved in 1 open hold of ended epochs\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("tenant show: %s\nwant %q", out, want)
		}
	}
	if out := must(t, "tenant", "watch", "acme", "--times", "1"); !strings.Contains(out, "reserved $2.00 in 1 hold  committed $0.00  ended epochs $3.00 in 1 hold  renews ") {
		t.Errorf("tenant watch: %s", out)
	}
	zone, err := time.LoadLocation(window.Zone)
	if err != nil {
		t.Fatal(err)
	}
	local := "2006-01-02 15:04:05 -07:00"
	want := fmt.Sprintf("tenant     acme\ngranted    $10.00\nremaining  $7.00\nreserved   $3.00\ncommitted  $0.00\nwindow     by the hour in %s, $10.00 each\nepoch      %s to %s\n",
		window.Zone, clock.In(zone).Format(local), end.In(zone).Format(local))
	if out := must(t, "tenant", "show", "acme", "--epoch", clock.Format(time.RFC3339)); out != want {
		t.Errorf("tenant show --epoch: %s\nwant %s", out, want)
	}
	var b struct {
		Granted, Reserved int64
		Epoch             budget.Epoch
		Holds             *int
	}
	if err := json.Unmarshal([]byte(must(t, "tenant", "show", "acme", "--json", "--epoch", clock.Format(time.RFC3339))), &b); err != nil ||
		b.Reserved != int64(3*budget.Dollar) || b.Epoch.Start != budget.InstantOf(clock) || b.Epoch.End != budget.InstantOf(end) || b.Holds != nil {
		t.Errorf("as JSON it is %+v, %v", b, err)
	}
	code, _, stderr := bursar(t.Context(), "tenant", "show", "acme", "--epoch", clock.Add(-time.Minute).Format(time.RFC3339))
	if code != exit.Refused || !strings.Contains(stderr.String(), "acme keeps no epoch at ") {
		t.Errorf("before its first epoch: code %d, %s", code, stderr)
	}
	code, _, stderr = bursar(t.Context(), "tenant", "delete", "acme")
	if code != exit.Refused || !strings.HasPrefix(stderr.String(), "bursar: acme has open holds of $5.00; ") {
		t.Errorf("delete: code %d, %s", code, stderr)
	}
	out = must(t, "tenant", "delete", "acme", "--yes", "--force")
	if !strings.HasPrefix(out, "deleted acme: its budget was $10.00, of which $0.00 was committed, $2.00 held and $8.00 left\n") || strings.Count(out, "ended ") != 2 {
		t.Errorf("delete: %s", out)
	}
	must(t, "verify")
}
