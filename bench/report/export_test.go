package report

import (
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"

	"github.com/calybris/bursar/bench/metrics"
)

// benchfmt, which benchstat uses, understands every line.
func TestGoBench(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		report Report
		lines  int
	}{"full": {fullReport(), 6 * 5}, "sweep": {sweptReport(), 10 * 3}} {
		text := written(t, c.report.WriteGoBench)
		compareFile(t, "text/"+name+".gobench", text)
		reader := benchfmt.NewReader(strings.NewReader(text), name)
		lines := 0
		for reader.Scan() {
			switch record := reader.Result().(type) {
			case *benchfmt.Result:
				lines++
				rate, _ := record.Value("decisions/s")
				each, _ := record.Value("sec/op")
				if product := rate * each; product < 0.999 || product > 1.001 {
					t.Errorf("%s: %s: %v decisions/s and %v s each", name, record.Name, rate, each)
				}
				if record.GetConfig("cpu") != c.report.Machine.CPU || record.GetConfig("goarch") != "amd64" {
					t.Errorf("%s: not all configuration is read", name)
				}
			case *benchfmt.UnitMetadata:
			default:
				t.Errorf("%s: not understood: %v", name, record)
			}
		}
		if lines != c.lines {
			t.Errorf("%s: %d results, want %d", name, lines, c.lines)
		}
	}
}

func TestGoBenchLeavesOutEmptyRounds(t *testing.T) {
	t.Parallel()
	r := Report{Candidates: []Candidate{{Name: "bursar", Rates: []float64{0, 2000}, Decision: metrics.Latency{P50: 3}}}}
	text := written(t, r.WriteGoBench)
	if want := "BenchmarkBursar/contender=bursar/nodes=0/callers=0/tenants=0-1 2000 500000 ns/op 2000 decisions/s 3000 p50-ns\n"; !strings.HasSuffix(text, "\n"+want) {
		t.Errorf("got %s", text)
	}
}

func TestHgrm(t *testing.T) {
	t.Parallel()
	compareFile(t, "text/full.hgrm", written(t, fullReport().WriteHgrm))
}

func TestHgrmOfNothing(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Report{"no contender": {}, "no quantile": {Candidates: []Candidate{{}}}} {
		if err := r.WriteHgrm(io.Discard); !errors.Is(err, ErrNoDistribution) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
