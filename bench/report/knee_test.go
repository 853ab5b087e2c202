package report

import (
	"strings"
	"testing"
)

func loadCurve(rate func(callers float64) float64, values ...int) []SweepPoint {
	points := make([]SweepPoint, len(values))
	for i, v := range values {
		x := rate(float64(v))
		response := float64(v) / x * 1e6
		points[i] = pointOf(v, x, x, x)
		points[i].Decision = Percentiles{P50: response, P99: 3 * response}
	}
	return points
}

func pointOf(value int, rates ...float64) SweepPoint {
	return SweepPoint{Value: value, Rates: rates, DecisionsPerSecond: SpreadOf(rates)}
}

var doublings = []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}

// Curves whose knee is known: where two asymptotes meet, and where a smooth curve runs
// parallel to its chord.
func TestKnee(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		rate   func(callers float64) float64
		values []int
		want   int
	}{
		{"a server of 1000/s and a wait of 16 ms", func(n float64) float64 { return min(n/0.016, 1000) }, doublings, 16},
		{"the same, looked at further away", func(n float64) float64 { return min(n/0.016, 1000) }, append(doublings, 1024, 2048, 1<<20), 16},
		{"a response of 200 µs and 6.25 µs a caller, whose chord's slope it has at 99", func(n float64) float64 { return n / (200e-6 + 6.25e-6*n) }, doublings, 128},
		{"it breaks down", func(n float64) float64 { return 1000 * n / (1 + 0.0001*n*n) }, doublings, 64},
		{"one core, one caller is enough", func(float64) float64 { return 5000 }, doublings, 1},
		{"no end in sight", func(n float64) float64 { return 100 * n }, doublings, 0},
		{"hardly a bend", func(n float64) float64 { return 100 * n / (1 + n/5000) }, doublings, 0},
	} {
		points := loadCurve(c.rate, c.values...)
		got := 0 // none
		s := Sweep{Over: OverConcurrency, Points: points}
		if s.Conclude(); s.Knee != nil {
			got = s.Knee.Value
		}
		if got != c.want {
			t.Errorf("%s: the knee is at %d, want %d", c.name, got, c.want)
		}
		if s.Noisy {
			t.Errorf("%s: %s", c.name, s.Said)
		}
	}
}

func TestConclusions(t *testing.T) {
	t.Parallel()
	saturated := loadCurve(func(n float64) float64 { return min(n/0.016, 1000) }, doublings...)
	costing := func(cpu ...float64) []SweepPoint {
		points := loadCurve(func(float64) float64 { return 100_000 }, doublings[:len(cpu)]...)
		for i := range points {
			points[i].RedisCPU, points[i].RedisCPUs = cpu[i], []float64{cpu[i], cpu[i], cpu[i]}
		}
		return points
	}
	for _, c := range []struct {
		sweep Sweep
		knee  int
		want  string
	}{
		{Sweep{Over: OverConcurrency, Points: saturated}, 16, "The knee is at 16 callers a node, with 1000 decisions a second: from there, doubling them brings no more and no less throughput, and p50 goes from 16ms to 32ms, p99 from 48ms to 96ms"},
		{Sweep{Over: OverNodes, Points: loadCurve(func(n float64) float64 { return min(n/0.016, 1000) }, 1, 10, 60, 100)}, 10, "The knee is at 10 nodes, with 625 decisions a second: from there, going on to 60 brings 60 % more throughput"},
		{Sweep{Over: OverNodes, Points: saturated[:3]}, 0, "No knee up to 4 nodes"},
		{Sweep{Over: OverTenants, Points: costing(4, 4)}, 0, "within 25 % of the 4µs with 1"},
		{Sweep{Over: OverTenants, Points: costing(4, 4.9, 9, 3.1, 5)}, 0, "Flat: with 16 tenants a decision costs 5µs of Redis' CPU, within 25 % of the 4µs with 1; in between 3.1µs to 9µs"},
		{Sweep{Over: OverHolds, Points: costing(4, 9, 4, 6, 7)}, 8, "Not flat: with 1 open hold a decision costs 4µs of Redis' CPU, and leaves the band of 25 % around that with 8: there it costs 6µs, 50 % more"},
		{Sweep{Over: OverHolds, Points: costing(4, 2)}, 2, "50 % less"},
		{Sweep{Over: OverTenants, Points: costing(0, 0)}, 0, "Flat: with 2 tenants a decision costs 10µs of time"},
		{Sweep{Over: OverTenants, Points: costing(3)}, 0, ""},
		{Sweep{Over: OverConcurrency, Points: []SweepPoint{pointOf(1, 900), pointOf(2, 1000), pointOf(4, 1000)}}, 0, "The curve is too noisy to name a knee: of 1 round it may be at 1 caller a node (900 decisions a second); give at least 3 --rounds"},
		{Sweep{Over: OverNodes, Points: []SweepPoint{pointOf(1, 900, 500, 2000), pointOf(2, 1200, 1000, 700), pointOf(4, 600, 2500, 1100)}}, 0, "The curve is too noisy to name a knee: it may be anywhere from 1 node (500 to 2000 decisions a second) to 4 (600 to 2500 decisions a second); give more --rounds, a longer --duration, or a quieter machine"},
		{Sweep{Over: OverTenants, Points: []SweepPoint{pointOf(1, 1e6), pointOf(2, 1e5)}}, 0, "Not flat: with 1 tenant a decision costs 1µs of time, and with 2 10µs; but the curve is too noisy to name a knee: of 1 round it may be at 2 tenants (10µs); give at least 3 --rounds"},
	} {
		c.sweep.Conclude()
		if !strings.HasPrefix(c.sweep.Said, c.want) && !strings.HasSuffix(c.sweep.Said, c.want) || c.want == "" && c.sweep.Said != "" {
			t.Errorf("said %q, want %q", c.sweep.Said, c.want)
		}
		if got := c.sweep.Knee; (got != nil) != (c.knee != 0) || got != nil && (got.Value != c.knee || got.Said != c.sweep.Said) {
			t.Errorf("%s: knee %+v, want %d", c.sweep.Said, got, c.knee)
		}
	}
}
