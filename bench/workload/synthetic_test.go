package workload

import (
	"math"
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

func TestOverrunShare(t *testing.T) {
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

// Each tenant's share follows Zipf's law, from the hottest to the coldest.
func TestZipfShares(t *testing.T) {
	t.Parallel()
	const draws = 200_000
	for _, exponent := range []float64{0.5, 1, 1.1, 2} {
		s := Defaults()
		s.Workload, s.Zipf, s.Tenants = Zipf, exponent, 50
		seen := make([]float64, s.Tenants)
		for _, r := range drawnFrom(t, s, 0, 0, draws) {
			seen[r.Tenant]++
		}
		sum := 0.0
		for k := range s.Tenants {
			sum += math.Pow(float64(k+1), -exponent)
		}
		for k, got := range seen {
			want := draws * math.Pow(float64(k+1), -exponent) / sum
			if spread := 5 * math.Sqrt(want); math.Abs(got-want) > spread+1 {
				t.Errorf("exponent %g: tenant %d was synthetic %.0f times, want %.0f ± %.0f", exponent, k, got, want, spread)
			}
		}
	}
}

func TestZipfReachesEveryBit(t *testing.T) {
	t.Parallel()
	z := newZipf(3, 1)
	if z.tenant(0) != 0 || z.tenant(math.MaxUint32) != 2 {
		t.Errorf("the lowest bits give tenant %d, the highest %d; want 0 and 2", z.tenant(0), z.tenant(math.MaxUint32))
	}
}
