package report

import "testing"

func TestWorkloadInWords(t *testing.T) {
	t.Parallel()
	for want, w := range map[string]Workload{
		"uniform, closed loop, 10 ‰ commit above their hold, warm-up 1s": {
			Name: "uniform", Arrivals: "closed", LatencyFrom: "call", AbovePermille: 10, WarmupSeconds: 1,
		},
		"zipf, exponent 1.1, open loop of 1,500 requests/s, latencies from the intended start, holds kept 20ms, 12 requests unsent when the end came": {
			Name: "zipf", ZipfExponent: 1.1, Arrivals: "open", Offered: 1500, LatencyFrom: "intended start", HoldMillis: 20, Unsent: 12,
		},
		"trace, open loop of 306 requests/s, 10 times as fast as it was recorded, latencies from the intended start": {
			Name: "trace", Arrivals: "open", Offered: 305.6, Speed: 10, LatencyFrom: "intended start",
		},
		"trace, open loop of 2.57 requests/s, as fast as it was recorded": {Name: "trace", Arrivals: "open", Offered: 2.5713, Speed: 1},
	} {
		if got := w.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
