package local

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestGivenClock(t *testing.T) {
	t.Parallel()
	var now time.Time
	var c clock
	c.init(func() time.Time { return now })
	for _, step := range []struct{ at, want int64 }{ // at in µs, want in ms
		{-5_000_000, -5000}, {1_999, 1}, {2_000, 2}, {1_500, 2}, {-9_000_000, 2}, {2_999, 2}, {3_000, 3},
	} {
		now = time.UnixMicro(step.at)
		if got := c.now(); got != step.want {
			t.Errorf("at %d µs the clock is %d ms, want %d", step.at, got, step.want)
		}
	}
}

// TestOwnClock runs in a synctest bubble, in which time passes only while all goroutines
// are blocked.
func TestOwnClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c clock
		c.init(nil)
		began := time.Now().UnixMilli()
		for i := range int64(2000) { // in use, it is at most one period behind
			lag := time.Now().UnixMilli() - c.now()
			if lag < 0 || lag > tickPeriod.Milliseconds() {
				t.Fatalf("after %d µs the clock is %d ms behind", 100*i, lag)
			}
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(3 * tickPeriod)
		if reading := c.reading.Load(); reading != unread {
			t.Errorf("unused, the clock has the reading %d, want it stopped", reading)
		}
		time.Sleep(time.Hour)
		if got, want := c.now(), began+203+time.Hour.Milliseconds(); got != want {
			t.Errorf("after a pause the clock is %d, want %d immediately", got, want)
		}
		time.Sleep(3 * tickPeriod)
	}) // a timer that is never stopped would fail the test here
}

func TestOwnClockNeverRunsBackwards(t *testing.T) {
	t.Parallel()
	var c clock
	c.init(nil)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			last := c.now()
			for i := range 20_000 {
				now := c.now()
				if now < last {
					t.Errorf("the clock went from %d to %d", last, now)
					return
				}
				last = now
				if i%5000 == 0 {
					time.Sleep(3 * tickPeriod) // long enough for the clock to stop
				}
			}
		})
	}
	group.Wait()
}
