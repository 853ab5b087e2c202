package budget

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// rollingPeriods are the periods of rolling windows, with the time that each covers.
var rollingPeriods = map[Period]time.Duration{
	Last24Hours: 24 * time.Hour, Last7Days: 7 * 24 * time.Hour, Last30Days: 30 * 24 * time.Hour,
}

func TestRollingPeriods(t *testing.T) {
	t.Parallel()
	for p := range Period(255) {
		covered, rolling := rollingPeriods[p]
		parts, length := p.Parts()
		if p.Rolling() != rolling || time.Duration(parts)*length != covered || rolling != (parts > 0) {
			t.Errorf("%s: rolling %t, %d parts of %s", p, p.Rolling(), parts, length)
		}
		if rolling && length%time.Hour != 0 {
			t.Errorf("%s: parts of %s", p, length)
		}
	}
	for _, c := range []struct {
		period Period
		name   string
		parts  int
		length time.Duration
	}{{Last24Hours, "24h", 24, time.Hour}, {Last7Days, "7d", 28, 6 * time.Hour}, {Last30Days, "30d", 30, 24 * time.Hour}} {
		var read Period
		parts, length := c.period.Parts()
		if err := read.UnmarshalText([]byte(c.name)); err != nil || read != c.period || c.period.String() != c.name {
			t.Errorf("%q is %s, %v", c.name, read, err)
		}
		if parts != c.parts || length != c.length {
			t.Errorf("%s: %d parts of %s", c.period, parts, length)
		}
	}
	for _, name := range []string{"24H", "1d", "7", "168h", "rolling", "last 24h"} {
		if err := new(Period).UnmarshalText([]byte(name)); !errors.Is(err, ErrInvalidSetting) || !strings.Contains(err.Error(), "month, 24h, 7d, 30d") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestInvalidRollingWindows(t *testing.T) {
	t.Parallel()
	for p := range rollingPeriods {
		for name, w := range map[string]Window{
			"a zone":             {Period: p, Zone: "Europe/Berlin"},
			"UTC":                {Period: p, Zone: "UTC"},
			"an unknown zone":    {Period: p, Zone: "Europe/Atlantis", Amount: 5},
			"a weekday":          {Period: p, Weekday: time.Monday},
			"a day":              {Period: p, Day: 1},
			"a carry-over":       {Period: p, Carry: 1, Amount: 5},
			"all carried over":   {Period: p, Carry: CarryAll},
			"a negative carry":   {Period: p, Carry: -1},
			"a negative amount":  {Period: p, Amount: -1},
			"the least amount":   {Period: p, Amount: -MaxMicrocents - 1},
			"all that a day has": {Period: p, Zone: "UTC", Amount: 5, Carry: 5},
		} {
			change, err := NewChange(CapHold(1), InWindow(w))
			if !errors.Is(err, ErrInvalidSetting) || !strings.Contains(err.Error(), "rolling window of "+p.String()) || !change.IsZero() {
				t.Errorf("%s of %s: %+v, %v", name, p, change, err)
			}
			if boundaries, err := w.Boundaries(time.Now(), 1); !errors.Is(err, ErrInvalidSetting) || boundaries != nil {
				t.Errorf("%s of %s: %v, %v", name, p, boundaries, err)
			}
		}
	}
}

func TestRollingChanges(t *testing.T) {
	t.Parallel()
	day := Window{Period: Day, Zone: "UTC", Amount: 7, Carry: 3}
	for p := range rollingPeriods {
		rolls := Window{Period: p, Amount: 9}
		for name, c := range map[string]struct{ before, set, want Window }{
			"the first":          {Window{}, rolls, rolls},
			"the first, without": {Window{}, Window{Period: p}, Window{Period: p}},
			"the largest amount": {Window{}, Window{Period: p, Amount: MaxMicrocents}, Window{Period: p, Amount: MaxMicrocents}},
			"after a day":        {day, Window{Period: p}, Window{Period: p, Amount: 7}},
			"before a day":       {rolls, Window{Period: Day}, Window{Period: Day, Zone: "UTC", Amount: 9}},
			"keeps the amount":   {rolls, Window{Period: p}, rolls},
			"another amount":     {rolls, Window{Period: p, Amount: 1}, Window{Period: p, Amount: 1}},
			"removed":            {rolls, Window{}, Window{}},
		} {
			change, err := NewChange(InWindow(c.set))
			if got := change.Apply(Settings{Overdraft: 1, Window: c.before}); err != nil || got != (Settings{Overdraft: 1, Window: c.want}) {
				t.Errorf("%s, %s: %+v, %v; want %+v", name, p, got, err, c.want)
			}
		}
	}
}

// TestRollingBoundaries checks that a rolling window has none.
func TestRollingBoundaries(t *testing.T) {
	t.Parallel()
	for p := range rollingPeriods {
		for _, w := range []Window{{Period: p}, {Period: p, Amount: 5}} {
			if boundaries, err := w.Boundaries(time.UnixMilli(1_772_366_400_999), 3); !errors.Is(err, ErrInvalidSetting) || boundaries != nil {
				t.Errorf("%s: %v, %v", p, boundaries, err)
			}
			if r, err := w.Renewal(0, 1_772_366_400_999); !errors.Is(err, ErrInvalidSetting) || len(r.Boundaries) > 0 || r.Omitted != 0 {
				t.Errorf("%s: %+v, %v", p, r, err)
			}
		}
	}
}

func TestEnsureInRollingWindow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		window            Window
		budget, overdraft Microcents
		want              error
	}{
		{Window{Period: Last24Hours}, 100, 0, nil},
		{Window{Period: Last24Hours, Amount: 100}, 100, 0, nil},
		{Window{Period: Last7Days}, 0, 0, nil},
		{Window{Period: Last7Days, Amount: 99}, 100, 0, ErrInvalidSetting},
		{Window{Period: Last7Days, Amount: 101}, 100, 0, ErrInvalidSetting},
		{Window{Period: Last30Days, Amount: 1}, 0, 0, ErrInvalidSetting},
		{Window{Period: Last30Days, Amount: MaxMicrocents}, 1, MaxMicrocents, ErrInvalidSetting},
		{Window{Period: Last30Days, Amount: 2}, 2, MaxMicrocents - 2, nil},
		{Window{Period: Last30Days, Amount: 2}, 2, MaxMicrocents - 1, ErrOverflow},
		{Window{Period: Last24Hours}, 2, MaxMicrocents - 1, ErrOverflow},
		{Window{Period: Last24Hours}, MaxMicrocents, 0, nil},
		{Window{Period: Day, Amount: 99}, 100, 0, nil},
		{Window{Period: Day, Amount: 101}, 100, MaxMicrocents - 101, nil},
		{Window{Period: Day, Amount: 101}, 100, MaxMicrocents - 100, ErrOverflow},
		{Window{Period: Day, Amount: 99}, 100, MaxMicrocents - 99, ErrOverflow},
		{Window{}, 100, MaxMicrocents - 100, nil},
	} {
		change, err := NewChange(InWindow(c.window), Overdraft(c.overdraft))
		if err != nil {
			t.Fatal(err)
		}
		err = change.ValidateEnsure("acme", c.budget)
		if !errors.Is(err, c.want) || c.want != nil && !strings.Contains(err.Error(), `"acme"`) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestRollingWindowsAsJSON(t *testing.T) {
	t.Parallel()
	renews := InstantOf(time.Date(2026, 3, 2, 13, 0, 0, 0, time.UTC))
	for _, c := range []struct {
		value any
		want  string
	}{
		{Window{Period: Last24Hours, Amount: 5}, `{"period":"24h","amount":5}`},
		{Window{Period: Last30Days}, `{"period":"30d"}`},
		{
			Balance{Outcome: Found, Granted: 4, Remaining: -6, Committed: 10, Settings: Settings{Window: Window{Period: Last7Days, Amount: 4}}, Ended: 3},
			`{"outcome":"found","granted":4,"remaining":-6,"reserved":0,"committed":10,"settings":{"window":{"period":"7d","amount":4}},"ended":3}`,
		},
		{Remainder{Outcome: Found, Remaining: 3, Renews: renews}, `{"outcome":"found","remaining":3,"renews":"2026-03-02T13:00:00Z"}`},
	} {
		if text, err := json.Marshal(c.value); err != nil || string(text) != c.want {
			t.Errorf("%T is %s, %v; want %s", c.value, text, err, c.want)
		}
	}
	for p := range rollingPeriods {
		var back Window
		w := Window{Period: p, Amount: MaxMicrocents}
		text, err := json.Marshal(w)
		if err != nil || json.Unmarshal(text, &back) != nil || back != w {
			t.Errorf("%s is %+v, %v", text, back, err)
		}
	}
	if names := slices.Sorted(slices.Values(periodNames[Last24Hours:])); !slices.Equal(names, []string{"24h", "30d", "7d"}) {
		t.Errorf("the last periods are %q", names)
	}
}
