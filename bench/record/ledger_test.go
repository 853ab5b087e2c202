package record

import (
	"testing"

	"github.com/calybris/bursar/bench/load"
)

func TestLedgerIsBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ tenants, callers, stripes int }{
		{100, 192, 192}, {1, 100_000, 100_000}, {100_000, 192, 10}, {load.MaxTenants, 192, 1},
	} {
		if got := len(NewLedger(c.tenants, c.callers).stripes); got != c.stripes {
			t.Errorf("%d tenants, %d callers: %d stripes, want %d", c.tenants, c.callers, got, c.stripes)
		}
	}
}
