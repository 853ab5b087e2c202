package budget

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/calybris/bursar/coordinator/wording"
)

// Engine keeps the budgets of tenants. It is safe for concurrent use, and every operation
// takes effect at one instant between its call and its return.
//
// Each method lists its outcomes in the order in which their conditions are checked. If
// the error isn't nil, the result is zero. A hold that has reached its deadline, by the
// engine's clock, is released before the next operation on one of its levels takes effect.
//
// The levels of a tenant are the tenant itself and its ancestors. A reserve takes its cost
// from each level that exists, or from none; an ancestor that doesn't exist limits nothing. A
// hold remembers the levels that it took from, and its end touches exactly these, except
// for those that were removed from the store by hand. Each check is made at all levels
// before the next check. A level may have several limits ([Limit]): whatever is said of a level's
// remaining amount holds for each of them, the base limit first. The other operations concern
// only the account that they name, and its base limit.
type Engine interface {
	// EnsureTenant creates the tenant with its budget and its settings unless it exists:
	// Created; Exists, which changes nothing, whatever the amount and the settings. A negative
	// budget is ErrInvalidAmount, an invalid setting ErrInvalidSetting, more than MaxLimits limits
	// ErrTooManyLimits, and a budget and an overdraft beyond 64 bits ErrOverflow, also if the
	// tenant exists.
	EnsureTenant(ctx context.Context, tenant TenantID, budget Microcents, settings ...Setting) (Ensured, error)

	// TryReserve holds cost: Insufficient{0, cost} if cost ≤ 0, which is checked first;
	// MissingTenant, if the tenant itself doesn't exist; Closed{Level} and Frozen{Level} if a
	// level is; Capped{Level, Cap, CapLimit} if a level has a cap that the hold would exceed,
	// all caps of a level before those of the next;
	// Insufficient{Remaining, Level, Required} if a level doesn't have the cost;
	// Reserved{ID, Remaining, Level}. It accepts WithHoldTTL.
	TryReserve(ctx context.Context, tenant TenantID, cost Microcents, opts ...ReserveOption) (Reservation, error)

	// Commit settles a hold at its actual cost: InvalidAmount if it is negative, which is
	// checked first; MissingReservation; MissingTenant; Committed, which returns the surplus
	// to the hold's levels or debits the excess from them; Overrun{Remaining, Level} if a
	// level doesn't cover the excess, and the hold stays open. An actual cost of zero is
	// valid and charges nothing.
	Commit(ctx context.Context, id ReservationID, actual Microcents) (Settlement, error)

	// CommitAvailable is Commit, except that it is never an Overrun: of an excess that a level
	// doesn't cover it commits the part that all levels can pay, and returns the rest as
	// Committed{Shortfall}.
	CommitAvailable(ctx context.Context, id ReservationID, actual Microcents) (Settlement, error)

	// Release settles a hold without charging: MissingReservation; MissingTenant; Released.
	Release(ctx context.Context, id ReservationID) (Settlement, error)

	// Lookup returns the state of a reservation: Reserved while it is open; Committed,
	// Released or Expired for as long as the engine remembers its end; NotKnown after that,
	// and for a reservation that was never made.
	Lookup(ctx context.Context, id ReservationID) (Fate, error)

	// Remaining returns the amount that can still be reserved, the least of the tenant's
	// levels: MissingTenant; Found{Remaining, Level}.
	Remaining(ctx context.Context, tenant TenantID) (Remainder, error)

	// Balance returns all terms of the invariant for the one account, read atomically:
	// MissingTenant; Found. It accepts OfLimit and AtEpoch; the error is then ErrNoLimit or
	// ErrNoEpoch, in this order, after MissingTenant, if the tenant has no such limit or the
	// limit keeps no such epoch.
	Balance(ctx context.Context, tenant TenantID, opts ...BalanceOption) (Balance, error)

	// Limits returns the balances of all limits of the tenant, read atomically: MissingTenant;
	// Found.
	Limits(ctx context.Context, tenant TenantID) (LimitList, error)

	// Holds returns the open holds that the account counts, including those of tenants
	// below it, and the balance, read atomically: MissingTenant; Found. Its cost grows with
	// the number of holds.
	Holds(ctx context.Context, tenant TenantID) (HoldList, error)

	// Grant adds to the budget: MissingTenant; Closed; Granted. An amount ≤ 0 is
	// ErrInvalidAmount; a sum of budget and overdraft beyond 64 bits is ErrOverflow, after
	// Closed.
	Grant(ctx context.Context, tenant TenantID, amount Microcents) (Adjustment, error)

	// Withdraw subtracts from the budget money that is neither reserved nor committed:
	// MissingTenant; Insufficient; Withdrawn. An amount ≤ 0 is ErrInvalidAmount.
	Withdraw(ctx context.Context, tenant TenantID, amount Microcents) (Adjustment, error)

	// Configure changes settings of the account, and leaves the others as they are:
	// MissingTenant; Closed; Configured. It may be repeated. More than MaxLimits limits are
	// ErrTooManyLimits, and an overdraft that doesn't fit 64 bits together with the budget is
	// ErrOverflow, in this order, after Closed; then nothing is changed. Without a setting it
	// changes nothing.
	Configure(ctx context.Context, tenant TenantID, settings ...Setting) (Configuration, error)

	// FreezeTenant stops reserves of the tenant and of those below it, until UnfreezeTenant:
	// MissingTenant; Closed; Configured. Commits, releases and expiry continue.
	FreezeTenant(ctx context.Context, tenant TenantID) (Configuration, error)

	// UnfreezeTenant ends a freeze: MissingTenant; Closed; Configured.
	UnfreezeTenant(ctx context.Context, tenant TenantID) (Configuration, error)

	// CloseTenant stops reserves of the tenant and of those below it, grants, and changes of
	// settings, forever: MissingTenant; Configured. Commits, releases, expiry and Withdraw continue.
	CloseTenant(ctx context.Context, tenant TenantID) (Configuration, error)
}

// The bounds of a hold's time to live.
const (
	// DefaultHoldTTL is the time to live of a hold without an option of the engine or of
	// the reserve.
	DefaultHoldTTL = 15 * time.Minute
	// MaxHoldTTL is the longest time to live. A TTL of 0 means no deadline.
	MaxHoldTTL = 366 * 24 * time.Hour
)

// ReserveOption configures one TryReserve.
type ReserveOption func(*ReserveOptions)

// ReserveOptions are the options of a TryReserve, for engines.
type ReserveOptions struct {
	HoldTTL    time.Duration
	HasHoldTTL bool
}

// WithHoldTTL sets the time to live of the hold: whole milliseconds up to [MaxHoldTTL], or
// 0 for a hold without a deadline. Defaults to the engine's hold TTL.
func WithHoldTTL(ttl time.Duration) ReserveOption {
	return func(o *ReserveOptions) { o.HoldTTL, o.HasHoldTTL = ttl, true }
}

// Apply applies the options and validates the result, for engines. A nil option is an
// error. Without options Apply doesn't allocate.
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
