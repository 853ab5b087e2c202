package bench

import (
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// sample is what callers were told in a short time.
type sample struct {
	from, to           time.Duration // since the stint began
	warming            bool
	decisions, refused int64
	latency            *hdrhistogram.Histogram // of decisions
	remaining          []int64                 // as remains has it
}

// Bounds of the time between two samples: often enough for a live view, seldom enough
// to cost the callers nothing.
const (
	seldomest = 250 * time.Millisecond
	oftenest  = 20 * time.Millisecond
)

// sampleEvery gives a run of that duration about 150 samples.
func sampleEvery(duration time.Duration) time.Duration {
	if duration == 0 {
		return seldomest / 5 // nobody knows how long a trace takes
	}
	return min(max(duration/150, oftenest), seldomest)
}

// watch takes samples until the function that it returns is called, which takes the
// last one.
func (s *stint) watch() (stop func()) {
	t := taker{stint: s, everyone: slices.Concat(s.callers, s.settlers)}
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(s.tick)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				t.take()
			case <-done:
				t.take()
				return
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}

// taker takes samples, one after the other.
type taker struct {
	*stint
	everyone  []*caller
	last      time.Duration
	decisions int64 // until then
	refused   int64
}

func (t *taker) take() {
	now := sample{from: t.last, to: time.Since(t.start), warming: t.warming, latency: newHistogram(t.finest)}
	t.reserve.take(now.latency)
	t.commit.take(now.latency)
	for _, c := range t.everyone {
		now.decisions += c.answered.Load()
		now.refused += c.refused.Load()
	}
	now.decisions, t.decisions = now.decisions-t.decisions, now.decisions
	now.refused, t.refused = now.refused-t.refused, now.refused
	now.remaining = t.remains.take()
	t.last = now.to
	t.sampled(now)
}

// sampled hands a sample on to whoever wants it.
func (f *fleet) sampled(now sample) {
	switch {
	case f.timeline == nil:
	case now.warming:
		f.timeline.before.add(moment{latency: now.latency, remaining: now.remaining})
	default:
		f.timeline.add(now)
	}
	if f.watched != nil {
		f.watched(now)
	}
}
