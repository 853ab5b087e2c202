package budgettest

import (
	"sync/atomic"
	"time"
)

// clock is a clock that stands still until a test moves it.
type clock struct{ nanos atomic.Int64 }

// epoch isn't a whole millisecond, so that tests detect an engine that doesn't cut times to
// milliseconds.
var epoch = time.Date(2026, time.March, 1, 12, 0, 0, 999_999, time.UTC)

func newClock() *clock {
	c := &clock{}
	c.set(epoch)
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) set(t time.Time)         { c.nanos.Store(t.UnixNano()) }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// instant returns the clock's time as an engine must return it: in whole milliseconds, in
// UTC.
func (c *clock) instant() time.Time { return time.UnixMilli(c.now().UnixMilli()).UTC() }
