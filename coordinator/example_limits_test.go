package coordinator_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
)

// A tenant with $50 a month and $2 a day. A result names the limit that has the least.
func ExampleCoordinator_Limits() {
	client, stop := exampleRedis()
	defer stop()
	ctx := context.Background()
	noon := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	node, err := coordinator.New(ctx, client, coordinator.WithClock(func() time.Time { return noon }))
	if err != nil {
		log.Fatal(err)
	}
	defer closeNode(node)
	_, err = node.EnsureTenant(ctx, "acme", 50*budget.Dollar,
		budget.InWindow(budget.Window{Period: budget.Month}),
		budget.SetLimit(budget.Limit{Window: budget.Window{Period: budget.Day, Amount: 2 * budget.Dollar}}))
	if err != nil {
		log.Fatal(err)
	}

	for range 2 {
		r, err := node.TryReserve(ctx, "acme", 150*budget.Cent)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Outcome, "by", r.Limit, "with", r.Remaining, "left")
		if r.Renews != 0 {
			fmt.Println("renews at", r.Renews)
		}
	}
	limits, err := node.Limits(ctx, "acme")
	if err != nil {
		log.Fatal(err)
	}
	for _, b := range limits.Limits {
		fmt.Println(b.Limit, b.Remaining, "of", b.Granted, "until", b.Epoch.End)
	}
	// Output:
	// reserved by day with $0.50 left
	// insufficient by day with $0.50 left
	// renews at 2026-03-02T00:00:00Z
	// none $48.50 of $50.00 until 2026-04-01T00:00:00Z
	// day $0.50 of $2.00 until 2026-03-02T00:00:00Z
}
