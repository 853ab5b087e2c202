package load

import (
	"slices"
	"testing"
)

func TestDeckIsSeeded(t *testing.T) {
	t.Parallel()
	deck := func(seed uint64) []Request {
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
		case r.Hold <= 0 || r.Cost <= 0:
			t.Fatalf("a request that costs nothing: %+v", r)
		case r.Failed:
			failed++
		case r.Cost > r.Hold:
			excess++
		default:
			within++
		}
	}
	if failed < 100 || excess < 20 || within < 9*deckSize/10 {
		t.Errorf("of %d requests %d fail, %d exceed their hold, %d stay within", deckSize, failed, excess, within)
	}
}

func TestAbove(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ permille, lowest, highest int }{
		{0, 0, 0}, {10, 20, 200}, {500, 3900, 4300}, {1000, deckSize, deckSize},
	} {
		deck, err := newDeck(1, Defaults().tariff(), c.permille)
		if err != nil {
			t.Fatal(err)
		}
		above := 0
		for _, r := range deck {
			if r.Cost > r.Hold {
				above++
			}
		}
		if above < c.lowest || above > c.highest {
			t.Errorf("--above %d: %d of %d requests cost more than they hold, want %d to %d", c.permille, above, deckSize, c.lowest, c.highest)
		}
	}
}
