package budget

import (
	"encoding/json"
	"slices"
	"time"
)

// In JSON a result has only the fields that its outcome sets: a 0 in any other would read
// as an amount. A struct that embeds a result inherits its MarshalJSON, and so needs a
// MarshalJSON of its own.

// wire has every JSON field of the results, in their order. A pointer is nil if the
// outcome doesn't set the amount.
type wire struct {
	Outcome   Outcome       `json:"outcome"`
	ID        ReservationID `json:"id,omitzero"`
	Granted   *Microcents   `json:"granted,omitzero"`
	Remaining *Microcents   `json:"remaining,omitzero"`
	Level     TenantID      `json:"level,omitzero"`
	Limit     Period        `json:"limit,omitzero"`
	Reserved  *Microcents   `json:"reserved,omitzero"`
	Committed *Microcents   `json:"committed,omitzero"`
	Required  *Microcents   `json:"required,omitzero"`
	Actual    *Microcents   `json:"actual,omitzero"`
	Returned  *Microcents   `json:"returned,omitzero"`
	Shortfall Microcents    `json:"shortfall,omitzero"`
	Cap       Cap           `json:"cap,omitzero"`
	CapLimit  int64         `json:"cap_limit,omitzero"`
	Prior     Outcome       `json:"prior,omitzero"`
	Amount    *Microcents   `json:"amount,omitzero"`
	At        time.Time     `json:"at,omitzero"`
	Deadline  time.Time     `json:"deadline,omitzero"`
	Settings  *Settings     `json:"settings,omitzero"`
	Crossed   *Thresholds   `json:"crossed,omitzero"`
	Epoch     Epoch         `json:"epoch,omitzero"`
	Ended     Microcents    `json:"ended,omitzero"`
	Renews    Instant       `json:"renews,omitzero"`
}

// known returns a pointer to amount if outcome is among naming, the outcomes that set this
// amount, else nil.
func known(amount Microcents, outcome Outcome, naming ...Outcome) *Microcents {
	if !slices.Contains(naming, outcome) {
		return nil
	}
	return &amount
}

// MarshalJSON writes what the outcome names.
func (r Ensured) MarshalJSON() ([]byte, error) {
	return json.Marshal(wire{Outcome: r.Outcome, Remaining: known(r.Remaining, r.Outcome, Created, Exists)})
}

// MarshalJSON writes what the outcome names.
func (r Reservation) MarshalJSON() ([]byte, error) {
	w := wire{
		Outcome: r.Outcome, ID: r.ID, Remaining: known(r.Remaining, r.Outcome, Reserved, Insufficient),
		Level: r.Level, Limit: r.Limit, Required: known(r.Required, r.Outcome, Insufficient), Cap: r.Cap, CapLimit: r.CapLimit,
		Renews: r.Renews,
	}
	if r.Outcome == Insufficient && r.Required <= 0 {
		w.Remaining = nil // such a cost is refused before the balance is read
	}
	return json.Marshal(w)
}

// MarshalJSON writes what the outcome names.
func (r Settlement) MarshalJSON() ([]byte, error) {
	return json.Marshal(wire{
		Outcome: r.Outcome, Remaining: known(r.Remaining, r.Outcome, Committed, Released, Overrun),
		Level: r.Level, Limit: r.Limit, Actual: known(r.Actual, r.Outcome, Committed), Returned: known(r.Returned, r.Outcome, Released), Prior: r.Prior,
		Shortfall: r.Shortfall,
	})
}

// MarshalJSON writes what the outcome names.
func (r Adjustment) MarshalJSON() ([]byte, error) {
	return json.Marshal(wire{
		Outcome: r.Outcome, Remaining: known(r.Remaining, r.Outcome, Granted, Withdrawn, Insufficient),
		Required: known(r.Required, r.Outcome, Insufficient),
	})
}

// MarshalJSON writes what the outcome names.
func (r Configuration) MarshalJSON() ([]byte, error) {
	w := wire{Outcome: r.Outcome}
	if r.Outcome == Configured {
		w.Settings = &r.Settings
	}
	return json.Marshal(w)
}

// MarshalJSON writes what the outcome names.
func (r Remainder) MarshalJSON() ([]byte, error) {
	return json.Marshal(wire{
		Outcome: r.Outcome, Remaining: known(r.Remaining, r.Outcome, Found), Level: r.Level, Limit: r.Limit, Renews: r.Renews,
	})
}

// MarshalJSON writes what the outcome names.
func (b Balance) MarshalJSON() ([]byte, error) {
	term := func(amount Microcents) *Microcents { return known(amount, b.Outcome, Found, Deleted, HoldsOpen) }
	w := wire{
		Outcome: b.Outcome, Limit: b.Limit, Granted: term(b.Granted), Remaining: term(b.Remaining),
		Reserved: term(b.Reserved), Committed: term(b.Committed), Epoch: b.Epoch, Ended: b.Ended,
	}
	if b.Settings != (Settings{}) {
		w.Settings = &b.Settings
	}
	if crossed := b.Crossed(); !crossed.IsZero() {
		w.Crossed = &crossed
	}
	return json.Marshal(w)
}

// MarshalJSON writes what the outcome names.
func (f Fate) MarshalJSON() ([]byte, error) {
	return json.Marshal(wire{
		Outcome: f.Outcome, Amount: known(f.Amount, f.Outcome, Reserved, Committed, Released, Expired),
		At: f.At, Deadline: f.Deadline,
	})
}

// MarshalJSON writes what the outcome names.
func (r HoldList) MarshalJSON() ([]byte, error) {
	found := struct {
		Outcome Outcome  `json:"outcome"`
		Balance *Balance `json:"balance,omitzero"`
		Holds   []Hold   `json:"holds,omitzero"`
	}{Outcome: r.Outcome}
	if r.Outcome == Found {
		found.Balance, found.Holds = &r.Balance, append([]Hold{}, r.Holds...)
	}
	return json.Marshal(found)
}
