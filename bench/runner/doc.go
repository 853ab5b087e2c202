// Package runner runs a workload with concurrent workers on several nodes, in this process
// ([New]) or with a process per node ([NewOfProcesses]).
//
// A [Runner] runs the rounds of a workload and accumulates the results of its workers. A
// phase (phase.go) is one uninterrupted stretch: a warm-up or a round. Its workers are in
// worker.go, for closed and open loops. [Processes] starts and commands the node processes;
// each is this program with the hidden command [NodeCommand], served by [ServeNode].
// [Watchdog] ends a run whose Redis is gone.
//
// The package calls engines and records their answers. Budgets, baselines and the check of
// balances belong to package bench.
package runner
