// Package store knows how budgets lie in Redis: keys and hash tags, the fields and
// binary records of a partition, and what travels in the arguments and replies of its
// scripts. Package luascripts is the other side of each of these.
//
// What belongs here is text and bytes. It neither sends anything nor decides anything,
// and imports only budget and luascripts.
package store
