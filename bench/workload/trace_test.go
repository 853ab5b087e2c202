package workload

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

func traced(name string) Spec {
	s := Defaults()
	s.Trace = name
	return s
}

const threeRows = TraceHeader + "\nt,1,1\nt,2,2\nt,3,3\n"

func TestReadTrace(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "none.csv")
	if _, err := traced(missing).Read(t.Context(), nil); exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), missing) {
		t.Errorf("a file that is not there: %v, code %d", err, exit.Code(err))
	}
	name := filepath.Join(t.TempDir(), "usage.csv")
	if err := os.WriteFile(name, []byte(threeRows), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, input := range map[string]string{name: "", StandardInput: threeRows} {
		spec, err := traced(name).Read(t.Context(), strings.NewReader(input))
		if err != nil || len(spec.Recording.Rows) != 3 {
			t.Fatalf("%s: %+v, %v", name, spec.Recording, err)
		}
		if again, err := spec.Read(t.Context(), nil); err != nil || again.Recording != spec.Recording {
			t.Errorf("%s is read a second time: %v", name, err)
		}
	}
	if _, err := traced(StandardInput).Read(t.Context(), strings.NewReader("x")); err == nil || !strings.HasPrefix(err.Error(), "standard input:1: no column TIMESTAMP") {
		t.Errorf("standard input without a trace: %v", err)
	}
}

// The end of the context ends a read from a silent or an endless writer.
func TestReadTraceInterrupted(t *testing.T) {
	t.Parallel()
	silent, end := io.Pipe()
	defer end.Close()
	for name, input := range map[string]io.Reader{"silent": silent, "endless": endless{}} {
		ctx, cancel := context.WithCancel(t.Context())
		var waits sync.WaitGroup
		waits.Go(func() {
			if _, err := traced(StandardInput).Read(ctx, input); !errors.Is(err, exit.ErrInterrupted) {
				t.Errorf("%s: %v", name, err)
			}
		})
		cancel()
		waits.Wait()
	}
}

// endless is a file of empty lines.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

// The tenants take turns over all rows, in any round and on any node.
func TestTraceTenants(t *testing.T) {
	t.Parallel()
	const rows, nodes, rounds = 103, 3, 4
	all := &Recording{Every: 1}
	for i := range rows {
		all.Rows = append(all.Rows, Request{Hold: budget.Microcents(i)})
	}
	for _, tenants := range []int{1, 3, 7} {
		s := traced("usage.csv")
		s.Recording, s.Tenants = all, tenants
		played := 0
		for node := range nodes {
			// As it travels to a process.
			text, err := json.Marshal(s.ForNode(node, nodes))
			if err != nil {
				t.Fatal(err)
			}
			var received Spec
			if err := json.Unmarshal(text, &received); err != nil {
				t.Fatal(err)
			}
			work, err := Share(received, node, nodes)
			if err != nil {
				t.Fatal(err)
			}
			for round := range rounds {
				next := work.Round(round, rounds).Generator(0)
				for r := (Request{}); next(0, &r); played++ {
					if r.Tenant != int(r.Hold)%tenants {
						t.Errorf("row %d is of tenant %d of %d", r.Hold, r.Tenant, tenants)
					}
				}
			}
		}
		if played != rows {
			t.Errorf("played %d rows, want %d", played, rows)
		}
	}
}

// Each row is sent once, by any worker, and the rounds have all rows.
func TestRecordedRounds(t *testing.T) {
	t.Parallel()
	const rounds = 5
	work := &Trace{Recording: &Recording{Rows: make([]Request, 103), Every: 1}, tenants: 10}
	for i := range work.Rows {
		work.Rows[i].Hold = budget.Microcents(i)
	}
	var mu sync.Mutex
	var played []budget.Microcents
	for round := range rounds {
		part := work.Round(round, rounds)
		var callers sync.WaitGroup
		for caller := range 4 {
			callers.Go(func() {
				next := part.Generator(caller)
				for r := (Request{}); next(0, &r); {
					mu.Lock()
					played = append(played, r.Hold)
					mu.Unlock()
				}
			})
		}
		callers.Wait()
	}
	slices.Sort(played)
	for i := range work.Rows {
		if len(played) != len(work.Rows) || played[i] != budget.Microcents(i) {
			t.Fatalf("played %v", played)
		}
	}
}

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
		{"no time", []string{"2023-11-16 18:17:03.98", "18:17"}, nil, `usage.csv:3: column TIMESTAMP: "18:17" is not a timestamp that --speed can read: write 2023-11-16 18:17:03.97`},
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
