package cli

import (
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// Without a terminal a line is printed every 10,000 tenants, whatever the page sizes are.
func TestProgressByLines(t *testing.T) {
	var printed strings.Builder
	p := newProgress(&printed)
	for _, n := range []int{0, 1, 9_999, 10_000, 10_001, 19_999, 35_000, 39_999, 40_000, 40_000} {
		p.at(n)
	}
	p.end()
	want := "10000 tenants read\n35000 tenants read\n40000 tenants read\n"
	if printed.String() != want {
		t.Errorf("%q, want %q", printed.String(), want)
	}
}

// A bar has no goroutine of its own: the library's would race with the first page, and
// outlive a bar that is never finished.
func TestBarHasNoGoroutine(t *testing.T) {
	before := goleak.IgnoreCurrent()
	if err := newBar(io.Discard).Set(1); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)
}
