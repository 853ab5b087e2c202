package budget

import (
	"fmt"
	"time"

	"github.com/calybris/bursar/coordinator/wording"
)

// Results are plain values that can be compared with ==, except for HoldList. All amounts
// are in microcents; a field that an outcome doesn't set is zero.
//
// Level is the account whose remaining amount is Remaining: among the tenant and those of
// its ancestors that took part, the one with the least; if several have it, the nearest to
// the tenant. In a refusal it is the level that refused, by the same rule; in an Overrun it
// is the level with the least remaining + overdraft, and Remaining is without the overdraft.
// Limit is the period of the level's limit with that amount, by the same rule, or NoPeriod for its
// base limit, which is the first.

// Ensured is the result of EnsureTenant: Created or Exists.
type Ensured struct {
	Outcome   Outcome    `json:"outcome"`
	Remaining Microcents `json:"remaining"`
}

// Reservation is the result of TryReserve: Reserved{ID, Remaining, Level},
// Insufficient{Remaining, Level, Required}, Capped{Level, Cap, CapLimit}, Frozen{Level},
// Closed{Level} or MissingTenant. Insufficient for a cost ≤ 0 has no level, because no
// account was read.
type Reservation struct {
	Outcome   Outcome       `json:"outcome"`
	ID        ReservationID `json:"id,omitzero"`
	Remaining Microcents    `json:"remaining"`
	Level     TenantID      `json:"level,omitzero"`
	Required  Microcents    `json:"required"`
	// Cap is the cap that refused, and CapLimit its value: an amount in microcents, or a
	// number of open holds for HoldsCap.
	Cap      Cap    `json:"cap,omitzero"`
	Limit    Period `json:"limit,omitzero"` // of Level; beside Cap, it needs no room
	CapLimit int64  `json:"cap_limit,omitzero"`
	// Renews is the time at which the window of Level's limit renews its budget, or returns the
	// oldest part of it if it rolls, if Insufficient names a limit with one.
	Renews Instant `json:"renews,omitzero"`
}

// Settlement is the result of Commit, CommitAvailable and Release:
// Committed{Remaining, Level, Actual}, with Shortfall if CommitAvailable could not pay all,
// Released{Remaining, Level, Returned}, Overrun{Remaining, Level}, InvalidAmount,
// MissingTenant or MissingReservation{Prior}.
type Settlement struct {
	Outcome   Outcome    `json:"outcome"`
	Remaining Microcents `json:"remaining"`
	Level     TenantID   `json:"level,omitzero"`
	Actual    Microcents `json:"actual"`
	Returned  Microcents `json:"returned"`
	// Shortfall is the part of the cost that CommitAvailable left unpaid; Actual is the
	// amount that was committed.
	Shortfall Microcents `json:"shortfall,omitzero"`
	// Prior is the outcome with which the reservation had ended before: Committed, Released
	// or Expired. It is Unknown if the engine doesn't remember.
	Prior Outcome `json:"prior,omitzero"`
	Limit Period  `json:"limit,omitzero"` // of Level
}

// Adjustment is the result of Grant and Withdraw: Granted{Remaining},
// Withdrawn{Remaining}, Insufficient{Remaining, Required}, Closed (of Grant) or
// MissingTenant.
type Adjustment struct {
	Outcome   Outcome    `json:"outcome"`
	Remaining Microcents `json:"remaining"`
	Required  Microcents `json:"required"`
}

// Configuration is the result of Configure, FreezeTenant, UnfreezeTenant and CloseTenant:
// Configured{Settings} with the settings after it, Closed or MissingTenant.
type Configuration struct {
	Outcome  Outcome  `json:"outcome"`
	Settings Settings `json:"settings,omitzero"`
}

// Remainder is the result of Remaining: Found{Remaining, Level} or MissingTenant.
type Remainder struct {
	Outcome   Outcome    `json:"outcome"`
	Remaining Microcents `json:"remaining"`
	Level     TenantID   `json:"level,omitzero"`
	Limit     Period     `json:"limit,omitzero"`
	Renews    Instant    `json:"renews,omitzero"` // of the limit's window, as in Reservation
}

// Balance is the result of Balance: Found with all terms of the invariant, read
// atomically, or MissingTenant. It is also the result of deleting a tenant: Deleted or
// HoldsOpen with all terms, or MissingTenant.
type Balance struct {
	Outcome   Outcome    `json:"outcome"`
	Limit     Period     `json:"limit,omitzero"` // NoPeriod for the base limit
	Granted   Microcents `json:"granted"`
	Remaining Microcents `json:"remaining"`
	Reserved  Microcents `json:"reserved"`
	Committed Microcents `json:"committed"`
	Settings  Settings   `json:"settings,omitzero"`
	// Epoch is the one whose terms these are, if the account has had a window. Granted may be
	// below 0 then, after debt has passed on.
	Epoch Epoch `json:"epoch,omitzero"`
	// Ended is the amount that open holds of ended epochs reserve there. It isn't part of
	// Reserved, except that caps count it.
	Ended Microcents `json:"ended,omitzero"`
}

// Crossed returns the thresholds that committed has reached.
func (b Balance) Crossed() Thresholds {
	return b.Settings.Thresholds.Reached(b.Committed, b.Granted)
}

// Debt returns the amount that is spent or held beyond the budget: 0, unless commits used
// an overdraft, or a repair after a failover found money that was spent twice. Grants pay
// the debt first.
func (b Balance) Debt() Microcents { return max(-b.Remaining, 0) }

// Conserved reports whether the terms keep the invariant, without overflow.
func (b Balance) Conserved() bool {
	sum, err := b.Reserved.Add(b.Committed)
	if err != nil {
		return false
	}
	sum, err = sum.Add(b.Remaining)
	return err == nil && sum == b.Granted
}

// Hold is an open reservation. Times are whole milliseconds of the engine's clock, in UTC.
// Deadline is zero if the hold has none.
type Hold struct {
	ID       ReservationID `json:"id"`
	Held     Microcents    `json:"held"`
	Made     time.Time     `json:"made"`
	Deadline time.Time     `json:"deadline,omitzero"`
}

// Tree is the result of Tree: Found with the accounts of a tenant and of all tenants below
// it, or MissingTenant if there are none. A tenant's descendants follow it at once, as by
// [TenantID.Compare]. A tenant without an account is not listed, although descendants of it
// may be.
type Tree struct {
	Outcome  Outcome   `json:"outcome"`
	Accounts []Account `json:"accounts,omitempty"`
	// Instant reports whether the balances are those of one instant, with every account
	// that existed then.
	Instant bool `json:"instant,omitzero"`
}

// MaxTreeInstant is the number of accounts up to which Tree reads them at one instant.
const MaxTreeInstant = 1000

// Account is an account of a [Tree].
type Account struct {
	Tenant  TenantID `json:"tenant"`
	Balance Balance  `json:"balance"`
}

// Fate is the result of Lookup. While the hold is open: Reserved, with the Amount held and
// At the time of the reserve. Once it has ended: Committed, with the actual cost as
// Amount, Released or Expired, with At the time of the end. NotKnown otherwise. Times are
// as in Hold.
type Fate struct {
	Outcome  Outcome    `json:"outcome"`
	Amount   Microcents `json:"amount"`
	At       time.Time  `json:"at,omitzero"`
	Deadline time.Time  `json:"deadline,omitzero"` // of an open hold that has one
}

// HoldList is the result of Holds: Found with the open holds that the account counts, or
// MissingTenant. These are the tenant's own holds and those of tenants below it that
// debited the account; their IDs name the tenants. They are in the order of
// [ReservationID.Compare]. The balance and the holds are read atomically.
type HoldList struct {
	Outcome Outcome `json:"outcome"`
	Balance Balance `json:"balance"`
	Holds   []Hold  `json:"holds"`
}

// Audit returns nil if the balance keeps the invariant and the holds add up to reserved,
// else an error that names the terms.
func (r HoldList) Audit() error {
	b := r.Balance
	if !b.Conserved() {
		return fmt.Errorf("the balance doesn't add up: remaining %d + reserved %d + committed %d is not granted %d",
			b.Remaining, b.Reserved, b.Committed, b.Granted)
	}
	var sum Microcents
	for _, h := range r.Holds {
		var err error
		if sum, err = sum.Add(h.Held); err != nil || h.Held <= 0 {
			return fmt.Errorf("hold %s of %s: not a possible hold", h.ID, wording.Count(h.Held, "microcent"))
		}
	}
	if sum != b.Reserved+b.Ended {
		return fmt.Errorf("the open holds (%d) sum up to %d, but reserved is %d, and %d in ended epochs", len(r.Holds), sum, b.Reserved, b.Ended)
	}
	return nil
}

// Err returns nil for Created and Exists.
func (r Ensured) Err() error { return r.Outcome.Err() }

// Err returns nil for Reserved.
func (r Reservation) Err() error { return r.Outcome.Err() }

// Err returns nil for Committed and Released.
func (r Settlement) Err() error { return r.Outcome.Err() }

// Err returns nil for Granted and Withdrawn.
func (r Adjustment) Err() error { return r.Outcome.Err() }

// Err returns nil for Configured.
func (r Configuration) Err() error { return r.Outcome.Err() }

// Err returns nil for Found.
func (r Remainder) Err() error { return r.Outcome.Err() }

// Err returns nil for Found and Deleted.
func (b Balance) Err() error { return b.Outcome.Err() }

// Err returns nil for Found.
func (r HoldList) Err() error { return r.Outcome.Err() }

// Err returns nil if the reservation is known, whether it is open or has ended.
func (f Fate) Err() error {
	if f.Outcome == Expired {
		return nil
	}
	return f.Outcome.Err()
}
