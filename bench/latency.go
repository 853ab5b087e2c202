package bench

import (
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/calybris/bursar/bench/report"
)

const (
	longestLatency = int64(100 * time.Second)
	latencyDigits  = 2 // significant ones: 1 %
)

// latencies are the histograms of one kind of call. They are striped, so that callers
// do not wait for each other, over several stripes a core and no more: the stripes are
// emptied many times a second, which costs 5 µs each.
type latencies struct {
	stripes []latencyStripe
	empty   *hdrhistogram.Histogram // the next to be put in a stripe
	taken   *hdrhistogram.Histogram // out of the stripes, so far
}

type latencyStripe struct {
	mu        sync.Mutex
	histogram *hdrhistogram.Histogram
}

const stripesACore = 8

func newLatencies(callers int, finest time.Duration) *latencies {
	l := &latencies{
		stripes: make([]latencyStripe, min(callers, stripesACore*runtime.GOMAXPROCS(0))),
		empty:   newHistogram(finest), taken: newHistogram(finest),
	}
	for i := range l.stripes {
		l.stripes[i].histogram = newHistogram(finest)
	}
	return l
}

func newHistogram(finest time.Duration) *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(finest), longestLatency, latencyDigits)
}

func (l *latencies) of(caller int) *latencyStripe { return &l.stripes[caller%len(l.stripes)] }

func (s *latencyStripe) record(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// It is within the bounds, the only thing that can be wrong with it.
	_ = s.histogram.RecordValue(min(max(int64(took), 0), longestLatency))
}

// take empties the stripes, also while callers record, and adds what was in them to
// a histogram. One goroutine at a time.
func (l *latencies) take(into *hdrhistogram.Histogram) {
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

// all is everything that was recorded. The callers must have stopped.
func (l *latencies) all() *hdrhistogram.Histogram {
	l.take(newHistogram(time.Duration(l.taken.LowestTrackableValue())))
	return l.taken
}

func percentilesOf(h *hdrhistogram.Histogram) report.Percentiles {
	at := h.ValueAtPercentilesSlice([]float64{50, 99, 99.9})
	return report.Percentiles{P50: micros(at[0]), P99: micros(at[1]), P999: micros(at[2])}
}

func micros(nanos int64) float64 { return float64(nanos) / 1e3 }

// decisions are the latencies of reserves and commits together. The callers must have
// stopped.
func (f *fleet) decisions() *hdrhistogram.Histogram {
	both := newHistogram(f.finest)
	both.Merge(f.reserve.all())
	both.Merge(f.commit.all())
	return both
}

// The points of a distribution: HdrHistogram's usual ones, so many to each halving of
// the distance to 100 %, as far as finestPercentile, and the longest.
const (
	ticksPerHalving  = 5
	finestPercentile = 99.999
)

func quantilesOf(h *hdrhistogram.Histogram) []report.Quantile {
	var points []report.Quantile
	for _, b := range h.CumulativeDistributionWithTicks(ticksPerHalving) {
		if b.Count > 0 && (b.Quantile <= finestPercentile || b.Quantile == 100) {
			points = append(points, report.Quantile{Percentile: b.Quantile, Micros: micros(b.ValueAt), Count: b.Count})
		}
	}
	return points
}
