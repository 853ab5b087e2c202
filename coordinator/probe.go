package coordinator

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// Probes: a lane that is used notices by its next batch that Redis has lost what it
// was told. One that rests is asked (PROTOCOL.md, R1): all of them, once something
// has failed or a gap was found; the latest ones, where the server was not heard of
// for a while. What a server loses is the end of its writes, so whoever was told
// last is the first to notice.

const (
	// unheard is after how long without a command a server may have been replaced
	// without a connection that breaks under a command.
	unheard = time.Second
	// watchEvery is how often a node that rests asks.
	watchEvery = 5 * time.Second
	// Of a node that rests so many lanes are asked.
	latestLanes = 64
	// A pace at which probes delay no caller's operation by much.
	probesAtOnce = 512
	probesPause  = 20 * time.Millisecond
)

// suspect asks every lane that retains something.
func (c *Coordinator) suspect() {
	if c.config.repairs() && c.probing.CompareAndSwap(false, true) {
		c.probe(c.retaining(), func() { c.probing.Store(false) })
	}
}

// watch asks the lanes that were told something last.
func (c *Coordinator) watch() {
	if !c.config.repairs() {
		return
	}
	lanes := c.retaining()
	newest := int64(0)
	for _, l := range lanes {
		newest = max(newest, l.toldAt.Load())
	}
	latest := lanes[:0]
	for _, l := range lanes {
		if len(latest) < latestLanes && l.toldAt.Load() > newest-unheard.Milliseconds() {
			latest = append(latest, l)
		}
	}
	c.probe(latest, func() {})
}

// retaining are the lanes that were told something within the window.
func (c *Coordinator) retaining() []*lane {
	since := c.config.now().Add(-c.config.repairWindow).UnixMilli()
	var lanes []*lane
	c.allLanes(func(l *lane) {
		if l.toldAt.Load() > since {
			lanes = append(lanes, l)
		}
	})
	return lanes
}

// probe asks lanes, without waiting for what they find.
func (c *Coordinator) probe(lanes []*lane, done func()) {
	c.unasked.Add(1)
	if len(lanes) == 0 || c.admit() != nil {
		c.unasked.Add(-1)
		done()
		return
	}
	go func() {
		defer c.unasked.Add(-1)
		defer c.leave()
		defer done()
		for i, l := range lanes {
			if i%probesAtOnce == probesAtOnce-1 {
				time.Sleep(probesPause)
			}
			if c.dead.Load() {
				return
			}
			c.probeLane(l)
		}
	}()
}

// probeLane puts a read into a lane that nobody waits for: any batch shows a gap.
func (c *Coordinator) probeLane(l *lane) {
	c.unasked.Add(1)
	c.enter()
	probe := newCall(luascripts.KindRemaining, l.root, 0, budget.ReservationID{})
	probe.unasked = true
	start, ok, err := l.enqueue(probe)
	if !ok || err != nil {
		c.leave()
		c.unasked.Add(-1)
	} else if start {
		c.shardOf(l).push(l)
	}
}
