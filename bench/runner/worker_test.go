package runner

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
)

func holdingRunner(t *testing.T, rate float64, holdTime time.Duration, d Engine) *Runner {
	t.Helper()
	c := plain(1, 1)
	c.Rate, c.HoldTime = rate, holdTime
	return onTimers(New([]Engine{d}, c, named(1)))
}

// onTimers makes a runner use the clock of a synctest bubble, so that nothing is late on a
// busy machine.
func onTimers(f *Runner) *Runner {
	f.newTimer = newGoTimer
	return f
}

// One worker of an open loop makes 20 requests while the first hold is open. All are
// settled, none before its time.
func TestLongHoldsDoNotBlockAnOpenLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const holdTime = 200 * time.Millisecond
		var open, most atomic.Int64
		began := time.Now()
		f := holdingRunner(t, 1000, holdTime, scriptless{
			reserve: func(budget.Microcents) (budget.Reservation, error) {
				most.Store(max(most.Load(), open.Add(1)))
				return budget.Reservation{Outcome: budget.Reserved}, nil
			},
			commit: func(actual budget.Microcents) (budget.Settlement, error) {
				if time.Since(began) < holdTime {
					t.Error("a hold was settled before its time")
				}
				open.Add(-1)
				return budget.Settlement{Outcome: budget.Committed, Actual: actual}, nil
			},
		})
		work := rows(slices.Repeat([]workload.Request{{Hold: 5, Cost: 3}}, 20)...)
		paced, err := f.Run(t.Context(), work, 0)
		if err != nil || paced.Cycles != 20 || paced.Took < holdTime {
			t.Errorf("%d cycles in %s, %v; want 20", paced.Cycles, paced.Took, err)
		}
		if got := f.Ledger.Totals(0); got != (metrics.Totals{Committed: 60}) {
			t.Errorf("%+v, want all committed", got)
		}
		if most.Load() != 20 {
			t.Errorf("%d holds were open together, want all 20", most.Load())
		}
	})
}

// A late settlement counts from when the hold was due: four holds are due within 30 ms, and
// one worker settles them in 50 ms each, so the last takes 170 ms.
func TestLateSettlementsCountFromWhenTheyWereDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const takes = 50 * time.Millisecond
		f := holdingRunner(t, 100, 10*time.Millisecond, scriptless{commit: func(actual budget.Microcents) (budget.Settlement, error) {
			time.Sleep(takes)
			return budget.Settlement{Outcome: budget.Committed, Actual: actual}, nil
		}})
		work := rows(slices.Repeat([]workload.Request{{Hold: 5, Cost: 3}}, 4)...)
		if _, err := f.Run(t.Context(), work, 0); err != nil {
			t.Fatal(err)
		}
		if longest := time.Duration(f.Commit.Max()); longest < 169*time.Millisecond || longest > 171*time.Millisecond {
			t.Errorf("the last settlement took %s, want 170 ms", longest)
		}
	})
}

// At the end, the hold of a closed loop and all holds of an open loop stay open, and are
// counted.
func TestHoldsThatTheEndInterrupts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, rate := range map[string]float64{"closed": 0, "open": 100} {
			ctx, cancel := context.WithCancel(t.Context())
			f := holdingRunner(t, rate, workload.MaxHoldTime, scriptless{reserve: func(budget.Microcents) (budget.Reservation, error) {
				time.AfterFunc(50*time.Millisecond, cancel)
				return budget.Reservation{Outcome: budget.Reserved}, nil
			}})
			paced, err := f.Run(ctx, endless{workload.Request{Hold: 7, Cost: 3}}, 0)
			if err != nil || paced.Cycles != 0 || paced.Took > time.Minute {
				t.Errorf("%s: %d cycles in %s, %v", name, paced.Cycles, paced.Took, err)
			}
			reserved := f.Counts[budget.Reserved]
			if got := f.Ledger.Totals(0); got != (metrics.Totals{Open: budget.Microcents(7 * reserved)}) || reserved < 1 || rate == 0 && reserved != 1 {
				t.Errorf("%s: %d reserved, %+v", name, reserved, got)
			}
			cancel()
		}
	})
}

// A warm-up counts only for the balances, and leaves no hold open.
func TestWarmup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, rate := range map[string]float64{"closed": 0, "open": 100} {
			f := holdingRunner(t, rate, time.Minute, scriptless{})
			f.warmup = 300 * time.Millisecond
			if err := f.WarmUp(t.Context(), endless{workload.Request{Hold: 7, Cost: 3}}, 0); err != nil {
				t.Error(err)
			}
			if _, err := f.Run(t.Context(), endless{workload.Request{Hold: 7, Cost: 3}}, 100*time.Millisecond); err != nil {
				t.Error(err)
			}
			got, reserved := f.Ledger.Totals(0), f.Counts[budget.Reserved]
			if got.Committed == 0 || got.Open != budget.Microcents(7*reserved) || f.Counts[budget.Committed] != 0 {
				t.Errorf("%s: %+v, with %d reserves measured", name, got, reserved)
			}
			if f.Decisions().TotalCount() != reserved {
				t.Errorf("%s: %d latencies for %d reserves", name, f.Decisions().TotalCount(), reserved)
			}
		}
	})
}

// stalling answers after a delay, except during one stall.
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

// The same stall in both loops. In 1.5 s of 1000 requests per second, a fifth are due during
// the stall, and their latencies show it. A closed loop does not send them: it sees the
// stall once per worker.
func TestOpenLoopShowsAStall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		play := func(rate float64, takes time.Duration) (*Runner, RoundStats) {
			c := plain(4, 3)
			c.Rate = rate
			f := onTimers(New([]Engine{&stalling{takes: takes}}, c, named(3)))
			work, err := workload.New(c.Spec)
			if err != nil {
				t.Fatal(err)
			}
			paced, err := f.Run(t.Context(), work.Round(0, 1), 1500*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			return f, paced
		}
		stalled := float64(stall.Microseconds())
		open, paced := play(1000, 0)
		if at := open.Reserve.Latency(); at.P99 < 0.94*stalled || at.P50 > stalled/100 {
			t.Errorf("open loop: p50 is %.0f µs, p99 %.0f, and the stall was %.0f", at.P50, at.P99, stalled)
		}
		if got := open.Counts[budget.Reserved]; got < 1500 || got+open.Unsent != 1501 || paced.Took != 1500*time.Millisecond {
			t.Errorf("open loop: %d requests of 1501, %d unsent, in %s", got, open.Unsent, paced.Took)
		}
		calm, _ := play(0, time.Millisecond)
		if closed := calm.Reserve.Latency(); closed.P99 > stalled/100 {
			t.Errorf("closed loop: p99 is %.0f µs: it is not to see the stall", closed.P99)
		}
	})
}

// If all workers are busy nothing is dropped, and requests not sent by the end are counted.
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
		f := onTimers(New([]Engine{stuck}, c, named(1)))
		s := f.newPhase(false)
		if err := s.prepare(); err != nil {
			t.Fatal(err)
		}
		defer s.closeTimers()
		s.start = time.Now()
		time.AfterFunc(205*time.Millisecond, func() {
			s.stop()
			close(release)
		})
		work := endless{workload.Request{Hold: 2, Cost: 1}}
		s.runWorkers(work)
		round := RoundStats{Took: time.Since(s.start)}
		if err := s.sumUp(&round, work); err != nil {
			t.Fatal(err)
		}
		if f.Counts[budget.Insufficient] != 2 || f.Unsent != 19 {
			t.Errorf("%d answered, %d unsent of 21 due in %s, want 2 and 19", f.Counts[budget.Insufficient], f.Unsent, round.Took)
		}
	})
}
