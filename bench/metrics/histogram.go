package metrics

import (
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	maxLatency     = int64(100 * time.Second)
	latencyDigits  = 2 // significant digits: 1 %
	stripesPerCore = 8
)

// Histogram is an HdrHistogram of latencies in nanoseconds. Its text form is
// HdrHistogram's own compressed encoding.
type Histogram struct{ *hdrhistogram.Histogram }

// NewHistogram returns an empty histogram of latencies from finest up.
func NewHistogram(finest time.Duration) *Histogram {
	return &Histogram{hdrhistogram.New(int64(finest), maxLatency, latencyDigits)}
}

// Record adds the duration of one call.
func (h *Histogram) Record(took time.Duration) {
	_ = h.RecordValue(min(max(int64(took), 0), maxLatency)) // fails only out of bounds
}

// Merge adds a histogram with the same finest latency.
func (h *Histogram) Merge(other *Histogram) { h.Histogram.Merge(other.Histogram) }

// Clone returns an independent copy.
func (h *Histogram) Clone() *Histogram { return &Histogram{h.Histogram.Clone()} }

// Merged returns the sum of two histograms with the same finest latency.
func Merged(a, b *Histogram) *Histogram {
	sum := a.Clone()
	sum.Merge(b)
	return sum
}

// Latency is the summary of a latency distribution, in microseconds to 1 %.
type Latency struct {
	Mean float64 `json:"mean_us"`
	P50  float64 `json:"p50_us"`
	P90  float64 `json:"p90_us"`
	P95  float64 `json:"p95_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
	Max  float64 `json:"max_us"`
}

// Latency returns the summary that reports show.
func (h *Histogram) Latency() Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	at := h.ValueAtPercentilesSlice([]float64{50, 90, 95, 99, 99.9})
	return Latency{
		Mean: h.Mean() / 1e3, P50: micros(at[0]), P90: micros(at[1]), P95: micros(at[2]),
		P99: micros(at[3]), P999: micros(at[4]), Max: micros(h.Max()),
	}
}

// Figure is one of the figures of a Latency.
type Figure struct {
	Name  string
	field func(*Latency) *float64
}

// Of returns the figure of a latency.
func (f Figure) Of(l Latency) float64 { return *f.field(&l) }

// Figures are those of a Latency, in the order of reports.
var Figures = []Figure{
	{"mean", func(l *Latency) *float64 { return &l.Mean }},
	{"p50", func(l *Latency) *float64 { return &l.P50 }},
	{"p90", func(l *Latency) *float64 { return &l.P90 }},
	{"p95", func(l *Latency) *float64 { return &l.P95 }},
	{"p99", func(l *Latency) *float64 { return &l.P99 }},
	{"p99.9", func(l *Latency) *float64 { return &l.P999 }},
	{"max", func(l *Latency) *float64 { return &l.Max }},
}

// MedianLatency returns the median of each figure over several distributions.
func MedianLatency(all []Latency) (medians Latency) {
	for _, f := range Figures {
		*f.field(&medians) = Median(Each(all, f.Of))
	}
	return medians
}

func micros(nanos int64) float64 { return float64(nanos) / 1e3 }

// Quantile is a point of a latency distribution.
type Quantile struct {
	Percentile float64 `json:"percentile"` // 0 to 100
	Micros     float64 `json:"us"`
	Count      int64   `json:"count"` // calls at most this slow
}

// The points of a distribution are HdrHistogram's usual ones: ticksPerHalving for each
// halving of the distance to 100 %, up to finestPercentile, and the maximum.
const (
	ticksPerHalving  = 5
	finestPercentile = 99.999
)

// Quantiles returns the points of the distribution.
func (h *Histogram) Quantiles() []Quantile {
	var points []Quantile
	for _, b := range h.CumulativeDistributionWithTicks(ticksPerHalving) {
		if b.Count > 0 && (b.Quantile <= finestPercentile || b.Quantile == 100) {
			points = append(points, Quantile{Percentile: b.Quantile, Micros: micros(b.ValueAt), Count: b.Count})
		}
	}
	return points
}

// MarshalText encodes the histogram for another process.
func (h *Histogram) MarshalText() ([]byte, error) {
	return h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText decodes the output of MarshalText.
func (h *Histogram) UnmarshalText(text []byte) (err error) {
	h.Histogram, err = hdrhistogram.Decode(text)
	return err
}

// Latencies collects the latencies of one kind of call in striped histograms, so that
// workers do not wait for each other. There are only a few stripes per core: they are
// emptied many times a second, which costs 5 µs each.
type Latencies struct {
	stripes []Stripe
	spare   *Histogram // swapped for that of a stripe
	taken   *Histogram // taken out of the stripes so far
}

// Stripe is the histogram that some workers share.
type Stripe struct {
	mu        sync.Mutex
	histogram *Histogram
}

// NewLatencies returns empty histograms of latencies from finest up.
func NewLatencies(workers int, finest time.Duration) *Latencies {
	l := &Latencies{
		stripes: make([]Stripe, min(workers, stripesPerCore*runtime.GOMAXPROCS(0))),
		spare:   NewHistogram(finest), taken: NewHistogram(finest),
	}
	for i := range l.stripes {
		l.stripes[i].histogram = NewHistogram(finest)
	}
	return l
}

// Of returns the stripe that a worker records to.
func (l *Latencies) Of(worker int) *Stripe { return &l.stripes[worker%len(l.stripes)] }

// Record adds the duration of one call.
func (s *Stripe) Record(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.histogram.Record(took)
}

// Take empties the stripes, also while workers record, and merges their content into
// a histogram. One goroutine at a time may call it.
func (l *Latencies) Take(into *Histogram) {
	for i := range l.stripes {
		stripe := &l.stripes[i]
		stripe.mu.Lock()
		full := stripe.histogram
		stripe.histogram = l.spare
		stripe.mu.Unlock()
		if full.TotalCount() > 0 {
			l.taken.Merge(full)
			into.Merge(full)
			full.Reset()
		}
		l.spare = full
	}
}

// All returns everything that was recorded. The workers must have stopped.
func (l *Latencies) All() *Histogram {
	l.Take(NewHistogram(time.Duration(l.taken.LowestTrackableValue())))
	return l.taken
}
