package fleet

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/coordinator/budget"
)

// stalling answers after a while, but for one stall in which nobody is answered.
type stalling struct {
	scriptless
	takes time.Duration
	calls atomic.Int64
	ends  atomic.Pointer[time.Time] // of the stall, once it has begun
}

const stall = 300 * time.Millisecond

func (s *stalling) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	if s.calls.Add(1) == 200 {
		end := time.Now().Add(stall)
		s.ends.Store(&end)
	}
	time.Sleep(s.takes)
	if end := s.ends.Load(); end != nil {
		time.Sleep(time.Until(*end))
	}
	return s.scriptless.TryReserve(ctx, tenant, cost, opts...)
}

// The same stall, seen by both loops. In 1.5 s of 1000 requests a second, 300 are due
// while nobody answers, a fifth of all: their latencies say so. A closed loop does not
// make them at all: it sees the stall once a caller, and looks well.
func TestOpenLoopShowsAStall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		play := func(rate float64, takes time.Duration) (*Fleet, Pace) {
			c := plain(4, 3)
			c.Rate = rate
			f := onTimers(New([]Decider{&stalling{takes: takes}}, c, named(3)))
			work, err := load.New(c.Spec)
			if err != nil {
				t.Fatal(err)
			}
			paced, err := f.Play(t.Context(), work.Part(0, 1), 1500*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			return f, paced
		}
		stalled := float64(stall.Microseconds())
		open, paced := play(1000, 0)
		if at := open.Reserve.All().Percentiles(); at.P99 < 0.94*stalled || at.P50 > stalled/100 {
			t.Errorf("open loop: p50 is %.0f µs, p99 %.0f, and the stall was %.0f", at.P50, at.P99, stalled)
		}
		if got := open.Counts[budget.Reserved]; got < 1500 || got+open.Unsent != 1501 || paced.Took != 1500*time.Millisecond {
			t.Errorf("open loop: %d requests of 1501, %d unsent, in %s", got, open.Unsent, paced.Took)
		}
		calm, _ := play(0, time.Millisecond)
		if closed := calm.Reserve.All().Percentiles(); closed.P99 > stalled/100 {
			t.Errorf("closed loop: p99 is %.0f µs: it is not to see the stall", closed.P99)
		}
	})
}

// Where all callers are busy nothing is dropped: what the end came before is counted.
func TestOpenLoopCountsWhatWasNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := plain(2, 1)
		c.Rate = 100
		stuck := scriptless{reserve: func(budget.Microcents) (budget.Reservation, error) {
			<-release
			return budget.Reservation{Outcome: budget.Insufficient}, nil
		}}
		f := onTimers(New([]Decider{stuck}, c, named(1)))
		s := f.newStint(false)
		if err := s.prepare(); err != nil {
			t.Fatal(err)
		}
		defer s.giveBack()
		s.start = time.Now()
		time.AfterFunc(205*time.Millisecond, func() {
			s.stop()
			close(release)
		})
		work := endless{load.Request{Hold: 2, Cost: 1}}
		s.run(work)
		round := Pace{Took: time.Since(s.start)}
		if err := s.sumUp(&round, work); err != nil {
			t.Fatal(err)
		}
		if f.Counts[budget.Insufficient] != 2 || f.Unsent != 19 {
			t.Errorf("%d answered, %d unsent of 21 due in %s, want 2 and 19", f.Counts[budget.Insufficient], f.Unsent, round.Took)
		}
	})
}
