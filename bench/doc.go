// Package bench puts budgets under the load of a fleet that serves language models, and
// reports what the engine did: how many decisions a second, at what latency, and whether
// a microcent was lost.
//
// [Run] takes a [Config] and returns a [report.Report]; [Command] is the bursar
// command around it.
//
// # Load
//
// Every caller repeats one cycle: it reserves the worst-case cost of a request (its
// context tokens and the most tokens that the model may generate), and commits the real
// cost. Some requests fail and are released; a few generate more than the maximum and
// commit above their hold. If that is not affordable (Overrun), the caller commits as
// much as it holds.
//
// In a closed loop a caller's next request follows its last, unless it keeps its hold for
// [load.Spec.HoldTime]. In an open loop ([load.Spec.Rate], or a trace with
// [load.Spec.Speed]) requests are due at given times, whatever the engine does. The next
// free caller takes the next request; if none is free it is late, and none is dropped.
//
// The requests are drawn from a seed, so each caller has the same in each run, or read
// from a usage trace ([load.Spec.Trace]). Budgets differ by a factor of 64 million, in
// steps of two, so some run out within the run on a slow machine as on a fast one; in a
// storm ([load.Storm]) all do at once.
//
// # Measurements
//
// A decision is one answer of the engine, refusals included; a cycle is a reserve and the
// settlement of its hold. Latency is measured at the caller, to 1 %, for each reserve and
// commit; with the local engine for each 64th, because reading the clock takes as long as
// a decision. In an open loop it counts from when the call was due, so each request that
// was due during a stall sees the stall. Measured from the call, as in a closed loop, it
// would be seen once per caller: Gil Tene calls that coordinated omission, and wrk2
// corrects it in the same way.
//
// A warm-up precedes each first round. It counts for the check of balances, and for
// nothing else.
//
// About 150 times a run the counts so far are sampled. The timeline, the drains of some
// budgets and the live view are made of samples.
//
// # Processes
//
// With [Config.Processes] each node is this program again, started with the hidden
// command "bench node". It receives its assignment and its orders as lines of JSON, and
// replies with samples and with all results. If a node dies its results are lost: the run
// ends, and all that the tenants could have spent is in doubt.
//
// # Contenders
//
// With [Config.Against] others play the same requests for equal budgets (package
// contender), one round each in turns that begin with another one every time, at three
// pool sizes each, of which the best by its median counts; the same holds for ours. The
// ratio is the median of the rounds' ratios. The cost of a decision in Redis is read from
// INFO before and after each round, so nothing else may use that Redis in the meantime.
// After the rounds comes a race: all callers at once for the last of some budgets. Its
// rates are not measured; what each contender overspent, by its own accounts, is.
//
// # Sweeps
//
// [RunSweep] runs a Config at several values of one thing, in a random order in each of
// several rounds. Over the load it names the knee of throughput; over tenants and open
// holds, which should not matter, the value from which on a decision has another cost;
// but only if the spread of the rounds leaves no other.
//
// # A prefix
//
// On a Redis of the user's all keys are under a random prefix, which begins with
// [Config.Prefix] if there is one. So no partition of ours has a tenant of others, and
// the clean-up deletes nothing of theirs, whatever else comes to the same prefix.
//
// # The check
//
// When the callers have stopped, the balances and holds are read from Redis' own state
// over a separate connection, by package audit, and compared with the budgets and with
// the answers that the callers got, for each tenant. Cycles that the end of the run
// interrupts leave their hold open, so that there are holds to sum up. The accounts of the
// local engine beside ours, and those of the race, are checked as well. A Redis that is
// gone for a second ends a run; the check is made if it comes back.
//
// # Packages
//
// Package load has the requests, fleet the callers and nodes, contender the alternatives,
// record the results while a run lasts, report the results afterwards. Package host
// describes what a run stands on, live shows its progress, output writes its report.
// Imports go from bench to live, fleet, record, report, and to load and contender; never
// back. Package duel and the command guard are by themselves.
//
// What belongs here is a run: its Config and command, the arena with the tenants and its
// entrants, the turns, the check, and sweeps of runs. Where the Redis comes from is package
// scratch's matter, what is decided the engine's.
package bench
