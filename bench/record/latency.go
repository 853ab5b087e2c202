package record

import (
	"runtime"
	"sync"
	"time"
)

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
