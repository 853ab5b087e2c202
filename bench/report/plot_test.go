package report

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/bench/metrics"
)

// onAxis writes ticks as "place label", in percent.
func onAxis(ticks []tick) string {
	words := make([]string, len(ticks))
	for i, t := range ticks {
		words[i] = strings.TrimSpace(rounded(100*t.At, 3) + " " + t.Label)
	}
	return strings.Join(words, ", ")
}

func TestAxes(t *testing.T) {
	t.Parallel()
	axis := func(_ scale, ticks []tick) string { return onAxis(ticks) }
	for _, c := range []struct{ name, got, want string }{
		{"linear", axis(linear(177_000, Short)), "0 0, 25 50k, 50 100k, 75 150k, 100 200k"},
		{"linear, to its last tick", axis(linear(10, Short)), "0 0, 25 2.5, 50 5, 75 7.5, 100 10"},
		{"linear, of nothing", axis(linear(0, Short)), "0 0, 25 0.25, 50 0.5, 75 0.75, 100 1"},
		{"time", axis(timeline(1.6)), "0 0, 31.2 0.5, 62.5 1, 93.8 1.5"},
		{"logarithmic", axis(logarithmic(120, 4_000, Micros)), "0 100 µs, 17.7 200 µs, 41.1 500 µs, 58.9 1 ms, 76.6 2 ms, 100 5 ms"},
		{"logarithmic, of one value", axis(logarithmic(1000, 1000, Micros)), "0 1 ms, 100 2 ms"},
		{"logarithmic, of nothing", axis(logarithmic(math.Inf(1), 0, Micros)), "0 1 µs, 30.1 2 µs, 69.9 5 µs, 100 10 µs"},
		{"percentiles", axis(rarities(99.95)), "0, 9.12 50%, 30.3 90%, 60.6 99%, 90.9 99.9%"},
		{"few percentiles", axis(rarities(50)), "0, 15.1 50%, 50 90%, 100 99%"},
		{"percentiles without an end", axis(rarities(99.99999)), "0, 6.02 50%, 20 90%, 40 99%, 60 99.9%, 80 99.99%, 100 99.999%"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s", c.name, c.got)
		}
	}
}

// Over many powers of ten only the powers have labels.
func TestWideAxis(t *testing.T) {
	t.Parallel()
	_, ticks := logarithmic(0.4, 1e6, Micros)
	for _, at := range ticks {
		if strings.HasPrefix(at.Label, "2") || strings.HasPrefix(at.Label, "5") {
			t.Errorf("%s would touch its neighbours", at.Label)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	var got []string
	for _, value := range []float64{0, 0.0004, 0.04, 0.9996, 1, 12.345, 999.4, 999.9, 1500, 59_999_000} {
		got = append(got, Micros(value))
	}
	for _, value := range []float64{0, 7, 999, 1000, 1234567, -1000, -999} {
		got = append(got, Count(value))
	}
	for _, value := range []float64{0, 0.25, 9999, 10_000, 177_000, 1_500_000} {
		got = append(got, Short(value))
	}
	want := []string{
		"0", "0.4 ns", "40 ns", "1 µs", "1 µs", "12.3 µs", "999 µs", "1 ms", "1.5 ms", "60 s",
		"0", "7", "999", "1,000", "1,234,567", "-1,000", "-999",
		"0", "0.25", "9999", "10k", "177k", "1.5M",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("- want, + got:\n%s", diff)
	}
}

func TestDrawLeavesGaps(t *testing.T) {
	t.Parallel()
	x, _ := linear(10, Short)
	y, _ := logarithmic(1, 100, Short)
	c := draw(0, []point{{0, 1}, {1, 10}, {2, 0}, {3, 10}, {9, 100}, {10, 100}}, x, y, 3)
	if want := "M0.00 100.00L10.00 50.00M30.00 50.00M90.00 0.00L100.00 0.00"; c.Path != want {
		t.Errorf("got %s", c.Path)
	}
}

func TestBarsCutTheLongest(t *testing.T) {
	t.Parallel()
	rate := func(r float64) Candidate {
		return Candidate{DecisionsPerSecond: metrics.Spread{Median: r, Lowest: r, Most: r}}
	}
	rows := bars([]Candidate{rate(100), rate(10_000), rate(50)})
	if !rows[1].Cut || rows[1].Width != 1 || rows[0].Cut || rows[0].Width < 0.95 || rows[2].Width < 0.45 {
		t.Errorf("got %+v", rows)
	}
	for _, row := range bars([]Candidate{rate(100), rate(250)}) {
		if row.Cut {
			t.Errorf("%v is cut beside a neighbour of its size", row)
		}
	}
	if bars([]Candidate{rate(1)}) != nil {
		t.Error("one bar compares nothing")
	}
}

// Runs with missing parts give no NaN or infinity.
func TestHTMLOfOddRuns(t *testing.T) {
	t.Parallel()
	odd := map[string]Report{
		"nothing":        {},
		"no answers":     {Candidates: []Candidate{{}, {}}, Timeline: make([]metrics.Moment, 3), Drains: []metrics.Drain{{}}},
		"one of each":    {Candidates: []Candidate{{Quantiles: []metrics.Quantile{{Percentile: 100, Micros: 5, Count: 1}}}}, Timeline: []metrics.Moment{{Seconds: 1}}},
		"one point":      {Sweep: &Sweep{Over: "holds", Points: []SweepPoint{{}}}},
		"only zero":      {Sweep: &Sweep{Over: "holds", Points: []SweepPoint{{Value: 0}, {Value: 0}}}},
		"an empty sweep": {Sweep: &Sweep{Over: "nodes"}},
		"a drained one":  {Drains: []metrics.Drain{{Granted: 5, Points: []metrics.DrainPoint{{Seconds: 1, Remaining: -5}}}}},
	}
	for name, r := range odd {
		text := written(t, r.WriteHTML)
		for _, bad := range []string{"NaN", "Inf", "ZgotmplZ", "%!"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: %s is shown", name, bad)
			}
		}
	}
}
