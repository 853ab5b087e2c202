package wording

import "testing"

func TestCount(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n    int
		noun string
		want string
	}{
		{0, "tenant", "0 tenants"},
		{1, "tenant", "1 tenant"},
		{2, "open hold", "2 open holds"},
		{-1, "microcent", "-1 microcents"},
		{0, "family", "0 families"},
		{1, "family", "1 family"},
		{3, "family", "3 families"},
		{2, "day", "2 days"},
		{2, "batch", "2 batches"},
		{2, "prefix", "2 prefixes"},
		{2, "y", "2 ys"},
	} {
		if got := Count(c.n, c.noun); got != c.want {
			t.Errorf("Count(%d, %q) is %q, want %q", c.n, c.noun, got, c.want)
		}
	}
}

func TestNamesAndWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, name, word, argument string }{
		{"acme/search/key-7", "acme/search/key-7", "acme/search/key-7", "acme/search/key-7"},
		{"a b", `"a b"`, "'a b'", "'a b'"},
		{"", `""`, "''", "''"},
		{"it's", `"it's"`, `'it'\''s'`, `'it'\''s'`},
		{`say "hi"`, `"say \"hi\""`, `'say "hi"'`, `'say "hi"'`},
		{`a\b`, `"a\\b"`, `'a\b'`, `'a\b'`},
		{"$HOME", `"$HOME"`, "'$HOME'", "'$HOME'"},
		{"a;b", `"a;b"`, "'a;b'", "'a;b'"},
		{"büro/東京", "büro/東京", "büro/東京", "büro/東京"},
		{"-x", "-x", "-x", "-- -x"},
		{"-x y", `"-x y"`, "'-x y'", "-- '-x y'"},
		{"2.50:a=b,c@d%+", "2.50:a=b,c@d%+", "2.50:a=b,c@d%+", "2.50:a=b,c@d%+"},
	} {
		if name, word, argument := Name(c.text), Word(c.text), Argument(c.text); name != c.name || word != c.word || argument != c.argument {
			t.Errorf("%q is shown as %s, %s, %s; want %s, %s, %s", c.text, name, word, argument, c.name, c.word, c.argument)
		}
	}
}
