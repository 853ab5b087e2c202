package lane

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// Probes: a lane in use notices with its next batch that Redis has lost acknowledged
// writes. An idle lane is probed: every one after a failure or a gap; the recently
// acknowledged ones if their server has been silent for a while. A server loses the end
// of its writes, so the latest acknowledgement is the first to go missing.

// SilentAfter is the time for which a connection may be unused before a failover could go
// unnoticed.
const SilentAfter = time.Second

// ProbeAll probes every lane whose journal is not empty.
func (n *Node) ProbeAll() {
	if !n.repairs() || !n.probing.CompareAndSwap(false, true) {
		return
	}
	defer n.probing.Store(false)
	n.probe(0, func(*Lane) bool { return true })
}

// ProbeRecent probes the lanes of one server with the latest acknowledgements.
func (n *Node) ProbeRecent(onServer func(*Lane) bool) {
	if !n.repairs() {
		return
	}
	newest := int64(0)
	for _, l := range n.lanes {
		if at := l.acknowledged.Load(); at > newest && onServer(l) {
			newest = at
		}
	}
	n.probe(newest-SilentAfter.Milliseconds(), onServer)
}

// probe queues a read in each lane that was last acknowledged after the given time and
// within the repair window. Its answer is ignored, since any batch checks the session.
func (n *Node) probe(after int64, onServer func(*Lane) bool) {
	after = max(after, n.config.Now().Add(-n.config.RepairWindow).UnixMilli())
	for _, l := range n.lanes {
		if l.acknowledged.Load() <= after || !onServer(l) {
			continue
		}
		l.mu.Lock()
		queued := l.queue.lengthOf(probed) > 0
		l.mu.Unlock()
		if queued {
			continue
		}
		n.internal.Add(1)
		if n.Admit() != nil {
			n.internal.Add(-1)
			return
		}
		c := NewCall(luascripts.KindRemaining, probed, 0, budget.ReservationID{})
		c.internal = true
		l.mu.Lock()
		l.queue.push(c)
		l.wake()
	}
}

// probed is the tenant that probes read. It need not exist: any batch shows a gap.
const probed budget.TenantID = "-"
