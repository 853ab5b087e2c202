// Package store encodes and decodes the state of budgets in Redis: keys and hash tags,
// the fields and binary records of a partition, and the arguments and replies of its
// scripts. Package luascripts is the other side of each of these.
//
// Text and bytes belong here. The package neither sends nor decides anything, and imports
// only budget and luascripts.
package store
