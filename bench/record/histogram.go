package record

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/calybris/bursar/bench/report"
)

const (
	longestLatency = int64(100 * time.Second)
	latencyDigits  = 2 // significant ones: 1 %
)

// Histogram is HdrHistogram's, of latencies in nanoseconds. It travels as text, in
// HdrHistogram's own compressed form.
type Histogram struct{ *hdrhistogram.Histogram }

// NewHistogram has latencies from the finest on.
func NewHistogram(finest time.Duration) *Histogram {
	return &Histogram{hdrhistogram.New(int64(finest), longestLatency, latencyDigits)}
}

// Record notes how long a call took.
func (h *Histogram) Record(took time.Duration) {
	// It is within the bounds, the only thing that can be wrong with it.
	_ = h.RecordValue(min(max(int64(took), 0), longestLatency))
}

// Merge adds another with the same finest latency.
func (h *Histogram) Merge(other *Histogram) { h.Histogram.Merge(other.Histogram) }

// Clone shares nothing with it.
func (h *Histogram) Clone() *Histogram { return &Histogram{h.Histogram.Clone()} }

// Percentiles are those that a report shows everywhere.
func (h *Histogram) Percentiles() report.Percentiles {
	at := h.ValueAtPercentilesSlice([]float64{50, 99, 99.9})
	return report.Percentiles{P50: micros(at[0]), P99: micros(at[1]), P999: micros(at[2])}
}

func micros(nanos int64) float64 { return float64(nanos) / 1e3 }

// The points of a distribution: HdrHistogram's usual ones, so many to each halving of
// the distance to 100 %, as far as finestPercentile, and the longest.
const (
	ticksPerHalving  = 5
	finestPercentile = 99.999
)

// Quantiles are the points of its distribution.
func (h *Histogram) Quantiles() []report.Quantile {
	var points []report.Quantile
	for _, b := range h.CumulativeDistributionWithTicks(ticksPerHalving) {
		if b.Count > 0 && (b.Quantile <= finestPercentile || b.Quantile == 100) {
			points = append(points, report.Quantile{Percentile: b.Quantile, Micros: micros(b.ValueAt), Count: b.Count})
		}
	}
	return points
}

// MarshalText is the form in which it travels.
func (h *Histogram) MarshalText() ([]byte, error) {
	return h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText reads what MarshalText wrote.
func (h *Histogram) UnmarshalText(text []byte) (err error) {
	h.Histogram, err = hdrhistogram.Decode(text)
	return err
}
