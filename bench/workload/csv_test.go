package workload

import (
	"bytes"
	"compress/gzip"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/calybris/bursar/coordinator/budget"
)

var testTariff = tariff{input: budget.Dollar, output: budget.Dollar, maxOutput: 50} // 100 microcents a token

// gzipped compresses each text as a separate gzip member.
func gzipped(t *testing.T, texts ...string) string {
	t.Helper()
	var b bytes.Buffer
	for _, text := range texts {
		w := gzip.NewWriter(&b)
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestParseTrace(t *testing.T) {
	t.Parallel()
	want := []Request{{Hold: 6000, Cost: 2000}, {Hold: 5000}, {Hold: 5100, Cost: 8100}}
	lines := []string{TraceHeader, "2023-11-16 18:17:03.9799600,10,10", "t,0,0", "t,1,80"}
	text := strings.Join(lines, "\n") + "\n"
	for name, text := range map[string]string{
		"LF":                          text,
		"CRLF":                        strings.Join(lines, "\r\n") + "\r\n",
		"no end of line at end":       strings.Join(lines, "\r\n"),
		"byte order mark":             "\ufeff" + text,
		"mark, quotes":                "\ufeff\"TIMESTAMP\",\"ContextTokens\",\"GeneratedTokens\"\r\n\"t\",\"10\",\"10\"\r\nt,\"0\",0\nt,1,80",
		"empty lines":                 strings.Join(lines, "\n\r\n") + "\n\n",
		"another order":               "GeneratedTokens,TIMESTAMP,ContextTokens\n10,t,10\n0,t,0\n80,t,1\n",
		"other columns beside":        "id,TIMESTAMP,Model,ContextTokens,GeneratedTokens,\n1,t,a,10,10,\n2,t,,0,0,\n3,t,c,1,80,x\n",
		"quoted commas and lines":     "TIMESTAMP,\"a, \"\"b\"\"\",ContextTokens,GeneratedTokens\nt,\"one,\ntwo\",10,10\nt,\"\",0,0\nt,\"\"\"\",1,80\n",
		"lower case":                  "timestamp,contexttokens,generatedtokens\n" + strings.Join(lines[1:], "\n"),
		"upper case":                  strings.ToUpper(TraceHeader) + "\n" + strings.Join(lines[1:], "\n"),
		"snake case":                  "timestamp,context_tokens,Generated_Tokens\n" + strings.Join(lines[1:], "\n"),
		"blanks around":               " TIMESTAMP , ContextTokens,\tGeneratedTokens \n t , 10, 10 \nt, \"0\", 0\nt,1 ,80\t\n",
		"a long line":                 "TIMESTAMP,prompt,ContextTokens,GeneratedTokens\nt," + strings.Repeat("x", 100_000) + ",10,10\nt,,0,0\nt,,1,80\n",
		"gzip":                        gzipped(t, text),
		"gzip in two members":         gzipped(t, text[:50], text[50:]),
		"gzip of a byte order mark":   gzipped(t, "\ufeff"+text),
		"gzip of other line endings":  gzipped(t, strings.Join(lines, "\r\n")),
		"the same columns, beside it": "TIMESTAMP,Tokens,Context,ContextTokens,GeneratedTokens,Tokens\nt,7,8,10,10,9\nt,7,8,0,0,9\nt,7,8,1,80,9\n",
	} {
		for how, from := range map[string]io.Reader{"at once": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text))} {
			read, err := parseTrace("usage.csv", from, testTariff, false)
			if err != nil {
				t.Errorf("%s, %s: %v", name, how, err)
			} else if !slices.Equal(read.Rows, want) {
				t.Errorf("%s, %s: %+v, want %+v", name, how, read.Rows, want)
			}
		}
	}
}

// Errors name the line, the column and the remedy.
func TestParseTraceRefuses(t *testing.T) {
	t.Parallel()
	good := TraceHeader + "\nt,1,1\n"
	wide := "id,TIMESTAMP,ContextTokens,GeneratedTokens,note\n1,t,1,1,\"two\nlines\"\n"
	whole := gzipped(t, strings.Repeat(good[len(TraceHeader)+1:], 10_000))
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "usage.csv:1: no column TIMESTAMP: "},
		{"byte order mark only", "\ufeff", "usage.csv:1: no column TIMESTAMP: "},
		{"header only", TraceHeader + "\n", "usage.csv:2: no request: "},
		{"no header", "t,1,1\n", `usage.csv:1: no column TIMESTAMP: name the columns TIMESTAMP,ContextTokens,GeneratedTokens in the first line, which is "t,1,1"`},
		{"a column missing", "TIMESTAMP,GeneratedTokens,Model\nt,1,a\n", "usage.csv:1: no column ContextTokens: "},
		{"semicolons", strings.ReplaceAll(good, ",", ";"), "usage.csv:1: no column TIMESTAMP: "},
		{"a column twice", "TIMESTAMP,ContextTokens,GeneratedTokens,contexttokens\nt,1,1,1\n", "usage.csv:1: columns 2 and 4 are both ContextTokens: rename one"},
		{"two fields", good + "t,1\n", "usage.csv:3: column GeneratedTokens is missing: 2 columns, the first line has 3: "},
		{"four fields", good + "t,1,2,3\n", "usage.csv:3: column 4 has no name: 4 columns, the first line has 3: quote "},
		{"blanks", good + "  \n", "usage.csv:3: column ContextTokens is missing: "},
		{"no timestamp", good + ",1,2\n", "usage.csv:3: column TIMESTAMP is empty: "},
		{"no tokens", good + "t,,2\n", "usage.csv:3: column ContextTokens is empty: give an integer from 0 to 1000000000"},
		{"negative", good + "t,-1,2\n", `usage.csv:3: column ContextTokens is "-1": give an integer from 0 to 1000000000`},
		{"fraction", good + "t,1,2.5\n", `usage.csv:3: column GeneratedTokens is "2.5": give an integer`},
		{"too many", good + "t,1,1000000001\n", "usage.csv:3: column GeneratedTokens is "},
		{"beyond 64 bits", good + "t,99999999999999999999,1\n", "usage.csv:3: column ContextTokens is "},
		{"after lines within quotes", wide + "2,t,1,x,\n", `usage.csv:4: column GeneratedTokens is "x": `},
		{"within lines within quotes", wide + "\"2\n3\",t,1,x,\n", `usage.csv:5: column GeneratedTokens is "x": `},
		{"a quote within a field", good + "t,1\"0,1\n", `usage.csv:3: column ContextTokens: bare " in non-quoted-field: `},
		{"a quote that is not doubled", wide + "2,t,1,1,\"say \"no\"\"\n", `usage.csv:4: column note: extraneous or missing " in quoted-field: `},
		{"a quote without an end", good + "t,\"1,1\n" + strings.Repeat("t,1,1\n", 10), `usage.csv:3: column ContextTokens: extraneous or missing " in quoted-field: `},
		{"a line without an end", good + strings.Repeat("x", 2*maxTraceLine), "usage.csv:3: longer than 1048576 bytes: "},
		{"half of a gzip", whole[:len(whole)-20], "usage.csv:1"},
		{"gzip with a wrong sum", gzipped(t, good)[:len(gzipped(t, good))-8] + "12345678", "usage.csv:3: gzip: invalid checksum: "},
		{"the magic bytes of gzip alone", "\x1f\x8b", "usage.csv:1: unexpected EOF: "},
		{"gzip of nothing", gzipped(t, ""), "usage.csv:1: no column TIMESTAMP: "},
	} {
		_, err := parseTrace("usage.csv", strings.NewReader(c.text), testTariff, false)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s…", c.name, err, c.want)
		}
	}
	_, err := parseTrace("usage.csv", iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(good))), testTariff, false)
	if err == nil || !strings.HasPrefix(err.Error(), "usage.csv:1: timeout: ") {
		t.Errorf("a reader that fails: %v", err)
	}
	dear := tariff{input: budget.MaxMicrocents, output: 1, maxOutput: 1}
	_, err = parseTrace("usage.csv", strings.NewReader(TraceHeader+"\nt,999999999,1\n"), dear, false)
	if err == nil || !strings.HasPrefix(err.Error(), "usage.csv:2: the request cannot be priced") {
		t.Errorf("a price beyond 64 bits: %v", err)
	}
}
