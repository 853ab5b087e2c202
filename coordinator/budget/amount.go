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

// Microcents is an amount of money: a millionth of a cent. An amount is an
// integer from the first line to the last; no floating point touches it.
type Microcents int64

// The units of an amount.
const (
	Microcent Microcents = 1
	Cent      Microcents = 1_000_000
	Dollar    Microcents = 100_000_000

	// MaxMicrocents is the largest amount, about 92 billion dollars.
	MaxMicrocents Microcents = math.MaxInt64
)

// Errors of amounts. Test with errors.Is; the text names the value and the remedy.
var (
	// ErrInvalidAmount: an amount that the operation cannot take (negative, or
	// zero where money must move), or a text that is not an amount. Correct the
	// argument; nothing was changed.
	ErrInvalidAmount = errors.New("invalid amount")
	// ErrOverflow: a sum does not fit into 64 bits. Nothing was changed.
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

// String prints the amount exactly, in dollars: at least two decimals, at most
// eight, for example "$12.50", "$0.000025", "-$3.00". [ParseMicrocents] reads it back.
func (a Microcents) String() string {
	magnitude := uint64(a) //nolint:gosec // of a negative one, its two's complement
	sign := ""
	if a < 0 {
		magnitude, sign = -magnitude, "-"
	}
	fraction := fmt.Sprintf("%08d", magnitude%uint64(Dollar))
	return sign + "$" + strconv.FormatUint(magnitude/uint64(Dollar), 10) + "." +
		fraction[:2] + strings.TrimRight(fraction[2:], "0")
}

// ParseMicrocents reads an amount with its unit: "$12.50", "1250c" (cents) or
// "25000000uc" (microcents), with "-" in front where it is negative. A bare
// number is refused, and so is a fraction of a microcent: nothing is rounded.
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
	return Microcents(magnitude), nil //nolint:gosec // its size was checked
}

// CostOf returns what tokens cost at a price per million tokens, rounded up to
// the next microcent: a price is never rounded in the spender's favour.
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
