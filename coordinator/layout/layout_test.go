package layout

import (
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	for root, want := range map[budget.TenantID]string{
		"acme": "p:{acme}:books", "a}b": "p:{a%7db}:books", "{a": "p:{%7ba}:books", "%7b": "p:{%257b}:books", "a:b c": "p:{a:b c}:books",
	} {
		keys := KeysOf("p", root)
		if keys.Books != want || keys.Timers != strings.TrimSuffix(want, "books")+"timers" {
			t.Errorf("%q: %+v, want %q", root, keys, want)
		}
	}
}

// hashTag is what a Cluster hashes: the text between the first "{" and the first
// "}" after it.
func hashTag(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	tag, _, _ := strings.Cut(rest, "}")
	return tag
}

func FuzzNoTenantReachesAnothersKeys(f *testing.F) {
	f.Add("acme", "acm%65")
	f.Add("a}b", "a")
	f.Add("{", "%7b")
	f.Fuzz(func(t *testing.T, one, other string) {
		a, b := budget.TenantID(one), budget.TenantID(other)
		if a.Validate() != nil || b.Validate() != nil {
			return
		}
		ka, kb := KeysOf("bursar", a.Root()), KeysOf("bursar", b.Root())
		if (a.Root() == b.Root()) != (ka == kb) {
			t.Errorf("%q and %q have the keys %+v and %+v", a, b, ka, kb)
		}
		if (a.Root() == b.Root()) != (hashTag(ka.Books) == hashTag(kb.Books)) || hashTag(ka.Books) != hashTag(ka.Timers) {
			t.Errorf("%q and %q have the hash tags %q, %q and %q", a, b, hashTag(ka.Books), hashTag(ka.Timers), hashTag(kb.Books))
		}
		if (a.Level() == b.Level()) != (AccountField(a) == AccountField(b)) {
			t.Errorf("%q and %q have the accounts %q and %q", a, b, AccountField(a), AccountField(b))
		}
		id := budget.NewReservationID(a, 1, 2)
		if hold, _, err := ParseHold(a.Root(), string(AppendHoldField(nil, id)), "o1 1 1"); err != nil || hold.ID != id {
			t.Errorf("the hold of %q became that of %q: %v", a, hold.ID.Tenant(), err)
		}
		if root, ok := RootOf("bursar", ka.Books); !ok || root != a.Root() {
			t.Errorf("%q became %q, %t", a.Root(), root, ok)
		}
	})
}

func TestRootOfForeignKeys(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "p:{a}:timers", "q:{a}:books", "p:{a}:books:x", "p:{%}:books", "p:{%7}:books", "p:{%7B}:books", "p:{%61}:books"} {
		if root, ok := RootOf("p", key); ok {
			t.Errorf("%q reads as the books of %q", key, root)
		}
	}
	if got := BooksPattern(`a*?[\]`); got != `a\*\?\[\\\]:{*}:books` {
		t.Errorf("pattern %q", got)
	}
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"bursar", "a:b", "*", strings.Repeat("p", 64)} {
		if err := ValidatePrefix(prefix); err != nil {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	for _, prefix := range []string{"", "a b", "a{", "}", "é", "\n", strings.Repeat("p", 65)} {
		if ValidatePrefix(prefix) == nil {
			t.Errorf("%q was accepted", prefix)
		}
	}
}

func TestHoldsReadBack(t *testing.T) {
	t.Parallel()
	for _, tenant := range []budget.TenantID{"acme", "acme/search", "acme/with space/{x}"} {
		id := budget.NewReservationID(tenant, 1<<63, 42)
		field := string(AppendHoldField(nil, id))
		hold, open, err := ParseHold("acme", field, "o25 1700000000000 1700000900000")
		want := budget.Hold{ID: id, Held: 25, Made: time.UnixMilli(1700000000000).UTC(), Deadline: time.UnixMilli(1700000900000).UTC()}
		if err != nil || !open || hold != want {
			t.Errorf("%s: %+v, %t, %v", tenant, hold, open, err)
		}
		if hold, _, _ := ParseHold("acme", field, "o25 1 0"); !hold.Deadline.IsZero() {
			t.Errorf("no deadline reads as %s", hold.Deadline)
		}
		if _, open, err := ParseHold("acme", field, "c25 1"); open || err != nil {
			t.Errorf("a tombstone reads as open %t, %v", open, err)
		}
		for _, text := range []string{"o", "o25", "o25 1", "ox 1 2", "o25 x 2", "o25 1 x", "o25 1 2 3"} {
			if _, _, err := ParseHold("acme", field, text); err == nil {
				t.Errorf("%q reads as a hold", text)
			}
		}
	}
	if _, _, err := ParseHold("acme", "h12", "o25 1 2"); err == nil {
		t.Error("a short field reads as a hold")
	}
}

func TestTextsThatAreNoAccountOrFamily(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "1 2 3", "1 2 3 4 5", "1 2 3 x", "1  2 3", "9223372036854775808 0 0 0"} {
		if b, err := ParseAccount(text); err == nil {
			t.Errorf("%q reads as %+v", text, b)
		}
	}
	for _, text := range []string{"", "1", "1 short"} {
		if _, _, err := ParseFamily(text); err == nil {
			t.Errorf("%q reads as a family", text)
		}
	}
	if version, _, err := ParseFamily("2 whatever"); err != nil || version != "2" {
		t.Errorf("a newer family: %q, %v", version, err)
	}
	if version, incarnation, err := ParseFamily(FamilyText(1, Incarnation(10))); err != nil || version != "1" || incarnation != "000000000000000a" {
		t.Errorf("a family: %q, %q, %v", version, incarnation, err)
	}
}
