package budget

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/calybris/bursar/coordinator/wording"
)

// Limit is a further limit of a tenant, beside its base limit, which is what EnsureTenant makes
// and Grant and Withdraw change. A tenant has at most one of each period, and at most MaxLimits.
//
// A limit has its own terms and keeps the invariant by itself. A reserve takes its cost from
// every limit of each level that exists, or from none, and so do settles. A limit is a part of
// its level: those of a level follow its base limit in the order of their periods.
// Flags and caps are those of the tenant.
//
// A new limit begins with its whole amount, and doesn't count older holds; a limit that is
// removed, or whose tenant is deleted, is gone with all that it counted. Grants and withdrawals
// don't change a limit.
type Limit struct {
	// Window says how the limit renews, as in [Settings.Window]. It needs a period and an amount.
	Window Window `json:"window"`
	// Overdraft and Thresholds are as in [Settings], for this limit.
	Overdraft  Microcents `json:"overdraft,omitzero"`
	Thresholds Thresholds `json:"thresholds,omitzero"`
}

// MaxLimits is the number of limits that a tenant can have beside its base limit.
const MaxLimits = 4

var (
	// ErrTooManyLimits is wrapped by the error of a change after which a tenant would have more
	// than MaxLimits limits: remove one.
	ErrTooManyLimits = errors.New("too many limits")
	// ErrNoLimit is wrapped by the error of a Balance of a limit that the tenant doesn't have.
	ErrNoLimit = errors.New("no such limit")
)

// SetLimit gives the tenant a limit, or changes the one of its period. All fields of l
// count, also zero ones. A change of the window has the effect that it has for [InWindow].
func SetLimit(l Limit) Setting {
	return Setting{func(c *Change) {
		w, err := l.Window.normal()
		switch {
		case err != nil:
			err = fmt.Errorf("limit: %w", err)
		case w.Period == NoPeriod:
			err = fmt.Errorf("%w: a limit without a period; give one of %s", ErrInvalidSetting, strings.Join(periodNames[1:], ", "))
		case w.Amount == 0:
			err = fmt.Errorf("%w: a limit by %s without an amount; give more than 0", ErrInvalidSetting, w.Period)
		case l.Overdraft < 0:
			err = fmt.Errorf("%w: an overdraft of %s for the limit by %s; give 0 or more", ErrInvalidSetting, wording.Count(l.Overdraft, "microcent"), w.Period)
		case l.Overdraft > MaxMicrocents-w.Amount:
			err = fmt.Errorf("%w: an overdraft of %s for the limit by %s of %s: lower one of them", ErrOverflow,
				wording.Count(l.Overdraft, "microcent"), w.Period, wording.Count(w.Amount, "microcent"))
		}
		l.Window = w
		c.limit(LimitChange{Limit: l}, err)
	}}
}

// RemoveLimit removes the tenant's limit of a period, if it has one.
func RemoveLimit(p Period) Setting {
	return Setting{func(c *Change) {
		var err error
		if p == NoPeriod || int(p) >= len(periodNames) {
			err = fmt.Errorf("%w: a limit by %s; give one of %s", ErrInvalidSetting, p, strings.Join(periodNames[1:], ", "))
		}
		c.limit(LimitChange{Limit: Limit{Window: Window{Period: p}}, Remove: true}, err)
	}}
}

// LimitChange is a change of one limit, for engines.
type LimitChange struct {
	Limit
	Remove bool // the limit of Window.Period
}

// limit adds the change of a limit, unless it is invalid.
func (c *Change) limit(l LimitChange, err error) {
	place, twice := slices.BinarySearchFunc(c.Limits, l, func(a, b LimitChange) int { return int(a.Window.Period) - int(b.Window.Period) })
	if err == nil && twice {
		err = fmt.Errorf("%w: the limit by %s is set or removed twice; give it once", ErrInvalidSetting, l.Window.Period)
	}
	if err != nil {
		c.errs = append(c.errs, err)
		return
	}
	c.Limits = slices.Insert(c.Limits, place, l)
}

// checkLimits returns ErrTooManyLimits if the change alone sets too many.
func (c *Change) checkLimits() error {
	if n := c.applyLimits(0).Len(); n > MaxLimits {
		return fmt.Errorf("%w: %d; a tenant can have %d beside its base limit", ErrTooManyLimits, n, MaxLimits)
	}
	return nil
}

func (c *Change) applyLimits(p Periods) Periods {
	for _, l := range c.Limits {
		if l.Remove {
			p = p.Without(l.Window.Period)
		} else {
			p = p.With(l.Window.Period)
		}
	}
	return p
}

// Periods is a set of periods: bit p-1 is that of period p. Values can be compared with ==.
type Periods uint8

// With returns the set with p. NoPeriod is in no set.
func (s Periods) With(p Period) Periods { return s | 1<<p>>1 }

// Without returns the set without p.
func (s Periods) Without(p Period) Periods { return s &^ (1 << p >> 1) }

// Has reports whether p is in the set.
func (s Periods) Has(p Period) bool { return s&(1<<p>>1) != 0 }

// Len returns the number of periods.
func (s Periods) Len() int { return bits.OnesCount8(uint8(s)) }

// All returns the periods in ascending order.
func (s Periods) All() []Period {
	var all []Period
	for p := Hour; p <= Last30Days; p++ {
		if s.Has(p) {
			all = append(all, p)
		}
	}
	return all
}

// String returns the names with commas between them.
func (s Periods) String() string {
	names := make([]string, 0, len(periodNames))
	for _, p := range s.All() {
		names = append(names, p.String())
	}
	return strings.Join(names, ",")
}

// MarshalJSON returns an array of the names.
func (s Periods) MarshalJSON() ([]byte, error) { return json.Marshal(s.All()) }

// UnmarshalJSON parses an array of names.
func (s *Periods) UnmarshalJSON(text []byte) error {
	var all []Period
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*s = 0
	for _, p := range all {
		*s = s.With(p)
	}
	return nil
}

// LimitName returns the name of the limit, in texts: that of its period, or base.
func (c Crossing) LimitName() string {
	if c.Limit == NoPeriod {
		return "base"
	}
	return c.Limit.String()
}

// OfLimit makes Balance return the terms of a limit in place of those of the base limit. It can
// be used with [AtEpoch]. The error is ErrNoLimit, after MissingTenant, if the tenant has none
// of that period.
func OfLimit(p Period) BalanceOption {
	return func(o *BalanceOptions) { o.Limit = p }
}

// LimitList is the result of Limits: Found with the balance of the base limit and then of each
// other limit, in the order of their periods, or MissingTenant.
type LimitList struct {
	Outcome Outcome   `json:"outcome"`
	Limits  []Balance `json:"limits,omitempty"`
}

// Err returns nil for Found.
func (r LimitList) Err() error { return r.Outcome.Err() }
