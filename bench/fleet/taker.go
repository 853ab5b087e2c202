package fleet

import (
	"slices"
	"sync"
	"time"

	"github.com/calybris/bursar/bench/record"
)

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
	now := record.Sample{From: t.last, To: time.Since(t.start), Warming: t.warming, Latency: record.NewHistogram(t.finest)}
	t.reserve.Take(now.Latency)
	t.commit.Take(now.Latency)
	for _, c := range t.everyone {
		now.Decisions += c.answered.Load()
		now.Refused += c.refused.Load()
	}
	now.Decisions, t.decisions = now.Decisions-t.decisions, now.Decisions
	now.Refused, t.refused = now.Refused-t.refused, now.Refused
	now.Remaining = t.remains.Take()
	t.last = now.To
	t.sampled(now)
}

// sampled hands a sample on to whoever wants it.
func (f *Fleet) sampled(now record.Sample) {
	if f.timeline != nil {
		f.timeline.Add(now)
	}
	if f.watched != nil {
		f.watched(now)
	}
}
