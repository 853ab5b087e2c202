package store

import (
	"encoding/binary"
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// Settings are stored as the flags of an account, and, if it has more than flags, a block:
// overdraft, cap of a hold, cap of the reserved amount (64 bits each), cap of the open holds
// (32), number of thresholds (8), and each in percent (16).

// settings takes flags, the block, if there is one, and the window, if there is one, off a
// record. e is nil without a window.
func (r *reader) settings() (s budget.Settings, e *Epochs, err error) {
	if r.rest == "" {
		return s, nil, fmt.Errorf("%w: settings cut short", ErrDamaged)
	}
	flags := byte(r.uint(1)) //nolint:gosec // as wide
	if flags > luascripts.AccountFrozen|luascripts.AccountClosed|luascripts.AccountSettings|luascripts.AccountWindow|luascripts.AccountLimits {
		return s, nil, fmt.Errorf("%w: unknown flags %08b of an account", ErrDamaged, flags)
	}
	s.Frozen, s.Closed = flags&luascripts.AccountFrozen != 0, flags&luascripts.AccountClosed != 0
	if flags&luascripts.AccountSettings == 0 {
		if flags&(luascripts.AccountWindow|luascripts.AccountLimits) != 0 {
			err = fmt.Errorf("%w: window or limits without settings", ErrDamaged)
		}
		return s, nil, err
	}
	if len(r.rest) < luascripts.SettingsBytes {
		return s, nil, fmt.Errorf("%w: settings of %d bytes, want at least %d", ErrDamaged, len(r.rest), luascripts.SettingsBytes)
	}
	s.Overdraft, s.CapHold, s.CapReserved, s.CapHolds = r.amount(), r.amount(), r.amount(), int64(r.uint(4)) //nolint:gosec // 32 bits
	percents := make([]int, r.uint(1))
	if len(r.rest) < 2*len(percents) {
		return s, nil, fmt.Errorf("%w: settings with %d bytes for %d thresholds", ErrDamaged, len(r.rest), len(percents))
	}
	for i := range percents {
		percents[i] = int(r.uint(2)) //nolint:gosec // 16 bits
	}
	if s.Thresholds, err = budget.NewThresholds(percents...); err != nil {
		return s, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if s.Overdraft < 0 || s.CapHold < 0 || s.CapReserved < 0 {
		return s, nil, fmt.Errorf("%w: settings with a negative amount", ErrDamaged)
	}
	if flags&luascripts.AccountWindow != 0 {
		s.Window, e, err = r.epochs()
	}
	if flags&luascripts.AccountLimits != 0 && err == nil {
		s.Limits, err = r.limits()
	}
	if s.Window.Period == budget.NoPeriod {
		s.Window = budget.Window{} // it was removed, and its epochs are kept
	}
	return s, e, err
}

// limits takes the set of limits off a record.
func (r *reader) limits() (budget.Periods, error) {
	if r.rest == "" {
		return 0, fmt.Errorf("%w: limits cut short", ErrDamaged)
	}
	limits := budget.Periods(r.uint(1)) //nolint:gosec // as wide
	if limits == 0 || limits >= 1<<luascripts.MaxPeriod {
		return 0, fmt.Errorf("%w: limits of unknown periods %08b", ErrDamaged, limits)
	}
	return limits, nil
}

// Change adds a change of settings to the operation.
func (e *Encoder) Change(c *budget.Change) {
	var set, flags byte
	for bit, on := range map[byte]bool{
		luascripts.SetOverdraft: c.SetOverdraft, luascripts.SetCapHold: c.SetCapHold, luascripts.SetCapReserved: c.SetCapReserved,
		luascripts.SetCapHolds: c.SetCapHolds, luascripts.SetThresholds: c.SetThresholds,
		luascripts.SetFrozen: c.SetFrozen, luascripts.SetClosed: c.SetClosed, luascripts.SetWindow: c.SetWindow,
	} {
		if on {
			set |= bit
		}
	}
	s := &c.Settings
	if s.Frozen {
		flags = luascripts.AccountFrozen
	}
	e.features |= luascripts.BatchSettings
	e.arguments = append(e.arguments, set, flags)
	e.appendSettings(s)
	if c.SetWindow {
		e.appendWindow(&s.Window)
	}
	e.arguments = append(e.arguments, byte(len(c.Limits))) //nolint:gosec // at most one a period
	for i := range c.Limits {
		l := &c.Limits[i]
		removed := byte(0)
		if l.Remove {
			removed = 1
		}
		e.arguments = append(e.arguments, byte(l.Window.Period), removed)
		e.appendSettings(&budget.Settings{Overdraft: l.Overdraft, Thresholds: l.Thresholds})
		if !l.Remove {
			e.appendWindow(&l.Window)
		}
	}
}

// appendSettings adds settings other than flags, window and limits.
func (e *Encoder) appendSettings(s *budget.Settings) {
	e.Amount(s.Overdraft)
	e.Amount(s.CapHold)
	e.Amount(s.CapReserved)
	percents := s.Thresholds.Percents()
	e.arguments = appendUint(e.arguments, uint64(s.CapHolds), 4) //nolint:gosec // validated: 32 bits
	e.arguments = append(e.arguments, byte(len(percents)))       //nolint:gosec // at most MaxThresholds
	for _, percent := range percents {
		e.arguments = binary.BigEndian.AppendUint16(e.arguments, uint16(percent)) //nolint:gosec // at most MaxThreshold
	}
}

// Settings returns the next value, the settings of an account. With a window it has epochs, and
// what remains replaces remaining.
func (r *Reply) Settings(remaining *budget.Microcents) (s budget.Settings, e *Epochs) {
	s, e, err := r.values.settings()
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("unreadable reply: %w", err)
	}
	if e != nil {
		*remaining = r.Amount()
	}
	return s, e
}

// Cap returns the next values, the cap that refused a reserve and its limit.
func (r *Reply) Cap() (budget.Cap, int64) {
	if !r.has(9) {
		return budget.NoCap, 0
	}
	caps := map[byte]budget.Cap{luascripts.CapHold: budget.HoldCap, luascripts.CapReserved: budget.ReservedCap, luascripts.CapHolds: budget.HoldsCap}
	return caps[byte(r.values.uint(1))], int64(r.values.uint(8)) //nolint:gosec // not negative
}

// Crossings returns the crossed thresholds, which follow all other values, of accounts by
// their places.
func (r *Reply) Crossings(accounts []AccountID) []budget.Crossing {
	if r.Flags&luascripts.FlagCrossed == 0 || !r.has(2) {
		return nil
	}
	crossings := make([]budget.Crossing, r.values.uint(2))
	for i := range crossings {
		if !r.has(19) {
			return nil
		}
		place := int(r.values.uint(1)) - 1 //nolint:gosec // 8 bits
		if place < 0 || place >= len(accounts) {
			r.err = fmt.Errorf("unreadable reply: a threshold of account %d, of %d", place+1, len(accounts))
			return nil
		}
		crossings[i] = budget.Crossing{
			Tenant: accounts[place].Tenant, Limit: accounts[place].Limit, Percent: int(r.values.uint(2)), //nolint:gosec // 16 bits
			Committed: r.values.amount(), Granted: r.values.amount(),
		}
	}
	return crossings
}
