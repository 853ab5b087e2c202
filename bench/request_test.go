package bench

import (
	"errors"
	"slices"
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
		hold, cost         budget.Microcents
	}{
		{"everyday", prices, 4808, 10, 4808*250 + 1000*1000, 4808*250 + 10*1000},
		{"nothing generated", prices, 100, 0, 25_000 + 1_000_000, 25_000},
		{"above the maximum", prices, 0, 1001, 1_000_000, 1_001_000},
		{"each part rounds up", tariff{input: 1, output: 1, maxOutput: 1}, 1, 1, 2, 2},
	} {
		got, err := c.tariff.request(c.context, c.generated)
		if err != nil || got.hold != c.hold || got.cost != c.cost {
			t.Errorf("%s: hold %d, cost %d, %v; want %d, %d", c.name, got.hold, got.cost, err, c.hold, c.cost)
		}
	}
	dear := tariff{input: budget.MaxMicrocents, output: budget.MaxMicrocents, maxOutput: 1_000_000}
	if _, err := dear.request(1_000_000, 1); !errors.Is(err, budget.ErrOverflow) {
		t.Errorf("the dearest request: %v, want an overflow", err)
	}
}

func TestDeckIsSeeded(t *testing.T) {
	t.Parallel()
	deck := func(seed uint64) []request {
		cards, err := newDeck(seed, Defaults().tariff(), Defaults().Above)
		if err != nil {
			t.Fatal(err)
		}
		return cards
	}
	first := deck(7)
	if !slices.Equal(first, deck(7)) {
		t.Error("one seed gave two decks")
	}
	if slices.Equal(first, deck(8)) {
		t.Error("two seeds gave one deck")
	}
	var failed, excess, within int
	for _, r := range first {
		switch {
		case r.hold <= 0 || r.cost <= 0:
			t.Fatalf("a request that costs nothing: %+v", r)
		case r.failed:
			failed++
		case r.cost > r.hold:
			excess++
		default:
			within++
		}
	}
	if failed < 100 || excess < 20 || within < 9*deckSize/10 {
		t.Errorf("of %d requests %d fail, %d exceed their hold, %d stay within", deckSize, failed, excess, within)
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
		requests := make([]request, len(c.holds))
		for i, hold := range c.holds {
			requests[i].hold = hold
		}
		if got := meanHold(requests); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
