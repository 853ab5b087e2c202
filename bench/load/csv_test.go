package load

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

var testTariff = tariff{input: budget.Dollar, output: budget.Dollar, maxOutput: 50} // 100 microcents a token

func TestParseTrace(t *testing.T) {
	t.Parallel()
	want := []Request{
		{Tenant: 0, Hold: 6000, Cost: 2000},
		{Tenant: 1, Hold: 5000, Cost: 0},
		{Tenant: 0, Hold: 5100, Cost: 8100},
	}
	lines := []string{TraceHeader, "2023-11-16 18:17:03.9799600,10,10", "t,0,0", "t,1,80"}
	for name, text := range map[string]string{
		"LF":                    strings.Join(lines, "\n") + "\n",
		"CRLF":                  strings.Join(lines, "\r\n") + "\r\n",
		"no end of line at end": strings.Join(lines, "\r\n"),
		"byte order mark":       "\ufeff" + strings.Join(lines, "\n"),
		"empty lines":           strings.Join(lines, "\n\r\n") + "\n\n",
	} {
		trace, err := parseTrace("usage.csv", strings.NewReader(text), testTariff, 2, false)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !slices.Equal(trace.rows, want) {
			t.Errorf("%s: %+v, want %+v", name, trace.rows, want)
		}
	}
}

func TestParseTraceRefuses(t *testing.T) {
	t.Parallel()
	good := TraceHeader + "\nt,1,1\n"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "usage.csv:1: no request"},
		{"header only", TraceHeader + "\n", "usage.csv:2: no request"},
		{"no header", "t,1,1\n", `usage.csv:1: the first line is "t,1,1"; it must be ` + TraceHeader},
		{"two fields", good + "t,1\n", `usage.csv:3: "t,1": want a timestamp`},
		{"four fields", good + "t,1,2,3\n", "usage.csv:3: "},
		{"no timestamp", good + ",1,2\n", "usage.csv:3: "},
		{"negative", good + "t,-1,2\n", `usage.csv:3: "-1" context tokens: give an integer`},
		{"fraction", good + "t,1,2.5\n", `usage.csv:3: "2.5" generated tokens`},
		{"blank before a number", good + "t, 1,2\n", "usage.csv:3: "},
		{"too many", good + "t,1,1000000001\n", "usage.csv:3: "},
		{"beyond 64 bits", good + "t,99999999999999999999,1\n", "usage.csv:3: "},
		{"long line", good + strings.Repeat("x", 2*maxTraceLine), "usage.csv:3: "},
	} {
		_, err := parseTrace("usage.csv", strings.NewReader(c.text), testTariff, 1, false)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s…", c.name, err, c.want)
		}
	}
	dear := tariff{input: budget.MaxMicrocents, output: 1, maxOutput: 1}
	_, err := parseTrace("usage.csv", strings.NewReader(TraceHeader+"\nt,999999999,1\n"), dear, 1, false)
	if err == nil || !strings.HasPrefix(err.Error(), "usage.csv:2: it cannot be priced") {
		t.Errorf("a price beyond 64 bits: %v", err)
	}
}

func TestTraceTimes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		times []string
		want  []time.Duration
		error string
	}{
		{"as published", []string{"2023-11-16 18:17:03.9799600", "2023-11-16 18:17:04.0319600", "2023-11-16 18:17:04.0319600"}, []time.Duration{0, 52 * time.Millisecond, 52 * time.Millisecond}, ""},
		{"whole seconds", []string{"2023-12-31 23:59:59", "2024-01-01 00:00:00"}, []time.Duration{0, time.Second}, ""},
		{"RFC 3339, in two zones", []string{"2023-11-16T18:00:00.5Z", "2023-11-16T19:00:01+01:00"}, []time.Duration{0, 500 * time.Millisecond}, ""},
		{"backwards", []string{"2023-11-16 18:17:03.98", "2023-11-16 18:17:03.97"}, nil, `usage.csv:3: "2023-11-16 18:17:03.97" is before the row above it`},
		{"no time", []string{"2023-11-16 18:17:03.98", "18:17"}, nil, `usage.csv:3: "18:17" is no timestamp`},
	} {
		text := TraceHeader + "\n" + strings.Join(c.times, ",1,1\n") + ",1,1\n"
		trace, err := parseTrace("usage.csv", strings.NewReader(text), testTariff, 1, true)
		switch {
		case c.error != "":
			if err == nil || !strings.HasPrefix(err.Error(), c.error) {
				t.Errorf("%s: %v, want %s…", c.name, err, c.error)
			}
		case err != nil || !slices.Equal(trace.at, c.want):
			t.Errorf("%s: %v, %v; want %v", c.name, trace, err, c.want)
		}
	}
}
