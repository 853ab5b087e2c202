package load

import (
	"errors"
	"testing"

	"github.com/calybris/bursar/coordinator/budget"
)

func TestTariff(t *testing.T) {
	t.Parallel()
	prices := tariff{input: 250 * budget.Cent, output: 10 * budget.Dollar, maxOutput: 1000}
	for _, c := range []struct {
		name               string
		tariff             tariff
		context, generated int64
		Hold, Cost         budget.Microcents
	}{
		{"everyday", prices, 4808, 10, 4808*250 + 1000*1000, 4808*250 + 10*1000},
		{"nothing generated", prices, 100, 0, 25_000 + 1_000_000, 25_000},
		{"above the maximum", prices, 0, 1001, 1_000_000, 1_001_000},
		{"each part rounds up", tariff{input: 1, output: 1, maxOutput: 1}, 1, 1, 2, 2},
	} {
		got, err := c.tariff.request(c.context, c.generated)
		if err != nil || got.Hold != c.Hold || got.Cost != c.Cost {
			t.Errorf("%s: hold %d, cost %d, %v; want %d, %d", c.name, got.Hold, got.Cost, err, c.Hold, c.Cost)
		}
	}
	dear := tariff{input: budget.MaxMicrocents, output: budget.MaxMicrocents, maxOutput: 1_000_000}
	if _, err := dear.request(1_000_000, 1); !errors.Is(err, budget.ErrOverflow) {
		t.Errorf("the dearest request: %v, want an overflow", err)
	}
}

func TestMeanHold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		holds []budget.Microcents
		want  budget.Microcents
	}{
		{"remainders count", []budget.Microcents{1, 2, 3}, 2},
		{"at least one", []budget.Microcents{0, 0}, 1},
		{"no overflow", []budget.Microcents{budget.MaxMicrocents, budget.MaxMicrocents}, budget.MaxMicrocents},
	} {
		requests := make([]Request, len(c.holds))
		for i, hold := range c.holds {
			requests[i].Hold = hold
		}
		if got := meanHold(requests); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
