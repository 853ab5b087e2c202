package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var here = build{Go: "go1.26", Redis: "7.0", Arch: "amd64"}

// measured has a metric of each tolerance.
func measured() []metric {
	return []metric{
		newMetric("calls", 1, exact),
		newMetric("allocations", 4, allocations),
		newMetric("bytes", 1000, allocated),
		newMetric("redis", 100_000, redisInstr),
		newMetric("local", 600, localInstr),
		newMetric("ratio", 3, ratioOfRates),
	}
}

func TestADoctoredBaselineFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		doctor func(*baseline)
		fails  string // a part of the error; "" for none
	}{
		{"as it is", func(*baseline) {}, ""},
		{"a call less", func(b *baseline) { b.Figures["calls"] = 0.9999 }, "calls: 1, was 0.9999"},
		{"a tenth of an allocation", func(b *baseline) { b.Figures["allocations"] = 3.95 }, ""},
		{"an allocation less", func(b *baseline) { b.Figures["allocations"] = 3 }, "allocations: 4, was 3: CHANGED by +33.3 %"},
		{"an allocation more", func(b *baseline) { b.Figures["allocations"] = 5 }, "CHANGED by -20.0 %"},
		{"bytes within 2 %", func(b *baseline) { b.Figures["bytes"] = 985 }, ""},
		{"bytes beyond 2 %", func(b *baseline) { b.Figures["bytes"] = 975 }, "bytes: 1000, was 975"},
		{"instructions of Redis", func(b *baseline) { b.Figures["redis"] = 97_000 }, "redis: 100000, was 97000"},
		{"instructions of the local engine", func(b *baseline) { b.Figures["local"] = 590 }, "local: 600, was 590"},
		{"a faster one is to be accepted too", func(b *baseline) { b.Figures["local"] = 610 }, "CHANGED by -1.6 %"},
		{"a ratio that was less", func(b *baseline) { b.Figures["ratio"] = 1 }, ""},
		{"a ratio of half and more", func(b *baseline) { b.Figures["ratio"] = 5.9 }, ""},
		{"a ratio below half", func(b *baseline) { b.Figures["ratio"] = 6.1 }, "ratio: 3, was 6.1"},
		{"a figure that is not in it", func(b *baseline) { delete(b.Figures, "calls") }, "calls: 1, was -: NEW"},
		{"a figure that is measured no more", func(b *baseline) { b.Figures["old"] = 7 }, "old: -, was 7: GONE"},
		{"another Go", func(b *baseline) { b.Build.Go, b.Figures["local"], b.Figures["allocations"] = "go1.25", 1, 1 }, ""},
		{"another Go does not excuse Redis", func(b *baseline) { b.Build.Go, b.Figures["redis"] = "go1.25", 1 }, "redis: 100000"},
		{"another Redis", func(b *baseline) { b.Build.Redis, b.Figures["redis"] = "7.2", 1 }, ""},
		{"another Redis does not excuse calls", func(b *baseline) { b.Build.Redis, b.Figures["calls"] = "7.2", 2 }, "CHANGED by -50.0 %"},
		{"another machine", func(b *baseline) { b.Build.Arch, b.Figures["redis"], b.Figures["local"] = "arm64", 1, 1 }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			accepted := baseline{Build: here, Figures: make(map[string]float64)}
			for _, f := range measured() {
				accepted.Figures[f.name] = f.value
			}
			c.doctor(&accepted)
			var table strings.Builder
			err := report(&table, accepted, here, compare(accepted, here, measured()))
			switch {
			case c.fails == "":
				if err != nil {
					t.Error(err)
				}
			case err == nil || !strings.Contains(err.Error(), c.fails) || !strings.Contains(err.Error(), "make bench-baseline"):
				t.Errorf("error %v; want %q and the remedy", err, c.fails)
			}
			if rows := strings.Count(table.String(), "\n"); rows < len(measured())+1 {
				t.Errorf("the table has %d lines:\n%s", rows, &table)
			}
		})
	}
}

func TestFailuresAreMeasuredAgain(t *testing.T) {
	t.Parallel()
	turns := 0
	part := func(context.Context) ([]metric, error) {
		turns++
		return []metric{newMetric("calls", float64(turns), exact)}, nil
	}
	for _, c := range []struct{ good, turns int }{{1, 1}, {2, 2}, {9, attempts}} {
		turns = 0
		got, err := measureUntil(t.Context(), part, func(f metric) bool { return f.value != float64(c.good) })
		if err != nil || turns != c.turns || got[0].value != float64(turns) {
			t.Errorf("good at %d: %d turns, %+v, %v", c.good, turns, got, err)
		}
	}
}

func TestUnreadableBaseline(t *testing.T) {
	t.Parallel()
	const build = `"measured_with": {"go": "go1.26", "redis": "7.0", "arch": "amd64"}`
	for name, c := range map[string]struct{ text, want string }{
		"missing":           {"", "no such file"},
		"garbled":           {`{"figures": {"a": 1,`, "unexpected EOF"},
		"no JSON":           {"figures", "invalid character"},
		"an unknown field":  {`{` + build + `, "figures": {"a": 1}, "extra": 1}`, `unknown field "extra"`},
		"no number":         {`{` + build + `, "figures": {"a": "1"}}`, "cannot unmarshal string"},
		"no figures":        {`{` + build + `}`, "figures is missing"},
		"of nobody knows":   {`{"figures": {"a": 1}}`, "measured_with"},
		"something follows": {`{` + build + `, "figures": {"a": 1}} {}`, "follows its end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "baseline.json")
			if c.text != "" {
				if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			// Nothing is measured before it is read.
			err := run(t.Context(), []string{"-baseline", path}, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "make bench-baseline") {
				t.Errorf("error %v; want %q, the path and the remedy", err, c.want)
			}
		})
	}
}

func TestReadBaseline(t *testing.T) {
	t.Parallel()
	b, err := readBaseline(filepath.Join("..", "baseline.json"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "again.json")
	if err := b.write(path); err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(path)
	kept, err2 := os.ReadFile(filepath.Join("..", "baseline.json"))
	if err != nil || err2 != nil || string(again) != string(kept) {
		t.Errorf("written again it is another text: %v, %v", err, err2)
	}
}

// Exact figures do not depend on the run, and the crowds share script calls as intended.
func TestLoadsAreRepeatable(t *testing.T) {
	t.Parallel()
	var runs [2]map[string]float64
	for i := range runs {
		s, err := newFixture(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		figures, err := s.measure(t.Context(), &counter{fixture: s})
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		runs[i] = make(map[string]float64)
		for _, f := range figures {
			if f.tolerance == exact {
				runs[i][f.name] = f.value
			}
		}
	}
	for name, value := range runs[0] {
		if runs[1][name] != value {
			t.Errorf("%s: %v, and then %v", name, value, runs[1][name])
		}
	}
	for name, want := range map[string]float64{
		"one caller, reserve: evalsha":    1,
		"64 callers of a tenant: evalsha": 0.0313, // one ahead, 63 together
		"64 tenants: evalsha":             0.0938, // two ahead, the others in one for each of 4 partitions
	} {
		if got := runs[0][name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

func TestInstructions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := "events: Ir\nfn=main\n12 34\nsummary: 4321\n"
	if err := os.WriteFile(filepath.Join(dir, dumps+".2"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := instructions(dir, 2); err != nil || got != 4321 {
		t.Errorf("%v, %v; want 4321", got, err)
	}
	if _, err := instructions(dir, 1); err == nil || !strings.Contains(err.Error(), "marker") {
		t.Errorf("a mark that left no file: %v", err)
	}
}

func TestLocalLoads(t *testing.T) {
	t.Parallel()
	if err := runLocal(context.Background()); err != nil {
		t.Error(err)
	}
}
