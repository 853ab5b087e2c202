package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

func TestConditions(t *testing.T) {
	t.Parallel()
	r := exampleReport()
	r.Candidates = exampleCandidates()
	r.Candidates[0].Decision = metrics.Latency{Mean: 1, P50: 2, P90: 3, P95: 4, P99: 10_000, P999: 6, Max: 7}
	r.Outcomes = map[string]int64{"reserved": 95, "insufficient": 5, "committed": 95}
	r.Overspent = 100
	for text, want := range map[string]struct {
		broken bool
		said   string
	}{
		"p99>10ms":          {false, "p99>10ms: p99 is 10 ms"},
		"p99 > 9.9ms":       {true, "p99 > 9.9ms: p99 is 10 ms"},
		"p50>2us":           {false, "p50>2us: p50 is 2 µs"},
		"p90<4us":           {true, "p90<4us: p90 is 3 µs"},
		"p95>1h":            {false, "p95>1h: p95 is 4 µs"},
		"p99.9>5us":         {true, "p99.9>5us: p99.9 is 6 µs"},
		"max>0s":            {true, "max>0s: max is 7 µs"},
		"mean<1us":          {false, "mean<1us: mean is 1 µs"},
		"rate<17000":        {false, "rate<17000: rate is 17,000/s"},
		"rate<17001/s":      {true, "rate<17001/s: rate is 17,000/s"},
		"refusals>5%":       {false, "refusals>5%: refusals is 5%"},
		"refusals>0.049":    {true, "refusals>0.049: refusals is 5%"},
		"overspent>0":       {true, "overspent>0: overspent is $0.000001"},
		"overspent>$0.0001": {false, "overspent>$0.0001: overspent is $0.000001"},
	} {
		err := r.Check(conditions(text))
		if (err != nil) != want.broken || err != nil && (exit.Code(err) != exit.Refused || err.Error() != "--fail-if: "+want.said) {
			t.Errorf("%s: %v, code %d, want broken %t", text, err, exit.Code(err), want.broken)
		}
		if c := r.Conditions[0]; c.Broken != want.broken || c.String() != want.said {
			t.Errorf("%s: %+v, %q; want %q", text, c, c, want.said)
		}
	}
	err := r.Check(conditions("p99>1ms", "rate>0", "overspent<0"))
	if err == nil || strings.Count(err.Error(), ";") != 1 || len(r.Conditions) != 3 {
		t.Errorf("%v, want two conditions", err)
	}
}

// In a sweep the worst point decides.
func TestConditionsOfASweep(t *testing.T) {
	t.Parallel()
	r := sweptReport()
	err := r.Check(conditions("p99>7ms", "rate<8000", "rate<7000"))
	if err == nil || !strings.Contains(err.Error(), "p99 is 7.22 ms with 512 workers per node") || !strings.Contains(err.Error(), "rate is 7,826/s with 1 worker per node") || r.Conditions[2].Broken {
		t.Errorf("%v", err)
	}
}

func TestConditionsThatAreWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "no operator", "p99": "no operator", "p99=1ms": "no operator", "p98>1ms": `unknown metric "p98"`, ">1ms": `unknown metric ""`,
		"p99>10": "p99 takes a duration, as in p99>10ms", "p99>": "p99 takes a duration", "p99>=1ms": "p99 takes a duration", "mean>-1ms": "mean takes a duration",
		"rate<many": "rate takes a number of decisions per second", "rate<NaN": "rate takes a number", "refusals>5ms": "refusals takes a share of the reserves, as in refusals>5%",
		"overspent>1": "overspent takes an amount, as in overspent>$0",
	} {
		_, err := ParseCondition(text)
		if err == nil || !strings.HasPrefix(err.Error(), `--fail-if "`+text+`": `+want) || !strings.HasSuffix(err.Error(), "the metrics are p50, p90, p95, p99, p99.9, max, mean, rate, refusals, overspent") {
			t.Errorf("%q: %v, want %q and the metrics", text, err, want)
		}
	}
}

// A change counts only beyond the spread of the rounds.
func TestCompareTo(t *testing.T) {
	t.Parallel()
	report := func(rates ...float64) Report {
		c := Candidate{Name: "bursar", Rates: rates, RedisCPU: 5}
		for _, rate := range rates {
			c.DecisionRounds = append(c.DecisionRounds, metrics.Latency{P50: 1e6 / rate, P99: 2e6 / rate})
		}
		return Report{Engine: EngineRedis, Rounds: len(rates), Candidates: []Candidate{c}}
	}
	for name, c := range map[string]struct {
		was, now        []float64
		change, verdict string
	}{
		"faster":       {[]float64{100, 110, 90}, []float64{200, 210, 190}, "+100% (+72.7% to +133%)", "higher"},
		"slower":       {[]float64{200, 210, 190}, []float64{100, 110, 90}, "-50% (-57.1% to -42.1%)", "lower"},
		"overlapping":  {[]float64{100, 110, 90}, []float64{105, 120, 95}, "+5% (-13.6% to +33.3%)", "within the spread"},
		"single round": {[]float64{100}, []float64{200}, "+100%", "needs 2 rounds"},
	} {
		r := report(c.now...)
		earlier := report(c.was...)
		earlier.Nodes = 3
		r.CompareTo(earlier, "earlier.json")
		got := r.Comparison.Changes[0]
		if got.percentText() != c.change || got.verdict() != c.verdict || got.Metric != "decisions" {
			t.Errorf("%s: %q, %q; want %q, %q", name, got.percentText(), got.verdict(), c.change, c.verdict)
		}
		if len(r.Comparison.Settings) != 1 || r.Comparison.Settings[0] != "nodes: 0, was 3" || len(r.Comparison.Changes) != 9 {
			t.Errorf("%s: %+v", name, r.Comparison)
		}
	}
	swept, before := sweptReport(), sweptReport()
	before.Sweep.Points = before.Sweep.Points[:2]
	swept.CompareTo(before, "sweep.json")
	if all := swept.Comparison.Changes; len(all) != 2 || all[1].Metric != "rate with 2 workers per node" || all[1].percentText() != "0% (-13.2% to +15.2%)" {
		t.Errorf("%+v", all)
	}
}

func TestReadEarlier(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(fullReport())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "earlier.json")
	for content, want := range map[string]string{
		string(text): "", "{}": "it has no measurement", "<html>": "not a report of bench --json: invalid character", "": "not a report",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadEarlier(path)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "--compare-to "+path)) {
			t.Errorf("%.20q: %v, want %q", content, err, want)
		}
	}
}
