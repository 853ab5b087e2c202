// Package coordinator shares tenants' budgets among the nodes of a fleet through
// Redis. A Coordinator is one node: a [budget.Engine] whose books are in Redis.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
//	node, err := coordinator.New(ctx, client)
//	if err != nil { ... }
//	defer node.Close(ending) // a context with a deadline: without one, Close waits for Redis
//
// Reserve the worst case before the expensive work with TryReserve, and settle
// after it with Commit or Release, on any node; or let Do do both. Lookup tells what
// became of a reservation, Ready is for health endpoints, Inspect says whether a
// Redis is fit before anything is trusted to it.
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
// When Redis comes back without what it had acknowledged, as after a failover to a
// replica that lagged, a node finds its session behind what it was told, and merges what
// is lost before it does anything else in that family (WithRepair). What others have
// spent meanwhile is the tenant's debt: see budget.Balance.Debt.
//
// # Errors
//
// A refusal is an outcome, not an error. An error means that there is no answer;
// the sentinels say what a caller should do. After ErrUnknownOutcome the
// coordinator itself finds out what happened and releases what nobody was told of.
//
// Where a server answers nothing for a while (WithBreaker), new calls to it are refused
// at once with ErrUnavailable, and go through again from its first answer on.
//
// # Telemetry
//
// Each operation that is sent has a span, below the caller's, named bursar.reserve,
// bursar.commit and so on, and linked to the span of the batch that carried it,
// bursar.batch, which is a root of its own since many callers' traces meet in it. The
// instruments, with their units and attributes:
//
//	bursar.operation.count     {operation}  bursar.operation.name, and bursar.outcome or error.type
//	bursar.operation.duration  s            the same
//	bursar.operation.unknown   {operation}  bursar.operation.name
//	bursar.batch.duration      s            bursar.batch.result: applied, unsent, refused, unknown, lost
//	bursar.batch.size          {operation}
//	bursar.batch.retries       {retry}      bursar.retry.reason: lost, unknown, unsent, transient, no_script, out_of_memory, refused
//	bursar.queue.length        {operation}  the node's attributes; operations that wait for an answer
//	bursar.breaker.state       {state}      the node's attributes; 0 closed, 1 half-open, 2 open
//	bursar.gaps                {gap}        Redis has lost acknowledged writes
//	bursar.hold.abandoned      {hold}       released, since nobody was told of them
//	bursar.repair.merged       {reservation}  told Redis again, which had lost them
//	bursar.repair.unmerged     {reservation}  that could not be restored
//	bursar.repair.forgotten    {reservation}  dropped from memory within the repair window
//
// and, of the tenants of WithObservedTenants alone, with bursar.tenant.id and the node's
// attributes: bursar.tenant.granted, bursar.tenant.remaining, bursar.tenant.reserved,
// bursar.tenant.committed in {microcent}, and bursar.tenant.holds in {hold}. Package
// observability has a board and alerts for them.
//
// The node's attributes are server.address and server.port of its Redis (or
// WithServerName), db.namespace (the number of the database, unless it is a Cluster),
// bursar.key.prefix, and bursar.node.number, from 2 on, if another node of the process has
// all others in common. Nodes that share a MeterProvider overwrite no value of each other.
//
// What an operator must read is logged, once each: the start and its warnings, a
// breaker that opens or closes, a command without a reply, lost writes and families, what
// a repair came to, a session opened again, abandoned holds released, corrupt state.
//
// # What belongs here
//
// The client: lanes (one family's queue, session and batches), shards (what goes
// to one server), the start's checks, telemetry. Names and texts in Redis are package
// layout's, the Lua is package luascripts'. Reading the source: call.go, batch.go,
// lane.go, resolve.go, failure.go, shard.go, in this order, then second.go for crowds,
// and retained.go, repair.go and probe.go for what follows on a loss. PROTOCOL.md explains how a node and Redis
// work together, OPERATIONS.md how to run them.
package coordinator
