// Package workload generates the requests of a run: what each costs, which tenant pays
// for it, and when it is due.
//
// A [Spec] describes a workload. [Spec.Read] reads its usage trace, if it has one, and
// [New] turns it into a [Workload]: synthetic requests drawn from a seed, the rows of a
// trace, or a [Burst]. A workload is divided into rounds ([Round]), and a round has a
// [Generator] for each worker. Every run of the same Spec gives each worker the same
// requests. In an open loop, [Arrivals] says when they are due.
//
// Requests are drawn, read and priced before the measurement begins, so that a worker
// gets the next one at almost no cost. The package knows no engine, clock or worker.
package workload
