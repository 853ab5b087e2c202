package cli

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
)

// The amount of a rolling window changes granted at once, up and down; that of one of the
// calendar only up.
func TestGrantOfWindow(t *testing.T) {
	t.Parallel()
	hour, rolling := budget.Window{Period: budget.Hour, Amount: 10}, budget.Window{Period: budget.Last24Hours, Amount: 10}
	for _, c := range []struct {
		name           string
		granted        budget.Microcents
		present        budget.Window
		period         budget.Period
		amount         budget.Microcents
		want, ofWindow budget.Microcents
	}{
		{"a first window", 30, budget.Window{}, budget.Hour, 0, 30, 30},
		{"a first window after debt", -30, budget.Window{}, budget.Hour, 0, -30, 0},
		{"a first rolling window", 30, budget.Window{}, budget.Last7Days, 0, 30, 30},
		{"a larger first amount", 30, budget.Window{}, budget.Hour, 40, 40, 40},
		{"a larger first amount after debt", -30, budget.Window{}, budget.Hour, 40, 40, 40},
		{"a smaller first amount", 30, budget.Window{}, budget.Hour, 20, 30, 20},
		{"a smaller first amount of a rolling window", 30, budget.Window{}, budget.Last7Days, 20, 20, 20},
		{"a first amount after debt", -30, budget.Window{}, budget.Last7Days, budget.MaxMicrocents, budget.MaxMicrocents, budget.MaxMicrocents},
		{"a larger amount", 30, hour, budget.Hour, 15, 35, 15},
		{"a smaller amount", 30, hour, budget.Hour, 5, 30, 5},
		{"a larger amount of a rolling window", 30, rolling, budget.Last24Hours, 15, 35, 15},
		{"a smaller amount of a rolling window", 3, rolling, budget.Last24Hours, 5, -2, 5},
		{"a smaller amount from the calendar on", 30, hour, budget.Last24Hours, 5, 25, 5},
		{"a smaller amount to the calendar", 30, rolling, budget.Hour, 5, 30, 5},
		{"the same amount", 30, rolling, budget.Last24Hours, 10, 30, 10},
	} {
		w := budget.Window{Period: c.period, Amount: c.amount}
		b := budget.Balance{Outcome: budget.Found, Granted: c.granted, Settings: budget.Settings{Window: c.present}}
		if got, err := grant(&w, b); err != nil || got != c.want || w.Amount != c.ofWindow {
			t.Errorf("%s: granted %d with %+v, %v; want %d and %d", c.name, got, w, err, c.want, c.ofWindow)
		}
	}
	w := budget.Window{Period: budget.Last24Hours, Amount: budget.MaxMicrocents}
	b := budget.Balance{Outcome: budget.Found, Granted: 30, Settings: budget.Settings{Window: rolling}}
	if got, err := grant(&w, b); !errors.Is(err, budget.ErrOverflow) {
		t.Errorf("an enormous amount: %d, %v", got, err)
	}
}

// A preview has the returns of a window that stays, and one return of all else.
func TestPreviewOfReturns(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, time.March, 1, 10, 30, 0, 0, time.UTC)
	in := func(d time.Duration) budget.Instant { return budget.InstantOf(now.Add(d)) }
	stored := []audit.Return{{At: in(-30 * time.Minute), Amount: 1}, {At: in(0), Amount: 2}, {At: in(30 * time.Minute), Amount: 3}, {At: in(20 * time.Hour), Amount: 4}}
	for _, c := range []struct {
		name            string
		present, period budget.Period
		end             budget.Instant
		committed       budget.Microcents
		want            []audit.Return
	}{
		{"a new tenant", budget.NoPeriod, budget.Last24Hours, 0, 0, nil},
		{"a first window", budget.NoPeriod, budget.Last24Hours, 0, 5, []audit.Return{{At: in(24*time.Hour + 30*time.Minute), Amount: 5}}},
		{"the same window", budget.Last24Hours, budget.Last24Hours, 0, 10, stored[2:]},
		{"another window", budget.Last24Hours, budget.Last7Days, 0, 10, []audit.Return{{At: in(7*24*time.Hour + 90*time.Minute), Amount: 7}}},
		{"after an epoch", budget.Day, budget.Last30Days, in(time.Minute), 5, []audit.Return{{At: in(30*24*time.Hour + 810*time.Minute), Amount: 5}}},
		{"after an epoch that has ended", budget.Day, budget.Last30Days, in(0), 5, nil},
	} {
		var returns []audit.Return
		if c.present.Rolling() {
			returns = slices.Clone(stored)
		}
		p := previewTerms{Settings: budget.Settings{Window: budget.Window{Period: c.period}}}
		p.roll(budget.Balance{Committed: c.committed, Settings: budget.Settings{Window: budget.Window{Period: c.present}}, Epoch: budget.Epoch{End: c.end}}, returns, now)
		if _, length := c.period.Parts(); !slices.Equal(p.Returns, c.want) || p.PartSeconds != int64(length.Seconds()) {
			t.Errorf("%s: %+v of %d s, want %+v", c.name, p.Returns, p.PartSeconds, c.want)
		}
	}
}

// The oldest holds, which reserve Ended together, are of ended epochs, also with a rolling window.
func TestHoldsOfEndedEpochs(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time { return time.Date(2026, time.March, 1, 10, minute, 0, 0, time.UTC) }
	id := func(n uint64) budget.ReservationID { return budget.NewReservationID("acme", 1, n) }
	holds := []budget.Hold{{ID: id(1), Held: 4, Made: at(9)}, {ID: id(2), Held: 2, Made: at(1)}, {ID: id(3), Held: 3, Made: at(5)}}
	for _, c := range []struct {
		ended budget.Microcents
		want  []uint64
	}{{0, nil}, {2, []uint64{2}}, {5, []uint64{2, 3}}, {9, []uint64{1, 2, 3}}} {
		got := ofEnded(budget.HoldList{Balance: budget.Balance{Ended: c.ended}, Holds: holds})
		if len(got) != len(c.want) || slices.ContainsFunc(c.want, func(n uint64) bool { return !got[id(n)] }) {
			t.Errorf("of %d: %v, want %v", c.ended, got, c.want)
		}
	}
}
