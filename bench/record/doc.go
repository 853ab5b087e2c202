// Package record is what is noted while callers play: their latencies ([Latencies]),
// what they were told of each tenant's money ([Ledger]) and by outcome ([Counts]), what
// tenants had left ([Remains]); and what is made of it for a report: percentiles
// ([Histogram]), the story of a run and of budgets that ran out ([Timeline]).
//
// What callers write to is striped, so that they do not wait for each other, bounded
// however many tenants and callers there are, and allocates nothing: it must cost less
// than what it watches.
//
// What belongs here knows no engine, no caller and no workload.
package record
