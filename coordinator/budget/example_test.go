package budget_test

import (
	"errors"
	"fmt"
	"time"

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

// The days of a zone begin at their first instant, also if the clock skips midnight.
func ExampleWindow_Boundaries() {
	zone := "America/Sao_Paulo"
	w := budget.Window{Period: budget.Day, Zone: zone}
	boundaries, err := w.Boundaries(time.Date(2018, time.November, 3, 12, 0, 0, 0, time.UTC), 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	local, err := time.LoadLocation(zone)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, at := range boundaries {
		fmt.Println(at.In(local).Format(time.DateTime), "is", at.Format(time.RFC3339))
	}
	// Output:
	// 2018-11-04 01:00:00 is 2018-11-04T03:00:00Z
	// 2018-11-05 00:00:00 is 2018-11-05T02:00:00Z
}

// A refusal is an outcome; Err is for callers who prefer errors.Is.
func ExampleReservation_Err() {
	refused := budget.Reservation{Outcome: budget.Insufficient, Remaining: 5, Required: 7}
	fmt.Println(refused.Outcome, errors.Is(refused.Err(), budget.ErrInsufficient))
	// Output: insufficient true
}
