package lane

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// A Lane carries one node's operations to one partition: a queue, a session, and at most
// one command in flight. Calls that arrive while a batch is in flight become the next
// batch, so grouping needs no timer and adds no wait.
type Lane struct {
	node  *Node
	index int
	keys  store.Keys

	mu           sync.Mutex
	queue        queue
	pendingCalls int  // number of calls in the pending batch
	running      bool // its commands are being sent, or it backs off before one

	header       atomic.Pointer[string] // the partition's, nil until the session is open
	acknowledged atomic.Int64           // last addition to the journal, Unix ms

	conversation
}

// conversation belongs to the goroutine that sends the lane's commands.
type conversation struct {
	phase   phase
	session session
	pending *Batch // sent, not resolved
	// superseded is a batch that was given up; the pending one is empty and resolves it.
	superseded *Batch
	spare      []*Batch // resolved batches whose memory is reused
	unanswered *Batch   // applied, to be resolved by Answer
	reply      string   // to the unanswered batch

	openNumber  uint64 // that the session is being opened with, 0 for none
	opened      uint64 // that it was opened with
	timersLeft  bool   // timers were found without a ledger
	incarnation string // proposed by this lane for a partition that it creates
	useSource   bool   // the last command was answered NOSCRIPT
	reopening   bool   // the session was lost
	backlog     bool   // more holds are due than the last batch could end
	rebuild     string // cursor of a rebuild of the timers, "" for none
	rebuildID   string // unique to this rebuild
	alternate   bool   // the last command was a batch: a sweep or a rebuild comes next
	closeErr    error
	lossLogged  bool   // the loss of the partition has been logged
	damage      string // the damaged field that was logged last
	retryLater  bool   // an internal release was queued again: back off
	backoff     time.Duration
	unknown     int // consecutive replies, while opening, that prove nothing

	// limits are the limits of tenants, as far as replies have shown them. A batch that lacks some
	// is repeated with them, and a limit that doesn't exist is skipped.
	limits map[budget.TenantID]budget.Periods

	journal  journal
	merges   []merge // to be sent before anything else
	repaired repairTally
	// repairSince is the last batch in Redis when the repair began.
	repairSince uint64
}

// session is the lane's view of the node's session in the partition. A batch takes effect
// once because the script admits it only after exactly this session (PROTOCOL.md,
// Sessions).
type session struct {
	node       uint64
	config     string // first argument of the node's batches
	header     string // of the partition, empty until the session is open
	last       store.Session
	time       int64 // partition time of its last answer, Unix ms
	answeredAt time.Time
	open       bool
	// acknowledged is the highest number that Redis ever acknowledged. After a gap it is
	// beyond last's, and a late duplicate may bring Redis up to it again.
	acknowledged uint64
}

// phase is a state of the diagram in PROTOCOL.md, and determines the next command.
type phase uint8

const (
	opening        phase = iota // open the session, if the partition exists
	creatingRecord              // it doesn't, and a call ensures a tenant
	checkingRecord              // another node may have been first
	checkingTimers              // a ledger may have been lost
	creatingTimers
	creatingControl
	creatingLedger
	ready      // make a batch, or continue a rebuild
	inFlight   // repeat the pending batch until it is resolved
	givingUp   // the same with an empty batch that supersedes another
	rebuilding // a page of a rebuild
	lost       // the partition is gone: batches are sent and refused
	closing    // end the session
)

var phaseNames = [...]string{"opening", "creating record", "checking record", "checking timers", "creating timers", "creating control", "creating ledger", "ready", "in flight", "giving up", "rebuilding", "lost", "closing"}

func (p phase) String() string { return phaseNames[p] }

func newLane(n *Node, index int) *Lane {
	l := &Lane{node: n, index: index, keys: store.KeysOf(n.config.Prefix, n.config.Partitions, index)}
	l.session = n.newSession(n.ID())
	return l
}

func (n *Node) newSession(id uint64) session {
	return session{node: id, config: n.config.Store.Text(id)}
}

// Keys returns the partition's keys.
func (l *Lane) Keys() store.Keys { return l.keys }

// Index returns the partition's index.
func (l *Lane) Index() int { return l.index }

// Header returns the partition's header, or "" until the lane has opened a session.
func (l *Lane) Header() string {
	if h := l.header.Load(); h != nil {
		return *h
	}
	return ""
}

// enqueue adds a call, and wakes the lane if it is idle.
func (l *Lane) enqueue(c *Call) error {
	root := c.tenant.Root()
	l.mu.Lock()
	if limit := l.node.config.TenantQueue; l.queue.lengthOf(root) >= limit && !c.mustSend {
		l.dropAbandoned(root)
		if l.queue.lengthOf(root) >= limit {
			l.mu.Unlock()
			return fmt.Errorf("tenant %q: %w (limit %d): shed load or raise WithQueueLimits", root, ErrOverloaded, limit)
		}
	}
	l.queue.push(c)
	l.wake()
	return nil
}

// Calls returns the number of queued calls, and that of calls in the pending batch.
func (l *Lane) Calls() (queued, inFlight int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.length, l.pendingCalls
}

// wake starts the lane unless it is running. The caller holds l.mu, which wake unlocks.
func (l *Lane) wake() {
	start := !l.running
	if start {
		l.running = true
		l.node.running.Add(1)
	}
	l.mu.Unlock()
	if start {
		l.node.config.Wake(l, 0)
	}
}

// filterEvery is the shortest interval between two searches of a full queue for abandoned
// calls, since each visits the whole queue.
const filterEvery = 5 * time.Millisecond

// dropAbandoned makes room in a full queue: callers that have given up must not keep
// others out. The caller holds l.mu.
func (l *Lane) dropAbandoned(root budget.TenantID) {
	t := l.queue.tenants[root]
	if at := l.node.config.Now(); at.Sub(t.filtered) >= filterEvery {
		t.filtered = at
		l.queue.filter(root, func(c *Call) bool { return c.state.Load() != callAbandoned })
	}
}

// Next returns the command to send now, or nil if there is none because every caller has
// given up.
func (l *Lane) Next() []any {
	switch l.phase {
	case opening:
		return l.openCommand()
	case creatingRecord:
		return []any{"setnx", store.RecordKey(l.node.config.Prefix), l.node.record().String()}
	case checkingRecord:
		return []any{"get", store.RecordKey(l.node.config.Prefix)}
	case checkingTimers:
		return []any{"zrangebyscore", l.keys.Timers, "-inf", "(+inf", "limit", "0", "1"}
	case creatingTimers:
		return []any{"zadd", l.keys.Timers, "nx", "+inf", luascripts.Sentinel}
	case creatingControl: // before the header: a partition without it is damaged
		return []any{"hsetnx", l.keys.Ledger, store.ControlField, store.EmptyControl}
	case creatingLedger:
		if l.incarnation == "" {
			l.incarnation = store.HexID(l.node.config.Entropy())
		}
		header := l.expected()
		header.Incarnation = l.incarnation
		return []any{"hsetnx", l.keys.Ledger, store.HeaderField, header.String()}
	case ready, lost:
		return l.nextBatch()
	case inFlight, givingUp:
		return l.pendingCommand()
	case rebuilding:
		return l.command(&l.node.config.Scripts.Rebuild, 2, l.session.header, l.rebuildID, l.rebuild, l.node.clockText())
	case closing:
		return l.closeCommand()
	}
	return nil
}

// expected returns the header that the partition must have, without the incarnation.
func (l *Lane) expected() store.Header {
	return store.Header{Layout: luascripts.Layout, Partitions: l.node.config.Partitions, Index: l.index}
}

func nodeText(id uint64) string { return store.SessionField(id)[1:] }

func (l *Lane) openCommand() []any {
	l.mu.Lock()
	l.queue.each(func(c *Call) bool {
		c.opening = true
		return false
	})
	l.mu.Unlock()
	if l.openNumber == 0 {
		// A lost session begins again at its first number, which shows that Redis has
		// none of the later batches.
		l.openNumber = l.opened
	}
	if l.openNumber == 0 {
		l.openNumber = l.node.nextNumber()
	}
	return l.command(&l.node.config.Scripts.Open, 1, nodeText(l.session.node), nodeText(l.openNumber), l.node.clockText(), l.expected().Begin())
}

func (l *Lane) nextBatch() []any {
	switch {
	case l.alternate && l.rebuild != "":
		l.alternate, l.phase = false, rebuilding
		return l.Next()
	case l.alternate && l.backlog:
		l.alternate = false
		l.pending = l.newBatch() // an empty batch ends the most due holds
		l.encode(l.pending)
	case len(l.merges) > 0:
		l.pending = l.gatherMerges()
	default:
		l.pending = l.gather()
	}
	if l.pending == nil {
		queued, _ := l.Calls()
		if l.rebuild != "" || l.backlog && queued > 0 {
			l.alternate = true
			return l.nextBatch()
		}
		return nil
	}
	l.phase = inFlight
	return l.pendingCommand()
}

func (l *Lane) pendingCommand() []any {
	script := &l.node.config.Scripts.Batch
	switch {
	case l.pending.repair:
		script = &l.node.config.Scripts.Merge
	case l.pending.lowMemory:
		script = &l.node.config.Scripts.BatchLowMemory
	}
	args := l.pending.args
	args[0], args[1], args[2] = "evalsha", script.SHA, "2"
	if l.useSource {
		args[0], args[1] = "eval", script.Source
	}
	args[3], args[4] = l.keys.Ledger, l.keys.Timers
	return args
}

func (l *Lane) newBatch() *Batch {
	var b *Batch
	if last := len(l.spare) - 1; last < 0 {
		b = &Batch{}
	} else {
		b = l.spare[last]
		l.spare = l.spare[:last]
	}
	b.reset(l.node.nextNumber()).known = l.limits
	return b
}

// reuse keeps a batch's memory for another one. A lane uses two: the pending batch, and
// the one whose callers are being answered.
func (l *Lane) reuse(b *Batch) {
	if !b.repair && !b.shared && len(l.spare) < 2 {
		l.spare = append(l.spare, b)
	}
}

// gather makes a batch of queued calls, taking the tenants in turn. It returns nil if
// every caller has given up.
func (l *Lane) gather() *Batch {
	b := l.newBatch()
	l.node.config.Observer.BatchSent(b)
	l.mu.Lock()
	if a := l.unanswered; a != nil && slices.ContainsFunc(a.calls, func(c *Call) bool { return c.state.Load() != callSent }) {
		// A caller that has given up may have queued a Lookup, which must find its hold
		// released.
		l.mu.Unlock()
		l.Answer()
		l.mu.Lock()
	}
	for c := l.queue.peek(); c != nil; c = l.queue.peek() {
		if b.add(c, l.session.node) {
			break
		}
		l.queue.pop()
	}
	l.pendingCalls = len(b.calls)
	l.mu.Unlock()
	if len(b.calls) == 0 {
		l.end(b, Unsent)
		l.reuse(b)
		return nil
	}
	l.encode(b)
	return b
}

// batchValidity is the time during which a batch may take effect, from its encoding.
// After it the batch is a late duplicate, or was delayed for longer than its callers
// wait. It exceeds every pause of a healthy Redis, and once it has passed a promoted
// primary is safe from duplicates.
const batchValidity = 5 * time.Second

// encode fixes a batch's bytes. The batch is valid for batchValidity from now, by the
// node's estimate of the partition's time, which an EXPIRED reply corrects.
func (l *Lane) encode(b *Batch) {
	b.encode(&store.Envelope{
		Config: l.session.config, Clock: l.node.clockText(), Header: l.session.header, Session: l.session.last,
		Seed:       l.node.config.Entropy(),
		ValidUntil: l.session.time + (l.node.partitionClock().Sub(l.session.answeredAt) + batchValidity).Milliseconds(),
	})
}

// command returns a script call with few arguments.
func (l *Lane) command(script *luascripts.Script, keys int, args ...any) []any {
	name, body := "evalsha", script.SHA
	if l.useSource {
		name, body = "eval", script.Source
	}
	words := make([]any, 0, commandPrefix+len(args))
	if keys == 1 {
		words = append(words, name, body, "1", l.keys.Ledger)
	} else {
		words = append(words, name, body, "2", l.keys.Ledger, l.keys.Timers)
	}
	return append(words, args...)
}

// Continue reports whether the lane has a next command; if not, the lane becomes idle.
func (l *Lane) Continue() bool {
	if l.node.Dead() {
		l.Answer()
		l.abort()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending == nil {
		l.pendingCalls = 0
	}
	if l.phase == closing && l.session.open && !l.node.Dead() {
		return true
	}
	if l.node.Closed() && l.node.InFlight() == 0 {
		l.queue = queue{} // every remaining caller has given up
		l.rebuild = ""
	}
	if l.pending != nil || l.queue.length > 0 || len(l.merges) > 0 || l.rebuild != "" {
		return true
	}
	l.running = false
	l.node.running.Done()
	return false
}

// abort answers the calls of a node that could not close in time.
func (l *Lane) abort() {
	l.failQueue(func(*Call) error { return ErrClosed })
	l.merges, l.rebuild = nil, ""
	if b := l.pending; b != nil {
		l.pending, l.phase = nil, ready
		if b.lost {
			l.end(b, Unknown)
			l.fail(b, func(c *Call) error { return &UnknownOutcomeError{ID: c.id, Cause: ErrClosed} })
		} else {
			l.end(b, Refused) // every attempt was refused
			l.fail(b, func(*Call) error { return ErrClosed })
		}
	}
	if b := l.superseded; b != nil {
		l.superseded = nil
		l.end(b, Unknown)
		l.fail(b, func(c *Call) error { return &UnknownOutcomeError{ID: c.id, Cause: ErrClosed} })
	}
}

// deliver answers a call and counts it as resolved. It reports false if the caller has
// given up. A release of an abandoned hold is queued again instead of failing: as long as
// the partition exists and is readable, a hold without an owner is not left open.
func (l *Lane) deliver(c *Call, a Answer) bool {
	if c.retried && a.Err != nil {
		if !l.lossLogged && !l.node.Dead() && !errors.Is(a.Err, ErrCorrupt) && !errors.Is(a.Err, ErrLayout) && !errors.Is(a.Err, budget.ErrInvalidSetting) {
			c.state.Store(callQueued)
			l.mu.Lock()
			l.queue.pushFront(c) // as in insist
			l.mu.Unlock()
			l.retryLater = true
			return true
		}
		switch c.kind {
		case luascripts.KindRenew: // the calls that need it are answered the same
		case luascripts.KindConfigure:
			l.node.config.Logger.Error("bursar: could not repeat a lost freeze", "tenant", c.tenant, "error", a.Err)
		default:
			l.node.config.Logger.Error("bursar: could not release abandoned hold", "reservation", c.id, "error", a.Err)
		}
	}
	delivered := c.deliver(a)
	if delivered || c.state.Load() != callAbandoned { // a caller that abandons an unsent call counts it itself
		l.node.Done() // before the caller is woken: its next call must not find this one counted
		if c.internal {
			l.node.internal.Add(-1)
		}
	}
	if delivered {
		c.wake()
	}
	return delivered
}

// requeue puts the calls of a batch that did not take effect back at the head of the
// queue, in order, and drops those whose callers have given up.
func (l *Lane) requeue(b *Batch) {
	if !b.repair {
		l.requeueCalls(b.calls)
	}
}

func (l *Lane) requeueCalls(calls []*Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(calls) - 1; i >= 0; i-- {
		if c := calls[i]; c.markQueued() {
			l.queue.pushFront(c)
		} else {
			l.node.Done()
			if c.internal {
				l.node.internal.Add(-1)
			}
		}
	}
}

// end records how a batch ended, before its callers are answered.
func (l *Lane) end(b *Batch, result Result) { l.node.config.Observer.BatchResolved(b, result) }

// fail answers every call of a batch with an error.
func (l *Lane) fail(b *Batch, reason func(*Call) error) {
	if b.repair {
		return // its merges are still to be sent
	}
	for _, c := range b.calls {
		l.deliver(c, Answer{Err: reason(c)})
	}
}

// failUnknown answers every call of a batch whose outcome can no longer be determined. A
// hold that it may have made is released, which has no effect if there is none.
func (l *Lane) failUnknown(b *Batch, cause error) {
	l.end(b, Unknown)
	if b.repair {
		return // as in fail
	}
	for _, c := range b.calls {
		id, makes := c.id, c.properties().makes
		l.deliver(c, Answer{Err: &UnknownOutcomeError{ID: id, Cause: cause}})
		if makes {
			l.releaseAbandoned(id)
		}
	}
}

// failQueue answers every queued call with an error.
func (l *Lane) failQueue(reason func(*Call) error) {
	var failed []*Call
	l.mu.Lock()
	l.queue.each(func(c *Call) bool {
		failed = append(failed, c)
		return true
	})
	l.mu.Unlock()
	for _, c := range failed {
		l.deliver(c, Answer{Err: reason(c)})
	}
}

// Abandoned is called before Handle if the last command may still be in flight: its
// arguments are in use, so the batch gives up its memory and is repeated from a copy.
func (l *Lane) Abandoned() {
	if l.pending != nil {
		l.pending.args = slices.Clone(l.pending.args)
		l.pending.shared = true
	}
}
