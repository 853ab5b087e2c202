package layout

import (
	"fmt"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
)

// DefaultPrefix begins every key unless an option says otherwise.
const DefaultPrefix = "bursar"

// MaxPrefixBytes bounds a key prefix.
const MaxPrefixBytes = 64

// Keys names the two keys of a family. Both carry the family's hash tag, so they
// share a slot, and only a family of the same name can share it by name.
type Keys struct {
	Books  string // hash: the family, its accounts, holds, tombstones, sessions
	Timers string // sorted set: deadlines and retentions by time in milliseconds
}

const (
	booksSuffix  = "}:books"
	timersSuffix = "}:timers"
)

// KeysOf returns the keys of the family of a root tenant.
func KeysOf(prefix string, root budget.TenantID) Keys {
	tag := prefix + ":{" + escape(string(root))
	return Keys{Books: tag + booksSuffix, Timers: tag + timersSuffix}
}

// BooksPattern matches the books of every family under a prefix, for SCAN.
func BooksPattern(prefix string) string {
	return QuotePattern(prefix) + ":{*" + booksSuffix
}

// QuotePattern returns the pattern that matches a text and no other, for SCAN.
func QuotePattern(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}

// RootOf returns the root tenant whose books a key is.
func RootOf(prefix, key string) (budget.TenantID, bool) {
	tag, isBooks := strings.CutSuffix(key, booksSuffix)
	escaped, hasPrefix := strings.CutPrefix(tag, prefix+":{")
	if !isBooks || !hasPrefix {
		return "", false
	}
	root, ok := unescape(escaped)
	return budget.TenantID(root), ok && escape(root) == escaped
}

// ValidatePrefix returns nil for a prefix that keys can begin with.
func ValidatePrefix(prefix string) error {
	if prefix == "" || len(prefix) > MaxPrefixBytes {
		return fmt.Errorf("invalid key prefix %.80q: give 1 to %d bytes", prefix, MaxPrefixBytes)
	}
	for i := range len(prefix) {
		if c := prefix[i]; c <= ' ' || c >= 0x7f || c == '{' || c == '}' {
			return fmt.Errorf("invalid key prefix %q: use printable ASCII without blanks and braces", prefix)
		}
	}
	return nil
}

const hexDigits = "0123456789abcdef"

// escape keeps braces out of the hash tag; without them the tag is the text
// between the first "{" and the first "}" of the key, whatever the tenant is.
func escape(root string) string {
	if !strings.ContainsAny(root, "{}%") {
		return root
	}
	var b strings.Builder
	for i := range len(root) {
		switch c := root[i]; c {
		case '{', '}', '%':
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func unescape(escaped string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(escaped); i++ {
		if escaped[i] != '%' {
			b.WriteByte(escaped[i])
			continue
		}
		if i+2 >= len(escaped) {
			return "", false
		}
		hi := strings.IndexByte(hexDigits, escaped[i+1])
		lo := strings.IndexByte(hexDigits, escaped[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		b.WriteByte(byte(hi<<4 | lo)) //nolint:gosec // a byte was parsed
		i += 2
	}
	return b.String(), true
}
