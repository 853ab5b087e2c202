package coordinator_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log"
	"os"
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
)

const perToken = 2 * budget.Cent / 100

// stream copies tokens to w until they end, the client leaves (ctx ends) or limit is used
// up, and charges the tenant for the tokens that were streamed.
func stream(ctx context.Context, engine budget.Engine, tenant budget.TenantID, limit budget.Microcents, tokens iter.Seq[string], w io.Writer) (budget.Settlement, error) {
	held, err := engine.TryReserve(ctx, tenant, limit) // the worst case
	if err == nil {
		err = held.Err()
	}
	if err != nil {
		return budget.Settlement{}, err
	}
	var cost budget.Microcents
	for token := range tokens {
		if ctx.Err() != nil || cost+perToken > limit {
			break
		}
		cost += perToken
		if _, err := io.WriteString(w, token); err != nil {
			break // the tokens produced so far are charged anyway
		}
	}
	// ctx may have ended, but the tokens have been produced: settle without it.
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	settled, err := engine.Commit(after, held.ID, cost)
	if err == nil {
		err = settled.Err()
	}
	return settled, err
}

// A streamed response: reserve the worst case, count tokens while it runs, and commit
// their cost, even if the client leaves.
func Example_streaming() {
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
	words := []string{"two ", "roads ", "diverged ", "in ", "a ", "wood\n"}

	settled, err := stream(ctx, node, "acme", 10*budget.Cent, slices.Values(words), os.Stdout)
	fmt.Println(settled.Outcome, settled.Actual, "of", settled.Remaining+settled.Actual, err)

	// This client leaves after two words.
	visit, leave := context.WithCancel(ctx)
	leaving := func(yield func(string) bool) {
		for i, word := range words {
			if i == 2 {
				leave()
			}
			if !yield(word) {
				return
			}
		}
	}
	settled, err = stream(visit, node, "acme", 10*budget.Cent, leaving, os.Stdout)
	fmt.Println("…")
	fmt.Println(settled.Outcome, settled.Actual, "remaining", settled.Remaining, err)
	// Output:
	// two roads diverged in a wood
	// committed $0.0012 of $1.00 <nil>
	// two roads …
	// committed $0.0004 remaining $0.9984 <nil>
}
