package budgettest

import "github.com/calybris/bursar/coordinator/budget"

const (
	smallest = -budget.MaxMicrocents - 1 // the least of 64 bits

	// exactFloat is 2^53: a double still tells it from the one below, and no
	// longer from the one above.
	exactFloat budget.Microcents = 1 << 53
)

// edges are amounts at which an engine that is not exact goes wrong: around the
// limits of doubles, of 32 bits, of decimal limbs, of 64 bits.
var edges = []budget.Microcents{
	1, 999_999_999, 1_000_000_000, 1_000_000_001, 1<<31 - 1, 1 << 31, 1 << 32,
	exactFloat - 1, exactFloat, exactFloat + 1,
	999_999_999_999_999_999, 1_000_000_000_000_000_000, 1_000_000_000_000_000_001,
	budget.MaxMicrocents - 1, budget.MaxMicrocents,
}
