package budget

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/calybris/bursar/coordinator/wording"
)

// Microcents is an amount of money in millionths of a cent. Amounts are integers
// everywhere; no calculation uses floating point.
type Microcents int64

// The units of an amount.
const (
	Microcent Microcents = 1
	Cent      Microcents = 1_000_000
	Dollar    Microcents = 100_000_000

	// MaxMicrocents is the largest amount, about 92 billion dollars.
	MaxMicrocents Microcents = math.MaxInt64
)

// Errors of amounts, for use with errors.Is. The text of an error that wraps one names
// the value.
var (
	// ErrInvalidAmount is returned for an amount that the operation doesn't accept (a
	// negative one, or zero in a grant or withdrawal) and for text that isn't an amount.
	// Nothing was changed; correct the argument.
	ErrInvalidAmount = errors.New("invalid amount")
	// ErrOverflow is returned if an amount or a sum doesn't fit into 64 bits. Nothing was
	// changed.
	ErrOverflow = errors.New("amount overflows 64 bits")
)

// Add returns a+b, or ErrOverflow.
func (a Microcents) Add(b Microcents) (Microcents, error) {
	sum := a + b
	if (sum > a) != (b > 0) && b != 0 {
		return 0, fmt.Errorf("%w: %d + %s", ErrOverflow, a, wording.Count(b, "microcent"))
	}
	return sum, nil
}

// String returns the exact amount in dollars, with two to eight decimals, for example
// "$12.50", "$0.000025" or "-$3.00". [ParseMicrocents] parses it.
func (a Microcents) String() string {
	magnitude := uint64(a) //nolint:gosec // a negative amount is negated below
	sign := ""
	if a < 0 {
		magnitude, sign = -magnitude, "-"
	}
	fraction := fmt.Sprintf("%08d", magnitude%uint64(Dollar))
	return sign + "$" + strconv.FormatUint(magnitude/uint64(Dollar), 10) + "." +
		fraction[:2] + strings.TrimRight(fraction[2:], "0")
}

// ParseMicrocents parses an amount with its unit: "$12.50", "1250c" (cents) or
// "25000000uc" (microcents), with a leading "-" if it is negative. It rejects a number
// without a unit, and never rounds: a fraction of a microcent is an error.
func ParseMicrocents(text string) (Microcents, error) {
	digits, negative := strings.CutPrefix(text, "-")
	var decimals int
	switch {
	case strings.HasPrefix(digits, "$"):
		digits, decimals = digits[1:], 8
	case strings.HasSuffix(digits, "uc"):
		digits, decimals = digits[:len(digits)-2], 0
	case strings.HasSuffix(digits, "c"):
		digits, decimals = digits[:len(digits)-1], 6
	default:
		return 0, fmt.Errorf("%w %q: it has no unit; write $12.50, 1250c (cents) or 25000000uc (microcents)", ErrInvalidAmount, text)
	}
	whole, fraction, point := strings.Cut(digits, ".")
	if !allDigits(whole) || point && !allDigits(fraction) {
		return 0, fmt.Errorf("%w %q: write $12.50, 1250c (cents) or 25000000uc (microcents)", ErrInvalidAmount, text)
	}
	if significant := strings.TrimRight(fraction, "0"); len(significant) > decimals {
		return 0, fmt.Errorf("%w %q: it has a part smaller than a microcent, and amounts are never rounded", ErrInvalidAmount, text)
	} else if len(fraction) > decimals {
		fraction = fraction[:decimals]
	}
	magnitude, err := strconv.ParseUint(whole+fraction+strings.Repeat("0", decimals-len(fraction)), 10, 64)
	limit := uint64(math.MaxInt64)
	if negative {
		limit++
	}
	if err != nil || magnitude > limit {
		return 0, fmt.Errorf("%w: %q is beyond %d microcents", ErrOverflow, text, MaxMicrocents)
	}
	if negative {
		magnitude = -magnitude
	}
	return Microcents(magnitude), nil //nolint:gosec // checked against limit
}

// CostOf returns the cost of tokens at a price per million tokens, rounded up to a whole
// microcent, so never in the spender's favour.
func CostOf(tokens int64, perMillion Microcents) (Microcents, error) {
	if tokens < 0 || perMillion < 0 {
		return 0, fmt.Errorf("%w: %s at %s a million; neither may be negative", ErrInvalidAmount, wording.Count(tokens, "token"), wording.Count(perMillion, "microcent"))
	}
	const million = 1_000_000
	hi, lo := bits.Mul64(uint64(tokens), uint64(perMillion))
	lo, carry := bits.Add64(lo, million-1, 0)
	hi += carry
	if hi >= million {
		return 0, fmt.Errorf("%w: %s at %s a million", ErrOverflow, wording.Count(tokens, "token"), wording.Count(perMillion, "microcent"))
	}
	cost, _ := bits.Div64(hi, lo, million)
	if cost > math.MaxInt64 {
		return 0, fmt.Errorf("%w: %s at %s a million", ErrOverflow, wording.Count(tokens, "token"), wording.Count(perMillion, "microcent"))
	}
	return Microcents(cost), nil
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
