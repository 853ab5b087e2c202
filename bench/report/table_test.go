package report

import (
	"encoding/json"
	"errors"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/budget"
)

func exampleReport() Report {
	return Report{
		Engine: EngineRedis, Redis: "embedded Redis", Nodes: 3, Tenants: 2, Concurrency: 64, Seed: 1,
		Machine: Machine{
			CPU: "AMD EPYC 7763", Cores: 2, OS: "linux/amd64", Go: "go1.26.8", GOMAXPROCS: 2,
			GOGC: "100", GOMEMLIMIT: "off", Version: "v0.1.0",
		},
		Server: &Server{Version: "7.0.15", Mode: "standalone", Settings: map[string]string{
			"appendonly": "yes", "appendfsync": "everysec", "save": "",
		}},
		Cycles: 20_000, Seconds: 2.5, Rounds: 5, CyclesPerSecond: 8_000, DecisionsPerSecond: 17_000,
		Reserve:  metrics.Latency{Mean: 1_020.5, P50: 812.4, P90: 2_050, P95: 4_100, P99: 12_345.6, P999: 1_234_567, Max: 2_500_000},
		Commit:   metrics.Latency{Mean: 0.25, P50: 0.123, P90: 0.5, P95: 1.25, P99: 99.95, P999: 1000, Max: 1500},
		Outcomes: map[string]int64{"reserved": 21_000, "committed": 20_000, "overrun": 0},
		Books: Books{
			Granted: 300 * budget.Dollar, Committed: 1250 * budget.Cent, Reserved: 25,
			Remaining: 300*budget.Dollar - 1250*budget.Cent - 25, OpenHolds: 1, Refused: 7, Exhausted: 1,
		},
		Audited: true, Conserved: true,
		Baselines: []Baseline{{Name: "incr", OpsPerSecond: 8_500, Ratio: 2, PoolSize: 16}},
	}
}

func exampleCandidates() []Candidate {
	kept := Overspending{Kept: true}
	return []Candidate{
		{
			Name: "bursar", Decides: true, DecisionsPerSecond: metrics.Spread{Median: 169_485, Lowest: 151_000, Most: 170_000}, Ratio: metrics.Spread{Median: 1, Lowest: 1, Most: 1},
			Decision: metrics.Latency{P50: 1480, P99: 3900, P999: 9100}, RedisCPU: 2.479, RoundTrips: 0.0078, PoolSize: 64, Money: kept,
		},
		{
			Name: "local", Decides: true, DecisionsPerSecond: metrics.Spread{Median: 14_676_979, Lowest: 14_531_557, Most: 25_370_958}, Ratio: metrics.Spread{Median: 0.0115, Lowest: 0.006, Most: 0.02},
			Decision: metrics.Latency{P50: 0.05, P99: 3113, P999: 6881}, Money: kept,
		},
		{
			Name: "incr", DecisionsPerSecond: metrics.Spread{Median: 78_895, Lowest: 77_000, Most: 80_100}, Ratio: metrics.Spread{Median: 2.15, Lowest: 2.03, Most: 2.2},
			Decision: metrics.Latency{P50: 2654, P99: 7209, P999: 37_749}, RedisCPU: 6.82, RoundTrips: 1, PoolSize: 256,
		},
		{
			Name: "watch", Describe: "WATCH, read, MULTI and EXEC", Decides: true, DecisionsPerSecond: metrics.Spread{Median: 3621, Lowest: 3273, Most: 3932}, Ratio: metrics.Spread{Median: 46.8, Lowest: 41.2, Most: 52},
			Decision: metrics.Latency{P50: 49_021, P99: 153_092, P999: 158_335}, RedisCPU: 189.9, RoundTrips: 23.5, PoolSize: 16, GivenUp: 4397,
		},
		{
			Name: "check", Describe: "GET, compare, DECRBY", Decides: true, DecisionsPerSecond: metrics.Spread{Median: 59_244, Lowest: 56_367, Most: 60_969}, Ratio: metrics.Spread{Median: 2.86, Lowest: 2.7, Most: 2.9},
			Decision: metrics.Latency{P50: 3850, P99: 11_534, P999: 19_661}, RedisCPU: 10.37, RoundTrips: 1.5, PoolSize: 256,
			Money: Overspending{Kept: true, Overspent: 2_131_568_351, Tenants: 8, Drift: 1},
		},
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	broken := exampleReport()
	broken.Conserved, broken.BrokenAll, broken.Overspent, broken.InDoubt = false, 1, 8, 9
	broken.Broken = []BrokenBook{{"tenant-1", "the law is broken"}}
	broken.Server = &Server{Mode: ModeEmbedded}
	broken.Interrupted, broken.Trace, broken.Baselines = true, "usage.csv", nil
	unread := exampleReport()
	unread.Audited, unread.Conserved = false, false
	unread.Server, unread.Machine.CPU = nil, ""
	unread.Redis, unread.Engine, unread.Rounds, unread.Nodes = "", EngineLocal, 1, 1
	open := exampleReport()
	open.Workload = Workload{Name: "uniform", Arrivals: "open", Offered: 10_000, Unsent: 12, LatencyFrom: "intended start", WarmupSeconds: 0.5}
	open.Commit = metrics.Latency{} // nothing was granted
	compared := exampleReport()
	compared.Candidates = exampleCandidates()
	for name, report := range map[string]Report{"sweep": sweptReport(), "sound": exampleReport(), "broken": broken, "unread": unread, "open": open, "contenders": compared} {
		compareFile(t, "table/"+name+".txt", written(t, report.WriteTable))
	}
}

// Counts of one are in the singular.
func TestOneOfEach(t *testing.T) {
	t.Parallel()
	r := exampleReport()
	r.Nodes, r.Tenants, r.Concurrency, r.Rounds, r.Machine.Cores, r.Refused = 1, 1, 1, 1, 1, 1
	r.Workload = Workload{Name: "uniform", Arrivals: "open", Offered: 10_000, Unsent: 1}
	r.Candidates = exampleCandidates()
	for i := range r.Candidates {
		r.Candidates[i].GivenUp, r.Candidates[i].Money.Tenants = 1, 1
	}
	wrong := regexp.MustCompile(`(^|[^\w.,"])1 +[a-z]{2,}s\b`)
	for name, text := range map[string]string{"table": written(t, r.WriteTable), "page": written(t, r.WriteHTML)} {
		if found := wrong.FindString(text); found != "" {
			t.Errorf("the %s says %q", name, found)
		}
	}
}

var errFull = errors.New("disk full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestTableReportsAFullDisk(t *testing.T) {
	t.Parallel()
	if err := exampleReport().WriteTable(fullDisk{}); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

// Scripts rely on these names.
func TestJSONFields(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(exampleReport())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]any{
		"engine": "redis", "nodes": 3.0, "tenants": 2.0, "concurrency": 64.0, "cycles": 20_000.0, "seconds": 2.5,
		"cycles_per_second": 8_000.0, "decisions_per_second": 17_000.0,
		"reserve":              map[string]any{"mean_us": 1_020.5, "p50_us": 812.4, "p90_us": 2_050.0, "p95_us": 4_100.0, "p99_us": 12_345.6, "p999_us": 1_234_567.0, "max_us": 2_500_000.0},
		"commit":               map[string]any{"mean_us": 0.25, "p50_us": 0.123, "p90_us": 0.5, "p95_us": 1.25, "p99_us": 99.95, "p999_us": 1000.0, "max_us": 1500.0},
		"outcomes":             map[string]any{"reserved": 21_000.0, "committed": 20_000.0, "overrun": 0.0},
		"overspent_microcents": 0.0, "conserved": true,
		"baselines": []any{map[string]any{"name": "incr", "ops_per_second": 8_500.0, "ratio": 2.0, "pool_size": 16.0}},
	} {
		if diff := cmp.Diff(want, got[field]); diff != "" {
			t.Errorf("%s: - want, + got:\n%s", field, diff)
		}
	}
}

func TestWorkloadInWords(t *testing.T) {
	t.Parallel()
	for want, w := range map[string]Workload{
		"uniform, closed loop, 1% commit above their hold, warm-up 1s": {
			Name: "uniform", Arrivals: "closed", LatencyFrom: "call", AbovePermille: 10, WarmupSeconds: 1,
		},
		"zipf, exponent 1.1, open loop of 1,500 requests/s, latencies from the time at which a call was due, holds kept 20ms, 12 requests due and not sent by the end": {
			Name: "zipf", ZipfExponent: 1.1, Arrivals: "open", Offered: 1500, LatencyFrom: "intended start", HoldMillis: 20, Unsent: 12,
		},
		"trace, open loop of 306 requests/s, at 10 times its original speed, latencies from the time at which a call was due": {
			Name: "trace", Arrivals: "open", Offered: 305.6, Speed: 10, LatencyFrom: "intended start",
		},
		"trace, open loop of 2.57 requests/s, at its original speed": {Name: "trace", Arrivals: "open", Offered: 2.5713, Speed: 1},
	} {
		if got := w.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
