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

// phase is a round, or the warm-up before the first.
type phase struct {
	*Runner
	warming bool // nothing is measured, and no hold stays open
	reserve *metrics.Latencies
	commit  *metrics.Latencies
	start   time.Time

	workers []*worker
	ending  sync.Once
	ended   chan struct{}
	over    atomic.Bool // whether ended is closed, for less than a channel operation

	// Of an open loop:
	due   chan arrival
	pacer timer
	// Of an open loop with a hold time:
	held     chan hold // as they are reserved
	expired  chan hold // as their time ends
	settlers []*worker
	settling timer
}

// run runs a phase in this process.
func (r *Runner) run(ctx context.Context, work workload.Round, limit time.Duration, warming bool) (RoundStats, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	p := r.newPhase(warming)
	if err := p.prepare(); err != nil {
		return RoundStats{}, err
	}
	defer p.closeTimers()
	defer context.AfterFunc(ctx, p.stop)()
	if ctx.Err() != nil {
		p.stop() // before the first request, which AfterFunc doesn't guarantee
	}
	p.start = time.Now()
	stopSampler := p.startSampler()
	p.runWorkers(work)
	stats := RoundStats{Took: time.Since(p.start)}
	stopSampler()
	return stats, p.sumUp(&stats, work)
}

func (r *Runner) newPhase(warming bool) *phase {
	workers := len(r.nodes) * r.concurrency
	p := &phase{
		Runner: r, warming: warming, ended: make(chan struct{}), workers: make([]*worker, workers),
		reserve: metrics.NewLatencies(workers, r.finest), commit: metrics.NewLatencies(workers, r.finest),
	}
	for i := range p.workers {
		p.workers[i] = p.newWorker(i)
	}
	return p
}

func (p *phase) newWorker(i int) *worker {
	w := &worker{
		node: p.nodes[i/p.concurrency], phase: p,
		cells: p.Ledger.Of(i), reserves: p.reserve.Of(i), commits: p.commit.Of(i),
	}
	if p.holdTime > 0 {
		w.timer = time.NewTimer(p.holdTime)
		w.timer.Stop()
	}
	return w
}

// prepare makes the channels and timers of an open loop.
func (p *phase) prepare() (err error) {
	if !p.arrivals.Open() {
		return nil
	}
	p.due = make(chan arrival)
	if p.pacer, err = p.newTimer(); err != nil || p.holdTime == 0 {
		return err
	}
	p.held, p.expired = make(chan hold, workload.MaxOpenHolds), make(chan hold)
	for i := range p.workers {
		p.settlers = append(p.settlers, p.newWorker(i))
	}
	p.settling, err = p.newTimer()
	return err
}

func (p *phase) timers() []timer {
	return slices.DeleteFunc([]timer{p.pacer, p.settling}, func(t timer) bool { return t == nil })
}

func (p *phase) closeTimers() {
	for _, t := range p.timers() {
		t.close()
	}
}

// stop ends the phase and wakes all that sleep.
func (p *phase) stop() {
	p.ending.Do(func() {
		p.over.Store(true)
		close(p.ended)
		for _, t := range p.timers() {
			t.stop()
		}
	})
}

// leavesOpen reports whether holds stay open now: the check of balances needs some.
func (p *phase) leavesOpen() bool { return !p.warming && p.over.Load() }

// runWorkers returns when all calls in flight have ended. They get no context that ends,
// because the outcome of an abandoned call is unknown.
func (p *phase) runWorkers(work workload.Round) {
	var workers, others sync.WaitGroup
	if p.due != nil {
		others.Go(func() { p.dispatch(work) })
	}
	if p.held != nil {
		others.Go(p.expire)
		for _, w := range p.settlers {
			others.Go(w.settleExpired)
		}
	}
	for i, w := range p.workers {
		next := work.Generator(p.firstWorker + i)
		workers.Go(func() {
			if p.due != nil {
				w.openLoop(next)
			} else {
				w.closedLoop(next)
			}
		})
	}
	workers.Wait()
	if p.held != nil {
		close(p.held)
	}
	others.Wait()
}

// sumUp adds the workers' results to the runner's, and returns the first failure.
func (p *phase) sumUp(stats *RoundStats, work workload.Round) error {
	var failure error
	var sent int64
	for _, w := range append(p.workers, p.settlers...) {
		stats.Cycles += w.cycles
		stats.Decisions += w.counts.Answers()
		sent += w.sent
		if p.warming {
			w.counts = metrics.Counts{budget.Unknown: w.counts[budget.Unknown]} // a failure always counts
		}
		p.Counts.Add(&w.counts)
		if failure == nil {
			failure = w.failure
		}
	}
	if p.warming {
		return failure
	}
	reserve, commit := p.reserve.All(), p.commit.All()
	stats.Latency = metrics.Merged(reserve, commit).Latency()
	p.Reserve.Merge(reserve)
	p.Commit.Merge(commit)
	if p.due != nil {
		p.Unsent += max(0, p.arrivals.Until(work, stats.Took)-sent)
	}
	return failure
}

// startSampler takes samples until the returned function is called, which takes the last.
func (p *phase) startSampler() (stop func()) {
	s := sampler{phase: p, workers: slices.Concat(p.workers, p.settlers)}
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(p.tick)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				s.take()
			case <-done:
				s.take()
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
	workers   []*worker
	last      time.Duration
	decisions int64 // until then
	refused   int64
}

func (s *sampler) take() {
	now := metrics.Sample{From: s.last, To: time.Since(s.start), Ended: time.Now().UnixMicro(), Warming: s.warming, Latency: metrics.NewHistogram(s.finest)}
	s.reserve.Take(now.Latency)
	s.commit.Take(now.Latency)
	for _, w := range s.workers {
		now.Decisions += w.answered.Load()
		now.Refused += w.refused.Load()
	}
	now.Decisions, s.decisions = now.Decisions-s.decisions, now.Decisions
	now.Refused, s.refused = now.Refused-s.refused, now.Refused
	now.Remaining = s.remaining.Take()
	s.last = now.To
	s.sampled(now)
}

func (r *Runner) sampled(now metrics.Sample) {
	if r.seconds != nil {
		r.seconds.Add(now) // first, since the timeline keeps the histogram
	}
	if r.timeline != nil {
		r.timeline.Add(now)
	}
	if r.OnSample != nil {
		r.OnSample(now)
	}
}
