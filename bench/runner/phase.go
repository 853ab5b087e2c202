package runner

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
)

// phase is one stretch of play: a round, or the warm-up before the first.
type phase struct {
	*Runner
	warming bool // nothing of it is measured, and no hold is left
	reserve *metrics.Latencies
	commit  *metrics.Latencies
	start   time.Time

	workers []*worker
	ending  sync.Once
	ended   chan struct{}
	over    atomic.Bool // ended, at less cost; never later than that

	// An open loop has these.
	arrivals chan arrival
	arriving timer
	// And with a hold time these.
	held     chan hold
	due      chan hold
	settlers []*worker
	settling timer
}

// phase plays a part until it is played, the limit (0 is none) has passed, ctx has
// ended, or an engine gave no answer, which is the error.
func (f *Runner) phase(ctx context.Context, work workload.Round, limit time.Duration, warming bool) (RoundStats, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	s := f.newPhase(warming)
	if err := s.prepare(); err != nil {
		return RoundStats{}, err
	}
	defer s.giveBack()
	defer context.AfterFunc(ctx, s.stop)()
	if ctx.Err() != nil {
		s.stop() // at once, not soon
	}
	s.start = time.Now()
	watched := s.watch()
	s.run(work)
	round := RoundStats{Took: time.Since(s.start)}
	watched()
	return round, s.sumUp(&round, work)
}

func (f *Runner) newPhase(warming bool) *phase {
	s := &phase{
		Runner: f, warming: warming, reserve: f.Reserve, commit: f.Commit,
		ended: make(chan struct{}), workers: make([]*worker, len(f.nodes)*f.concurrency),
	}
	if warming {
		s.reserve, s.commit = metrics.NewLatencies(len(s.workers), f.finest), metrics.NewLatencies(len(s.workers), f.finest)
	}
	for i := range s.workers {
		s.workers[i] = s.worker(i)
	}
	return s
}

func (s *phase) worker(i int) *worker {
	c := &worker{
		node: s.nodes[i/s.concurrency], tenants: s.tenants, timeEvery: s.timeEvery, phase: s,
		cells: s.Ledger.Of(i), reserves: s.reserve.Of(i), commits: s.commit.Of(i), remaining: s.remaining,
	}
	if s.holdTime > 0 {
		c.timer = time.NewTimer(s.holdTime)
		c.timer.Stop()
	}
	return c
}

// prepare makes what an open loop needs.
func (s *phase) prepare() (err error) {
	if !s.schedule.Open() {
		return nil
	}
	s.arrivals = make(chan arrival)
	if s.arriving, err = s.newTimer(); err != nil || s.holdTime == 0 {
		return err
	}
	s.held, s.due = make(chan hold, workload.MaxOpenHolds), make(chan hold)
	for i := range s.workers {
		s.settlers = append(s.settlers, s.worker(i))
	}
	s.settling, err = s.newTimer()
	return err
}

// stop ends the play: who waits is woken.
func (s *phase) stop() {
	s.ending.Do(func() {
		s.over.Store(true)
		close(s.ended)
		for _, a := range []timer{s.arriving, s.settling} {
			if a != nil {
				a.stop()
			}
		}
	})
}

func (s *phase) giveBack() {
	for _, a := range []timer{s.arriving, s.settling} {
		if a != nil {
			a.close()
		}
	}
}

// leavesOpen says that what is held now stays open: there are to be holds to sum.
func (s *phase) leavesOpen() bool { return !s.warming && s.over.Load() }

// run waits for all calls in flight; ctx is not handed to them, because a call given
// up is an outcome unknown.
func (s *phase) run(work workload.Round) {
	var workers, others sync.WaitGroup
	if s.arrivals != nil {
		others.Go(func() { s.admit(work) })
	}
	if s.held != nil {
		others.Go(s.release)
		for _, c := range s.settlers {
			others.Go(c.settleDue)
		}
	}
	for i, c := range s.workers {
		from := work.Generator(s.firstWorker + i)
		workers.Go(func() {
			if s.arrivals != nil {
				c.serve(from)
			} else {
				c.loop(from)
			}
		})
	}
	workers.Wait()
	if s.held != nil {
		close(s.held)
	}
	others.Wait()
}

// sumUp adds what the workers were told to the runner's sums, and returns the first
// failure.
func (s *phase) sumUp(round *RoundStats, work workload.Round) error {
	var failure error
	var sent int64
	for _, c := range append(s.workers, s.settlers...) {
		round.Cycles += c.cycles
		round.Decisions += c.counts.Answers()
		sent += c.sent
		if s.warming {
			c.counts = metrics.Counts{budget.Unknown: c.counts[budget.Unknown]} // a failure counts anywhere
		}
		s.Counts.Add(&c.counts)
		if failure == nil {
			failure = c.failure
		}
	}
	if s.arrivals != nil && !s.warming {
		s.Unsent += max(0, s.schedule.Until(work, round.Took)-sent)
	}
	return failure
}

// watch takes samples until the function that it returns is called, which takes the
// last one.
func (s *phase) watch() (stop func()) {
	t := sampler{phase: s, everyone: slices.Concat(s.workers, s.settlers)}
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

// sampler takes samples, one after the other.
type sampler struct {
	*phase
	everyone  []*worker
	last      time.Duration
	decisions int64 // until then
	refused   int64
}

func (t *sampler) take() {
	now := metrics.Sample{From: t.last, To: time.Since(t.start), Warming: t.warming, Latency: metrics.NewHistogram(t.finest)}
	t.reserve.Take(now.Latency)
	t.commit.Take(now.Latency)
	for _, c := range t.everyone {
		now.Decisions += c.answered.Load()
		now.Refused += c.refused.Load()
	}
	now.Decisions, t.decisions = now.Decisions-t.decisions, now.Decisions
	now.Refused, t.refused = now.Refused-t.refused, now.Refused
	now.Remaining = t.remaining.Take()
	t.last = now.To
	t.sampled(now)
}

// sampled hands a sample on to whoever wants it.
func (f *Runner) sampled(now metrics.Sample) {
	if f.timeline != nil {
		f.timeline.Add(now)
	}
	if f.watched != nil {
		f.watched(now)
	}
}
