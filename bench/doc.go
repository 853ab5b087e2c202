// Package bench measures budgets under the load of a fleet that serves language models:
// decisions per second, their latency, and whether every balance is right afterwards.
//
// [Run] takes a [Config] and returns a [report.Report]; [Command] is the bursar
// command around it.
//
// # Load
//
// Each worker repeats a cycle: it reserves the worst-case cost of a request (its context
// tokens and the most tokens that the model may generate) and commits the real cost. Some
// requests fail and are released; a few generate more than the maximum and commit above
// their hold. If that is not affordable (Overrun), the worker commits the amount of its
// hold.
//
// In a closed loop a worker sends its next request after the last, or after
// [workload.Spec.HoldTime]. In an open loop ([workload.Spec.Rate], or a trace with
// [workload.Spec.Speed]) requests are due at given times, whatever the engine does. The
// next free worker takes the next request; if none is free it is late, but never dropped.
//
// Requests are drawn from a seed, the same in each run, or read from a usage trace
// ([workload.Spec.Trace]). Budgets differ by a factor of 64 million in powers of two, so
// that some run out on slow and on fast machines; with [workload.Storm] all run out.
//
// With [Config.RollEvery] all budgets renew during the run. No window of a calendar is as
// short, so accounts have hourly windows, and the nodes a clock with an hour more after each
// interval; batches that are in flight then are repeated, since they are too old by that
// clock. Latencies are also counted by second, to compare the seconds with a boundary with
// the others. All that remains passes on, so that the check covers the budgets of all epochs.
//
// With [Config.Limits] each account has limits beside its base limit. They have twice its budget,
// so that they change no answer and only their cost is measured, unless [Config.LimitAmount] is
// set. The check covers each of them: until its next epoch a limit has committed and reserved
// the same amounts as the base limit.
//
// # Measurements
//
// A decision is one answer of the engine, including refusals; a cycle is a reserve and its
// settlement. Latency is measured by the worker, to 1 %, for each reserve and commit; with
// the local engine for every 64th, because reading the clock takes as long as a decision.
// In an open loop it counts from the time at which the call was due, so that each request
// due during a stall shows the stall. Counted from the call, only one request per worker
// would: Gil Tene calls that coordinated omission, and wrk2 corrects it in the same way.
//
// A warm-up precedes the first round. It counts only for the check of balances.
//
// Counts are sampled about 150 times per run, for the timeline, for the budgets that run
// out, and for the live view.
//
// # Processes
//
// With [Config.Processes] each node is this program, started with the hidden command
// "bench node". It receives its configuration and commands as lines of JSON, and replies
// with samples and results. If a node dies its results are lost: the run ends, and every
// amount that its tenants could have spent is in doubt.
//
// # Baselines
//
// With [Config.Baselines] other implementations (package baseline) run the same requests
// against equal budgets. They take turns in interleaved rounds, at three pool sizes each;
// the pool with the best median counts, for Bursar too. A ratio is the median of the
// rounds' ratios. The cost of a decision in Redis is read from INFO before and after each
// round, so nothing else should use that Redis during a run. A contention test follows the
// rounds: all workers at once request the rest of a few budgets. Its rates are not
// measured, but it shows how much each baseline overspends, by its own records.
//
// # Sweeps
//
// [RunSweep] runs a Config at several values of one parameter, in random order in each of
// several rounds. Over the load it names the knee of throughput. Over tenants and open
// holds, which should not matter, it names the value from which a decision's cost changes.
// It names either only if the spread of the rounds allows no other.
//
// # Keys
//
// On a server of the user's, every key begins with a random prefix, after [Config.Prefix]
// if it is set. No partition is shared with other tenants, and the clean-up deletes only
// keys of this run, even if others begin to use the same prefix.
//
// # The check of balances
//
// When the workers have stopped, balances and holds are read from Redis over a separate
// connection, by package audit, and compared with the budgets and with the answers that
// the workers received, for each tenant. Cycles that the end interrupts leave their hold
// open, so that there are holds to add up. The balances of the baseline local
// and those of the contention test are checked too. A run ends if its Redis is gone for a
// second; the check is made if Redis returns.
//
// # Packages
//
// Package workload generates the requests, runner sends them, baseline has the
// alternatives, metrics collects during a run, and report presents the result. Imports go
// from bench to runner and report, from runner to workload and baseline, and from all to
// metrics; never back. The command regress is the regression guard behind
// make bench-check.
//
// Package bench itself has the parts of one run: its Config and command, its target (the
// tenants and the Redis), its candidates (Bursar and the baselines), the check of
// balances, and sweeps. Package scratch provides the Redis.
package bench
