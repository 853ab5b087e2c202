package load

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTimestamps(t *testing.T) {
	t.Parallel()
	want := time.Date(2024, 5, 10, 0, 0, 0, 9930000, time.UTC)
	second := want.Truncate(time.Second)
	for text, want := range map[string]time.Time{
		"2024-05-10 00:00:00.009930+00:00":            want, // Azure's of 2024
		"2024-05-10 00:00:00.0099300":                 want, // Azure's of 2023
		"2024-05-10T00:00:00.00993Z":                  want,
		"2024-05-10t00:00:00.00993z":                  want,
		"2024-05-10 00:00:00.00993Z":                  want,
		"2024-05-10T00:00:00.00993":                   want,
		"2024-05-10 00:00:00,00993":                   want, // ISO 8601 prefers the comma
		"2024-05-10 00:00:00.00993+0000":              want,
		"2024-05-10 00:00:00.00993 +0000":             want,
		"2024-05-10 00:00:00.00993 +00:00":            want,
		"2024-05-10 00:00:00.00993+00":                want,
		"2024-05-10 00:00:00.00993-00:00":             want,
		"2024-05-10 00:00:00.00993 UTC":               want,
		"2024-05-10 00:00:00.00993 gmt":               want,
		"2024-05-10 00:00:00.00993 +0000 UTC":         want, // time.Time.String
		"2024-05-10T02:00:00.00993+02:00":             want,
		"2024-05-10 05:30:00.00993+0530":              want,
		"2024-05-09T19:00:00.00993-05":                want,
		"2024-05-10 00:00:00.009930000000000000001":   want,
		"2024-05-10 00:00:00.00993000000000000+00:00": want,
		"2024-05-10 00:00:00":                         second,
		"2024-05-10T00:00:00Z":                        second,
		"2024-05-10 00:00:00+00:00":                   second,
		"2024-05-10 01:00:00 +01":                     second,
		"2024-05-10 00:00:00.0":                       second,
		"2024-05-10":                                  {},
		"00:00:00":                                    {},
		"2024-05-10 00:00":                            {},
		"2024-05-10 00:00:00.":                        {},
		"2024-05-10 24:00:00":                         {},
		"2024-02-30 00:00:00":                         {},
		"2024-05-10 00:00:00 CET":                     {},
		"2024-05-10 00:00:00+99:00":                   {},
		"2024-05-10 00:00:00Z+01:00":                  {},
		"10/05/2024 00:00:00":                         {},
		"t":                                           {},
		"":                                            {},
	} {
		got, ok := new(clocked).parse(text)
		if ok == want.IsZero() || !got.Equal(want) {
			t.Errorf("%q is %s, %t; want %s", text, got, ok, want)
		}
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
		{"Azure 2023", []string{"2023-11-16 18:17:03.9799600", "2023-11-16 18:17:04.0319600", "2023-11-16 18:17:04.0319600"}, []time.Duration{0, 52 * time.Millisecond, 52 * time.Millisecond}, ""},
		{"Azure 2024", []string{"2024-05-10 00:00:00.009930+00:00", "2024-05-10 00:00:00.017335+00:00", "2024-05-10 00:00:01+00:00"}, []time.Duration{0, 7405 * time.Microsecond, 990070 * time.Microsecond}, ""},
		{"whole seconds", []string{"2023-12-31 23:59:59", "2024-01-01 00:00:00"}, []time.Duration{0, time.Second}, ""},
		{"mixed, in three zones", []string{"2023-11-16T18:00:00.5Z", "2023-11-16 19:00:01+0100", "2023-11-16 18:00:02"}, []time.Duration{0, 500 * time.Millisecond, 1500 * time.Millisecond}, ""},
		{"backwards", []string{"2023-11-16 18:17:03.98", "2023-11-16 18:17:03.97"}, nil, `usage.csv:3: column TIMESTAMP: "2023-11-16 18:17:03.97" is before the row above it: sort the rows`},
		{"backwards by its zone", []string{"2023-11-16 18:17:03", "2023-11-16 18:17:04+01:00"}, nil, "usage.csv:3: column TIMESTAMP: "},
		{"no time", []string{"2023-11-16 18:17:03.98", "18:17"}, nil, `usage.csv:3: column TIMESTAMP: "18:17" is no timestamp that --speed reads: write 2023-11-16 18:17:03.97`},
	} {
		text := TraceHeader + "\n" + strings.Join(c.times, ",1,1\n") + ",1,1\n"
		read, err := parseTrace("usage.csv", strings.NewReader(text), testTariff, true)
		switch {
		case c.error != "":
			if err == nil || !strings.HasPrefix(err.Error(), c.error) {
				t.Errorf("%s: %v, want %s…", c.name, err, c.error)
			}
		case err != nil || !slices.Equal(read.At, c.want):
			t.Errorf("%s: %+v, %v; want %v", c.name, read, err, c.want)
		}
	}
}
