package local

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// tickPeriod is how often the engine's own clock is read while it is in use. It
// is the granularity of an engine's time.
const tickPeriod = time.Millisecond

// unread marks a reading that nobody has used yet. As a whole reading it means
// that the clock stands, and the next who asks starts it.
const unread = 1

// clock tells the time in milliseconds since 1970 and never runs backwards.
//
// Reading the machine's clock costs as much as a whole reserve, so a timer reads
// it each tickPeriod and callers read what it left. A tick that finds its last
// reading unread stops the timer: an engine that nobody uses has no timer, and
// one that nobody refers to is collected. Time is counted from the clock's start
// by the monotonic clock, so setting the machine's time changes no deadline.
type clock struct {
	reading atomic.Int64 // milliseconds << 1 | unread

	given  func() time.Time // the caller's clock; nil for the engine's own
	latest atomic.Int64     // what the caller's clock has said, at most

	mu    sync.Mutex // orders start and tick
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
	// Where this fails a tick or another caller came first, and all is well.
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

// measure must be called with mu held, so that readings are stored in the order
// in which they were made.
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

// spin keeps the processor for about that long.
func spin(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}
