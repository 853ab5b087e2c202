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
	"fmt"
	"strconv"
	"strings"
)

var (
	//go:embed amount.lua
	amountLua string
	//go:embed books.lua
	booksLua string
	//go:embed single.lua
	singleLua string
	//go:embed family.lua
	familyLua string
	//go:embed endings.lua
	endingsLua string
	//go:embed sessions.lua
	sessionsLua string
	//go:embed merge.lua
	mergeLua string
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
	Bare  bool // in the dialect of that name
	Batch Script
	// BatchShortOfMemory is Batch for a Redis that is past maxmemory: it answers
	// M to what would hold more, and lets commits and releases land.
	BatchShortOfMemory Script
	// Merge is Batch for what Redis has lost. It too writes past maxmemory.
	Merge Script
	Sweep Script
	Open  Script
	Close Script
	Holds Script
}

// Dialect says which first line a script gets.
type Dialect int

const (
	// Redis is Redis 7: with a first line, which makes a replica refuse the script.
	Redis Dialect = iota
	// Bare has no first line, for miniredis, which knows none.
	Bare
)

// Layouts is a range of layouts of the store.
type Layouts struct {
	Oldest  int // that can be read, and worked on
	Current int // that families are created in
}

// Known are the layouts of these scripts. A program that creates families in a new
// layout reads the one before, and comes after one that reads both: so old and new
// nodes work side by side during an update, and the update can be taken back.
var Known = Layouts{Oldest: 1, Current: 1}

// Readable reports whether a family of that layout can be worked on.
func (l Layouts) Readable(version string) bool {
	n, err := strconv.Atoi(version)
	return err == nil && n >= l.Oldest && n <= l.Current
}

// String names the layouts, for errors.
func (l Layouts) String() string {
	if l.Oldest == l.Current {
		return strconv.Itoa(l.Current)
	}
	return fmt.Sprintf("%d to %d", l.Oldest, l.Current)
}

// Compose returns the scripts for layouts in a dialect.
func Compose(d Dialect, layouts Layouts) Set {
	script := func(name, flags, prelude string, parts ...string) Script {
		source := fmt.Sprintf("local OLDEST_LAYOUT, LAYOUT = %d, %d\n", layouts.Oldest, layouts.Current) + prelude + strings.Join(parts, "\n")
		if d == Redis {
			source = "#!lua" + flags + "\n" + source
		}
		sum := sha1.Sum([]byte(source)) //nolint:gosec // as above
		return Script{Name: name, Source: source, SHA: hex.EncodeToString(sum[:])}
	}
	const allowOOM = " flags=allow-oom"
	batch := []string{amountLua, booksLua, singleLua, familyLua, endingsLua, sessionsLua, batchLua}
	return Set{
		Bare:               d == Bare,
		Batch:              script("batch", "", "local MEMORY_SHORT, MERGES = false, false\n", batch...),
		BatchShortOfMemory: script("batch", allowOOM, "local MEMORY_SHORT, MERGES = true, false\n", batch...),
		Merge:              script("merge", allowOOM, "local MEMORY_SHORT, MERGES = true, true\n", amountLua, booksLua, singleLua, familyLua, endingsLua, sessionsLua, mergeLua, batchLua),
		Sweep:              script("sweep", allowOOM, "", amountLua, booksLua, familyLua, endingsLua, sweepLua),
		Open:               script("open", allowOOM, "", amountLua, booksLua, familyLua, openLua),
		Close:              script("close", allowOOM, "", amountLua, booksLua, familyLua, closeLua),
		Holds:              script("holds", allowOOM, "", amountLua, booksLua, familyLua, holdsLua),
	}
}
