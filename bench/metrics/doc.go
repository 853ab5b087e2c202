// Package metrics collects latencies, counts and balances during a run, and condenses
// them: latencies ([Latencies]) into percentiles ([Histogram]), answers into sums for each
// tenant ([Ledger]) and for each outcome ([Counts]), samples into a [Timeline].
//
// What workers write to is striped, so that they do not wait for each other. Its size is
// bounded for any number of tenants and workers, and recording allocates nothing.
//
// [Compare] measures two operations in interleaved rounds. Benchmarks and the regression
// guard use it, from any package: metrics imports nothing but the budget model.
package metrics
