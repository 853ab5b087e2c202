package budget

import (
	"errors"
	"math"
	"slices"
	"testing"
)

func thresholds(t *testing.T, percents ...int) Thresholds {
	t.Helper()
	list, err := NewThresholds(percents...)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestThresholds(t *testing.T) {
	t.Parallel()
	all := make([]int, MaxThresholds)
	for i := range all {
		all[i] = MaxThreshold - MaxThresholds + 1 + i
	}
	for _, percents := range [][]int{{}, {1}, {50, 80, 100}, all} {
		if list := thresholds(t, percents...); !slices.Equal(list.Percents(), percents) || list.IsZero() != (len(percents) == 0) {
			t.Errorf("%v is %s", percents, list)
		}
	}
	for _, percents := range [][]int{{0}, {-1}, {MaxThreshold + 1}, {50, 50}, {80, 50}, append([]int{1}, all...)} {
		if list, err := NewThresholds(percents...); !errors.Is(err, ErrInvalidSetting) || !list.IsZero() {
			t.Errorf("%v is %s, %v", percents, list, err)
		}
	}
	if got := thresholds(t, 50, 80, 100).Beyond(thresholds(t, 50, 90)); !slices.Equal(got, []int{80, 100}) {
		t.Errorf("beyond 50 and 90: %v", got)
	}
}

// A threshold is reached at its exact amount, up to the largest amounts.
func TestThresholdsReached(t *testing.T) {
	t.Parallel()
	const largest = Microcents(math.MaxInt64)
	list := thresholds(t, 1, 50, 100, 1000)
	for _, c := range []struct {
		committed, granted Microcents
		want               []int
	}{
		{0, 0, nil}, {0, 100, nil}, {1, 0, []int{1, 50, 100, 1000}}, {-1, 0, nil},
		{1, 100, []int{1}}, {1, 101, nil}, {49, 100, []int{1}}, {50, 100, []int{1, 50}}, {50, 101, []int{1}},
		{99, 100, []int{1, 50}}, {100, 100, []int{1, 50, 100}}, {999, 100, []int{1, 50, 100}}, {1000, 100, []int{1, 50, 100, 1000}},
		{largest, largest, []int{1, 50, 100}}, {largest - 1, largest, []int{1, 50}}, {largest, 1, []int{1, 50, 100, 1000}},
		{largest / 2, largest, []int{1}}, {largest/2 + 1, largest, []int{1, 50}},
		{largest, largest/10 + 1, []int{1, 50, 100}}, {largest, largest / 10, []int{1, 50, 100, 1000}},
	} {
		if got := list.Reached(c.committed, c.granted).Percents(); !slices.Equal(got, c.want) {
			t.Errorf("%d of %d reaches %v, want %v", c.committed, c.granted, got, c.want)
		}
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	before := Settings{Overdraft: 1, CapHold: 2, CapReserved: 3, CapHolds: 4, Thresholds: thresholds(t, 50), Frozen: true}
	for name, c := range map[string]struct {
		setting Setting
		changed func(*Settings)
	}{
		"overdraft":    {Overdraft(9), func(s *Settings) { s.Overdraft = 9 }},
		"cap hold":     {CapHold(9), func(s *Settings) { s.CapHold = 9 }},
		"cap reserved": {CapReserved(0), func(s *Settings) { s.CapReserved = 0 }},
		"cap holds":    {CapHolds(MaxCapHolds), func(s *Settings) { s.CapHolds = MaxCapHolds }},
		"thresholds":   {AtThresholds(), func(s *Settings) { s.Thresholds = Thresholds{} }},
	} {
		change, err := NewChange(c.setting)
		want := before
		c.changed(&want)
		if got := change.Apply(before); err != nil || got != want || change.IsZero() {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	for name, c := range map[string]struct {
		change Change
		want   Settings
	}{
		"freeze": {ChangeFrozen, Settings{Frozen: true}}, "unfreeze": {ChangeUnfrozen, Settings{}}, "close": {ChangeClosed, Settings{Closed: true}},
	} {
		if got := c.change.Apply(Settings{}); got != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, settings := range map[string][]Setting{
		"zero": {{}}, "overdraft": {Overdraft(-1)}, "cap hold": {CapHold(-1)}, "cap reserved": {CapReserved(math.MinInt64)},
		"cap holds": {CapHolds(MaxCapHolds + 1)}, "thresholds": {Overdraft(1), AtThresholds(2, 1)},
	} {
		if change, err := NewChange(settings...); !errors.Is(err, ErrInvalidSetting) || !change.IsZero() {
			t.Errorf("%s: %+v, %v", name, change, err)
		}
	}
	if err := ValidateOverdraft("acme", 1, MaxMicrocents-1); err != nil {
		t.Error(err)
	}
	if err := ValidateOverdraft("acme", 2, MaxMicrocents-1); !errors.Is(err, ErrOverflow) {
		t.Errorf("an overdraft beyond 64 bits: %v", err)
	}
}

func TestCaps(t *testing.T) {
	t.Parallel()
	s := Settings{CapHold: 10, CapReserved: 25, CapHolds: 3}
	for _, c := range []struct {
		cost, reserved Microcents
		holds          int64
		want           Cap
		limit          int64
	}{
		{10, 15, 2, NoCap, 0}, {11, 15, 2, HoldCap, 10}, {10, 16, 2, ReservedCap, 25}, {10, 15, 3, HoldsCap, 3},
		{11, 16, 3, HoldCap, 10}, {1, 30, 3, ReservedCap, 25}, {1, math.MaxInt64, 0, ReservedCap, 25},
	} {
		if got, limit := s.CappedBy(c.cost, c.reserved, c.holds); got != c.want || limit != c.limit {
			t.Errorf("%+v: %s at %d", c, got, limit)
		}
	}
	if got, _ := (Settings{}).CappedBy(math.MaxInt64, math.MaxInt64, math.MaxInt64); got != NoCap {
		t.Errorf("without caps: %s", got)
	}
	if _, err := HoldsCap.MarshalText(); err != nil || Cap(99).String() != "cap(99)" || new(Cap).UnmarshalText([]byte("of")) == nil {
		t.Error("names of caps")
	}
}
