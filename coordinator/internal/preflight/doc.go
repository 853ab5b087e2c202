// Package preflight finds out whether money can be trusted to a Redis: what it is, how
// it is configured, what its user may do, and how the partitions of a prefix lie.
//
// What belongs here asks a server before a node uses it, or beside one, and changes
// nothing but a record of partitions that is missing. What a node sends to move money
// belongs to package lane.
package preflight
