package bench

import (
	"sync"
	"time"

	"github.com/calybris/bursar/bench/report"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	longestLatency = int64(100 * time.Second)
	latencyDigits  = 2 // significant ones: 1 %
	latencyStripes = 256
)

// latencies are the histograms of one kind of call, striped over the callers:
// one each, up to a bound, because a histogram takes 20 to 40 KB.
type latencies struct {
	stripes []latencyStripe
}

type latencyStripe struct {
	mu        sync.Mutex
	histogram *hdrhistogram.Histogram
}

func newLatencies(callers int, finest time.Duration) *latencies {
	l := &latencies{stripes: make([]latencyStripe, min(callers, latencyStripes))}
	for i := range l.stripes {
		l.stripes[i].histogram = hdrhistogram.New(int64(finest), longestLatency, latencyDigits)
	}
	return l
}

func (l *latencies) of(caller int) *latencyStripe { return &l.stripes[caller%len(l.stripes)] }

func (s *latencyStripe) record(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// It is within the bounds, the only thing that can be wrong with it.
	_ = s.histogram.RecordValue(min(max(int64(took), 0), longestLatency))
}

// percentiles merges the stripes of all kinds. The callers must have stopped.
func percentiles(kinds ...*latencies) report.Percentiles {
	all := kinds[0].stripes[0].histogram.Clone()
	for k, kind := range kinds {
		for i := range kind.stripes {
			if k+i > 0 {
				all.Merge(kind.stripes[i].histogram)
			}
		}
	}
	at := all.ValueAtPercentilesSlice([]float64{50, 99, 99.9})
	micros := func(nanos int64) float64 { return float64(nanos) / 1e3 }
	return report.Percentiles{P50: micros(at[0]), P99: micros(at[1]), P999: micros(at[2])}
}
