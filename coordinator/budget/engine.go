package budget

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/calybris/bursar/coordinator/wording"
)

// Engine keeps the budgets. It is safe for concurrent use, and every operation
// takes effect at one instant between its call and its return.
//
// The outcomes of an operation are checked in the order in which it lists them.
// An error is returned only where there is no answer; the result is then zero.
// At a hold's deadline it is released, by the engine's clock, before the next
// operation on its tenant is decided.
type Engine interface {
	// EnsureTenant creates the tenant with its budget, once: Created, or Exists,
	// which leaves the tenant as it is whatever the amount. A negative budget is
	// ErrInvalidAmount.
	EnsureTenant(ctx context.Context, tenant TenantID, budget Microcents) (Ensured, error)

	// TryReserve holds cost: Insufficient{0, cost} for cost ≤ 0, before anything
	// else; MissingTenant; Insufficient{Remaining, Required}; Reserved{ID, Remaining}.
	// It takes WithHoldTTL.
	TryReserve(ctx context.Context, tenant TenantID, cost Microcents, opts ...ReserveOption) (Reservation, error)

	// Commit settles a hold at its actual cost: InvalidAmount for a negative one,
	// before anything else; MissingReservation; MissingTenant; Committed, where the
	// surplus returns to remaining, or the excess is debited from it; Overrun where
	// remaining does not cover the excess, and the hold stays open. Zero means zero.
	Commit(ctx context.Context, id ReservationID, actual Microcents) (Settlement, error)

	// Release settles a hold at nothing: MissingReservation; MissingTenant; Released.
	Release(ctx context.Context, id ReservationID) (Settlement, error)

	// Lookup tells what became of a reservation: Reserved while it is open;
	// Committed, Released or Expired for as long as the engine remembers how it
	// ended; NotKnown after that, and for one that was never made.
	Lookup(ctx context.Context, id ReservationID) (Fate, error)

	// Remaining reads what can still be reserved: MissingTenant; Found.
	Remaining(ctx context.Context, tenant TenantID) (Remainder, error)

	// Balance reads all terms of the law from one instant: MissingTenant; Found.
	Balance(ctx context.Context, tenant TenantID) (Balance, error)

	// Holds lists the open holds, and the balance of the same instant:
	// MissingTenant; Found. Its cost grows with the number of holds.
	Holds(ctx context.Context, tenant TenantID) (HoldList, error)

	// Grant adds to the budget: MissingTenant; Granted. An amount ≤ 0 is
	// ErrInvalidAmount, a sum beyond 64 bits ErrOverflow.
	Grant(ctx context.Context, tenant TenantID, amount Microcents) (Adjustment, error)

	// Withdraw takes from the budget what is neither reserved nor committed:
	// MissingTenant; Insufficient; Withdrawn. An amount ≤ 0 is ErrInvalidAmount.
	Withdraw(ctx context.Context, tenant TenantID, amount Microcents) (Adjustment, error)
}

// The bounds of a hold's time to live.
const (
	// DefaultHoldTTL is what an engine gives a hold unless told otherwise.
	DefaultHoldTTL = 15 * time.Minute
	// MaxHoldTTL is the longest; a hold without a deadline has a TTL of 0.
	MaxHoldTTL = 366 * 24 * time.Hour
)

// ReserveOption changes one TryReserve.
type ReserveOption func(*ReserveOptions)

// ReserveOptions are the options of a TryReserve, for engines.
type ReserveOptions struct {
	HoldTTL    time.Duration
	HasHoldTTL bool
}

// WithHoldTTL sets the time to live of the hold that a TryReserve makes, from
// one millisecond to [MaxHoldTTL]; 0 makes a hold without a deadline. The default
// is the engine's own.
func WithHoldTTL(ttl time.Duration) ReserveOption {
	return func(o *ReserveOptions) { o.HoldTTL, o.HasHoldTTL = ttl, true }
}

// Apply evaluates options, for engines. A nil option is an error. Without options it
// allocates nothing.
func Apply(opts []ReserveOption) (ReserveOptions, error) {
	if len(opts) == 0 {
		return ReserveOptions{}, nil
	}
	return apply(opts)
}

func apply(opts []ReserveOption) (ReserveOptions, error) {
	var o ReserveOptions
	var errs []error
	for i, opt := range opts {
		if opt == nil {
			errs = append(errs, fmt.Errorf("option %d is nil: leave it out", i+1))
			continue
		}
		opt(&o)
	}
	if o.HasHoldTTL {
		errs = append(errs, ValidateHoldTTL(o.HoldTTL))
	}
	return o, errors.Join(errs...)
}

// ValidateHoldTTL returns nil for 0 and for whole milliseconds up to MaxHoldTTL.
func ValidateHoldTTL(ttl time.Duration) error {
	if ttl < 0 || ttl > MaxHoldTTL || ttl%time.Millisecond != 0 {
		return fmt.Errorf("invalid hold TTL %s: give whole milliseconds from 1ms to %s, or 0 for none", ttl, MaxHoldTTL)
	}
	return nil
}

// ValidateBudget checks the arguments of EnsureTenant.
func ValidateBudget(tenant TenantID, amount Microcents) error {
	if err := tenant.Validate(); err != nil {
		return err
	}
	if amount < 0 {
		return fmt.Errorf("%w: a budget of %s for tenant %q; give 0 or more", ErrInvalidAmount, wording.Count(amount, "microcent"), tenant)
	}
	return nil
}

// ValidateAdjustment checks the arguments of Grant and Withdraw.
func ValidateAdjustment(verb string, tenant TenantID, amount Microcents) error {
	if err := tenant.Validate(); err != nil {
		return err
	}
	if amount <= 0 {
		return fmt.Errorf("%w: %s %s, tenant %q; give more than 0", ErrInvalidAmount, verb, wording.Count(amount, "microcent"), tenant)
	}
	return nil
}
