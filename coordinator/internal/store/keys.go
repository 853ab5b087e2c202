package store

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// DefaultPrefix is the prefix of every key unless an option sets another one.
const DefaultPrefix = "bursar"

const (
	// MaxPrefixBytes bounds a key prefix.
	MaxPrefixBytes = 64
	// MaxPartitions bounds the partitions of a prefix.
	MaxPartitions = 1024
)

const slots = 16384 // of a Cluster

// Keys are the two keys of a partition. They share a hash tag and therefore a slot.
type Keys struct {
	Ledger string // hash: accounts, holds, tombstones, sessions
	Timers string // sorted set: fields and their deadlines, Unix ms
}

const (
	ledgerSuffix = "}:ledger"
	timersSuffix = "}:timers"
)

// RecordKey returns the key of the record with a prefix's number of partitions.
func RecordKey(prefix string) string { return prefix + ":partitions" }

// KeysOf returns the keys of partition index of a prefix with this number of partitions.
func KeysOf(prefix string, partitions, index int) Keys {
	tag := prefix + ":{" + tags(partitions)[index]
	return Keys{Ledger: tag + ledgerSuffix, Timers: tag + timersSuffix}
}

// LedgerPattern returns the pattern that matches every ledger under a prefix, for SCAN.
func LedgerPattern(prefix string) string { return QuotePattern(prefix) + ":{*" + ledgerSuffix }

// QuotePattern returns the pattern that matches only the given text, for SCAN.
func QuotePattern(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}

// PartitionOf returns the partition of a tenant: all levels of a root tenant are in
// the partition of the root.
func PartitionOf(tenant budget.TenantID, partitions int) int {
	return int(xxhash.Sum64String(string(tenant.Root())) & uint64(partitions-1)) //nolint:gosec // below partitions
}

// ValidatePartitions returns nil if a prefix can have n partitions.
func ValidatePartitions(n int) error {
	if n < 1 || n > MaxPartitions || n&(n-1) != 0 {
		return fmt.Errorf("%d partitions: give a power of two from 1 to %d", n, MaxPartitions)
	}
	return nil
}

// ValidatePrefix returns nil if keys can begin with the prefix.
func ValidatePrefix(prefix string) error {
	if prefix == "" || len(prefix) > MaxPrefixBytes {
		return fmt.Errorf("key prefix %.80q: give 1 to %d bytes", prefix, MaxPrefixBytes)
	}
	for i := range len(prefix) {
		if c := prefix[i]; c <= ' ' || c >= 0x7f || c == '{' || c == '}' {
			return fmt.Errorf("key prefix %q: use printable ASCII without spaces and braces", prefix)
		}
	}
	return nil
}

var (
	tagsMu   sync.Mutex
	tagsByP  = make(map[int][]string)
	crcTable = func() (table [256]uint16) {
		for i := range table {
			crc := uint16(i) << 8
			for range 8 {
				if crc&0x8000 != 0 {
					crc = crc<<1 ^ 0x1021
				} else {
					crc <<= 1
				}
			}
			table[i] = crc
		}
		return table
	}()
)

// tags returns the hash tag of each partition: partition i of P is in the middle half of
// the i-th of P equal ranges of slots, so that masters with equal ranges get equal
// shares. Tags are the smallest decimal numbers with this property.
func tags(partitions int) []string {
	tagsMu.Lock()
	defer tagsMu.Unlock()
	if known, ok := tagsByP[partitions]; ok {
		return known
	}
	found, missing, width := make([]string, partitions), partitions, slots/partitions
	for n := 0; missing > 0; n++ {
		tag := strconv.Itoa(n)
		slot := slotOf(tag)
		if index, place := slot/width, slot%width; found[index] == "" && 4*place >= width && 4*place < 3*width {
			found[index] = tag
			missing--
		}
	}
	tagsByP[partitions] = found
	return found
}

// SlotOf returns the Cluster slot of a partition.
func SlotOf(partitions, index int) int { return slotOf(tags(partitions)[index]) }

// slotOf returns CRC-16/XMODEM modulo slots, as in the Cluster specification.
func slotOf(tag string) int {
	var crc uint16
	for i := range len(tag) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^tag[i]]
	}
	return int(crc) % slots
}

// Record is the value of RecordKey: the layout and the number of partitions of a prefix,
// fixed when it is first used.
type Record struct {
	Layout     int
	Partitions int
}

// String returns the stored text.
func (r Record) String() string { return fmt.Sprintf("%d %d", r.Layout, r.Partitions) }

// ParseRecord reads the stored text. For another layout it returns the layout only.
func ParseRecord(text string) (r Record, err error) {
	layout, partitions, found := strings.Cut(text, " ")
	if r.Layout, _ = strconv.Atoi(layout); r.Layout > 0 && r.Layout != luascripts.Layout {
		return Record{Layout: r.Layout}, nil
	}
	r.Partitions, _ = strconv.Atoi(partitions)
	if !found || r.Layout != luascripts.Layout || ValidatePartitions(r.Partitions) != nil || r.String() != text {
		return Record{}, fmt.Errorf("%w: record %.60q, want the layout and the number of partitions", ErrDamaged, text)
	}
	return r, nil
}
