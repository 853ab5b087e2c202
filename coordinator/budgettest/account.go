package budgettest

import (
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/coordinator/budget"
)

// account is a tenant's whole state in a form in which two engines can be
// compared: the holds by a name instead of their ids, times in milliseconds.
type account struct {
	Granted, Remaining, Reserved, Committed budget.Microcents
	Holds                                   map[string]hold
}

type hold struct {
	Held                    budget.Microcents
	MadeMillis, UntilMillis int64 // UntilMillis is 0 where there is no deadline
}

// accountOf leaves nothing out of a list: a hold without a name has its id for
// one, and a hold that is there twice stays twice.
func accountOf(list budget.HoldList, names map[budget.ReservationID]string) account {
	b := list.Balance
	a := account{
		Granted: b.Granted, Remaining: b.Remaining, Reserved: b.Reserved, Committed: b.Committed,
		Holds: make(map[string]hold, len(list.Holds)),
	}
	for _, h := range list.Holds {
		name := names[h.ID]
		if name == "" {
			name = h.ID.String()
		}
		for _, twice := a.Holds[name]; twice; _, twice = a.Holds[name] {
			name += ", again"
		}
		one := hold{Held: h.Held, MadeMillis: h.Made.UnixMilli()}
		if !h.Deadline.IsZero() {
			one.UntilMillis = h.Deadline.UnixMilli()
		}
		a.Holds[name] = one
	}
	return a
}

// settleDue ends what is due in a state that was read without the engine, as the
// engine will when it is next asked.
func settleDue(list budget.HoldList, now time.Time) budget.HoldList {
	settled := list
	settled.Holds = nil
	for _, h := range list.Holds {
		if !h.Deadline.IsZero() && h.Deadline.UnixMilli() <= now.UnixMilli() {
			settled.Balance.Reserved -= h.Held
			settled.Balance.Remaining += h.Held
			continue
		}
		settled.Holds = append(settled.Holds, h)
	}
	return settled
}

// compareAccounts returns an error that shows where two states differ.
func compareAccounts(want, got map[budget.TenantID]account) error {
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("the states differ (-want +got):\n%s", diff)
	}
	return nil
}
