package metrics

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCompareInterleavesAndTakesTheBest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testCompare) // on a clock that only the pauses move
}

func testCompare(t *testing.T) {
	var order []string
	side := func(name string, each int, pause time.Duration) Case {
		return Case{Callers: 1, Each: each, Work: func(int) error {
			if len(order) == 0 || order[len(order)-1] != name {
				order = append(order, name)
			}
			time.Sleep(pause)
			return nil
		}}
	}
	const pause = time.Millisecond
	got, err := Compare(2, 10*pause, side("ours", 40, pause), side("slow", 1, 5*pause), side("fast", 10, pause))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"slow", "fast", "ours", "slow", "fast", "ours"}; !slices.Equal(order, want) {
		t.Errorf("played %v, want %v", order, want)
	}
	if got.Ratio != 4 {
		t.Errorf("%+v; forty answers a turn against ten are 4 times as many", got)
	}
}

func TestAnErrorEndsTheComparison(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	var turns atomic.Int64
	fails := Case{Callers: 3, Each: 1, Work: func(caller int) error {
		turns.Add(1)
		if caller == 1 {
			return broken
		}
		return nil
	}}
	var ours atomic.Bool
	never := Case{Callers: 1, Each: 1, Work: func(int) error { ours.Store(true); return nil }}
	if _, err := Compare(5, time.Millisecond, never, fails); !errors.Is(err, broken) || ours.Load() {
		t.Errorf("error %v after %d turns, and ours was played: %t; want the error of the work, and no more", err, turns.Load(), ours.Load())
	}
}
