// Package coordinator shares tenants' budgets among the nodes of a fleet through
// Redis. A Coordinator is one node: a [budget.Engine] whose books are in Redis.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
//	node, err := coordinator.New(ctx, client)
//	if err != nil { ... }
//	defer node.Close(ctx)
//
// Reserve the worst case before the expensive work with TryReserve, and settle
// after it with Commit or Release, on any node; or let Do do both.
//
// # What holds
//
// For every tenant, at every instant, remaining + reserved + committed = granted.
// Amounts are exact. Every operation takes effect once or never, whatever is
// lost, delayed or repeated between the node and Redis. A hold that is never
// settled is released at its deadline, by Redis' clock.
//
// # How it works
//
// A root tenant and all levels below it are a family: two keys in one slot. What
// callers ask of a family while its previous script call is in flight goes out
// together as the next one, so a busy family costs few calls and an idle one
// waits for nobody. Each such batch is numbered, and Redis keeps the number and
// the reply of a node's last one; a repeat is recognised and changes nothing.
//
// # Errors
//
// A refusal is an outcome, not an error. An error means that there is no answer;
// the sentinels say what a caller should do. After ErrUnknownOutcome the
// coordinator itself finds out what happened and releases what nobody was told of.
//
// # What belongs here
//
// The client: lanes (one family's queue, session and batches), shards (what goes
// to one server), the start's checks. Names and texts in Redis are package
// layout's, the Lua is package luascripts'. Reading the source: call.go, batch.go,
// lane.go, resolve.go, failure.go, shard.go, in this order.
package coordinator
