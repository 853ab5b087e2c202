package report

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/calybris/bursar/bench/metrics"
)

func loadCurve(rate func(callers float64) float64, values ...int) []SweepPoint {
	points := make([]SweepPoint, len(values))
	for i, v := range values {
		x := rate(float64(v))
		response := float64(v) / x * 1e6
		points[i] = pointOf(v, x, x, x)
		points[i].Decision = metrics.Latency{P50: response, P99: 3 * response}
	}
	return points
}

func pointOf(value int, rates ...float64) SweepPoint {
	return SweepPoint{Value: value, Rates: rates, DecisionsPerSecond: metrics.SpreadOf(rates)}
}

var doublings = []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}

// Curves with a known knee: at the intersection of two asymptotes, or the point at which a
// smooth curve is parallel to its chord.
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
		{Sweep{Over: OverConcurrency, Points: saturated}, 16, "The knee is at 16 workers per node, with 1000 decisions per second: from there, doubling them brings no more and no less throughput, and p50 goes from 16ms to 32ms, p99 from 48ms to 96ms"},
		{Sweep{Over: OverNodes, Points: loadCurve(func(n float64) float64 { return min(n/0.016, 1000) }, 1, 10, 60, 100)}, 10, "The knee is at 10 nodes, with 625 decisions per second: from there, going on to 60 brings 60 % more throughput"},
		{Sweep{Over: OverNodes, Points: saturated[:3]}, 0, "No knee up to 4 nodes"},
		{Sweep{Over: OverTenants, Points: costing(4, 4)}, 0, "within 25 % of the 4µs with 1"},
		{Sweep{Over: OverTenants, Points: costing(4, 4.9, 9, 3.1, 5)}, 0, "Flat: with 16 tenants a decision costs 5µs of Redis CPU, within 25 % of the 4µs with 1; in between 3.1µs to 9µs"},
		{Sweep{Over: OverHolds, Points: costing(4, 9, 4, 6, 7)}, 8, "Not flat: with 1 open hold a decision costs 4µs of Redis CPU, and leaves the band of 25 % around that with 8: there it costs 6µs, 50 % more"},
		{Sweep{Over: OverHolds, Points: costing(4, 2)}, 2, "50 % less"},
		{Sweep{Over: OverTenants, Points: costing(0, 0)}, 0, "Flat: with 2 tenants a decision costs 10µs of time"},
		{Sweep{Over: OverTenants, Points: costing(3)}, 0, ""},
		{Sweep{Over: OverConcurrency, Points: []SweepPoint{pointOf(1, 900), pointOf(2, 1000), pointOf(4, 1000)}}, 0, "The curve is too noisy to name a knee: of 1 round it may be at 1 worker per node (900 decisions per second); give at least 3 --rounds"},
		{Sweep{Over: OverNodes, Points: []SweepPoint{pointOf(1, 900, 500, 2000), pointOf(2, 1200, 1000, 700), pointOf(4, 600, 2500, 1100)}}, 0, "The curve is too noisy to name a knee: it may be anywhere from 1 node (500 to 2000 decisions per second) to 4 (600 to 2500 decisions per second); give more --rounds, a longer --duration, or a quieter machine"},
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

// Three sweeps over concurrency on one busy machine, whose medians have their knees at 16,
// 32 and 128 workers, and their maxima at 128, 64 and 128.
var recordedNoise = [][][]float64{{
	{2030, 8004, 2542}, {6861, 8074, 2023}, {9711, 8357, 17559}, {12317, 24317, 4155}, {18866, 35717, 32544},
	{3983, 39541, 28382}, {28422, 31879, 5983}, {37198, 47762, 32068}, {14015, 64706, 4144}, {14408, 7088, 13322},
}, {
	{10464, 1470, 7233}, {10542, 1235, 7961}, {9282, 9938, 12438}, {20191, 3479, 21129}, {33198, 4208, 23655},
	{33389, 1951, 39604}, {3127, 32250, 48576}, {25189, 35461, 55361}, {12230, 11711, 11048}, {11192, 3953, 9914},
}, {
	{6663, 735, 4303}, {2426, 11449, 11976}, {13885, 13109, 16249}, {19944, 19521, 11492}, {26944, 5995, 32277},
	{40310, 32859, 21192}, {4121, 26477, 5123}, {58322, 62014, 32989}, {14498, 40210, 26100}, {3939, 7929, 73043},
}}

func TestRecordedNoiseHasNoKnee(t *testing.T) {
	t.Parallel()
	for i, rounds := range recordedNoise {
		s := Sweep{Over: OverConcurrency}
		for n, rates := range rounds {
			s.Points = append(s.Points, pointOf(doublings[n], rates...))
		}
		s.Conclude()
		if s.Knee != nil || !s.Noisy || !strings.HasPrefix(s.Said, "The curve is too noisy to name a knee: it may be anywhere from ") {
			t.Errorf("%d: knee %+v, %q", i, s.Knee, s.Said)
		}
		first := s.Said
		if s.Conclude(); s.Said != first {
			t.Errorf("%d: the same points mean %q and %q", i, first, s.Said)
		}
		if knee := sweepTiles(&s)[2]; knee != (tile{"knee", "none", "too noisy to name one"}) {
			t.Errorf("%d: %+v", i, knee)
		}
	}
}

// found returns the values that 40 noisy sweeps name, 0 for none, and the number of sweeps
// that were too noisy.
func found(over string, curve func(value float64) float64, noise float64, rounds int) (named []int, noisy int) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 40 {
		s := Sweep{Over: over}
		for _, value := range doublings {
			rates := make([]float64, rounds)
			for i := range rates {
				rates[i] = curve(float64(value)) * math.Exp(noise*rng.NormFloat64())
			}
			s.Points = append(s.Points, pointOf(value, rates...))
		}
		switch s.Conclude(); {
		case s.Noisy:
			noisy++
		case s.Knee == nil:
			named = append(named, 0)
		default:
			named = append(named, s.Knee.Value)
		}
	}
	return named, noisy
}

// A real knee is found within one doubling, and noise is almost never taken for one.
func TestNoisyKnees(t *testing.T) {
	t.Parallel()
	sharp := func(n float64) float64 { return min(n/0.016, 1000) }
	smooth := func(n float64) float64 { return n / (200e-6 + 6.25e-6*n) }
	falls := func(n float64) float64 { return 1000 * n / (1 + 0.0001*n*n) }
	grows := func(n float64) float64 { return 100 * n }
	level := func(float64) float64 { return 1000 }
	dearer := func(n float64) float64 { return 1e6 / (10 + 10*min(1, math.Floor(n/16))) } // 10 µs below 16, then 20
	for _, c := range []struct {
		name   string
		over   string
		curve  func(float64) float64
		noise  float64 // deviation
		rounds int
		want   []int // values that may be named
		named  int   // at least, of 40
		wrong  int   // at most
	}{
		{"sharp, quiet", OverConcurrency, sharp, 0.01, 3, []int{16}, 39, 0},
		{"sharp", OverConcurrency, sharp, 0.05, 3, []int{16, 32}, 34, 1},
		{"sharp, noisy", OverConcurrency, sharp, 0.2, 3, []int{8, 16, 32}, 10, 2},
		{"smooth", OverConcurrency, smooth, 0.05, 3, []int{64, 128}, 38, 0},
		{"smooth, many rounds", OverNodes, smooth, 0.1, 10, []int{64, 128}, 38, 0},
		{"falling", OverConcurrency, falls, 0.1, 3, []int{64, 128}, 38, 0},
		{"growing", OverConcurrency, grows, 0.05, 3, []int{0}, 38, 0},
		{"growing, noisy", OverConcurrency, grows, 0.2, 3, []int{0}, 8, 2},
		{"level, quiet", OverConcurrency, level, 0.001, 3, []int{1, 2}, 30, 0},
		{"level", OverConcurrency, level, 0.05, 3, []int{1, 2, 4}, 0, 1},
		{"level, noisy", OverConcurrency, level, 0.2, 3, []int{1, 2}, 0, 1},
		{"level, very noisy", OverConcurrency, level, 0.5, 3, []int{1, 2}, 0, 2},
		{"level, noisy, many rounds", OverConcurrency, level, 0.2, 10, []int{1, 2}, 0, 1},
		{"two rounds", OverConcurrency, sharp, 0.05, 2, nil, 0, 0},
		{"flat cost", OverTenants, level, 0.05, 3, []int{0}, 40, 0},
		{"flat cost, noisy", OverTenants, level, 0.2, 3, []int{0}, 20, 1},
		{"flat cost, very noisy", OverHolds, level, 0.6, 3, []int{0}, 0, 2},
		{"dearer", OverHolds, dearer, 0.05, 3, []int{16}, 38, 0},
		{"dearer, noisy", OverHolds, dearer, 0.2, 3, []int{0, 8, 16, 32}, 10, 1},
	} {
		named, noisy := found(c.over, c.curve, c.noise, c.rounds)
		wrong := slices.DeleteFunc(slices.Clone(named), func(value int) bool { return slices.Contains(c.want, value) })
		if right := len(named) - len(wrong); right < c.named || len(wrong) > c.wrong {
			t.Errorf("%s: %d named right, want %d; %d wrong %v, want at most %d; %d too noisy", c.name, right, c.named, len(wrong), wrong, c.wrong, noisy)
		}
	}
}
