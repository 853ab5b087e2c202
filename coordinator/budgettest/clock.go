package budgettest

import (
	"sync/atomic"
	"time"
)

// clock stands still until a test moves it.
type clock struct{ nanos atomic.Int64 }

// epoch lies within a millisecond, so that an engine which does not cut times to
// milliseconds is noticed.
var epoch = time.Date(2026, time.March, 1, 12, 0, 0, 999_999, time.UTC)

func newClock() *clock {
	c := &clock{}
	c.set(epoch)
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) set(t time.Time)         { c.nanos.Store(t.UnixNano()) }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// instant is what an engine must make of the clock: whole milliseconds in UTC.
func (c *clock) instant() time.Time { return time.UnixMilli(c.now().UnixMilli()).UTC() }
