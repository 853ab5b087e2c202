package budget_test

import (
	"errors"
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
)

// Amounts have a unit and are never rounded.
func ExampleParseMicrocents() {
	for _, text := range []string{"$12.50", "1250c", "25000000uc", "1250"} {
		amount, err := budget.ParseMicrocents(text)
		fmt.Println(int64(amount), amount, err)
	}
	// Output:
	// 1250000000 $12.50 <nil>
	// 1250000000 $12.50 <nil>
	// 25000000 $0.25 <nil>
	// 0 $0.00 invalid amount "1250": it has no unit; write $12.50, 1250c (cents) or 25000000uc (microcents)
}

// A price per million tokens rounds up to the next microcent.
func ExampleCostOf() {
	cost, err := budget.CostOf(1234, 3*budget.Dollar)
	fmt.Println(cost, err)
	// Output: $0.003702 <nil>
}

// A refusal is an outcome; Err is for callers who prefer errors.Is.
func ExampleReservation_Err() {
	refused := budget.Reservation{Outcome: budget.Insufficient, Remaining: 5, Required: 7}
	fmt.Println(refused.Outcome, errors.Is(refused.Err(), budget.ErrInsufficient))
	// Output: insufficient true
}
