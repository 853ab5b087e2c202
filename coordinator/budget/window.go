package budget

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/calybris/bursar/coordinator/wording"
)

// Window makes a budget renew, by the calendar or as time passes. The zero Window is none.
// Values can be compared with ==.
//
// A window of the calendar divides time into epochs, each of which begins with a budget of its
// own.
//
// An account has the terms of each epoch apart: granted, remaining, reserved and committed,
// with the invariant for each. A hold belongs to the epoch in which it was made, at each of its
// levels, and settles there. An operation at or after a boundary belongs to the new epoch; a
// hold whose deadline has passed ends before that. Settings are those of the account, not of
// an epoch, and caps of the reserved amount and of open holds count the holds of all epochs.
// Thresholds concern the current epoch, and can be crossed again in each.
//
// What remains at the end of an epoch passes on: min(Carry, remaining + n × Amount), after n
// epochs without any operation on the account, which so have the same effect as others.
// Debt always passes on. An epoch is granted Amount and the amount passed on to it. If holds of an
// ended epoch settle, what passes on from it changes accordingly, and with it granted and
// remaining of the current epoch. An excess must be covered by the own epoch, as if nothing
// had been passed on, and the part that the current epoch pays by that one, too.
//
// The last three ended epochs of an account can be read with [AtEpoch], as can all that have
// open holds. Grants, withdrawals and caps concern the current epoch. An Amount that is raised
// counts at once, a lowered one from the next epoch.
//
// A rolling window covers the last 24 hours, 7 or 30 days, and has no epochs. Granted is Amount
// at any time, with grants and withdrawals; committed is the cost of the window's holds. It
// divides time into parts of an hour, of 6 or 24 hours. A commit counts in the part in which its
// hold was made, and returns to remaining when all of that part is older than the window; a
// commit after that charges this account nothing. A change of Amount counts at once.
type Window struct {
	// Period is the length of an epoch, whose boundaries are instants of Zone's clock, or that of
	// a rolling window, which has neither Zone nor Carry.
	Period Period `json:"period,omitzero"`
	// Zone is the name of a time zone in the IANA database, such as Europe/Berlin; "" is UTC.
	Zone string `json:"zone,omitzero"`
	// Weekday is the first day of a week; Day that of a month, 1 to 28, with 0 for 1.
	Weekday time.Weekday `json:"weekday,omitzero"`
	Day     int          `json:"day,omitzero"`
	// Amount is granted to each epoch; 0 leaves it as it is, or means the account's
	// budget when it gets its first window.
	Amount Microcents `json:"amount,omitzero"`
	// Carry is the most that an epoch passes on: 0 for nothing, or CarryAll. It bounds each epoch
	// by itself: the current one can have more than Carry, from several.
	Carry Microcents `json:"carry,omitzero"`
}

// CarryAll as [Window.Carry] passes on all that remains.
const CarryAll = MaxMicrocents

// Period is the length of an epoch in the calendar, or of a rolling window.
type Period uint8

// The periods. An hour begins when the clock of the zone shows a full hour, a day at the first
// instant of its date. The last three are those of rolling windows.
const (
	NoPeriod Period = iota
	Hour
	Day
	Week
	Month
	Last24Hours
	Last7Days
	Last30Days
)

var periodNames = [...]string{
	NoPeriod: "none", Hour: "hour", Day: "day", Week: "week", Month: "month",
	Last24Hours: "24h", Last7Days: "7d", Last30Days: "30d",
}

// Rolling reports whether the window rolls as time passes.
func (p Period) Rolling() bool { return p >= Last24Hours && p <= Last30Days }

// Parts returns the number of parts of a rolling window and the length of each, for engines. It
// contains the current part, too.
func (p Period) Parts() (n int, length time.Duration) {
	switch p {
	case Last24Hours:
		return 24, time.Hour
	case Last7Days:
		return 28, 6 * time.Hour
	case Last30Days:
		return 30, 24 * time.Hour
	case NoPeriod, Hour, Day, Week, Month:
	}
	return 0, 0
}

// String returns the name of the period, as in JSON.
func (p Period) String() string {
	if int(p) < len(periodNames) {
		return periodNames[p]
	}
	return fmt.Sprintf("period(%d)", uint8(p))
}

// MarshalText returns the name.
func (p Period) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText parses the name.
func (p *Period) UnmarshalText(text []byte) error {
	i := slices.Index(periodNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%w: period %q; give one of %s", ErrInvalidSetting, text, strings.Join(periodNames[1:], ", "))
	}
	*p = Period(i) //nolint:gosec // an index of periodNames
	return nil
}

// maxZone is the longest name of a zone. The longest in the database has 32 characters.
const maxZone = 64

// InWindow sets [Settings.Window]; Window{} removes it, and the current epoch then has no end.
// The epoch in which a window is set ends at the window's first boundary after that.
func InWindow(w Window) Setting {
	return Setting{func(c *Change) {
		normal, err := w.normal()
		if err != nil {
			c.errs = append(c.errs, err)
		}
		c.Window, c.SetWindow = normal, true
	}}
}

// normal returns the validated window with its defaults filled in, so that equal windows are ==.
func (w Window) normal() (Window, error) {
	if w.Period.Rolling() {
		if w != (Window{Period: w.Period, Amount: max(w.Amount, 0)}) {
			return Window{}, fmt.Errorf("%w: a rolling window of %s; give no more than an amount, 0 or more", ErrInvalidSetting, w.Period)
		}
		return w, nil
	}
	if w == (Window{}) {
		return Window{}, nil
	}
	if w.Zone == "" {
		w.Zone = time.UTC.String()
	}
	if w.Period == Month && w.Day == 0 {
		w.Day = 1
	}
	switch {
	case w.Period == NoPeriod:
		return Window{}, fmt.Errorf("%w: a window without a period; give one of %s", ErrInvalidSetting, strings.Join(periodNames[1:], ", "))
	case int(w.Period) >= len(periodNames):
		return Window{}, fmt.Errorf("%w: unknown period %d; give one of %s", ErrInvalidSetting, w.Period, strings.Join(periodNames[1:], ", "))
	case w.Day != 0 && w.Period != Month:
		return Window{}, fmt.Errorf("%w: day %d of a window by the %s; only a month has a first day", ErrInvalidSetting, w.Day, w.Period)
	case w.Period == Month && (w.Day < 1 || w.Day > 28):
		return Window{}, fmt.Errorf("%w: a month from day %d; give 1 to 28, which each month has", ErrInvalidSetting, w.Day)
	case w.Weekday != 0 && w.Period != Week:
		return Window{}, fmt.Errorf("%w: %s as the first day of a window by the %s; only a week has a first weekday", ErrInvalidSetting, w.Weekday, w.Period)
	case w.Weekday < time.Sunday || w.Weekday > time.Saturday:
		return Window{}, fmt.Errorf("%w: a week from weekday %d; give 0 (Sunday) to 6", ErrInvalidSetting, int(w.Weekday))
	case w.Amount < 0:
		return Window{}, fmt.Errorf("%w: a window's amount of %s; give 0 or more", ErrInvalidSetting, wording.Count(w.Amount, "microcent"))
	case w.Carry < 0:
		return Window{}, fmt.Errorf("%w: a carry-over of %s; give 0 or more, or CarryAll", ErrInvalidSetting, wording.Count(w.Carry, "microcent"))
	}
	_, err := w.location()
	return w, err
}

// zones has the time zones that were loaded, by name. An account's window finds its zone here for
// as long as the process lives, whatever becomes of the files of the database.
var zones sync.Map

// location returns the window's time zone. "Local" is none: the nodes of a fleet may differ in it.
func (w Window) location() (*time.Location, error) {
	if w.Zone == "Local" || len(w.Zone) > maxZone {
		return nil, fmt.Errorf("%w: time zone %q; give a name of the IANA database, such as Europe/Berlin", ErrInvalidSetting, w.Zone)
	}
	if zone, ok := zones.Load(w.Zone); ok {
		return zone.(*time.Location), nil //nolint:forcetypeassert // it has only these
	}
	zone, err := time.LoadLocation(w.Zone)
	if err != nil {
		return nil, fmt.Errorf("%w: time zone %q: %w; give a name of the IANA database, such as Europe/Berlin, and install tzdata or import time/tzdata", ErrInvalidSetting, w.Zone, err)
	}
	zones.Store(w.Zone, zone)
	return zone, nil
}

// Epoch is a part of time between two boundaries of a window: Start ≤ t < End. Without a
// window, or if the first one begins with the account, Start is the time since which there has
// been no boundary. End is 0 if there is no window.
type Epoch struct {
	Start Instant `json:"start,omitzero"`
	End   Instant `json:"end,omitzero"`
}

// Instant is a time in Unix milliseconds; 0 is none. In JSON it is a text of RFC 3339.
type Instant int64

// InstantOf returns t in milliseconds, or 0 for the zero time.
func InstantOf(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixMilli())
}

// Time returns the instant in UTC, or the zero time for 0.
func (i Instant) Time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(i)).UTC()
}

// String returns the instant as in JSON, "" for 0.
func (i Instant) String() string {
	if i == 0 {
		return ""
	}
	return i.Time().Format(time.RFC3339Nano)
}

// MarshalText returns the instant in RFC 3339.
func (i Instant) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText parses RFC 3339, or "" as 0.
func (i *Instant) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*i = 0
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	*i = InstantOf(t)
	return err
}

// Boundaries returns the first n boundaries after a time, in UTC. The error is
// ErrInvalidSetting for a window that an account can't have.
func (w Window) Boundaries(after time.Time, n int) (boundaries []time.Time, err error) {
	c, err := w.calendar()
	if err != nil {
		return nil, err
	}
	for range n {
		after = c.next(after)
		boundaries = append(boundaries, after.UTC())
	}
	return boundaries, nil
}

// storedBoundaries is the number of boundaries ahead that a Renewal has.
const storedBoundaries = 8

// Renewal is the boundaries after a time, for engines: the first of those that have passed, the
// last of them, and the next eight. Omitted is the number of boundaries between the first two.
type Renewal struct {
	Boundaries []int64 // Unix ms, ascending
	Omitted    int64
}

// Renewal returns the boundaries after mark, with the next eight after now, both in Unix ms.
func (w Window) Renewal(mark, now int64) (r Renewal, err error) {
	c, err := w.calendar()
	if err != nil {
		return Renewal{}, err
	}
	passed := int64(0)
	for t := time.UnixMilli(mark); len(r.Boundaries) < storedBoundaries+int(min(passed, 2)); {
		t = c.next(t)
		at := t.UnixMilli()
		if at <= now {
			if passed++; passed > 2 {
				r.Boundaries[1] = at
				r.Omitted++
				continue
			}
		}
		r.Boundaries = append(r.Boundaries, at)
	}
	return r, nil
}

// Passes returns what an epoch with this remaining amount passes on to the next one after a
// number of epochs without an operation, for engines.
func (w Window) Passes(remaining Microcents, skipped int64) Microcents {
	hi, lo := bits.Mul64(uint64(skipped), uint64(w.Amount)) //nolint:gosec // neither is negative
	lo, carry := bits.Add64(lo, uint64(remaining), 0)       //nolint:gosec // its 64 bits
	hi += carry
	if remaining < 0 {
		hi-- // the sign
	}
	if hi == 0 && lo <= math.MaxInt64 || hi == math.MaxUint64 {
		return min(w.Carry, Microcents(lo)) //nolint:gosec // fits
	}
	return w.Carry
}

// ErrNoEpoch is wrapped by the error of a Balance of an epoch that the account doesn't keep.
var ErrNoEpoch = errors.New("no such epoch is kept")

// BalanceOption configures one Balance.
type BalanceOption func(*BalanceOptions)

// BalanceOptions are the options of a Balance, for engines.
type BalanceOptions struct {
	At    Instant
	Limit Period
}

// AtEpoch makes Balance return the terms of the epoch that contained t, of the current one or of
// an ended one that is kept; see [Window]. The error is ErrNoEpoch if there is none.
func AtEpoch(t time.Time) BalanceOption {
	return func(o *BalanceOptions) { o.At = InstantOf(t) }
}

// ApplyBalance applies the options, for engines. A nil option is an error.
func ApplyBalance(opts []BalanceOption) (o BalanceOptions, err error) {
	for i, opt := range opts {
		if opt == nil {
			return BalanceOptions{}, fmt.Errorf("option %d is nil: leave it out", i+1)
		}
		opt(&o)
	}
	if int(o.Limit) >= len(periodNames) {
		return BalanceOptions{}, fmt.Errorf("%w: the balance of a limit by %s; give one of %s", ErrInvalidSetting, o.Limit, strings.Join(periodNames[1:], ", "))
	}
	return o, nil
}
