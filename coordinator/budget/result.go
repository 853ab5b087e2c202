package budget

import (
	"fmt"
	"time"

	"github.com/calybris/bursar/coordinator/wording"
)

// Results are plain comparable values: two engines agree when == says so. All
// amounts are in microcents; a field that an outcome does not name is zero.

// Ensured answers EnsureTenant: Created or Exists.
type Ensured struct {
	Outcome   Outcome    `json:"outcome"`
	Remaining Microcents `json:"remaining"`
}

// Reservation answers TryReserve: Reserved{ID, Remaining},
// Insufficient{Remaining, Required} or MissingTenant.
type Reservation struct {
	Outcome   Outcome       `json:"outcome"`
	ID        ReservationID `json:"id,omitzero"`
	Remaining Microcents    `json:"remaining"`
	Required  Microcents    `json:"required"`
}

// Settlement answers Commit and Release: Committed{Remaining, Actual},
// Released{Remaining, Returned}, Overrun{Remaining}, InvalidAmount,
// MissingTenant or MissingReservation{Prior}.
type Settlement struct {
	Outcome   Outcome    `json:"outcome"`
	Remaining Microcents `json:"remaining"`
	Actual    Microcents `json:"actual"`
	Returned  Microcents `json:"returned"`
	// Prior says how the reservation had gone before, where that is still
	// known: Committed, Released or Expired. Else it is Unknown.
	Prior Outcome `json:"prior,omitzero"`
}

// Adjustment answers Grant and Withdraw: Granted{Remaining},
// Withdrawn{Remaining}, Insufficient{Remaining, Required} or MissingTenant.
type Adjustment struct {
	Outcome   Outcome    `json:"outcome"`
	Remaining Microcents `json:"remaining"`
	Required  Microcents `json:"required"`
}

// Remainder answers Remaining: Found{Remaining} or MissingTenant.
type Remainder struct {
	Outcome   Outcome    `json:"outcome"`
	Remaining Microcents `json:"remaining"`
}

// Balance answers Balance: Found with all terms of the law from one instant, or
// MissingTenant.
type Balance struct {
	Outcome   Outcome    `json:"outcome"`
	Granted   Microcents `json:"granted"`
	Remaining Microcents `json:"remaining"`
	Reserved  Microcents `json:"reserved"`
	Committed Microcents `json:"committed"`
}

// Debt is what is spent or held beyond the budget: 0, unless a repair after a
// failover found money that had been spent twice. A grant pays it first.
func (b Balance) Debt() Microcents { return max(-b.Remaining, 0) }

// Conserved reports whether the terms keep the law without overflow.
func (b Balance) Conserved() bool {
	sum, err := b.Reserved.Add(b.Committed)
	if err != nil {
		return false
	}
	sum, err = sum.Add(b.Remaining)
	return err == nil && sum == b.Granted
}

// Hold is one open reservation. Times are whole milliseconds of the engine's
// clock, in UTC; Deadline is zero where the hold has none.
type Hold struct {
	ID       ReservationID `json:"id"`
	Held     Microcents    `json:"held"`
	Made     time.Time     `json:"made"`
	Deadline time.Time     `json:"deadline,omitzero"`
}

// Fate answers Lookup: Reserved while the hold is open, and then Amount is what it
// holds, At when it was made; Committed{Amount: its actual cost, At},
// Released{Amount, At} and Expired{Amount, At} once it has ended; or NotKnown.
// Times are as in Hold.
type Fate struct {
	Outcome  Outcome    `json:"outcome"`
	Amount   Microcents `json:"amount"`
	At       time.Time  `json:"at,omitzero"`
	Deadline time.Time  `json:"deadline,omitzero"` // of an open hold that has one
}

// HoldList answers Holds: Found with the open holds in the order of their ids,
// or MissingTenant. Balance is from the same instant as the holds.
type HoldList struct {
	Outcome Outcome `json:"outcome"`
	Balance Balance `json:"balance"`
	Holds   []Hold  `json:"holds"`
}

// Audit returns nil where the law stands and the holds sum up to reserved, else
// an error that names the terms.
func (r HoldList) Audit() error {
	b := r.Balance
	if !b.Conserved() {
		return fmt.Errorf("the law is broken: remaining %d + reserved %d + committed %d is not granted %d",
			b.Remaining, b.Reserved, b.Committed, b.Granted)
	}
	var sum Microcents
	for _, h := range r.Holds {
		var err error
		if sum, err = sum.Add(h.Held); err != nil || h.Held <= 0 {
			return fmt.Errorf("hold %s of %s: not a possible hold", h.ID, wording.Count(h.Held, "microcent"))
		}
	}
	if sum != b.Reserved {
		return fmt.Errorf("the open holds (%d) sum up to %d, but reserved is %d", len(r.Holds), sum, b.Reserved)
	}
	return nil
}

// Err is nil for Created and Exists.
func (r Ensured) Err() error { return r.Outcome.Err() }

// Err is nil for Reserved.
func (r Reservation) Err() error { return r.Outcome.Err() }

// Err is nil for Committed and Released.
func (r Settlement) Err() error { return r.Outcome.Err() }

// Err is nil for Granted and Withdrawn.
func (r Adjustment) Err() error { return r.Outcome.Err() }

// Err is nil for Found.
func (r Remainder) Err() error { return r.Outcome.Err() }

// Err is nil for Found.
func (b Balance) Err() error { return b.Outcome.Err() }

// Err is nil for Found.
func (r HoldList) Err() error { return r.Outcome.Err() }

// Err is nil where something is known, however it went.
func (f Fate) Err() error {
	if f.Outcome == Expired {
		return nil
	}
	return f.Outcome.Err()
}
