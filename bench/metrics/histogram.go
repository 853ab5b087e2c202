package metrics

import (
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
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
func (h *Histogram) Percentiles() Percentiles {
	at := h.ValueAtPercentilesSlice([]float64{50, 99, 99.9})
	return Percentiles{P50: micros(at[0]), P99: micros(at[1]), P999: micros(at[2])}
}

func micros(nanos int64) float64 { return float64(nanos) / 1e3 }

// The points of a distribution: HdrHistogram's usual ones, so many to each halving of
// the distance to 100 %, as far as finestPercentile, and the longest.
const (
	ticksPerHalving  = 5
	finestPercentile = 99.999
)

// Quantiles are the points of its distribution.
func (h *Histogram) Quantiles() []Quantile {
	var points []Quantile
	for _, b := range h.CumulativeDistributionWithTicks(ticksPerHalving) {
		if b.Count > 0 && (b.Quantile <= finestPercentile || b.Quantile == 100) {
			points = append(points, Quantile{Percentile: b.Quantile, Micros: micros(b.ValueAt), Count: b.Count})
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

// Latencies are the histograms of one kind of call. They are striped, so that callers
// do not wait for each other, over several stripes a core and no more: the stripes are
// emptied many times a second, which costs 5 µs each.
type Latencies struct {
	stripes []Stripe
	empty   *Histogram // the next to be put in a stripe
	taken   *Histogram // out of the stripes, so far
}

// Stripe is where some callers record.
type Stripe struct {
	mu        sync.Mutex
	histogram *Histogram
}

const stripesACore = 8

// NewLatencies has latencies from the finest on, of so many callers.
func NewLatencies(callers int, finest time.Duration) *Latencies {
	l := &Latencies{
		stripes: make([]Stripe, min(callers, stripesACore*runtime.GOMAXPROCS(0))),
		empty:   NewHistogram(finest), taken: NewHistogram(finest),
	}
	for i := range l.stripes {
		l.stripes[i].histogram = NewHistogram(finest)
	}
	return l
}

// Of returns the stripe that a caller records in.
func (l *Latencies) Of(caller int) *Stripe { return &l.stripes[caller%len(l.stripes)] }

// Record notes how long a call took.
func (s *Stripe) Record(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.histogram.Record(took)
}

// Take empties the stripes, also while callers record, and adds what was in them to
// a histogram. One goroutine at a time.
func (l *Latencies) Take(into *Histogram) {
	for i := range l.stripes {
		stripe := &l.stripes[i]
		stripe.mu.Lock()
		full := stripe.histogram
		stripe.histogram = l.empty
		stripe.mu.Unlock()
		if full.TotalCount() > 0 {
			l.taken.Merge(full)
			into.Merge(full)
			full.Reset()
		}
		l.empty = full
	}
}

// All is everything that was recorded. The callers must have stopped.
func (l *Latencies) All() *Histogram {
	l.Take(NewHistogram(time.Duration(l.taken.LowestTrackableValue())))
	return l.taken
}

// Add takes over what somebody else recorded. One at a time.
func (l *Latencies) Add(other *Histogram) { l.taken.Merge(other) }

// Percentiles are latencies in microseconds, to 1 %.
type Percentiles struct {
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
}

// Quantile is a point of a latency distribution.
type Quantile struct {
	Percentile float64 `json:"percentile"` // 0 to 100
	Micros     float64 `json:"us"`
	Count      int64   `json:"count"` // at most so slow
}
