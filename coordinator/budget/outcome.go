package budget

import (
	"errors"
	"fmt"
)

// Outcome is what an engine answered. The zero value, Unknown, is no answer and
// is never success.
type Outcome uint8

// The outcomes. Each operation of [Engine] names those that it can have.
const (
	Unknown            Outcome = iota
	Reserved                   // the cost is held
	Insufficient               // remaining does not cover it; nothing changed
	MissingTenant              // no such tenant; nothing changed
	Committed                  // the hold is settled at its actual cost
	Released                   // the hold is settled, all of it returned
	Overrun                    // the actual cost is above the hold and remaining does not cover the difference; the hold stays open
	InvalidAmount              // a commit of a negative amount; the hold stays open
	MissingReservation         // no open hold has this id; nothing changed
	Found                      // the tenant's figures follow
	Created                    // the tenant is new and has its budget
	Exists                     // the tenant was there; nothing changed
	Granted                    // the amount was added to granted and remaining
	Withdrawn                  // the amount was taken from granted and remaining
	Expired                    // the hold met its deadline and was returned; as Settlement.Prior and of Lookup
	NotKnown                   // nothing is known of this reservation, or no longer
	Deleted                    // the tenant and its budget are gone
	HoldsOpen                  // the tenant has open holds, so it stays; nothing changed
)

var outcomeNames = [...]string{
	Unknown: "unknown", Reserved: "reserved", Insufficient: "insufficient",
	MissingTenant: "missing_tenant", Committed: "committed", Released: "released",
	Overrun: "overrun", InvalidAmount: "invalid_amount",
	MissingReservation: "missing_reservation", Found: "found", Created: "created",
	Exists: "exists", Granted: "granted", Withdrawn: "withdrawn", Expired: "expired",
	NotKnown: "not_known", Deleted: "deleted", HoldsOpen: "holds_open",
}

// String is the outcome's name in snake case, as in JSON and in recorded traces.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// MarshalText writes the name.
func (o Outcome) MarshalText() ([]byte, error) {
	if int(o) >= len(outcomeNames) {
		return nil, fmt.Errorf("budget: no outcome has the number %d", uint8(o))
	}
	return []byte(outcomeNames[o]), nil
}

// UnmarshalText reads the name.
func (o *Outcome) UnmarshalText(text []byte) error {
	for i, name := range outcomeNames {
		if name == string(text) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("budget: no outcome is named %q", text)
}

// Sentinels for outcomes that refuse, as returned by the Err methods.
var (
	// ErrInsufficient: wait for the budget to grow or for holds to settle, or refuse the work.
	ErrInsufficient = errors.New("insufficient budget")
	// ErrMissingTenant: call EnsureTenant first.
	ErrMissingTenant = errors.New("no such tenant")
	// ErrMissingReservation: settled before, expired, or never made; Settlement.Prior tells where it is still known.
	ErrMissingReservation = errors.New("no such open reservation")
	// ErrOverrun: commit less, grant more, or release; the hold is still open.
	ErrOverrun = errors.New("actual cost exceeds the hold and the remaining budget")
	// ErrNoAnswer: the outcome is Unknown. Nothing may be concluded from it.
	ErrNoAnswer = errors.New("no answer")
	// ErrHoldsOpen: settle or release the tenant's holds first.
	ErrHoldsOpen = errors.New("the tenant has open holds")
)

// Err is nil for an outcome that did what was asked, else a sentinel.
func (o Outcome) Err() error {
	switch o {
	case Reserved, Committed, Released, Found, Created, Exists, Granted, Withdrawn, Deleted:
		return nil
	case Insufficient:
		return ErrInsufficient
	case MissingTenant:
		return ErrMissingTenant
	case Overrun:
		return ErrOverrun
	case InvalidAmount:
		return ErrInvalidAmount
	case MissingReservation, Expired, NotKnown:
		return ErrMissingReservation
	case HoldsOpen:
		return ErrHoldsOpen
	case Unknown:
		return ErrNoAnswer
	default:
		return ErrNoAnswer
	}
}
