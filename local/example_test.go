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

	// Reserve the worst case before the work, and commit the actual cost after it.
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

	now = now.Add(time.Minute) // too late to settle the dollar
	late, err := engine.Commit(ctx, res.ID, budget.Dollar)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(late.Outcome, late.Prior)
	// Output: missing_reservation expired
}

// An overdraft lets work settle that cost more than its hold, and a threshold reports that the
// budget is spent. Reserves never use the overdraft.
func ExampleWithOnThreshold() {
	ctx := context.Background()
	engine, err := local.New(local.WithOnThreshold(func(c budget.Crossing) {
		fmt.Printf("%s has spent %d %% of %s: %s\n", c.Tenant, c.Percent, c.Granted, c.Committed)
	}))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := engine.EnsureTenant(ctx, "acme", 10*budget.Dollar, budget.Overdraft(2*budget.Dollar), budget.AtThresholds(80, 100)); err != nil {
		log.Fatal(err)
	}
	res, err := engine.TryReserve(ctx, "acme", 10*budget.Dollar)
	if err != nil {
		log.Fatal(err)
	}
	settled, err := engine.Commit(ctx, res.ID, 11*budget.Dollar)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(settled.Outcome, settled.Remaining)
	refused, err := engine.TryReserve(ctx, "acme", budget.Cent)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(refused.Outcome, refused.Remaining)
	// Output:
	// acme has spent 80 % of $10.00: $11.00
	// acme has spent 100 % of $10.00: $11.00
	// committed -$1.00
	// insufficient $0.00
}

// A tenant can have a limit of each day beside its budget of a month. A result names the limit with
// the least remaining.
func Example_limits() {
	ctx := context.Background()
	clock := func() time.Time { return time.Date(2026, 3, 29, 18, 0, 0, 0, time.UTC) }
	engine, err := local.New(local.WithClock(clock))
	if err != nil {
		log.Fatal(err)
	}
	_, err = engine.EnsureTenant(ctx, "acme", 100*budget.Dollar,
		budget.InWindow(budget.Window{Period: budget.Month}),
		budget.SetLimit(budget.Limit{Window: budget.Window{Period: budget.Day, Amount: 5 * budget.Dollar}}))
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		res, err := engine.TryReserve(ctx, "acme", 3*budget.Dollar)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Outcome, res.Limit, res.Remaining)
	}
	day, err := engine.Remaining(ctx, "acme")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(day.Limit, "renews at", day.Renews)
	list, err := engine.Limits(ctx, "acme")
	if err != nil {
		log.Fatal(err)
	}
	for _, b := range list.Limits {
		fmt.Println(b.Limit, b.Granted, b.Reserved)
	}
	// Output:
	// reserved day $2.00
	// insufficient day $2.00
	// day renews at 2026-03-30T00:00:00Z
	// none $100.00 $3.00
	// day $5.00 $3.00
}

// answer is a function of your own service. It takes the interface, so that the program
// can pass a coordinator and a test a local engine.
func answer(ctx context.Context, engine budget.Engine, tenant budget.TenantID, question string) (string, error) {
	held, err := engine.TryReserve(ctx, tenant, 10*budget.Cent)
	if err != nil {
		return "", err
	}
	if held.Outcome == budget.Insufficient {
		return "", fmt.Errorf("top up: %s is left and %s is needed", held.Remaining, held.Required)
	}
	if err := held.Err(); err != nil {
		return "", err
	}
	reply := "as you say: " + question // the expensive work
	settled, err := engine.Commit(ctx, held.ID, budget.Microcents(len(reply))*budget.Cent/10)
	if err == nil {
		err = settled.Err()
	}
	return reply, err
}

// Tests of your own service need no Redis: the local engine returns the same results as
// the coordinator, and the test can check the balances afterwards.
func Example_testing() {
	ctx := context.Background()
	engine, err := local.New()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := engine.EnsureTenant(ctx, "acme", 11*budget.Cent); err != nil {
		log.Fatal(err)
	}

	fmt.Println(answer(ctx, engine, "acme", "is it safe?"))
	fmt.Println(answer(ctx, engine, "acme", "and again?"))
	fmt.Println(answer(ctx, engine, "nobody", "hello?"))

	books, err := engine.Holds(ctx, "acme")
	fmt.Println(books.Balance.Committed, "charged,", len(books.Holds), "left held,", books.Audit(), err)
	// Output:
	// as you say: is it safe? <nil>
	//  top up: $0.087 is left and $0.10 is needed
	//  no such tenant
	// $0.023 charged, 0 left held, <nil> <nil>
}

// A program that runs in one process needs no Redis, and differs from one with a
// coordinator only in the call of New. Budgets don't survive a restart, so the program
// creates them at each start.
func Example_singleNode() {
	ctx := context.Background()
	engine, err := local.New(local.WithHoldTTL(time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	left := map[budget.TenantID]budget.Microcents{"acme": 3 * budget.Dollar, "globex": 40 * budget.Cent}
	for tenant, amount := range left {
		if _, err := engine.EnsureTenant(ctx, tenant, amount); err != nil {
			log.Fatal(err)
		}
	}

	for _, tenant := range []budget.TenantID{"acme", "globex"} {
		held, err := engine.TryReserve(ctx, tenant, 50*budget.Cent)
		if err == nil {
			err = held.Err()
		}
		if err != nil {
			fmt.Println(tenant, "refused:", err)
			continue
		}
		settled, err := engine.Commit(ctx, held.ID, 35*budget.Cent)
		fmt.Println(tenant, settled.Outcome, "remaining", settled.Remaining, err)
	}
	// Output:
	// acme committed remaining $2.65 <nil>
	// globex refused: insufficient budget
}
