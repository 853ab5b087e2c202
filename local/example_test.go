package local_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/local"
)

func Example() {
	ctx := context.Background()
	engine, err := local.New()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := engine.EnsureTenant(ctx, "acme", 10*budget.Dollar); err != nil {
		log.Fatal(err)
	}

	// Reserve the worst case before the work, commit what it cost after it.
	res, err := engine.TryReserve(ctx, "acme", 4*budget.Dollar)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Outcome, res.Remaining)
	settled, err := engine.Commit(ctx, res.ID, 3*budget.Dollar)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(settled.Outcome, settled.Remaining)

	refused, err := engine.TryReserve(ctx, "acme", 8*budget.Dollar)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(refused.Outcome, refused.Remaining, refused.Required)
	// Output:
	// reserved $6.00
	// committed $7.00
	// insufficient $7.00 $8.00
}

func ExampleWithClock() {
	ctx := context.Background()
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	engine, err := local.New(
		local.WithHoldTTL(time.Minute),
		local.WithClock(func() time.Time { return now }),
	)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := engine.EnsureTenant(ctx, "acme", budget.Dollar); err != nil {
		log.Fatal(err)
	}
	res, err := engine.TryReserve(ctx, "acme", budget.Dollar)
	if err != nil {
		log.Fatal(err)
	}

	now = now.Add(time.Minute) // whoever held the dollar is late
	late, err := engine.Commit(ctx, res.ID, budget.Dollar)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(late.Outcome, late.Prior)
	// Output: missing_reservation expired
}
