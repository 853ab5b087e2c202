package fleet

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/coordinator/budget"
)

// stalling answers at once, but for one stall in which nobody is answered.
type stalling struct {
	scriptless
	calls *atomic.Int64
	gate  *sync.RWMutex
}

const stall = 300 * time.Millisecond

func (s stalling) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	if s.calls.Add(1) == 200 {
		s.gate.Lock()
		time.Sleep(stall)
		s.gate.Unlock()
	}
	s.gate.RLock()
	defer s.gate.RUnlock()
	return s.scriptless.TryReserve(ctx, tenant, cost, opts...)
}

// The same stall, seen by both loops. In 1.5 s of 1000 requests a second, 300 are due
// while nobody answers, a fifth of all: their latencies say so. A closed loop does not
// make them at all: it sees the stall once a caller, and looks well.
//
// It is not parallel: beside other tests at full speed everything is late.
func TestOpenLoopShowsAStall(t *testing.T) {
	play := func(rate float64) (*Fleet, Pace) {
		c := plain(4, 3)
		c.Rate = rate
		f := New([]Decider{stalling{calls: new(atomic.Int64), gate: new(sync.RWMutex)}}, c, named(3))
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
	open, paced := play(1000)
	if at := open.Reserve.All().Percentiles(); at.P99 < 0.8*stalled {
		t.Errorf("open loop: p99 is %.0f µs, and the stall was %.0f", at.P99, stalled)
	}
	due := int64(paced.Took.Seconds()*1000) + 1 // its end may be late as well
	if got := open.Counts[budget.Reserved]; got > due || got+open.Unsent < 1500 {
		t.Errorf("open loop: %d requests of %d, %d unsent", got, due, open.Unsent)
	}
	calm, _ := play(0)
	if closed := calm.Reserve.All().Percentiles(); closed.P99 > stalled/10 {
		t.Errorf("closed loop: p99 is %.0f µs: it is not to see the stall", closed.P99)
	}
}

// Where all callers are busy nothing is dropped: what the end came before is counted.
func TestOpenLoopCountsWhatWasNotSent(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	c := plain(2, 1)
	c.Rate = 100
	stuck := scriptless{reserve: func(budget.Microcents) (budget.Reservation, error) {
		<-release
		return budget.Reservation{Outcome: budget.Insufficient}, nil
	}}
	f := New([]Decider{stuck}, c, named(1))
	s := f.newStint(false)
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	defer s.giveBack()
	s.start = time.Now()
	time.AfterFunc(200*time.Millisecond, func() {
		s.stop()
		close(release)
	})
	work := endless{load.Request{Hold: 2, Cost: 1}}
	s.run(work)
	round := Pace{Took: time.Since(s.start)}
	if err := s.sumUp(&round, work); err != nil {
		t.Fatal(err)
	}
	if due := int64(round.Took.Seconds()*c.Rate) + 1; f.Counts[budget.Insufficient] != 2 || f.Unsent != due-2 {
		t.Errorf("%d answered, %d unsent of %d due, want 2 and the rest", f.Counts[budget.Insufficient], f.Unsent, due)
	}
}
