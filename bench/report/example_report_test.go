package report

import (
	"math"
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/budget"
)

// fullReport has every part, with figures as a machine of two cores gives them.
func fullReport() Report {
	r := exampleReport()
	r.Redis, r.Nodes, r.Concurrency, r.Tenants = "private redis-server", 1, 256, 100
	r.Began = time.Date(2026, time.November, 24, 9, 30, 0, 0, time.UTC)
	r.Command = "bursar bench --redis spawn --nodes 1 --concurrency 256 --baselines all --html report.html"
	r.Workload = Workload{
		Name: "uniform", Arrivals: "closed", WarmupSeconds: 1, LatencyFrom: "call", AbovePermille: 10,
	}
	r.Machine = Machine{
		CPU: "AMD EPYC 7B13", Cores: 2, OS: "linux/amd64", Go: "go1.26.8", GOMAXPROCS: 2, GOGC: "100", GOMEMLIMIT: "off", Version: "(devel)",
	}
	r.Server = &Server{Version: "7.0.15", Mode: "standalone", Settings: map[string]string{"appendonly": "yes", "appendfsync": "everysec"}}
	r.DecisionsPerSecond, r.CyclesPerSecond, r.Seconds, r.Refused, r.Exhausted = 169_485, 81_000, 10.2, 104_233, 38
	r.Candidates = []Candidate{
		exampleCandidate("bursar", "budgets on Redis, calls grouped", true, 169_485, 1.0, 1_480, 0),
		exampleCandidate("local", "the same engine in this process, no Redis", true, 8_431_200, 0.0201, 0.41, 0),
		exampleCandidate("incr", "one INCR a call, decides nothing", false, 78_895, 2.148, 2_950, 0),
		exampleCandidate("script", "one hand-written script a call", true, 33_120, 5.117, 7_400, 0),
		exampleCandidate("watch", "WATCH, MULTI, EXEC", true, 4_210, 40.26, 51_000, 0),
		exampleCandidate("check", "read, compare, decrement", true, 41_377, 4.096, 6_020, 71_264_500_000),
	}
	r.Timeline, r.Drains = moments(), drains()
	r.Candidates[0].Pools = []Pool{{Size: 16}, {Size: 64}, {Size: 256}}
	if err := r.Check(conditions("p99>10ms", "rate<200000", "overspent>$0")); err == nil {
		panic("rate<200000 holds")
	}
	earlier := Report{Began: r.Began.AddDate(0, 0, -7), Rounds: 5, Candidates: []Candidate{r.Candidates[0]}, Machine: r.Machine, Nodes: 1, Concurrency: 64, Tenants: 100}
	earlier.Candidates[0].Rates = []float64{120_000, 121_000, 125_000, 118_000, 122_000}
	r.CompareTo(earlier, "last-week.json")
	return r
}

func exampleCandidate(name, describe string, decides bool, rate, ratio, p50 float64, overspent budget.Microcents) Candidate {
	c := Candidate{
		Name: name, Describe: describe, Decides: decides,
		DecisionsPerSecond: metrics.Spread{Median: rate, Lowest: rate * 0.94, Most: rate * 1.05}, Ratio: metrics.Spread{Median: ratio, Lowest: ratio * 0.95, Most: ratio * 1.02},
		Rates:    []float64{rate, rate * 0.94, rate * 1.01, rate * 1.05, rate * 0.99},
		RedisCPU: 5_200 / math.Sqrt(rate), RoundTrips: 1, Commands: 1.2, PoolSize: 64, Mean: p50 * 1.1, Deviation: p50 / 2,
		Money: Overspending{Kept: decides, Granted: 800 * budget.Dollar, Overspent: overspent, Drift: overspent / 3},
	}
	if overspent > 0 {
		c.Money.Tenants = 8
	}
	const decisions = 1_000_000
	for _, percentile := range []float64{0, 10, 25, 50, 75, 87.5, 93.75, 96.875, 98.4375, 99.21875, 99.609375, 99.8046875, 99.90234375, 99.951171875, 99.9755859375, 99.98779296875, 99.993896484375, 99.9969482421875, 99.99847412109375, 99.9992, 100} {
		rare := min(nines(percentile), 6)
		c.Quantiles = append(c.Quantiles, metrics.Quantile{
			Percentile: percentile, Micros: p50 * (0.55 + 1.1*rare + rare*rare*rare/8),
			Count: int64(decisions * percentile / 100),
		})
	}
	at := func(i int) float64 { return c.Quantiles[i].Micros }
	c.Decision = metrics.Latency{P50: at(3), P99: at(9), P999: at(12)}
	return c
}

func conditions(texts ...string) (all []Condition) {
	for _, text := range texts {
		c, err := ParseCondition(text)
		if err != nil {
			panic(err)
		}
		all = append(all, c)
	}
	return all
}

func moments() []metrics.Moment {
	var all []metrics.Moment
	for i := range 100 {
		wave := math.Sin(float64(i) / 5)
		m := metrics.Moment{
			Seconds: 0.05 + float64(i)/10, DecisionsPerSecond: 168_000 + 9_000*wave, RefusedPerSecond: 300 * float64(i),
			P50: 1_450 - 90*wave, P99: 3_900 + 700*wave, Longest: 8_000 + 3_000*math.Abs(wave*math.Cos(float64(i))),
		}
		if i == 61 { // a stall
			m.DecisionsPerSecond, m.P99, m.Longest = 71_000, 41_000, 96_000
		}
		all = append(all, m)
	}
	return all
}

func drains() []metrics.Drain {
	var all []metrics.Drain
	for i, tenant := range []budget.TenantID{"tenant-11", "tenant-12", "tenant-13", "tenant-14", "tenant-15", `<script>alert("x")</script>`} {
		d := metrics.Drain{Tenant: tenant, Granted: 4 * budget.Dollar << i}
		for n := range 21 {
			left := max(1-float64(n)/20*math.Pow(2, 4-float64(i)), 0)
			d.Points = append(d.Points, metrics.DrainPoint{Seconds: float64(n) / 2, Remaining: budget.Microcents(left * float64(d.Granted))})
		}
		all = append(all, d)
	}
	return all
}

// sweptReport is a report of `bench sweep --over concurrency`.
func sweptReport() Report {
	r := fullReport()
	r.Command, r.Candidates, r.Timeline, r.Drains = "bursar bench sweep --over concurrency --redis spawn --html sweep.html", nil, nil, nil
	r.Sweep = &Sweep{Over: "concurrency", Runs: 30}
	for n := range 10 {
		callers := 1 << n
		rate := 180_000 * float64(callers) / (float64(callers) + 22)
		latency := 40 + float64(callers)/rate*1e6
		r.Sweep.Points = append(r.Sweep.Points, SweepPoint{
			Value: callers, DecisionsPerSecond: metrics.Spread{Median: rate, Lowest: rate * 0.92, Most: rate * 1.06}, Rates: []float64{rate, rate * 0.92, rate * 1.06},
			Decision: metrics.Latency{P50: latency, P99: 2.4 * latency, P999: 5 * latency},
			RedisCPU: 4 + 30/float64(callers), RoundTrips: 1 / float64(callers), Conserved: true,
		})
	}
	r.Conditions, r.Comparison = nil, nil
	r.Sweep.Conclude()
	return r
}
