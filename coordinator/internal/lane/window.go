package lane

import (
	"fmt"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// Only nodes know calendars. A call that meets an account whose next boundary isn't stored is
// undecided; the node stores boundaries, by a call of its own before all others, and repeats
// the call.

// renewal is the boundaries after a time that an account lacks. If another node has stored
// them, or changed the calendar, in the meantime, they change nothing.
type renewal struct {
	window budget.Window // without amounts
	mark   int64
	budget.Renewal
}

// appendRenewal appends a call that stores the boundaries which an answer says are missing,
// unless one of the calls does. now is the partition's time.
func appendRenewal(calls []*Call, a *Answer, now int64) ([]*Call, error) {
	if a.missing == nil {
		return calls, fmt.Errorf("unreadable reply: code %q without a window", a.code)
	}
	if slices.ContainsFunc(calls, func(c *Call) bool { return c.tenant == a.Level }) {
		return calls, nil
	}
	found, err := a.missing.Window.Renewal(a.missing.Mark, now)
	if err != nil {
		return calls, fmt.Errorf("window of tenant %q: %w", a.Level, err)
	}
	return append(calls, &Call{kind: luascripts.KindRenew, tenant: a.Level, renewal: &renewal{a.missing.Window, a.missing.Mark, found}}), nil
}
