package budget

import (
	"errors"
	"strings"
	"testing"
)

func TestTenantIDs(t *testing.T) {
	t.Parallel()
	for _, id := range []TenantID{
		"a", "acme", "acme/search/key-7", "a/b/c/d/e/f", "Zoë", "テナント/鍵", "with space", "{x}", "%7B", "a*?[b]", "a:b",
		TenantID(strings.Repeat("x", 256)), "\uFFFD",
	} {
		if err := id.Validate(); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []TenantID{
		"", "/", "/a", "a/", "a//b", "a/b/c/d/e/f/g", "a\nb", "a\x00", "\x7f", "a\tb", "\xff", "a\xc3", "é\x80",
		"zero\u200bwidth", "no\u00a0break", TenantID(strings.Repeat("x", 257)),
	} {
		if err := id.Validate(); !errors.Is(err, ErrInvalidTenant) {
			t.Errorf("%q: %v, want %v", id, err, ErrInvalidTenant)
		}
	}
	for id, want := range map[TenantID][3]string{
		"acme": {"acme", "", ""}, "acme/a": {"acme", "/a", "acme"}, "acme/a/b": {"acme", "/a/b", "acme/a"}, "": {},
	} {
		if string(id.Root()) != want[0] || id.Level() != want[1] || string(id.Parent()) != want[2] {
			t.Errorf("%q: root %q, level %q, parent %q", id, id.Root(), id.Level(), id.Parent())
		}
	}
}
