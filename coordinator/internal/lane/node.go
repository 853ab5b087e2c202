package lane

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Config is the configuration of a node, shared by its lanes. It never changes.
type Config struct {
	Prefix     string
	Partitions int
	Scripts    luascripts.Scripts
	Store      store.Config

	RepairWindow time.Duration // 0 for no repair
	RepairBytes  int
	TenantQueue  int // maximum of queued calls of a root tenant
	TotalQueue   int // maximum of calls in flight
	CallTimeout  time.Duration

	Clock    func() time.Time // of deadlines; nil for Redis' own
	Now      func() time.Time // the node's own clock
	Entropy  func() uint64
	Logger   *slog.Logger
	Observer Observer

	// Wake is called when a lane has commands to carry, after a delay if it is above 0.
	Wake func(l *Lane, delay time.Duration)
}

// Observer is called for each event of a batch. Its methods must not block.
type Observer interface {
	// BatchSent is called before the batch can be answered, and may set its Trace.
	BatchSent(b *Batch)
	// BatchResolved is called when a batch has ended.
	BatchResolved(b *Batch, result Result)
	Retried(f Failure)
	Gap(partition int)
	TimersLost(partition int)
	Released(abandoned int)
	Repaired(merged, unmerged int)
	Evicted(states int)
	Crossed(c budget.Crossing)
}

// NopObserver observes nothing.
type NopObserver struct{}

// BatchSent and the others implement [Observer].
func (NopObserver) BatchSent(*Batch)             {}
func (NopObserver) BatchResolved(*Batch, Result) {} //nolint:revive // see BatchSent
func (NopObserver) Retried(Failure)              {} //nolint:revive // see BatchSent
func (NopObserver) Gap(int)                      {} //nolint:revive // see BatchSent
func (NopObserver) TimersLost(int)               {} //nolint:revive // see BatchSent
func (NopObserver) Released(int)                 {} //nolint:revive // see BatchSent
func (NopObserver) Repaired(int, int)            {} //nolint:revive // see BatchSent
func (NopObserver) Evicted(int)                  {} //nolint:revive // see BatchSent
func (NopObserver) Crossed(budget.Crossing)      {} //nolint:revive // see BatchSent

// A Node is one member of a fleet: its identity, its lanes and their shared state.
type Node struct {
	config Config
	lanes  []*Lane

	id      atomic.Uint64 // 64 random bits
	numbers atomic.Uint64 // last batch number; none is used twice

	inFlight atomic.Int64 // unresolved calls
	internal atomic.Int64 // internal calls among them: probes, releases of abandoned holds
	failedAt atomic.Int64 // last time that Redis did not answer, Unix ms
	recorded atomic.Int64 // states in all journals
	evicted  atomic.Int64 // last eviction of idle journals, Unix ms
	probing  atomic.Bool  // all lanes are being probed
	closed   atomic.Bool
	dead     atomic.Bool
	drained  chan struct{}
	running  sync.WaitGroup // running lanes; started only while a call is in flight, or to close sessions
}

// NewNode returns a node with a lane for each partition.
func NewNode(config Config) *Node {
	n := &Node{config: config, drained: make(chan struct{}, 1), lanes: make([]*Lane, config.Partitions)}
	n.id.Store(config.Entropy())
	for i := range n.lanes {
		n.lanes[i] = newLane(n, i)
	}
	return n
}

// ID returns the node's number. It changes if another process turns out to use it.
func (n *Node) ID() uint64 { return n.id.Load() }

// Lanes returns the lanes, one for each partition.
func (n *Node) Lanes() []*Lane { return n.lanes }

// LaneOf returns the lane of a tenant.
func (n *Node) LaneOf(tenant budget.TenantID) *Lane {
	return n.lanes[store.PartitionOf(tenant, n.config.Partitions)]
}

// InFlight returns the number of unresolved calls.
func (n *Node) InFlight() int64 { return n.inFlight.Load() }

// Admit counts a call as in flight, unless there are too many or the node is closed.
func (n *Node) Admit() error {
	callers := n.inFlight.Add(1) - n.internal.Load()
	switch {
	case n.closed.Load():
		n.Done()
		return ErrClosed
	case callers > int64(n.config.TotalQueue):
		n.Done()
		return fmt.Errorf("%w (limit %d in all): shed load or raise WithQueueLimits", ErrOverloaded, n.config.TotalQueue)
	}
	return nil
}

// AdmitSettlement counts a call that is never rejected.
func (n *Node) AdmitSettlement() { n.inFlight.Add(1) }

// Done counts a call as resolved; the last one lets a waiting Drain return.
func (n *Node) Done() {
	if n.inFlight.Add(-1) == 0 && n.closed.Load() {
		select {
		case n.drained <- struct{}{}:
		default:
		}
	}
}

// Do queues a call that Admit has counted, and waits for its answer.
func (n *Node) Do(ctx context.Context, c *Call) (Answer, budget.ReservationID, error) {
	l := n.LaneOf(c.tenant)
	if err := l.enqueue(c); err != nil {
		n.Done()
		return Answer{}, budget.ReservationID{}, err
	}
	a, id, unsent, err := c.wait(ctx, n.config.CallTimeout)
	if unsent {
		n.Done() // else the lane does
	}
	return a, id, err
}

// Closed reports whether the node rejects new calls.
func (n *Node) Closed() bool { return n.closed.Load() }

// Dead reports whether the node has given up on its unresolved calls.
func (n *Node) Dead() bool { return n.dead.Load() }

// Die gives up on the unresolved calls, and reports whether no earlier call did.
func (n *Node) Die() bool { return !n.dead.Swap(true) }

// Close makes the node reject new calls.
func (n *Node) Close() {
	if n.config.Now().UnixMilli()-n.failedAt.Load() < n.config.RepairWindow.Milliseconds() {
		n.ProbeAll() // losses that are not found now are never restored
	}
	n.closed.Store(true)
}

// Drain waits until every call of a closed node is resolved, or ctx ends.
func (n *Node) Drain(ctx context.Context) error {
	for n.inFlight.Load() > 0 {
		select {
		case <-n.drained:
		case <-ctx.Done():
			return Interrupted(ctx)
		}
	}
	return nil
}

// WaitIdle waits until no lane runs. A lane may wait to repeat a batch whose callers
// have all given up.
func (n *Node) WaitIdle() { n.running.Wait() }

// Failed records that Redis did not answer.
func (n *Node) Failed() { n.failedAt.Store(n.config.Now().UnixMilli()) }

func (n *Node) failedWithin(window time.Duration) bool {
	return n.config.Now().UnixMilli()-n.failedAt.Load() < window.Milliseconds()
}

// repairs reports whether repair is enabled.
func (n *Node) repairs() bool { return n.config.RepairWindow > 0 }

func (n *Node) nextNumber() uint64 { return n.numbers.Add(1) }

// renumber replaces a node ID that another process uses, once, and returns the new one.
func (n *Node) renumber(cloned uint64) uint64 {
	n.id.CompareAndSwap(cloned, n.config.Entropy())
	return n.id.Load()
}

// partitionClock returns the time of deadlines: that of Clock, or the node's for Redis'.
func (n *Node) partitionClock() time.Time {
	if n.config.Clock != nil {
		return n.config.Clock()
	}
	// Without the monotonic clock, which stands still while a machine is suspended.
	return n.config.Now().Round(0)
}

func (n *Node) clockText() string {
	if n.config.Clock == nil {
		return ""
	}
	return strconv.FormatInt(max(n.config.Clock().UnixMilli(), 1), 10) // times in Redis have no sign
}

// record returns the prefix's record that the node expects.
func (n *Node) record() store.Record {
	return store.Record{Layout: luascripts.Layout, Partitions: n.config.Partitions}
}
