// Package preflight checks whether a Redis can be trusted with money: its kind, its
// configuration, the rights of its user, and the partitions of a prefix.
//
// Requests to a server before a node uses it, or independent of one, belong here. They
// change nothing, except that they restore a missing record of partitions. Commands that
// move money belong to package lane.
package preflight
