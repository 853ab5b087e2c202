package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
)

// exampleRedis stands in for a Redis server, so that the examples run anywhere.
func exampleRedis() (client *redis.Client, stop func()) {
	slog.SetLogLoggerLevel(slog.LevelError)
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	client = redis.NewClient(&redis.Options{Addr: server.Addr()})
	return client, func() {
		client.Close()
		server.Close()
	}
}

// closeNode waits for Redis for at most 10 seconds.
func closeNode(node *coordinator.Coordinator) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := node.Close(ctx); err != nil {
		log.Print(err)
	}
}

// Reserve the worst case, do the work, commit its real cost.
func Example() {
	client, stop := exampleRedis() // redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer stop()
	ctx := context.Background()

	node, err := coordinator.New(ctx, client)
	if err != nil {
		log.Fatal(err)
	}
	defer closeNode(node)
	if _, err := node.EnsureTenant(ctx, "acme", 20*budget.Dollar); err != nil {
		log.Fatal(err)
	}

	res, err := node.TryReserve(ctx, "acme", 50*budget.Cent) // the worst case
	if err != nil || res.Outcome != budget.Reserved {
		log.Fatal("no money held: ", err, res.Err())
	}
	cost := 12 * budget.Cent // the real cost
	settled, err := node.Commit(ctx, res.ID, cost)
	fmt.Println(settled.Outcome, settled.Actual, "remaining", settled.Remaining, err)
	// Output: committed $0.12 remaining $19.88 <nil>
}

// Do reserves, runs the work and always settles.
func ExampleCoordinator_Do() {
	client, stop := exampleRedis()
	defer stop()
	ctx := context.Background()
	node, err := coordinator.New(ctx, client)
	if err != nil {
		log.Fatal(err)
	}
	defer closeNode(node)
	if _, err := node.EnsureTenant(ctx, "acme", budget.Dollar); err != nil {
		log.Fatal(err)
	}

	call := func(context.Context) (budget.Microcents, error) { return 30 * budget.Cent, nil }
	for range 3 {
		settled, err := node.Do(ctx, "acme", 60*budget.Cent, call)
		if errors.Is(err, budget.ErrInsufficient) {
			fmt.Println("refused:", err)
			continue
		}
		fmt.Println(settled.Outcome, settled.Remaining, err)
	}
	// Output:
	// committed $0.70 <nil>
	// committed $0.40 <nil>
	// refused: insufficient budget
}

// A budget that renews each day, and holds settle in the epoch in which they were made.
func ExampleCoordinator_Configure() {
	client, stop := exampleRedis()
	defer stop()
	ctx := context.Background()
	clock := time.Date(2026, time.March, 1, 23, 30, 0, 0, time.UTC)
	node, err := coordinator.New(ctx, client, coordinator.WithClock(func() time.Time { return clock })) // Redis' clock by default
	if err != nil {
		log.Fatal(err)
	}
	defer closeNode(node)
	if _, err := node.EnsureTenant(ctx, "acme", 10*budget.Dollar); err != nil {
		log.Fatal(err)
	}
	_, err = node.Configure(ctx, "acme", budget.InWindow(budget.Window{Period: budget.Day, Carry: 3 * budget.Dollar}))
	if err != nil {
		log.Fatal(err)
	}

	res, err := node.TryReserve(ctx, "acme", 6*budget.Dollar, budget.WithHoldTTL(time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	refused, err := node.TryReserve(ctx, "acme", 6*budget.Dollar)
	fmt.Println(refused.Outcome, "until", refused.Renews, err)

	clock = clock.Add(45 * time.Minute) // the next day: up to $3 of the remaining $4 pass on
	today, err := node.Balance(ctx, "acme")
	fmt.Println("granted", today.Granted, "ended", today.Ended, err)
	settled, err := node.Commit(ctx, res.ID, 5*budget.Dollar) // in the epoch of yesterday
	fmt.Println(settled.Outcome, "remaining", settled.Remaining, err)
	yesterday, err := node.Balance(ctx, "acme", budget.AtEpoch(clock.Add(-30*time.Minute)))
	fmt.Println("committed", yesterday.Committed, "until", yesterday.Epoch.End, err)
	// Output:
	// insufficient until 2026-03-02T00:00:00Z <nil>
	// granted $13.00 ended $6.00 <nil>
	// committed remaining $13.00 <nil>
	// committed $5.00 until 2026-03-02T00:00:00Z <nil>
}

// An id settles on any node, and survives as text.
func ExampleCoordinator_Commit() {
	client, stop := exampleRedis()
	defer stop()
	ctx := context.Background()
	front, err := coordinator.New(ctx, client)
	if err != nil {
		log.Fatal(err)
	}
	defer closeNode(front)
	worker, err := coordinator.New(ctx, client)
	if err != nil {
		log.Fatal(err)
	}
	defer closeNode(worker)
	if _, err := front.EnsureTenant(ctx, "acme/search", budget.Dollar); err != nil {
		log.Fatal(err)
	}
	res, err := front.TryReserve(ctx, "acme/search", 10*budget.Cent)
	if err != nil {
		log.Fatal(err)
	}
	id, err := budget.ParseReservationID(res.ID.String()) // as it comes off a queue
	if err != nil {
		log.Fatal(err)
	}
	first, err := worker.Commit(ctx, id, 4*budget.Cent)
	fmt.Println(first.Outcome, first.Remaining, err)
	second, err := front.Release(ctx, id) // a reservation settles once
	fmt.Println(second.Outcome, "was", second.Prior, err)
	// Output:
	// committed $0.96 <nil>
	// missing_reservation was committed <nil>
}
