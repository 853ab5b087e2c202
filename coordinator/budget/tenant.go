package budget

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a tenant ID.
const (
	MaxTenantBytes  = 256
	MaxTenantLevels = 6
)

// ErrInvalidTenant is returned for an invalid tenant ID. Nothing was changed; correct the ID.
var ErrInvalidTenant = errors.New("invalid tenant id")

// TenantID identifies an account with a budget: 1 to 256 bytes of printable UTF-8. "/"
// separates levels ("acme/search/key-7"): at most six, none empty. All tenants with the
// same first level are one family.
type TenantID string

// Validate returns nil, or an error that wraps ErrInvalidTenant and names the problem.
func (t TenantID) Validate() error {
	s := string(t)
	if s == "" {
		return fmt.Errorf("%w: it is empty; give 1 to %d bytes", ErrInvalidTenant, MaxTenantBytes)
	}
	if len(s) > MaxTenantBytes {
		return fmt.Errorf("%w: %d bytes (%.16q…); give at most %d", ErrInvalidTenant, len(s), s, MaxTenantBytes)
	}
	levels, empty := 1, s[0] == '/' || s[len(s)-1] == '/'
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '/':
			levels++
			empty = empty || i > 0 && s[i-1] == '/'
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				return fmt.Errorf("%w %q: byte %d is not UTF-8", ErrInvalidTenant, s, i)
			}
			if !unicode.IsPrint(r) {
				return fmt.Errorf("%w %q: %U at byte %d is not printable", ErrInvalidTenant, s, r, i)
			}
			i += size - 1
		case c < ' ' || c == 0x7f:
			return fmt.Errorf("%w %q: %U at byte %d is not printable", ErrInvalidTenant, s, c, i)
		}
	}
	if empty {
		return fmt.Errorf("%w %q: a level is empty; write names with one / between them", ErrInvalidTenant, s)
	}
	if levels > MaxTenantLevels {
		return fmt.Errorf("%w %q: %d levels; give at most %d", ErrInvalidTenant, s, levels, MaxTenantLevels)
	}
	return nil
}

// Root returns the first level, which is the name of the tenant's family.
func (t TenantID) Root() TenantID {
	if i := strings.IndexByte(string(t), '/'); i >= 0 {
		return t[:i]
	}
	return t
}

// Parent returns the tenant's nearest ancestor: "acme" for "acme/search", "" for a root.
func (t TenantID) Parent() TenantID { return t[:max(strings.LastIndexByte(string(t), '/'), 0)] }

// Compare orders tenants by their names, level by level, so that a tenant's descendants
// follow it at once.
func (t TenantID) Compare(u TenantID) int {
	for i := range min(len(t), len(u)) {
		if t[i] != u[i] {
			return cmp.Compare(rank(t[i]), rank(u[i]))
		}
	}
	return cmp.Compare(len(t), len(u))
}

// rank orders the bytes of tenant IDs, with the separator of levels first.
func rank(b byte) int {
	if b == '/' {
		return -1
	}
	return int(b)
}

// Level returns the part after the root: empty, or "/" and the lower levels.
func (t TenantID) Level() string { return string(t[len(t.Root()):]) }
