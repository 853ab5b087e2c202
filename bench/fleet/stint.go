package fleet

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/record"
	"github.com/calybris/bursar/coordinator/budget"
)

// stint is one stretch of play: a round, or the warm-up before the first.
type stint struct {
	*Fleet
	warming bool // nothing of it is measured, and no hold is left
	reserve *record.Latencies
	commit  *record.Latencies
	start   time.Time

	callers []*caller
	ending  sync.Once
	ended   chan struct{}
	over    atomic.Bool // ended, at less cost; never later than that

	// An open loop has these.
	tickets  chan ticket
	arriving alarm
	// And with a hold time these.
	held     chan hold
	due      chan hold
	settlers []*caller
	settling alarm
}

// stint plays a part until it is played, the limit (0 is none) has passed, ctx has
// ended, or an engine gave no answer, which is the error.
func (f *Fleet) stint(ctx context.Context, work load.Part, limit time.Duration, warming bool) (Pace, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	s := f.newStint(warming)
	if err := s.prepare(); err != nil {
		return Pace{}, err
	}
	defer s.giveBack()
	defer context.AfterFunc(ctx, s.stop)()
	if ctx.Err() != nil {
		s.stop() // at once, not soon
	}
	s.start = time.Now()
	watched := s.watch()
	s.run(work)
	round := Pace{Took: time.Since(s.start)}
	watched()
	return round, s.sumUp(&round, work)
}

func (f *Fleet) newStint(warming bool) *stint {
	s := &stint{
		Fleet: f, warming: warming, reserve: f.Reserve, commit: f.Commit,
		ended: make(chan struct{}), callers: make([]*caller, len(f.nodes)*f.concurrency),
	}
	if warming {
		s.reserve, s.commit = record.NewLatencies(len(s.callers), f.finest), record.NewLatencies(len(s.callers), f.finest)
	}
	for i := range s.callers {
		s.callers[i] = s.caller(i)
	}
	return s
}

func (s *stint) caller(i int) *caller {
	c := &caller{
		node: s.nodes[i/s.concurrency], tenants: s.tenants, timeEvery: s.timeEvery, stint: s,
		lines: s.Ledger.Of(i), reserves: s.reserve.Of(i), commits: s.commit.Of(i), remains: s.remains,
	}
	if s.holdTime > 0 {
		c.timer = time.NewTimer(s.holdTime)
		c.timer.Stop()
	}
	return c
}

// prepare makes what an open loop needs.
func (s *stint) prepare() (err error) {
	if !s.arrivals.Open() {
		return nil
	}
	s.tickets = make(chan ticket)
	if s.arriving, err = s.newAlarm(); err != nil || s.holdTime == 0 {
		return err
	}
	s.held, s.due = make(chan hold, load.MaxOpenHolds), make(chan hold)
	for i := range s.callers {
		s.settlers = append(s.settlers, s.caller(i))
	}
	s.settling, err = s.newAlarm()
	return err
}

// stop ends the play: who waits is woken.
func (s *stint) stop() {
	s.ending.Do(func() {
		s.over.Store(true)
		close(s.ended)
		for _, a := range []alarm{s.arriving, s.settling} {
			if a != nil {
				a.stop()
			}
		}
	})
}

func (s *stint) giveBack() {
	for _, a := range []alarm{s.arriving, s.settling} {
		if a != nil {
			a.close()
		}
	}
}

// leavesOpen says that what is held now stays open: there are to be holds to sum.
func (s *stint) leavesOpen() bool { return !s.warming && s.over.Load() }

// run waits for all calls in flight; ctx is not handed to them, because a call given
// up is an outcome unknown.
func (s *stint) run(work load.Part) {
	var callers, others sync.WaitGroup
	if s.tickets != nil {
		others.Go(func() { s.admit(work) })
	}
	if s.held != nil {
		others.Go(s.release)
		for _, c := range s.settlers {
			others.Go(c.settleDue)
		}
	}
	for i, c := range s.callers {
		from := work.Source(s.firstCaller + i)
		callers.Go(func() {
			if s.tickets != nil {
				c.serve(from)
			} else {
				c.loop(from)
			}
		})
	}
	callers.Wait()
	if s.held != nil {
		close(s.held)
	}
	others.Wait()
}

// sumUp adds what the callers were told to the fleet's sums, and returns the first
// failure.
func (s *stint) sumUp(round *Pace, work load.Part) error {
	var failure error
	var sent int64
	for _, c := range append(s.callers, s.settlers...) {
		round.Cycles += c.cycles
		round.Decisions += c.counts.Answers()
		sent += c.sent
		if s.warming {
			c.counts = record.Counts{budget.Unknown: c.counts[budget.Unknown]} // a failure counts anywhere
		}
		s.Counts.Add(&c.counts)
		if failure == nil {
			failure = c.failure
		}
	}
	if s.tickets != nil && !s.warming {
		s.Unsent += max(0, s.arrivals.Until(work, round.Took)-sent)
	}
	return failure
}
