// Package bench puts budgets under the load of a fleet that serves language
// models, and shows what the engine did: how many decisions a second, at what
// latency, and whether a microcent was lost.
//
// [Run] takes a [Config] and returns a [report.Report]; [Command] is the bursar
// command around it.
//
// # What is played
//
// Every caller repeats one cycle: it reserves what a request costs at worst
// (its context tokens and the most tokens that the model may generate), and
// commits what it really cost. Some requests fail and are released; a few
// generate more than the maximum, and commit above their hold. Where that is
// not affordable (Overrun), the caller commits as much as it holds.
//
// In a closed loop nobody sleeps: a caller's next request follows its last, unless it
// keeps its hold for [load.Spec.HoldTime]. In an open loop ([load.Spec.Rate], or a trace with
// [load.Spec.Speed]) requests are due at given times, whatever the engine does. Who is free
// takes the next; where nobody is, it is late, and none is dropped.
//
// The requests are drawn from a seed, so that each caller has the same in each run, or
// read from a usage trace ([load.Spec.Trace]). Budgets differ by a factor of 64 million, in
// steps of two, so that on a slow machine as on a fast one some run out within the run
// and others do not; in a storm ([load.Storm]) they all do at once.
//
// # What is measured
//
// A decision is one answer of the engine, refusals included; a cycle is a
// reserve and the settle of what it held. Latency is measured at the caller,
// to 1 %, for each reserve and commit; with the local engine for each 64th, because
// reading the clock takes as long as a decision. In an open loop it counts from when the
// call was due, so that a stall is seen by each request that was due in it: measured from
// the call, as in a closed loop, it would be seen once a caller, which is what Gil Tene
// calls coordinated omission and wrk2 corrects in the same way.
//
// A warm-up comes before each first round. It is in the books, and in nothing else.
//
// About 150 times a run a sample is taken of what callers were told meanwhile. Of samples
// are made the timeline, the drains of some budgets, and what a live view shows.
//
// # Processes
//
// With [Config.Processes] each node is this program again, started with the hidden
// command "bench node". It gets its assignment and its orders as lines of JSON, and
// answers with samples and with all that it was told. With a node that dies, what it was
// told is lost: the run ends, and all that the tenants could have spent is in doubt.
//
// # Contenders
//
// With [Config.Against] others play the same requests for budgets alike (package
// contender), a round each in turns that begin with another one every time, at three
// pool sizes each, of which the best by its median counts; so does ours. The ratio is
// the median of the rounds' ratios. What a decision costs Redis is read from INFO
// before and after each round, so nobody else may use that Redis meanwhile. After the
// rounds comes a race: all callers at once for the last of some budgets. Its rates
// are not measured; what each contender overspent, by its own books, is.
//
// # Sweeps
//
// [RunSweep] runs a Config at several values of one thing, in a random order in each of
// several rounds. Over the load it names the knee of throughput; over tenants and open
// holds, which should not matter, the value from which on a decision costs something else;
// but only if the spread of the rounds leaves no other.
//
// # A prefix
//
// On a Redis of the user's all keys are under a random prefix, or under [Config.Prefix].
// There each tenant's name has a random mark, by which the clean-up knows what it may
// delete, whoever else has come to the same prefix.
//
// # The books
//
// When the callers have stopped, the books are read from Redis' own state over
// a connection of their own, without any script, and compared with the budgets
// and with what the callers were told, for each tenant. Cycles that the end of
// the run interrupts leave their hold open, so that there are holds to sum. The
// books of the local engine beside ours, and those of the race, are checked as well.
// A Redis that is gone for a second ends a run; its books are then read if it is back.
//
// # The rooms
//
// What is played is in package load, who plays it in fleet, whom it is played beside in
// contender, what is noted meanwhile in record, what it came to in report. Package host
// says what a run stands on, live shows it, output writes its report. Imports go from
// bench to live, fleet, record, report, and to load and contender; never back. Package
// duel and the command guard are by themselves.
//
// What belongs here is a run: its Config and command, the arena with the tenants and
// who enters it, the turns, the books, and sweeps of runs. Where the Redis comes from is
// package scratch's matter, what is decided the engine's.
package bench
