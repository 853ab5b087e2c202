package local

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// tickPeriod is the interval at which a clock in use reads the machine's clock, and so
// the granularity of the engine's time.
const tickPeriod = time.Millisecond

// unread is the bit of a reading that no caller has used yet. A reading that is equal
// to unread means that the clock is stopped; the next call of now starts it.
const unread = 1

// clock returns the time in Unix milliseconds and never runs backwards.
//
// Reading the machine's clock costs as much as a whole reserve, so a timer reads it every
// tickPeriod and callers load the stored reading. A tick that finds its last reading
// unread stops the timer: an idle engine has no timer, and an unreachable one can be
// garbage collected. The clock adds monotonic time to the time of its start, so setting
// the machine's time changes no deadline.
type clock struct {
	reading atomic.Int64 // milliseconds << 1 | unread

	given  func() time.Time // the caller's clock; nil for the engine's own
	latest atomic.Int64     // latest time of the caller's clock, Unix ms

	mu    sync.Mutex // serialises start and tick
	timer *time.Timer
	base  time.Time
}

func (c *clock) init(given func() time.Time) {
	c.given, c.base = given, time.Now()
	c.latest.Store(math.MinInt64)
	c.reading.Store(unread)
}

func (c *clock) now() int64 {
	if reading := c.reading.Load(); reading&unread == 0 {
		return reading >> 1
	}
	return c.nowSlow()
}

func (c *clock) nowSlow() int64 {
	if c.given != nil {
		return c.nowGiven()
	}
	reading := c.reading.Load()
	if reading == unread {
		return c.start()
	}
	// If the swap fails, another caller has marked the reading as used or a tick has
	// replaced it; either is fine.
	c.reading.CompareAndSwap(reading, reading&^unread)
	return reading >> 1
}

func (c *clock) nowGiven() int64 {
	now := c.given().UnixMilli()
	for {
		latest := c.latest.Load()
		if now <= latest {
			return latest
		}
		if c.latest.CompareAndSwap(latest, now) {
			return now
		}
	}
}

// measure returns the machine's time, Unix ms. It must be called with mu held, so that
// readings are stored in the order in which they are taken.
func (c *clock) measure() int64 {
	return c.base.Add(time.Since(c.base)).UnixMilli()
}

func (c *clock) start() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.measure()
	if c.reading.Load() != unread {
		return now // another caller was first
	}
	c.reading.Store(now << 1)
	if c.timer == nil {
		c.timer = time.AfterFunc(tickPeriod, c.tick)
	} else {
		c.timer.Reset(tickPeriod)
	}
	return now
}

func (c *clock) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	reading := c.reading.Load()
	if reading&unread != 0 && c.reading.CompareAndSwap(reading, unread) {
		return
	}
	c.reading.Store(c.measure()<<1 | unread)
	c.timer.Reset(tickPeriod)
}

// spin busy-waits for about d.
func spin(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}
