package live

import (
	"fmt"
	"time"

	"github.com/calybris/bursar/bench/record"
)

// Watcher turns samples into what a live view is told. It is told of one stint at a
// time.
type Watcher struct {
	tell  func(Progress)
	began time.Time
	whole time.Duration // that the run will take; 0 is not known
	phase string

	last               time.Time
	stretch            int64 // decisions since then
	latency            *record.Histogram
	decisions, refused int64
}

// NewWatcher tells of a run that begins now; whole is how long it will take, 0 where
// that is not known.
func NewWatcher(tell func(Progress), whole time.Duration) *Watcher {
	now := time.Now()
	return &Watcher{tell: tell, began: now, last: now, whole: whole}
}

// Announce says what is to be seen next; without a watcher, to nobody.
func (w *Watcher) Announce(turn, turns int, name string) {
	if w == nil {
		return
	}
	if w.phase = name; turns > 1 {
		w.phase = fmt.Sprintf("round %d of %d: %s", turn+1, turns, name)
	}
}

// tellEvery bounds how often a view is told, whatever the samples do.
const tellEvery = 250 * time.Millisecond

// Sampled is told each sample of the run.
func (w *Watcher) Sampled(s record.Sample) {
	w.decisions += s.Decisions
	w.refused += s.Refused
	w.stretch += s.Decisions
	if w.latency == nil {
		w.latency = s.Latency.Clone() // a timeline may keep the sample's own
	} else {
		w.latency.Merge(s.Latency)
	}
	now := time.Now()
	took := now.Sub(w.last)
	if took < tellEvery*9/10 {
		return
	}
	p := Progress{
		Phase: w.phase, Elapsed: now.Sub(w.began),
		Rate: float64(w.stretch) / took.Seconds(), P99: w.latency.Percentiles().P99,
		Decisions: w.decisions, Refused: w.refused,
	}
	if s.Warming {
		p.Phase += ", warm-up"
	}
	if w.whole > 0 {
		p.Left = max(0, w.whole-p.Elapsed)
	}
	w.last, w.stretch, w.latency = now, 0, nil
	w.tell(p)
}
