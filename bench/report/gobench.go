package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// WriteGoBench writes Go benchmark text, for benchstat: a line a round of each
// contender, or of each point of a sweep, with the time that a decision takes the
// whole fleet; the iterations are the decisions of one second. What is known of
// all rounds together only (latencies, Redis' CPU, round trips) is on the first of
// these lines alone, so that benchstat takes it for one sample.
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
	for _, s := range r.samples() {
		s.write(out, max(r.Machine.GOMAXPROCS, 1))
	}
	return out.Flush()
}

// sample is what benchstat compares under one name.
type sample struct {
	name       string
	rates      []float64
	decision   Percentiles
	redisCPU   float64
	roundTrips float64
}

func (r Report) samples() []sample {
	var all []sample
	for _, c := range r.Contenders {
		name := fmt.Sprintf("contender=%s/nodes=%d/callers=%d/tenants=%d", c.Name, r.Nodes, r.Concurrency, r.Tenants)
		all = append(all, sample{name, c.Rates, c.Decision, c.RedisCPU, c.RoundTrips})
	}
	if r.Sweep != nil {
		for _, p := range r.Sweep.Points {
			name := fmt.Sprintf("sweep/%s=%d", r.Sweep.Over, p.Value)
			all = append(all, sample{name, p.Rates, p.Decision, p.RedisCPU, p.RoundTrips})
		}
	}
	return all
}

// write leaves out a round without a decision, of which there is no time.
func (s sample) write(w io.Writer, procs int) {
	first := true
	for _, rate := range s.rates {
		if rate <= 0 {
			continue
		}
		fmt.Fprintf(w, "BenchmarkBursar/%s-%d %d", s.name, procs, max(int64(rate), 1))
		metric(w, 1e9/rate, "ns/op")
		metric(w, rate, "decisions/s")
		if first {
			metric(w, s.decision.P50*1e3, "p50-ns")
			metric(w, s.decision.P99*1e3, "p99-ns")
			metric(w, s.decision.P999*1e3, "p99.9-ns")
			metric(w, s.redisCPU*1e3, "redis-cpu-ns/op")
			metric(w, s.roundTrips, "round-trips/op")
		}
		fmt.Fprintln(w)
		first = false
	}
}

// metric leaves out what was not measured.
func metric(w io.Writer, value float64, unit string) {
	if value > 0 {
		fmt.Fprintf(w, " %s %s", rounded(value, 6), unit)
	}
}
