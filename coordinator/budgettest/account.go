package budgettest

import (
	"fmt"
	"reflect"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/coordinator/budget"
)

// account is the whole state of a tenant, in a form that can be compared between engines:
// the holds have names instead of IDs, and times in milliseconds.
type account struct {
	Granted, Remaining, Reserved, Committed budget.Microcents
	Settings                                budget.Settings
	Epoch                                   budget.Epoch
	Ended                                   budget.Microcents
	Holds                                   map[string]hold
	Limits                                  map[budget.Period]account // beside the base limit
}

type hold struct {
	Held                    budget.Microcents
	MadeMillis, UntilMillis int64 // Unix ms; UntilMillis is 0 without a deadline
}

// accountOf converts a list to an account. It drops no hold: a hold without a name is named
// by its ID, and a duplicate gets a name of its own.
func accountOf(list budget.HoldList, names map[budget.ReservationID]string) account {
	b := list.Balance
	a := account{
		Granted: b.Granted, Remaining: b.Remaining, Reserved: b.Reserved, Committed: b.Committed,
		Settings: b.Settings, Epoch: b.Epoch, Ended: b.Ended,
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

// settleDue ends the holds that are due in a list that was read from the store, as the
// engine does in its next operation on the tenant. The account must have no ended epochs.
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

// byPercents lets cmp compare thresholds by their text.
var byPercents = cmp.Transformer("Percents", budget.Thresholds.String)

// compareAccounts returns an error with the differences between two states, or nil.
func compareAccounts(want, got map[budget.TenantID]account) error {
	if reflect.DeepEqual(want, got) { // which is much faster
		return nil
	}
	if diff := cmp.Diff(want, got, byPercents); diff != "" {
		return fmt.Errorf("the states differ (-want +got):\n%s", diff)
	}
	return nil
}
