package budget

import (
	"errors"
	"fmt"
)

// Outcome is the outcome of an operation. The zero value, Unknown, stands for no result and
// is never a success.
type Outcome uint8

// The outcomes. Each method of [Engine] lists its own.
const (
	Unknown            Outcome = iota
	Reserved                   // the cost is held
	Insufficient               // remaining does not cover the amount; nothing changed
	MissingTenant              // no such tenant; nothing changed
	Committed                  // the hold is settled at its actual cost
	Released                   // the hold is settled without a charge
	Overrun                    // remaining does not cover the excess of the actual cost; the hold stays open
	InvalidAmount              // a commit of a negative amount; the hold stays open
	MissingReservation         // no open hold has this ID; nothing changed
	Found                      // the tenant exists, and the result has its figures
	Created                    // the tenant was created with its budget
	Exists                     // the tenant exists already; nothing changed
	Granted                    // the amount was added to granted and remaining
	Withdrawn                  // the amount was subtracted from granted and remaining
	Expired                    // the hold was released at its deadline; of Lookup, and as Settlement.Prior
	NotKnown                   // no record of this reservation: never made, or forgotten
	Deleted                    // the tenant was deleted
	HoldsOpen                  // the tenant has open holds and was not deleted; nothing changed
	Configured                 // the settings are stored
	Closed                     // a level is closed; nothing changed
	Frozen                     // a level is frozen; nothing changed
	Capped                     // the hold would exceed a cap of a level; nothing changed
)

var outcomeNames = [...]string{
	Unknown: "unknown", Reserved: "reserved", Insufficient: "insufficient",
	MissingTenant: "missing_tenant", Committed: "committed", Released: "released",
	Overrun: "overrun", InvalidAmount: "invalid_amount",
	MissingReservation: "missing_reservation", Found: "found", Created: "created",
	Exists: "exists", Granted: "granted", Withdrawn: "withdrawn", Expired: "expired",
	NotKnown: "not_known", Deleted: "deleted", HoldsOpen: "holds_open",
	Configured: "configured", Closed: "closed", Frozen: "frozen", Capped: "capped",
}

// String returns the outcome's name in snake case, as in JSON and in recorded traces.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// MarshalText returns the name.
func (o Outcome) MarshalText() ([]byte, error) {
	if int(o) >= len(outcomeNames) {
		return nil, fmt.Errorf("budget: no outcome has the number %d", uint8(o))
	}
	return []byte(outcomeNames[o]), nil
}

// UnmarshalText parses the name.
func (o *Outcome) UnmarshalText(text []byte) error {
	for i, name := range outcomeNames {
		if name == string(text) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("budget: no outcome is named %q", text)
}

// Errors of outcomes that are refusals, as returned by the Err methods.
var (
	// ErrInsufficient is the error of Insufficient. Refuse the work, or wait for holds to
	// settle or for a grant.
	ErrInsufficient = errors.New("insufficient budget")
	// ErrMissingTenant is the error of MissingTenant. Call EnsureTenant first.
	ErrMissingTenant = errors.New("no such tenant")
	// ErrMissingReservation is the error of MissingReservation and NotKnown: the reservation
	// has ended, or was never made. Settlement.Prior is its outcome if the engine still
	// remembers it.
	ErrMissingReservation = errors.New("no such open reservation")
	// ErrOverrun is the error of Overrun. The hold is still open: commit less, grant more, or
	// release it.
	ErrOverrun = errors.New("actual cost exceeds the hold and the remaining budget")
	// ErrNoAnswer is the error of Unknown, which doesn't show whether the operation took
	// effect.
	ErrNoAnswer = errors.New("no answer")
	// ErrHoldsOpen is the error of HoldsOpen. Settle or release the tenant's holds first.
	ErrHoldsOpen = errors.New("the tenant has open holds")
	// ErrTenantClosed is the error of Closed. A closed account stays closed: use another tenant.
	ErrTenantClosed = errors.New("the account is closed")
	// ErrTenantFrozen is the error of Frozen. Wait until an operator unfreezes the account.
	ErrTenantFrozen = errors.New("the account is frozen")
	// ErrCapped is the error of Capped. Reserve less, or wait for holds to settle.
	ErrCapped = errors.New("the hold exceeds a cap")
)

// Err returns nil if the outcome is a success, else the error for it.
func (o Outcome) Err() error {
	switch o {
	case Reserved, Committed, Released, Found, Created, Exists, Granted, Withdrawn, Deleted, Configured:
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
	case Closed:
		return ErrTenantClosed
	case Frozen:
		return ErrTenantFrozen
	case Capped:
		return ErrCapped
	case Unknown:
		return ErrNoAnswer
	default:
		return ErrNoAnswer
	}
}
