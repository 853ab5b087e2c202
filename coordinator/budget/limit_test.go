package budget

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPeriods(t *testing.T) {
	t.Parallel()
	s := Periods(0).With(Month).With(Day).With(Last30Days).With(NoPeriod)
	if got := s.All(); !slices.Equal(got, []Period{Day, Month, Last30Days}) || s.Len() != 3 || s.String() != "day,month,30d" {
		t.Errorf("the set is %s: %d periods, %v", s, s.Len(), got)
	}
	if s.Has(Hour) || s.Has(NoPeriod) || !s.Has(Day) || s.Without(Day).Has(Day) || s.Without(NoPeriod) != s {
		t.Errorf("wrong members of %s", s)
	}
	text, err := json.Marshal(s)
	if err != nil || string(text) != `["day","month","30d"]` {
		t.Errorf("in JSON %s, %v", text, err)
	}
	var parsed Periods
	if err := json.Unmarshal(text, &parsed); err != nil || parsed != s {
		t.Errorf("parsed %s, %v", parsed, err)
	}
	if err := json.Unmarshal([]byte(`["year"]`), &parsed); !errors.Is(err, ErrInvalidSetting) {
		t.Errorf("an unknown period: %v", err)
	}
}

func TestLimitChanges(t *testing.T) {
	t.Parallel()
	day := Limit{Window: Window{Period: Day, Amount: 20}, Overdraft: 5}
	c, err := NewChange(SetLimit(Limit{Window: Window{Period: Last7Days, Amount: 90}}), RemoveLimit(Hour), SetLimit(day))
	if err != nil {
		t.Fatal(err)
	}
	day.Window.Zone = "UTC"
	want := []LimitChange{
		{Limit: Limit{Window: Window{Period: Hour}}, Remove: true}, {Limit: day}, {Limit: Limit{Window: Window{Period: Last7Days, Amount: 90}}},
	}
	if !slices.Equal(c.Limits, want) || c.IsZero() {
		t.Errorf("the change is %v, want %v", c.Limits, want)
	}
	before := Settings{Limits: Periods(0).With(Hour).With(Month)}
	if after := c.Apply(before); after.Limits != Periods(0).With(Day).With(Month).With(Last7Days) {
		t.Errorf("after the change: %s", after.Limits)
	}
}

func TestInvalidLimits(t *testing.T) {
	t.Parallel()
	set := func(l Limit) []Setting { return []Setting{SetLimit(l)} }
	day := Limit{Window: Window{Period: Day, Amount: 1}}
	var five []Setting
	for p := Hour; p <= Last24Hours; p++ {
		five = append(five, SetLimit(Limit{Window: Window{Period: p, Amount: 1}}))
	}
	for name, c := range map[string]struct {
		settings []Setting
		is       error
		text     string
	}{
		"no period":         {set(Limit{}), ErrInvalidSetting, "a limit without a period"},
		"an amount alone":   {set(Limit{Window: Window{Amount: 1}}), ErrInvalidSetting, "without a period"},
		"no amount":         {set(Limit{Window: Window{Period: Day}}), ErrInvalidSetting, "a limit by day without an amount"},
		"an amount below 0": {set(Limit{Window: Window{Period: Day, Amount: -1}}), ErrInvalidSetting, "amount of -1 microcents"},
		"a rolling one":     {set(Limit{Window: Window{Period: Last24Hours, Amount: -1}}), ErrInvalidSetting, "an amount"},
		"day 29":            {set(Limit{Window: Window{Period: Month, Amount: 1, Day: 29}}), ErrInvalidSetting, "day 29"},
		"a weekday of days": {set(Limit{Window: Window{Period: Day, Amount: 1, Weekday: time.Monday}}), ErrInvalidSetting, "Monday"},
		"negative":          {set(Limit{Window: day.Window, Overdraft: -1}), ErrInvalidSetting, "an overdraft of -1 microcents for the limit by day"},
		"overflow":          {set(Limit{Window: day.Window, Overdraft: MaxMicrocents}), ErrOverflow, "lower one of them"},
		"twice":             {append(set(day), SetLimit(day)), ErrInvalidSetting, "the limit by day is set or removed twice"},
		"set and removed":   {append(set(day), RemoveLimit(Day)), ErrInvalidSetting, "set or removed twice"},
		"remove none":       {[]Setting{RemoveLimit(NoPeriod)}, ErrInvalidSetting, "a limit by none"},
		"remove unknown":    {[]Setting{RemoveLimit(8)}, ErrInvalidSetting, "a limit by period(8)"},
		"five":              {five, ErrTooManyLimits, "5; a tenant can have 4 beside its base limit"},
	} {
		change, err := NewChange(c.settings...)
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) || !change.IsZero() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ApplyBalance([]BalanceOption{OfLimit(8)}); !errors.Is(err, ErrInvalidSetting) {
		t.Errorf("the balance of an unknown limit: %v", err)
	}
}
