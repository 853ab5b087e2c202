package coordinator

import (
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
)

// A lane has one batch in flight, so Redis rests while its reply is on the way and the
// next batch is. Where many callers ask for one family at once, the lane shares them
// with a second one, and while one's batch travels the other's is at work.
//
// To Redis the second lane is another node: it has a number and a session of its own,
// so each rule of the protocol that holds between nodes holds between the two. A
// settlement or a Lookup goes to the lane whose number the id has, behind what that lane
// still finds out about it. Reserves go to whichever is less crowded; all else goes to
// the first. It is made when the first has met the family, and knows what that knows, so
// that a family that is lost is missed by both.

// defaultCrowd is how many calls a lane has, waiting or in flight, before it shares
// them. Fewer are better off in one fuller batch.
const defaultCrowd = 64

// laneOf returns the lane that a call belongs to.
func (c *Coordinator) laneOf(op *call) *lane {
	l := c.lane(op.tenant.Root())
	if op.names() {
		if second := l.second.Load(); second != nil && c.isSecond(op.id) {
			return second
		}
		return l
	}
	if !op.reserves() {
		return l
	}
	load := l.load()
	if load < c.config.crowd {
		return l
	}
	second := l.shared()
	if second == nil {
		return l
	}
	if other := second.load(); other <= load && other+load < c.config.perFamily {
		return second
	}
	return l
}

// load is how many calls the lane has.
func (l *lane) load() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) + l.flying
}

// besides is how many calls wait in the other lane, of the room that a family's queue
// has. What is in flight does not wait, and its callers may have been answered and wait
// here already. The lane is locked, and a second lane never locks the first.
func (l *lane) besides() int {
	second := l.second.Load()
	if second == nil {
		return 0
	}
	second.mu.Lock()
	defer second.mu.Unlock()
	return len(second.queue)
}

// shared returns the second lane, which is made where the family is known by now.
func (l *lane) shared() *lane {
	if second := l.second.Load(); second != nil {
		return second
	}
	family := l.met.Load()
	if family == nil {
		return nil
	}
	second := newLane(l.c, l.root)
	second.first = l
	second.session = newSession(l.c.secondNumber())
	second.session.family = *family
	second.met.Store(family)
	if !l.second.CompareAndSwap(nil, second) {
		return l.second.Load()
	}
	return second
}

// secondNumber is the node's number in second lanes.
func (c *Coordinator) secondNumber() uint64 {
	c.secondMu.Lock()
	defer c.secondMu.Unlock()
	if len(c.seconds) == 0 {
		c.seconds = append(c.seconds, c.config.entropy())
	}
	return c.seconds[len(c.seconds)-1]
}

// renumberSecond replaces a number that somebody else uses, once.
func (c *Coordinator) renumberSecond(cloned uint64) uint64 {
	c.secondMu.Lock()
	defer c.secondMu.Unlock()
	if c.seconds[len(c.seconds)-1] == cloned {
		c.seconds = append(c.seconds, c.config.entropy())
	}
	return c.seconds[len(c.seconds)-1]
}

// isSecond reports whether a second lane of this node made the id.
func (c *Coordinator) isSecond(id budget.ReservationID) bool {
	node, _ := id.Bits()
	c.secondMu.RLock()
	defer c.secondMu.RUnlock()
	return slices.Contains(c.seconds, node)
}

// allLanes calls do with every lane.
func (c *Coordinator) allLanes(do func(*lane)) {
	c.lanesMu.RLock()
	defer c.lanesMu.RUnlock()
	for _, l := range c.lanes {
		do(l)
		if second := l.second.Load(); second != nil {
			do(second)
		}
	}
}
