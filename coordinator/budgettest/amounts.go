package budgettest

import "github.com/calybris/bursar/coordinator/budget"

const (
	smallest = -budget.MaxMicrocents - 1 // the least 64-bit integer

	// exactFloat is 2^53. A float64 can represent it and exactFloat-1, but not
	// exactFloat+1.
	exactFloat budget.Microcents = 1 << 53
)

// edges lists amounts at which inexact arithmetic fails: around the limits of 32 bits, of
// decimal limbs, of float64 and of 64 bits.
var edges = []budget.Microcents{
	1, 999_999_999, 1_000_000_000, 1_000_000_001, 1<<31 - 1, 1 << 31, 1 << 32,
	exactFloat - 1, exactFloat, exactFloat + 1,
	999_999_999_999_999_999, 1_000_000_000_000_000_000, 1_000_000_000_000_000_001,
	budget.MaxMicrocents - 1, budget.MaxMicrocents,
}
