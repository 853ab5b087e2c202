package budget

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/calybris/bursar/coordinator/wording"
)

// Settings are the overdraft, the caps, the thresholds and the state of an account. The zero
// value has none of them, and costs nothing.
type Settings struct {
	// Overdraft is the amount that commits may spend beyond the budget: the excess of a
	// commit is paid while remaining + Overdraft covers it. Reserves never use it.
	Overdraft Microcents `json:"overdraft,omitzero"`
	// CapHold is the largest cost of one hold, CapReserved the largest sum of open holds, and
	// CapHolds the largest number of them; 0 means none. Only reserves are Capped.
	CapHold     Microcents `json:"cap_hold,omitzero"`
	CapReserved Microcents `json:"cap_reserved,omitzero"`
	CapHolds    int64      `json:"cap_holds,omitzero"`
	// Thresholds are reported when the account reaches them, because committed grows or
	// granted shrinks; see Crossing.
	Thresholds Thresholds `json:"thresholds,omitzero"`
	// Window makes the budget renew.
	Window Window `json:"window,omitzero"`
	// Limits are the periods of the limits that the tenant has beside this one; see [Limit].
	Limits Periods `json:"limits,omitzero"`
	// Frozen and Closed reject what takes money. A closed account also rejects grants and
	// further settings, and stays closed. Commits, releases and expiry continue.
	Frozen bool `json:"frozen,omitzero"`
	Closed bool `json:"closed,omitzero"`
}

// The limits of settings.
const (
	// MaxThresholds is the number of thresholds that an account can have.
	MaxThresholds = 16
	// MaxThreshold is the largest threshold, in percent.
	MaxThreshold = 1000
	// MaxCapHolds is the largest cap of the number of open holds.
	MaxCapHolds = 1<<32 - 1
)

// ErrInvalidSetting is wrapped by the error of a setting with a value that no account can
// have. The text names the setting and the values that it accepts.
var ErrInvalidSetting = errors.New("invalid setting")

var errNoPeriod = fmt.Errorf("%w: only a window of the calendar has boundaries", ErrInvalidSetting)

// Thresholds is an ascending list of percentages of granted, of at most MaxThresholds. Values
// can be compared with ==.
type Thresholds struct {
	percents [MaxThresholds]uint16 // 0 after the last
}

// NewThresholds returns the list. The error is ErrInvalidSetting if it is not ascending, is too
// long, or has a percentage below 1 or above MaxThreshold.
func NewThresholds(percents ...int) (t Thresholds, err error) {
	if len(percents) > MaxThresholds {
		return Thresholds{}, fmt.Errorf("%w: %d thresholds; give at most %d", ErrInvalidSetting, len(percents), MaxThresholds)
	}
	for i, percent := range percents {
		if percent < 1 || percent > MaxThreshold {
			return Thresholds{}, fmt.Errorf("%w: a threshold of %d %%; give 1 to %d", ErrInvalidSetting, percent, MaxThreshold)
		}
		if i > 0 && percent <= percents[i-1] {
			return Thresholds{}, fmt.Errorf("%w: threshold %d %% after %d %%; give them in ascending order, each once", ErrInvalidSetting, percent, percents[i-1])
		}
		t.percents[i] = uint16(percent)
	}
	return t, nil
}

// Percents returns the percentages, in ascending order.
func (t Thresholds) Percents() []int {
	var percents []int
	for _, percent := range t.percents {
		if percent != 0 {
			percents = append(percents, int(percent))
		}
	}
	return percents
}

// IsZero reports whether the list is empty.
func (t Thresholds) IsZero() bool { return t == Thresholds{} }

// Equal reports whether both lists are the same, as == does.
func (t Thresholds) Equal(other Thresholds) bool { return t == other }

// String returns the percentages with commas between them.
func (t Thresholds) String() string {
	texts := make([]string, 0, MaxThresholds)
	for _, percent := range t.Percents() {
		texts = append(texts, strconv.Itoa(percent))
	}
	return strings.Join(texts, ",")
}

// MarshalJSON returns the percentages as an array of numbers.
func (t Thresholds) MarshalJSON() ([]byte, error) {
	return []byte("[" + t.String() + "]"), nil
}

// UnmarshalJSON parses an array of percentages.
func (t *Thresholds) UnmarshalJSON(text []byte) (err error) {
	var percents []int
	if err = json.Unmarshal(text, &percents); err == nil {
		*t, err = NewThresholds(percents...)
	}
	return err
}

// Reached returns those of the list that committed has reached: committed ≥ granted × percent ÷
// 100, exactly. Nothing has reached a threshold while nothing is committed.
func (t Thresholds) Reached(committed, granted Microcents) (reached Thresholds) {
	for i, percent := range t.percents {
		if percent == 0 || !reaches(committed, granted, percent) {
			break // ascending
		}
		reached.percents[i] = percent
	}
	return reached
}

// Beyond returns the percentages of t that are not in other.
func (t Thresholds) Beyond(other Thresholds) []int {
	return slices.DeleteFunc(t.Percents(), func(percent int) bool {
		return slices.Contains(other.percents[:], uint16(percent)) //nolint:gosec // at most MaxThreshold
	})
}

func reaches(committed, granted Microcents, percent uint16) bool {
	if committed <= 0 {
		return false
	}
	hi, lo := bits.Mul64(uint64(committed), 100)
	wantHi, wantLo := bits.Mul64(uint64(max(granted, 0)), uint64(percent))
	return hi > wantHi || hi == wantHi && lo >= wantLo
}

// Crossing is the event of a threshold that was reached: committed ≥ granted × Percent ÷ 100. A
// threshold is crossed once, until a grant or a raised budget lowers the ratio below it again.
type Crossing struct {
	Tenant    TenantID   `json:"tenant"`         // the account
	Limit     Period     `json:"limit,omitzero"` // of the tenant, NoPeriod for its base limit
	Percent   int        `json:"percent"`
	Committed Microcents `json:"committed"`
	Granted   Microcents `json:"granted"`
}

// Setting is a change of one of an account's settings, for EnsureTenant and Configure. The
// zero value is invalid.
type Setting struct{ set func(*Change) }

// Change is the effect of a list of [Setting], for engines: the fields of Settings that it
// sets.
type Change struct {
	Settings
	SetOverdraft, SetCapHold, SetCapReserved, SetCapHolds, SetThresholds, SetWindow, SetFrozen, SetClosed bool
	// Limits are the limits that it sets or removes, one of a period, in their order.
	Limits []LimitChange

	errs []error
}

// Overdraft sets [Settings.Overdraft]; 0 is none.
func Overdraft(limit Microcents) Setting {
	return Setting{func(c *Change) { c.Overdraft, c.SetOverdraft = limit, true }}
}

// CapHold sets [Settings.CapHold]; 0 removes it.
func CapHold(limit Microcents) Setting {
	return Setting{func(c *Change) { c.CapHold, c.SetCapHold = limit, true }}
}

// CapReserved sets [Settings.CapReserved]; 0 removes it. It may be below the reserved
// amount: reserves are then rejected until enough holds have ended.
func CapReserved(limit Microcents) Setting {
	return Setting{func(c *Change) { c.CapReserved, c.SetCapReserved = limit, true }}
}

// CapHolds sets [Settings.CapHolds]; 0 removes it. As with CapReserved, it may be below the
// number of open holds.
func CapHolds(holds int64) Setting {
	return Setting{func(c *Change) { c.CapHolds, c.SetCapHolds = holds, true }}
}

// AtThresholds sets [Settings.Thresholds], in percent of granted and in ascending order; without
// any it removes them. Those that the account has reached already, and that are not among its
// thresholds yet, are crossed at once.
func AtThresholds(percents ...int) Setting {
	return Setting{func(c *Change) {
		t, err := NewThresholds(percents...)
		if err != nil {
			c.errs = append(c.errs, err)
		}
		c.Thresholds, c.SetThresholds = t, true
	}}
}

// NewChange returns the validated effect of a list of settings, for engines.
func NewChange(settings ...Setting) (c Change, err error) {
	for i, setting := range settings {
		if setting.set == nil {
			c.errs = append(c.errs, fmt.Errorf("%w: setting %d is a zero Setting: leave it out", ErrInvalidSetting, i+1))
			continue
		}
		setting.set(&c)
	}
	for _, amount := range []struct {
		name  string
		value Microcents
	}{{"an overdraft", c.Overdraft}, {"a cap of a hold", c.CapHold}, {"a cap of the reserved amount", c.CapReserved}} {
		if amount.value < 0 {
			c.errs = append(c.errs, fmt.Errorf("%w: %s of %s; give 0 or more", ErrInvalidSetting, amount.name, wording.Count(amount.value, "microcent")))
		}
	}
	if c.CapHolds < 0 || c.CapHolds > MaxCapHolds {
		c.errs = append(c.errs, fmt.Errorf("%w: a cap of %s; give 0 to %d", ErrInvalidSetting, wording.Count(c.CapHolds, "open hold"), int64(MaxCapHolds)))
	}
	c.errs = append(c.errs, c.checkLimits())
	err = errors.Join(c.errs...)
	c.errs = nil
	if err != nil {
		return Change{}, err
	}
	return c, nil
}

// IsZero reports whether the change sets nothing.
func (c Change) IsZero() bool {
	return !c.SetOverdraft && !c.SetCapHold && !c.SetCapReserved && !c.SetCapHolds && !c.SetThresholds && !c.SetWindow && !c.SetFrozen && !c.SetClosed && len(c.Limits) == 0
}

// Apply returns the settings after the change, for engines.
func (c Change) Apply(s Settings) Settings {
	if c.SetOverdraft {
		s.Overdraft = c.Overdraft
	}
	if c.SetCapHold {
		s.CapHold = c.CapHold
	}
	if c.SetCapReserved {
		s.CapReserved = c.CapReserved
	}
	if c.SetCapHolds {
		s.CapHolds = c.CapHolds
	}
	if c.SetThresholds {
		s.Thresholds = c.Thresholds
	}
	if c.SetWindow {
		amount := s.Window.Amount
		if s.Window = c.Window; s.Window.Period != NoPeriod && s.Window.Amount == 0 {
			s.Window.Amount = amount
		}
	}
	if c.SetFrozen {
		s.Frozen = c.Frozen
	}
	s.Closed = s.Closed || c.SetClosed
	s.Limits = c.applyLimits(s.Limits)
	return s
}

// The changes of FreezeTenant, UnfreezeTenant and CloseTenant, for engines.
var (
	ChangeFrozen   = Change{SetFrozen: true, Settings: Settings{Frozen: true}}
	ChangeUnfrozen = Change{SetFrozen: true}
	ChangeClosed   = Change{SetClosed: true, Settings: Settings{Closed: true}}
)

// ValidateOverdraft returns ErrOverflow if a budget and an overdraft don't fit 64 bits together.
func ValidateOverdraft(tenant TenantID, granted, overdraft Microcents) error {
	if _, err := granted.Add(overdraft); err != nil {
		return fmt.Errorf("an overdraft of %s for tenant %q, whose budget leaves room for %s: %w",
			wording.Count(overdraft, "microcent"), tenant, wording.Count(MaxMicrocents-granted, "microcent"), err)
	}
	return nil
}

// ValidateEnsure checks the settings of an EnsureTenant against its budget: they must fit 64 bits
// with the overdraft, and a rolling window has one amount. For engines.
func (c Change) ValidateEnsure(tenant TenantID, budget Microcents) error {
	if c.Window.Period.Rolling() && c.Window.Amount != 0 && c.Window.Amount != budget {
		return fmt.Errorf("%w: a window of the last %s with an amount of %s, and a budget of %s, for tenant %q; give the amount as the budget",
			ErrInvalidSetting, c.Window.Period, wording.Count(c.Window.Amount, "microcent"), wording.Count(budget, "microcent"), tenant)
	}
	return ValidateOverdraft(tenant, max(budget, c.Window.Amount), c.Overdraft)
}

// Cap is a cap that refused a reserve.
type Cap uint8

// The caps, in the order in which they are checked at a level.
const (
	NoCap Cap = iota
	HoldCap
	ReservedCap
	HoldsCap
)

var capNames = [...]string{NoCap: "none", HoldCap: "hold", ReservedCap: "reserved", HoldsCap: "holds"}

// String returns the name of the cap, as in JSON.
func (c Cap) String() string {
	if int(c) < len(capNames) {
		return capNames[c]
	}
	return fmt.Sprintf("cap(%d)", uint8(c))
}

// MarshalText returns the name.
func (c Cap) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText parses the name.
func (c *Cap) UnmarshalText(text []byte) error {
	i := slices.Index(capNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("budget: no cap is named %q", text)
	}
	*c = Cap(i) //nolint:gosec // an index of capNames
	return nil
}

// CappedBy returns the cap that a reserve of cost exceeds in an account with this reserved
// amount and number of open holds, and its limit, which is a number for HoldsCap. It returns
// NoCap if the reserve exceeds none. For engines.
func (s Settings) CappedBy(cost, reserved Microcents, holds int64) (Cap, int64) {
	switch {
	case s.CapHold > 0 && cost > s.CapHold:
		return HoldCap, int64(s.CapHold)
	case s.CapReserved > 0 && cost > s.CapReserved-reserved:
		return ReservedCap, int64(s.CapReserved)
	case s.CapHolds > 0 && holds >= s.CapHolds:
		return HoldsCap, s.CapHolds
	}
	return NoCap, 0
}
