package fleet

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calybris/bursar/bench/load"
	"github.com/calybris/bursar/bench/record"
	"github.com/calybris/bursar/coordinator/budget"
)

func holdingFleet(t *testing.T, rate float64, holdTime time.Duration, d Decider) *Fleet {
	t.Helper()
	c := plain(1, 1)
	c.Rate, c.HoldTime = rate, holdTime
	return onTimers(New([]Decider{d}, c, named(1)))
}

// onTimers makes it play by the clock of a bubble (synctest), which stands still while
// anybody is at work: however busy the machine is, nothing is late.
func onTimers(f *Fleet) *Fleet {
	f.newAlarm = newTimerAlarm
	return f
}

// One caller of an open loop makes 20 requests while the first hold is open; all are
// settled, none before its time.
func TestLongHoldsDoNotBlockAnOpenLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const holdTime = 200 * time.Millisecond
		var open, most atomic.Int64
		began := time.Now()
		f := holdingFleet(t, 1000, holdTime, scriptless{
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
		work := rows(slices.Repeat([]load.Request{{Hold: 5, Cost: 3}}, 20)...)
		paced, err := f.Play(t.Context(), work, 0)
		if err != nil || paced.Cycles != 20 || paced.Took < holdTime {
			t.Errorf("%d cycles in %s, %v; want 20", paced.Cycles, paced.Took, err)
		}
		if got := f.Ledger.Told(0); got != (record.Told{Committed: 60}) {
			t.Errorf("%+v, want all committed", got)
		}
		if most.Load() != 20 {
			t.Errorf("%d holds were open together, want all 20", most.Load())
		}
	})
}

// Who settles late is late from when the hold was due: four holds are due within 30 ms,
// one caller settles them in 50 ms each, so the last is settled after 170.
func TestLateSettlementsCountFromWhenTheyWereDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const takes = 50 * time.Millisecond
		f := holdingFleet(t, 100, 10*time.Millisecond, scriptless{commit: func(actual budget.Microcents) (budget.Settlement, error) {
			time.Sleep(takes)
			return budget.Settlement{Outcome: budget.Committed, Actual: actual}, nil
		}})
		work := rows(slices.Repeat([]load.Request{{Hold: 5, Cost: 3}}, 4)...)
		if _, err := f.Play(t.Context(), work, 0); err != nil {
			t.Fatal(err)
		}
		if longest := time.Duration(f.Commit.All().Max()); longest < 169*time.Millisecond || longest > 171*time.Millisecond {
			t.Errorf("the last settlement took %s, want 170 ms", longest)
		}
	})
}

// A closed loop waits. At the end its hold, and all those of an open loop, stay open
// and are counted.
func TestHoldsThatTheEndInterrupts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, rate := range map[string]float64{"closed": 0, "open": 100} {
			ctx, cancel := context.WithCancel(t.Context())
			f := holdingFleet(t, rate, load.MaxHoldTime, scriptless{reserve: func(budget.Microcents) (budget.Reservation, error) {
				time.AfterFunc(50*time.Millisecond, cancel)
				return budget.Reservation{Outcome: budget.Reserved}, nil
			}})
			paced, err := f.Play(ctx, endless{load.Request{Hold: 7, Cost: 3}}, 0)
			if err != nil || paced.Cycles != 0 || paced.Took > time.Minute {
				t.Errorf("%s: %d cycles in %s, %v", name, paced.Cycles, paced.Took, err)
			}
			reserved := f.Counts[budget.Reserved]
			if got := f.Ledger.Told(0); got != (record.Told{Open: budget.Microcents(7 * reserved)}) || reserved < 1 || rate == 0 && reserved != 1 {
				t.Errorf("%s: %d reserved, %+v", name, reserved, got)
			}
			cancel()
		}
	})
}

// A warm-up counts in the books only, and leaves no hold, though its end interrupts some.
func TestWarmup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, rate := range map[string]float64{"closed": 0, "open": 100} {
			f := holdingFleet(t, rate, time.Minute, scriptless{})
			f.warmup = 300 * time.Millisecond
			if err := f.WarmUp(t.Context(), endless{load.Request{Hold: 7, Cost: 3}}, 0); err != nil {
				t.Error(err)
			}
			if _, err := f.Play(t.Context(), endless{load.Request{Hold: 7, Cost: 3}}, 100*time.Millisecond); err != nil {
				t.Error(err)
			}
			got, reserved := f.Ledger.Told(0), f.Counts[budget.Reserved]
			if got.Committed == 0 || got.Open != budget.Microcents(7*reserved) || f.Counts[budget.Committed] != 0 {
				t.Errorf("%s: %+v, with %d reserves measured", name, got, reserved)
			}
			if f.Decisions().TotalCount() != reserved {
				t.Errorf("%s: %d latencies for %d reserves", name, f.Decisions().TotalCount(), reserved)
			}
		}
	})
}
