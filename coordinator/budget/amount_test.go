package budget

import (
	"errors"
	"math"
	"math/big"
	"testing"
)

var edges = []Microcents{
	math.MinInt64, math.MinInt64 + 1, -Dollar, -1, 0, 1, 99, Cent - 1, Cent, Dollar - 1, Dollar, Dollar + 1,
	1<<53 - 1, 1 << 53, 1<<53 + 1, math.MaxInt64 - 1, math.MaxInt64,
}

func TestAmountsPrintAndParseExactly(t *testing.T) {
	t.Parallel()
	for _, a := range edges {
		if got, err := ParseMicrocents(a.String()); err != nil || got != a {
			t.Errorf("%d prints as %q, which parses as %d, %v", a, a, got, err)
		}
	}
	for text, want := range map[string]Microcents{
		"$12.50": 1_250_000_000, "$0": 0, "$1.005": 100_500_000, "$0.00000001": 1, "$3.1000000000": 310_000_000,
		"1250c": 1_250_000_000, "0.000001c": 1, "25000000uc": 25_000_000, "-$1.00": -Dollar, "-5uc": -5,
		"9223372036854775807uc": math.MaxInt64, "-9223372036854775808uc": math.MinInt64,
		"$92233720368.54775807": math.MaxInt64,
	} {
		if got, err := ParseMicrocents(text); err != nil || got != want {
			t.Errorf("ParseMicrocents(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for a, want := range map[Microcents]string{0: "$0.00", 1250 * Cent: "$12.50", 25: "$0.00000025", 2500: "$0.000025", -3 * Dollar: "-$3.00"} {
		if a.String() != want {
			t.Errorf("%d prints as %q, want %q", a, a, want)
		}
	}
}

func TestInvalidAmounts(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "12", "12.50", "$", "$.5", "$1.", "1.c", "c", "uc", "$-1", "--$1", "-", " 1c", "1 c", "1c ", "1e5uc", "0x1c",
		"١c", "$1.2.3", "1.5uc", "$0.000000001", "0.0000001c", "$1,000", "NaNc",
	} {
		if got, err := ParseMicrocents(text); !errors.Is(err, ErrInvalidAmount) {
			t.Errorf("ParseMicrocents(%q) = %d, %v; want %v", text, got, err, ErrInvalidAmount)
		}
	}
	for _, text := range []string{"9223372036854775808uc", "-9223372036854775809uc", "$92233720368.54775808", "99999999999999999999999c"} {
		if got, err := ParseMicrocents(text); !errors.Is(err, ErrOverflow) {
			t.Errorf("ParseMicrocents(%q) = %d, %v; want %v", text, got, err, ErrOverflow)
		}
	}
}

func FuzzParseMicrocents(f *testing.F) {
	for _, seed := range []string{"$12.50", "1250c", "25000000uc", "-$0.00000001", "$", "12"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseMicrocents(text)
		if err != nil {
			return
		}
		if again, err := ParseMicrocents(a.String()); err != nil || again != a {
			t.Errorf("%q is %d, prints as %q, which is %d, %v", text, a, a, again, err)
		}
	})
}

func TestAddAgreesWithBigIntegers(t *testing.T) {
	t.Parallel()
	for _, a := range edges {
		for _, b := range edges {
			want := new(big.Int).Add(big.NewInt(int64(a)), big.NewInt(int64(b)))
			got, err := a.Add(b)
			if want.IsInt64() != (err == nil) || err == nil && int64(got) != want.Int64() {
				t.Errorf("%d + %d = %d, %v; want %v", a, b, got, err, want)
			}
			if err != nil && !errors.Is(err, ErrOverflow) {
				t.Errorf("%d + %d: %v", a, b, err)
			}
		}
	}
}

func TestCostRoundsUpAndAgreesWithBigIntegers(t *testing.T) {
	t.Parallel()
	million := big.NewInt(1_000_000)
	for _, tokens := range edges {
		for _, price := range edges {
			got, err := CostOf(int64(tokens), price)
			if tokens < 0 || price < 0 {
				if !errors.Is(err, ErrInvalidAmount) {
					t.Errorf("CostOf(%d, %d): %v", tokens, price, err)
				}
				continue
			}
			want, rest := new(big.Int).DivMod(new(big.Int).Mul(big.NewInt(int64(tokens)), big.NewInt(int64(price))), million, new(big.Int))
			if rest.Sign() > 0 {
				want.Add(want, big.NewInt(1))
			}
			if want.IsInt64() != (err == nil) || err == nil && int64(got) != want.Int64() {
				t.Errorf("CostOf(%d, %d) = %d, %v; want %v", tokens, price, got, err, want)
			}
		}
	}
}

// TestErrorsOfOneMicrocent checks that errors use the singular for a count of one.
func TestErrorsOfOneMicrocent(t *testing.T) {
	t.Parallel()
	_, sum := MaxMicrocents.Add(1)
	_, cost := CostOf(1, -1)
	_, negative := CostOf(-1, 1)
	hold := HoldList{Balance: Balance{Granted: 1, Reserved: 1}, Holds: []Hold{{ID: ids[0], Held: 1}, {ID: ids[1], Held: 1}}}
	for _, c := range []struct {
		err  error
		want string
	}{
		{sum, "amount overflows 64 bits: 9223372036854775807 + 1 microcent"},
		{cost, "invalid amount: 1 token at -1 microcents a million; neither may be negative"},
		{negative, "invalid amount: -1 tokens at 1 microcent a million; neither may be negative"},
		{hold.Audit(), "the open holds (2) sum up to 2, but reserved is 1, and 0 in ended epochs"},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("%v, want %s", c.err, c.want)
		}
	}
}
