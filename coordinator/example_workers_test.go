package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"sync/atomic"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
)

// A bounded pool of workers. Each job runs under Do, so a job that fails or panics leaves
// nothing held.
func Example_workers() {
	client, stop := exampleRedis()
	defer stop()
	ctx := context.Background()
	node, err := coordinator.New(ctx, client)
	if err != nil {
		log.Fatal(err)
	}
	defer closeNode(node)
	if _, err := node.EnsureTenant(ctx, "acme/batch", 30*budget.Dollar); err != nil {
		log.Fatal(err)
	}

	var done, failed atomic.Int64
	run := func(job int) {
		settled, err := node.Do(ctx, "acme/batch", 25*budget.Cent, func(context.Context) (budget.Microcents, error) {
			if job%10 == 9 {
				return 0, errors.New("the model is overloaded") // the hold is released
			}
			return 20 * budget.Cent, nil
		})
		if err != nil || settled.Outcome != budget.Committed {
			failed.Add(1) // on budget.ErrInsufficient, put the job back or stop
			return
		}
		done.Add(1)
	}

	const workers, jobs = 4, 100
	queue := make(chan int)
	var pool sync.WaitGroup
	for range workers {
		pool.Go(func() {
			for job := range queue {
				run(job)
			}
		})
	}
	for job := range jobs {
		queue <- job
	}
	close(queue)
	pool.Wait()

	balance, err := node.Balance(ctx, "acme/batch")
	fmt.Println(done.Load(), "done", failed.Load(), "failed")
	fmt.Println("charged", balance.Committed, "held", balance.Reserved, "remaining", balance.Remaining, err)
	// Output:
	// 90 done 10 failed
	// charged $18.00 held $0.00 remaining $12.00 <nil>
}
