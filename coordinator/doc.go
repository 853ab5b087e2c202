// Package coordinator coordinates tenant budgets across a fleet of processes using
// Redis. A [Coordinator] is a [budget.Engine] that stores its state in Redis; run one per
// process.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
//	node, err := coordinator.New(ctx, client)
//	if err != nil { ... }
//	defer node.Close(ending) // a context with a deadline: without one, Close waits for Redis
//
// Reserve the worst case before the expensive work with TryReserve, and settle after it
// with Commit or Release, on any node; or use Do, which does both. Lookup shows what
// happened to a reservation, Ready serves health endpoints, and Inspect checks a Redis
// before you trust it with money.
//
// # Guarantees
//
// For every tenant, at every instant, remaining + reserved + committed = granted. Amounts
// are exact. A tenant such as acme/search/key-7 has the levels acme, acme/search and itself:
// a reserve takes its cost from each of them that has a budget, or from none, and results
// name the level that can give least. A tenant may have several limits, such as one by the day
// and one by the month, each of which is a part of its level. A budget may renew at calendar boundaries, which are the
// same for all nodes; the first operation after one begins the new epoch. Or it may be that of
// the last 24 hours, 7 or 30 days. Every operation takes effect exactly once or not at all,
// whatever is lost, delayed or repeated between the node and Redis. A hold that is never
// settled is released at its deadline, by Redis' clock.
//
// # How it works
//
// A key prefix has a fixed number of partitions ([WithPartitions]), each of two keys in
// one slot; a root tenant and all levels below it share a partition. Calls that arrive
// for a partition while its previous script call is in flight are sent together as the
// next one, so a busy partition costs few calls and an idle one doesn't wait. Each such
// batch is numbered, and Redis stores the number and the reply of a node's last batch, so
// a repeat is recognised and changes nothing. Tenants take turns in a batch.
//
// If Redis comes back without writes that it had acknowledged, as after a failover to a
// replica that lagged, a node finds its session behind its last acknowledged batch, and
// restores the lost reservations before it sends anything else ([WithRepair]). Money that
// others have spent in the meantime is the tenant's debt: see [budget.Balance.Debt].
//
// # Errors
//
// A refusal is an outcome, not an error. An error means that the operation has no answer;
// each sentinel documents how a caller should react. After [ErrUnknownOutcome] the
// coordinator resolves the operation in the background and releases any hold whose caller
// never received it.
//
// While a server is unresponsive ([WithBreaker]), new calls to it fail at once with
// [ErrUnavailable]; its first response lets them through again.
//
// # Telemetry
//
// Each operation that is sent has a span below the caller's, named bursar.reserve,
// bursar.commit and so on. It is linked to the span of the batch that carried it,
// bursar.batch, which is a root of its own because it serves many callers' traces. The
// instruments, with their units and attributes:
//
//	bursar.operation.count     {operation}  bursar.operation.name, and bursar.outcome or error.type; with an
//	                                        outcome that has a Level also bursar.level.depth, the number of
//	                                        levels in its name, 1 to 6
//	bursar.operation.duration  s            the same
//	bursar.operation.unknown   {operation}  bursar.operation.name
//	bursar.batch.duration      s            bursar.batch.result: applied, unsent, refused, unknown, lost
//	bursar.batch.size          {operation}
//	bursar.batch.retries       {retry}      bursar.retry.reason: lost, unknown, unsent, transient, no_script, out_of_memory, rejected
//	bursar.queue.length        {operation}  the node's attributes; calls without an answer
//	bursar.breaker.state       {state}      the node's attributes; 0 closed, 1 half-open, 2 open
//	bursar.gaps                {gap}        bursar.partition; losses of acknowledged writes
//	bursar.timers.lost         {partition}  bursar.partition; timers that were missing and are rebuilt
//	bursar.hold.abandoned      {hold}       holds released because their caller gave up
//	bursar.threshold.crossed   {threshold}  bursar.threshold.percent, and bursar.limit unless it is of a base limit;
//	                                        thresholds that this node's batches reached
//	bursar.repair.merged       {reservation}  reservations that a repair restored
//	bursar.repair.unmerged     {reservation}  reservations that could not be restored
//	bursar.repair.forgotten    {reservation}  states dropped from memory within the repair window
//
// and, only for the tenants of [WithObservedTenants], with bursar.tenant.id and the
// node's attributes: bursar.tenant.granted, bursar.tenant.remaining,
// bursar.tenant.reserved, bursar.tenant.committed in {microcent}, and
// bursar.tenant.holds in {hold}. With a window of the calendar the amounts are those of the
// current epoch, and there are bursar.tenant.ended in {microcent}, reserved in ended epochs,
// and bursar.tenant.epoch.end in s of Unix time; with a rolling window the amounts are those of
// the window. Each further limit of the tenant has series of its own, with its period as
// bursar.limit and without bursar.tenant.holds; those of the base limit don't have the attribute.
// Package observability has a board and alerts for them.
//
// The node's attributes are server.address and server.port of its Redis (or
// WithServerName), db.namespace (the database number, except on a Cluster),
// bursar.key.prefix, and bursar.node.number, from 2 on, if another node of the process
// has all the other attributes in common. Nodes that share a MeterProvider therefore
// never overwrite each other's values.
//
// Events that an operator must see are logged, once each: the start and its warnings, a
// breaker that opens or closes, a command without a reply, an eviction policy that
// deletes money, lost writes, timers and partitions, the result of a repair, a session
// that was reopened, abandoned holds that were released, thresholds that were crossed,
// corrupt state. OPERATIONS.md lists them.
//
// # What belongs here
//
// The client: New, Close, the verbs, options, errors and telemetry. The protocol is in
// internal/lane, servers and pipelines in internal/dispatch, encodings in internal/store,
// the checks of a start in internal/preflight, and the Lua in luascripts. To read the
// source, start with operations.go and follow a call to internal/lane. PROTOCOL.md
// explains how a node and Redis work together, OPERATIONS.md how to run them.
// GUARANTEES.md lists the promises and the tests that show them, OUTCOMES.md the answers
// and errors, COMMANDS.md the commands, BENCHMARKS.md the measured figures, and
// COMPARISON.md what Cycles, LiteLLM, Limitador, TigerBeetle and Blnk do.
package coordinator
