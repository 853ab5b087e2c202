// Package luascripts holds the Lua that runs inside Redis, one file a concern,
// and composes the files into scripts. Each file's header gives its keys,
// arguments, replies and the invariant that it keeps.
//
// What belongs here is the Lua and the words of its replies; how and when a
// script is sent belongs to package coordinator. It is a leaf.
package luascripts

import (
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1; it protects nothing.
	_ "embed"
	"encoding/hex"
	"strings"
)

var (
	//go:embed amount.lua
	amountLua string
	//go:embed family.lua
	familyLua string
	//go:embed endings.lua
	endingsLua string
	//go:embed sessions.lua
	sessionsLua string
	//go:embed batch.lua
	batchLua string
	//go:embed sweep.lua
	sweepLua string
	//go:embed open.lua
	openLua string
	//go:embed close.lua
	closeLua string
	//go:embed holds.lua
	holdsLua string
)

// Script is a text that Redis runs, and the SHA-1 that Redis calls it by.
type Script struct {
	Name   string
	Source string
	SHA    string
}

// Set is every script in one dialect.
type Set struct {
	Batch Script
	// BatchShortOfMemory is Batch for a Redis that is past maxmemory: it answers
	// M to what would hold more, and lets commits and releases land.
	BatchShortOfMemory Script
	Sweep              Script
	Open               Script
	Close              Script
	Holds              Script
}

// Dialect says which first line a script gets.
type Dialect int

const (
	// Redis is Redis 7: with a first line, which makes a replica refuse the script.
	Redis Dialect = iota
	// Bare has no first line, for miniredis, which knows none.
	Bare
)

// Compose returns the scripts in a dialect.
func Compose(d Dialect) Set {
	script := func(name, flags, prelude string, parts ...string) Script {
		source := prelude + strings.Join(parts, "\n")
		if d == Redis {
			source = "#!lua" + flags + "\n" + source
		}
		sum := sha1.Sum([]byte(source)) //nolint:gosec // as above
		return Script{Name: name, Source: source, SHA: hex.EncodeToString(sum[:])}
	}
	const allowOOM = " flags=allow-oom"
	batch := []string{amountLua, familyLua, endingsLua, sessionsLua, batchLua}
	return Set{
		Batch:              script("batch", "", "local MEMORY_SHORT = false\n", batch...),
		BatchShortOfMemory: script("batch", allowOOM, "local MEMORY_SHORT = true\n", batch...),
		Sweep:              script("sweep", allowOOM, "", amountLua, familyLua, endingsLua, sweepLua),
		Open:               script("open", allowOOM, "", amountLua, familyLua, openLua),
		Close:              script("close", allowOOM, "", amountLua, familyLua, closeLua),
		Holds:              script("holds", allowOOM, "", amountLua, familyLua, holdsLua),
	}
}
