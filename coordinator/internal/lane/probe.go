package lane

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// Probes: a lane that is used notices by its next batch that Redis has lost what it
// acknowledged. One that rests is probed: all of them, once something has failed or a
// gap was found; the recently acknowledged, if the server has been silent for a while. A
// server loses the end of its writes, so the latest acknowledgement is the first to miss.

// SilentAfter is how long a connection may be unused before a failover could go
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

// ProbeRecent probes the lanes of one server that were acknowledged last.
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

// probe sends a read, of whose answer only the session matters, to each lane that was
// acknowledged after a time and within the repair window.
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

// probed is the tenant that a probe reads: any batch shows a gap.
const probed budget.TenantID = "-"
