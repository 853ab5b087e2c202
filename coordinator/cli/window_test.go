package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// A dry run shows the first instant of a date whose midnight is missing or occurs twice.
func TestPreviewOfBoundaries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		window budget.Window
		after  string
		want   string
	}{
		{"a missing midnight", budget.Window{Period: budget.Day, Zone: "America/Sao_Paulo"}, "2018-11-02T12:00:00Z", `
boundaries 2018-11-03 00:00:00 -03:00  2018-11-03T03:00:00Z
           2018-11-04 01:00:00 -02:00  2018-11-04T03:00:00Z
           2018-11-05 00:00:00 -02:00  2018-11-05T02:00:00Z`},
		{"the hour before midnight twice", budget.Window{Period: budget.Day, Zone: "America/Sao_Paulo"}, "2018-02-16T12:00:00Z", `
boundaries 2018-02-17 00:00:00 -02:00  2018-02-17T02:00:00Z
           2018-02-18 00:00:00 -03:00  2018-02-18T03:00:00Z
           2018-02-19 00:00:00 -03:00  2018-02-19T03:00:00Z`},
		{"midnight twice", budget.Window{Period: budget.Day, Zone: "America/Havana"}, "2018-11-02T12:00:00Z", `
boundaries 2018-11-03 00:00:00 -04:00  2018-11-03T04:00:00Z
           2018-11-04 00:00:00 -04:00  2018-11-04T04:00:00Z
           2018-11-05 00:00:00 -05:00  2018-11-05T05:00:00Z`},
		{"a week that begins without a midnight", budget.Window{Period: budget.Week, Zone: "America/Sao_Paulo"}, "2018-11-02T12:00:00Z", `
boundaries 2018-11-04 01:00:00 -02:00  2018-11-04T03:00:00Z
           2018-11-11 00:00:00 -02:00  2018-11-11T02:00:00Z`},
		{"a month", budget.Window{Period: budget.Month, Day: 5}, "2018-11-05T00:00:00Z", `
boundaries 2018-12-05 00:00:00 +00:00  2018-12-05T00:00:00Z`},
	} {
		after, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		boundaries, err := boundariesOf(c.window, after)
		if err != nil || len(boundaries) != previewBoundaries {
			t.Fatalf("%s: %d boundaries, %v", c.name, len(boundaries), err)
		}
		var text strings.Builder
		preview{Tenant: "acme", previewTerms: previewTerms{Boundaries: boundaries}}.print(&text)
		if !strings.Contains(text.String(), c.want+"\n") {
			t.Errorf("%s: %s\nwant %s", c.name, text.String(), c.want)
		}
	}
	if boundaries, err := boundariesOf(budget.Window{}, time.Now()); err != nil || len(boundaries) != 0 {
		t.Errorf("without a window there are %v, %v", boundaries, err)
	}
}

// A date is the first instant that the zone's clock shows it, or a later date if it is missing.
func TestDateOfEpoch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, zone, want string }{
		{"2026-03-01T12:00:00Z", "Europe/Berlin", "2026-03-01T12:00:00Z"},
		{"2026-03-01T12:00:00.5+01:00", "", "2026-03-01T11:00:00.5Z"},
		{"2026-03-01", "", "2026-03-01T00:00:00Z"},
		{"2026-03-01", "Europe/Berlin", "2026-02-28T23:00:00Z"},
		{"2026-03-01", "Pacific/Kiritimati", "2026-02-28T10:00:00Z"},
		{"2026-03-01", "Pacific/Pago_Pago", "2026-03-01T11:00:00Z"},
		{"2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00Z"},
		{"2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00Z"}, // begins as the 31st
	} {
		e, err := parseEpochTime(c.text)
		if err != nil {
			t.Fatal(err)
		}
		at, err := e.in(budget.Window{Period: budget.Week, Zone: c.zone})
		if got := at.UTC().Format(time.RFC3339Nano); err != nil || got != c.want {
			t.Errorf("%s in %q is %s, %v; want %s", c.text, c.zone, got, err, c.want)
		}
	}
	for _, text := range []string{"", "yesterday", "2026-03", "2026-02-30", "12:00", "2026-03-01 12:00:00", "1772366400"} {
		if e, err := parseEpochTime(text); err == nil {
			t.Errorf("%q is %+v", text, e)
		}
	}
}

func TestWindowText(t *testing.T) {
	t.Parallel()
	for want, w := range map[string]budget.Window{
		"the last 30d, $1.00":            {Period: budget.Last30Days, Amount: budget.Dollar},
		"by the hour in UTC, $1.00 each": {Period: budget.Hour, Amount: budget.Dollar},
		"by the week from Sunday in UTC, $1.00 each, all that remains passes on":      {Period: budget.Week, Amount: budget.Dollar, Carry: budget.CarryAll},
		"by the month from day 1 in Europe/Berlin, $1.00 each, up to $0.01 passes on": {Period: budget.Month, Zone: "Europe/Berlin", Amount: budget.Dollar, Carry: budget.Cent},
	} {
		if got := windowText(w); got != want {
			t.Errorf("%+v is %q, want %q", w, got, want)
		}
	}
}

// A change of one part of a window leaves the others; a day of the week or the month goes with
// its period.
func TestChangeOfWindow(t *testing.T) {
	t.Parallel()
	weekly := budget.Window{Period: budget.Week, Zone: "Europe/Berlin", Weekday: time.Friday, Amount: budget.Dollar, Carry: budget.Cent}
	rolling := budget.Window{Period: budget.Last24Hours, Amount: budget.Cent}
	with := func(change func(*budget.Window)) budget.Window {
		w := weekly
		change(&w)
		return w
	}
	for _, c := range []struct {
		name    string
		change  windowChange
		present budget.Window
		want    budget.Window
		err     string
	}{
		{"nothing", windowChange{}, weekly, weekly, ""},
		{"the zone", windowChange{zone: "UTC"}, weekly, with(func(w *budget.Window) { w.Zone = "UTC" }), ""},
		{"no carry", windowChange{setCarry: true}, weekly, with(func(w *budget.Window) { w.Carry = 0 }), ""},
		{"the amount", windowChange{amount: 7}, weekly, with(func(w *budget.Window) { w.Amount = 7 }), ""},
		{"the weekday", windowChange{setWeekday: true, weekday: time.Sunday}, weekly, with(func(w *budget.Window) { w.Weekday = time.Sunday }), ""},
		{"the same period", windowChange{period: budget.Week}, weekly, weekly, ""},
		{"a day", windowChange{period: budget.Day}, weekly, with(func(w *budget.Window) { w.Period, w.Weekday = budget.Day, 0 }), ""},
		{"a month", windowChange{period: budget.Month, day: 3}, weekly, with(func(w *budget.Window) { w.Period, w.Weekday, w.Day = budget.Month, 0, 3 }), ""},
		{"a first window", windowChange{period: budget.Week}, budget.Window{}, budget.Window{Period: budget.Week, Weekday: time.Monday}, ""},
		{"a rolling window", windowChange{period: budget.Last7Days}, weekly, budget.Window{Period: budget.Last7Days, Amount: budget.Dollar}, ""},
		{"its first amount", windowChange{period: budget.Last7Days, amount: 7}, budget.Window{}, budget.Window{Period: budget.Last7Days, Amount: 7}, ""},
		{"its amount", windowChange{amount: 7}, rolling, budget.Window{Period: budget.Last24Hours, Amount: 7}, ""},
		{"a week after it", windowChange{period: budget.Week}, rolling, budget.Window{Period: budget.Week, Weekday: time.Monday, Amount: budget.Cent}, ""},
		{"a zone after it", windowChange{period: budget.Hour, zone: "UTC", setCarry: true, carry: 3}, rolling, budget.Window{Period: budget.Hour, Zone: "UTC", Amount: budget.Cent, Carry: 3}, ""},
		{"a zone of it", windowChange{zone: "UTC"}, rolling, budget.Window{}, "--zone: a window of the last 24h has no boundaries"},
		{"a first weekday of it", windowChange{setWeekday: true}, rolling, budget.Window{}, "--week-starts: a window of the last 24h has no first weekday"},
		{"a first day of it", windowChange{day: 1}, rolling, budget.Window{}, "--month-starts: a window of the last 24h has no first day"},
		{"a carry-over of it", windowChange{period: budget.Last30Days, setCarry: true}, weekly, budget.Window{}, "--carry: a window of the last 30d has no epochs"},
		{"an amount of none", windowChange{given: "window-amount", amount: 7}, budget.Window{}, budget.Window{}, "--window-amount: acme has no window: give --window hour, day, week, month, 24h, 7d or 30d, too"},
		{"removal", windowChange{remove: true}, weekly, budget.Window{}, ""},
		{"no window", windowChange{given: "zone", zone: "UTC"}, budget.Window{}, budget.Window{}, "--zone: acme has no window: give --window hour, day, week or month, too"},
		{"a day of a week", windowChange{day: 3}, weekly, budget.Window{}, "--month-starts: the window is by the week"},
		{"a weekday of a day", windowChange{setWeekday: true, period: budget.Day}, weekly, budget.Window{}, "--week-starts: the window is by the day"},
	} {
		got, err := c.change.apply("acme", c.present)
		if c.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.err) {
				t.Errorf("%s: %v, want %s", c.name, err, c.err)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}
