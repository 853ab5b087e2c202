package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// WriteGoBench writes Go benchmark text for benchstat: a line per round of each candidate or
// point of a sweep, with the time per decision of all workers together; the iterations are
// the decisions of a second. Metrics without rounds (latencies, Redis CPU, round trips) are
// on the first of these lines only, so that benchstat takes them for one sample.
func (r Report) WriteGoBench(w io.Writer) error {
	out := bufio.NewWriter(w)
	goos, goarch, _ := strings.Cut(r.Machine.OS, "/")
	redis := ""
	if s := r.Server; s != nil {
		redis = strings.TrimPrefix(s.name()+" "+s.Version, "Redis ")
	}
	for _, line := range [][2]string{
		{"goos", goos}, {"goarch", goarch}, {"pkg", "github.com/calybris/bursar/bench"}, {"cpu", r.Machine.CPU},
		{"redis", redis}, {"workload", r.Workload.Name}, {"arrivals", r.Workload.Arrivals},
	} {
		if line[1] != "" {
			fmt.Fprintf(out, "%s: %s\n", line[0], line[1])
		}
	}
	fmt.Fprintln(out, "Unit decisions/s better=higher")
	procs := max(r.Machine.GOMAXPROCS, 1)
	for _, c := range r.Candidates {
		point := SweepPoint{Rates: c.Rates, Decision: c.Decision, RedisCPU: c.RedisCPU, RoundTrips: c.RoundTrips}
		name := fmt.Sprintf("contender=%s/nodes=%d/callers=%d/tenants=%d", c.Name, r.Nodes, r.Concurrency, r.Tenants)
		point.writeSamples(out, name, procs)
	}
	if r.Sweep != nil {
		for _, p := range r.Sweep.Points {
			p.writeSamples(out, fmt.Sprintf("sweep/%s=%d", r.Sweep.Over, p.Value), procs)
		}
	}
	return out.Flush()
}

// writeSamples leaves out rounds without a decision.
func (p SweepPoint) writeSamples(w io.Writer, name string, procs int) {
	first := true
	for _, rate := range p.Rates {
		if rate <= 0 {
			continue
		}
		fmt.Fprintf(w, "BenchmarkBursar/%s-%d %d", name, procs, max(int64(rate), 1))
		metric(w, 1e9/rate, "ns/op")
		metric(w, rate, "decisions/s")
		if first {
			metric(w, p.Decision.P50*1e3, "p50-ns")
			metric(w, p.Decision.P99*1e3, "p99-ns")
			metric(w, p.Decision.P999*1e3, "p99.9-ns")
			metric(w, p.RedisCPU*1e3, "redis-cpu-ns/op")
			metric(w, p.RoundTrips, "round-trips/op")
		}
		fmt.Fprintln(w)
		first = false
	}
}

// metric leaves out zeros, which were not measured.
func metric(w io.Writer, value float64, unit string) {
	if value > 0 {
		fmt.Fprintf(w, " %s %s", rounded(value, 6), unit)
	}
}

// ErrNoDistribution: the run measured no latency.
var ErrNoDistribution = errors.New("no latency was measured, so percentiles cannot be written")

// WriteHgrm writes the latencies of Bursar's decisions in HdrHistogram's percentile form, in
// microseconds, as its plotters read it.
func (r Report) WriteHgrm(w io.Writer) error {
	if len(r.Candidates) == 0 || len(r.Candidates[0].Quantiles) == 0 {
		return ErrNoDistribution
	}
	ours := r.Candidates[0]
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")
	for _, q := range ours.Quantiles {
		fmt.Fprintf(out, "%12.3f %2.12f %10d %s\n", q.Micros, q.Percentile/100, q.Count, rarity(q.Percentile))
	}
	last := ours.Quantiles[len(ours.Quantiles)-1]
	if ours.Mean > 0 {
		fmt.Fprintf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", ours.Mean, ours.Deviation)
	}
	fmt.Fprintf(out, "#[Max     = %12.3f, Total count    = %12d]\n", last.Micros, last.Count)
	return out.Flush()
}

// rarity is the number of decisions of which one is slower.
func rarity(percentile float64) string {
	if percentile >= 100 {
		return fmt.Sprintf("%14s", "inf")
	}
	return fmt.Sprintf("%14.2f", 100/(100-percentile))
}
