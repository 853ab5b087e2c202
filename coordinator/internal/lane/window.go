package lane

import (
	"fmt"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Only nodes know calendars. A call that meets an account whose next boundary isn't stored is
// undecided; the node stores boundaries, by a call of its own before all others, and repeats
// the call.

// renewal is the boundaries after a time that an account lacks. If another node has stored
// them in the meantime, or the window has changed, they change nothing.
type renewal struct {
	window budget.Window // its calendar
	mark   int64
	budget.Renewal
}

// appendRenewal appends a call that stores the boundaries which an answer says are missing,
// unless one of the calls does. now is the partition's time.
func appendRenewal(calls []*Call, a *Answer, now int64) ([]*Call, error) {
	if a.missing == nil {
		return calls, fmt.Errorf("unreadable reply: code %q without a window", a.code)
	}
	if slices.ContainsFunc(calls, func(c *Call) bool { return c.tenant == a.Level && c.limit == a.Limit }) {
		return calls, nil
	}
	found, err := a.missing.Window.Renewal(a.missing.Mark, now)
	if err != nil {
		return calls, fmt.Errorf("window of %s: %w", store.AccountID{Tenant: a.Level, Limit: a.Limit}, err)
	}
	return append(calls, &Call{kind: luascripts.KindRenew, tenant: a.Level, limit: a.Limit, renewal: &renewal{a.missing.Window, a.missing.Mark, found}}), nil
}

// missingAt returns the boundaries that the account at a place lacks, or nil.
func missingAt(r *store.Reply, place int16) *store.WindowAhead {
	for i := range r.Windows {
		if w := &r.Windows[i]; w.Account == int(place) && w.Next == 0 && !w.Window.Period.Rolling() {
			return w
		}
	}
	return nil
}

// appendRenewals appends the calls that a call's answer needs, and those of the other accounts of
// its levels that lack boundaries, so that the call is repeated once. Whether it needs these isn't
// known: a zone that can't be found is reported if the repeated call does.
func (b *Batch) appendRenewals(calls []*Call, r *store.Reply, call int, a *Answer) ([]*Call, error) {
	calls, err := appendRenewal(calls, a, b.appliedAt)
	for place := b.nexts[b.places[call]]; err == nil && place != store.NoNext; place = b.nexts[place] {
		if w := missingAt(r, place); w != nil {
			other := Answer{missing: w, Level: b.accounts[place].Tenant, Limit: b.accounts[place].Limit}
			calls, _ = appendRenewal(calls, &other, b.appliedAt)
		}
	}
	return calls, err
}
