package store

import (
	"fmt"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// Epochs are the part of an account's record that a window adds to its settings. Times are
// Unix ms.
type Epochs struct {
	Start int64   // of the current epoch
	Mark  int64   // from which boundaries are missing
	Ahead []int64 // boundaries, ascending
	Kept  []int64 // starts of the ended epochs that are kept, descending
	Ended budget.Microcents
	// Ring has the committed amount of each part of a rolling window, the oldest first. Mark is the start
	// of the last part.
	Ring []budget.Microcents
}

// Epoch returns the current epoch. A rolling window has none.
func (e *Epochs) Epoch() budget.Epoch {
	if len(e.Ring) > 0 {
		return budget.Epoch{}
	}
	epoch := budget.Epoch{Start: budget.Instant(e.Start)}
	if len(e.Ahead) > 0 {
		epoch.End = budget.Instant(e.Ahead[0])
	}
	return epoch
}

// Overdue reports whether the current epoch has ended by now, so that the next operation begins
// another.
func (e *Epochs) Overdue(now int64) bool {
	return e != nil && len(e.Ahead) > 0 && e.Ahead[0] <= now
}

// Behind reports whether the account's epoch has ended by now, or its end isn't known yet, or
// parts of its rolling window have left, so that the next operation changes the record first.
func (a Account) Behind(now int64) bool {
	if parts, length := a.Settings.Window.Period.Parts(); parts > 0 {
		return a.Epochs.Mark+length.Milliseconds() <= now
	}
	return a.Epochs.Overdue(now) || a.Settings.Window.Period != budget.NoPeriod && len(a.Epochs.Ahead) == 0
}

// PartEnd returns when a part of a rolling window, counted from 0, leaves it.
func (e *Epochs) PartEnd(p budget.Period, place int) int64 {
	_, length := p.Parts()
	return e.Mark + int64(place+1)*length.Milliseconds()
}

// describe sets what a balance has of its account's epochs.
func (e *Epochs) describe(b *budget.Balance) {
	if e != nil {
		b.Epoch, b.Ended = e.Epoch(), e.Ended
	}
}

// calendar takes the period and the first day of a window off a record.
func (r *reader) calendar() (w budget.Window) {
	w.Period = budget.Period(r.uint(1)) //nolint:gosec // as wide
	first := int(r.uint(1))             //nolint:gosec // as wide
	if w.Period == budget.Week {
		w.Weekday = time.Weekday(first)
	} else {
		w.Day = first
	}
	return w
}

// epochs takes a window and its epochs off a record.
func (r *reader) epochs() (w budget.Window, e *Epochs, err error) {
	if len(r.rest) < luascripts.WindowBytes {
		return w, nil, fmt.Errorf("%w: window of %d bytes, want at least %d", ErrDamaged, len(r.rest), luascripts.WindowBytes)
	}
	w = r.calendar()
	w.Carry, w.Amount = r.amount(), r.amount()
	e = &Epochs{Start: r.time(), Mark: r.time(), Ended: r.amount()}
	zone := int(r.uint(1))                        //nolint:gosec // 8 bits
	ahead, kept := int(r.uint(1)), int(r.uint(2)) //nolint:gosec // 16 bits
	if len(r.rest) < zone+6*(ahead+kept) {
		return w, nil, fmt.Errorf("%w: window cut short", ErrDamaged)
	}
	w.Zone = r.text(zone)
	for range ahead {
		e.Ahead = append(e.Ahead, r.time())
	}
	for range kept {
		e.Kept = append(e.Kept, r.time())
	}
	if parts, _ := w.Period.Parts(); parts > 0 {
		if len(r.rest) < 8*(parts+1) {
			return w, nil, fmt.Errorf("%w: rolling window cut short", ErrDamaged)
		}
		for range parts + 1 {
			e.Ring = append(e.Ring, r.amount())
		}
	}
	return w, e, e.check(w)
}

// check returns nil for a window that nodes write.
func (e *Epochs) check(w budget.Window) error {
	if w.Carry < 0 || w.Amount < 0 || e.Ended < 0 {
		return fmt.Errorf("%w: window with a negative amount", ErrDamaged)
	}
	if w.Period > budget.Last30Days {
		return fmt.Errorf("%w: window of unknown period %d", ErrDamaged, w.Period)
	}
	if w.Period.Rolling() {
		return e.checkRing(w)
	}
	last := e.Start
	for _, at := range e.Ahead {
		if at <= last {
			return fmt.Errorf("%w: boundary %d of a window after %d", ErrDamaged, at, last)
		}
		last = at
	}
	if e.Mark < last {
		return fmt.Errorf("%w: boundaries are missing from %d, but %d is known", ErrDamaged, e.Mark, last)
	}
	return e.checkKept()
}

func (e *Epochs) checkKept() error {
	last := e.Start
	for _, at := range e.Kept {
		if at >= last {
			return fmt.Errorf("%w: ended epoch from %d, before another from %d", ErrDamaged, at, last)
		}
		last = at
	}
	return nil
}

// checkRing returns nil for a rolling window that nodes write.
func (e *Epochs) checkRing(w budget.Window) error {
	_, length := w.Period.Parts()
	if e.Mark%length.Milliseconds() != 0 || len(e.Ahead) > 0 {
		return fmt.Errorf("%w: rolling window whose last part begins at %d, with %d boundaries", ErrDamaged, e.Mark, len(e.Ahead))
	}
	for _, amount := range e.Ring {
		if amount < 0 {
			return fmt.Errorf("%w: rolling window with a negative amount", ErrDamaged)
		}
	}
	return e.checkKept()
}

// Contains reports whether an account's ring adds up to its committed amount; without a
// rolling window it does.
func (e *Epochs) Contains(committed budget.Microcents) bool {
	if e == nil || len(e.Ring) == 0 {
		return true
	}
	for _, amount := range e.Ring {
		if committed -= amount; committed < 0 {
			return false // it would wrap
		}
	}
	return committed == 0
}

// EndedEpoch is the record of an ended epoch.
type EndedEpoch struct {
	Granted, Remaining, Reserved, Committed budget.Microcents

	Moved budget.Microcents // the amount passed on, below 0 for debt
	End   int64
}

// ParseEpoch reads the record of an ended epoch.
func ParseEpoch(record string) (e EndedEpoch, err error) {
	if len(record) != luascripts.EpochBytes {
		return e, fmt.Errorf("%w: epoch of %d bytes, want %d", ErrDamaged, len(record), luascripts.EpochBytes)
	}
	r := reader{record}
	e = EndedEpoch{Granted: r.amount(), Remaining: r.amount(), Reserved: r.amount(), Committed: r.amount(), Moved: r.amount(), End: r.time()}
	if a := (Account{Granted: e.Granted, Remaining: e.Remaining, Reserved: e.Reserved, Committed: e.Committed}); !a.Balanced() || e.Remaining < 0 {
		return e, fmt.Errorf("%w: ended epoch with remaining %d, reserved %d, committed %d, granted %d", ErrDamaged, e.Remaining, e.Reserved, e.Committed, e.Granted)
	}
	return e, nil
}

// appendCalendar adds a window's period, its first day, and the length of its zone.
func (e *Encoder) appendCalendar(w *budget.Window) {
	first := w.Day
	if w.Period == budget.Week {
		first = int(w.Weekday)
	}
	e.arguments = append(e.arguments, byte(w.Period), byte(first), byte(len(w.Zone))) //nolint:gosec // validated
}

// appendWindow adds a window's change to an operation.
func (e *Encoder) appendWindow(w *budget.Window) {
	e.appendCalendar(w)
	e.Amount(w.Carry)
	e.Amount(w.Amount)
	e.arguments = append(e.arguments, w.Zone...)
}

// Renewal adds the boundaries of a window after a mark to the operation.
func (e *Encoder) Renewal(w *budget.Window, mark int64, r *budget.Renewal) {
	e.Time(mark)
	e.arguments = appendUint(e.arguments, uint64(r.Omitted), 4) //nolint:gosec // not negative
	e.appendCalendar(w)
	e.arguments = append(e.arguments, byte(len(r.Boundaries))) //nolint:gosec // at most 10
	e.arguments = append(e.arguments, w.Zone...)
	for _, at := range r.Boundaries {
		e.Time(at)
	}
}

// WindowAhead is the part of a reply about the window of one of the batch's accounts.
type WindowAhead struct {
	Account int
	Next    int64 // boundary; 0 if it isn't known
	// Mark is the time from which boundaries are missing, and Window their calendar.
	Mark   int64
	Window budget.Window
}

// lateSettle is the remaining amount of an account after a settle into an ended epoch of it.
type lateSettle struct {
	operation, account int
	remaining          budget.Microcents
}

// windows takes the windows of a batch's accounts off a reply.
func (r *Reply) windows() {
	v := &r.values
	if !r.has(1) {
		return
	}
	for range v.uint(1) {
		if !r.has(7) {
			return
		}
		ahead := WindowAhead{Account: int(v.uint(1)) - 1, Next: v.time()} //nolint:gosec // 8 bits
		if ahead.Next == 0 {
			if !r.has(9) {
				return
			}
			ahead.Mark = v.time()
			ahead.Window = v.calendar()
			zone := int(v.uint(1)) //nolint:gosec // 8 bits
			if !r.has(zone) {
				return
			}
			ahead.Window.Zone = v.text(zone)
		}
		r.Windows = append(r.Windows, ahead)
	}
	if !r.has(2) {
		return
	}
	for range v.uint(2) {
		if !r.has(11) {
			return
		}
		r.late = append(r.late, lateSettle{int(v.uint(2)), int(v.uint(1)) - 1, v.amount()}) //nolint:gosec // 16 bits
	}
}

// Renews returns when an account's window renews its budget, or 0.
func (r *Reply) Renews(account int) budget.Instant {
	for i := range r.Windows {
		if r.Windows[i].Account == account {
			return budget.Instant(r.Windows[i].Next)
		}
	}
	return 0
}

// LateRemaining returns what remained of an account after an operation, if that settled into an
// ended epoch of the account.
func (r *Reply) LateRemaining(operation, account int) (remaining budget.Microcents, ok bool) {
	for _, s := range r.late {
		if s.operation == operation && s.account == account {
			return s.remaining, true
		}
	}
	return 0, false
}

// Epoch returns the next value, the terms of an epoch.
func (r *Reply) Epoch() (b budget.Balance) {
	if !r.has(44) {
		return b
	}
	v := &r.values
	b = budget.Balance{Outcome: budget.Found, Granted: v.amount(), Remaining: v.amount(), Reserved: v.amount(), Committed: v.amount()}
	b.Epoch = budget.Epoch{Start: budget.Instant(v.time()), End: budget.Instant(v.time())}
	return b
}

func (r *reader) time() int64 { return int64(r.uint(6)) } //nolint:gosec // 48 bits

func (r *reader) text(bytes int) string {
	text := r.rest[:bytes]
	r.rest = r.rest[bytes:]
	return text
}
