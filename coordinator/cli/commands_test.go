package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// An error that is an answer carries Refused. Only errors that can be looked into have a
// remedy.
func TestCodesOfErrors(t *testing.T) {
	t.Parallel()
	ofNode := func(err error) error { return unanswered(err, "look") }
	for _, c := range []struct {
		of     func(error) error
		cause  error
		code   int
		remedy string
	}{
		{ofNode, coordinator.ErrTooManyHolds, exit.Refused, ""},
		{ofNode, budget.ErrOverflow, exit.Refused, ""},
		{ofNode, coordinator.ErrOverloaded, exit.Unavailable, ""},
		{ofNode, coordinator.ErrUnavailable, exit.Unavailable, ""},
		{ofNode, coordinator.ErrCorrupt, exit.Unavailable, "see bursar verify"},
		{ofNode, coordinator.ErrUnknownOutcome, exit.Unavailable, "look"},
		{ofState, audit.ErrLayout, exit.Refused, ""},
		{ofState, audit.ErrUnreadable, exit.Unavailable, "see bursar verify"},
	} {
		err := c.of(fmt.Errorf("tenant acme: %w", c.cause))
		_, remedy, _ := strings.Cut(err.Error(), "; ")
		if exit.Code(err) != c.code || remedy != c.remedy {
			t.Errorf("%v: code %d, remedy %q; want %d, %q", c.cause, exit.Code(err), remedy, c.code, c.remedy)
		}
	}
}
