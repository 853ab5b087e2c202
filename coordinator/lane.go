package coordinator

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/luascripts"
)

// A lane carries one node's operations to one family: a queue, a session, and at
// most one command in flight. What arrives while a batch is in flight becomes
// the next batch, so grouping costs no timer and no wait.
//
// A lane is a state machine without goroutines or input and output of its own:
// next gives the command to send, handle takes the reply. A shard calls them,
// one at a time.
type lane struct {
	c    *Coordinator
	root budget.TenantID
	keys layout.Keys
	// The keys as command arguments; a cluster client reads the slot off them.
	booksKey, timersKey any

	// second is the lane that a crowd is shared with, see second.go; of a second lane,
	// first is the other one.
	second atomic.Pointer[lane]
	first  *lane

	mu      sync.Mutex
	queue   []*call
	flying  int  // calls in the batch that is on its way
	probed  int  // how many of them an OPEN on its way speaks for
	running bool // at its shard, or waiting to be tried again
	gone    bool // dropped from the coordinator; callers look it up anew
	// searched is when callers that have left were last looked for.
	searched time.Time

	// met is the family's field once it is known, for readers beside the lane.
	met atomic.Pointer[string]

	// The rest belongs to whoever runs the lane.
	step       step
	session    session
	pending    *batch // sent, not resolved
	superseded *batch // given up, while an empty batch finds out about it
	spare      *batch // resolved; its memory is used again
	sweeping   bool   // the batch was answered MORE
	openNumber uint64 // that the session is being opened with
	opened     uint64 // that it was opened with
	proposed   string // the incarnation, where this lane creates the family
	useSource  bool   // the last command was answered NOSCRIPT
	lost       bool   // the family that was known here is gone
	reopening  bool   // the session was lost, and is to be opened again
	corrupted  bool   // it was said that stored state is corrupt
	owing      bool   // a kept release was put back; not to be hurried
	unknown    int    // replies that nobody knows, to what opens the session, in a row
	backoff    time.Duration

	toldAt   atomic.Int64 // when something was retained last, in Unix milliseconds
	retained retained
	repairs  []retainedHold // to be merged before anything else is sent
	repair   repairTally
	// repairSince is the last batch that Redis had when the repair began.
	repairSince uint64
}

// step is what a lane does next; each is one command.
type step int

const (
	stepOpen         step = iota // open the session, if the family is there
	stepCreateTimers             // it is not, and somebody ensures a tenant
	stepCreateBooks
	stepBatch // send the next batch, or repeat the pending one
)

func newLane(c *Coordinator, root budget.TenantID) *lane {
	keys := layout.KeysOf(c.config.prefix, root)
	return &lane{
		c: c, root: root, keys: keys, booksKey: keys.Books, timersKey: keys.Timers,
		session: newSession(c.node.Load()),
	}
}

// enqueue adds a call, and reports whether the lane must be brought to its shard.
func (l *lane) enqueue(c *call) (start, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return false, false, nil
	}
	if room := l.c.config.perFamily - l.besides(); len(l.queue) >= room && !c.owed {
		l.forgetLeft()
		if len(l.queue) >= room {
			return false, true, ErrOverloaded
		}
	}
	l.queue = append(l.queue, c)
	if start = !l.running; start {
		l.running = true
		l.c.busy.Add(1)
	}
	return start, true, nil
}

// forgetEvery bounds what refusals cost: each search is as long as the queue.
const forgetEvery = 5 * time.Millisecond

// forgetLeft makes room: callers that have left must not keep others out. The lane
// is locked.
func (l *lane) forgetLeft() {
	if at := now(); at.Sub(l.searched) >= forgetEvery {
		waiting := slices.DeleteFunc(l.queue[l.probed:], func(c *call) bool { return c.state.Load() == callLeft })
		l.queue = l.queue[:l.probed+len(waiting)]
		l.searched = at
	}
}

// next returns the command to send now; nil where there is none, since every
// waiting caller has left.
func (l *lane) next() []any {
	switch l.step {
	case stepCreateTimers:
		return []any{"zadd", l.timersKey, "nx", "+inf", layout.Sentinel}
	case stepCreateBooks:
		if l.proposed == "" {
			l.proposed = layout.Incarnation(l.c.config.entropy())
		}
		return []any{"hsetnx", l.booksKey, layout.FamilyField, layout.FamilyText(l.c.config.layouts.Current, l.proposed)}
	case stepOpen:
		l.mu.Lock()
		l.probed = len(l.queue)
		l.mu.Unlock()
		if l.openNumber == 0 {
			// A session that was lost begins anew where it began: Redis never had what
			// followed, and the number says so.
			l.openNumber = l.opened
		}
		if l.openNumber == 0 {
			l.openNumber = l.c.nextNumber()
		}
		return l.command(&l.c.scripts.Open, 1, l.session.nodeText, l.openNumber, l.c.clockText())
	case stepBatch:
		return l.nextBatch()
	}
	return nil
}

func (l *lane) nextBatch() []any {
	if l.sweeping {
		return l.command(&l.c.scripts.Sweep, 2, l.session.family, l.c.clockText(),
			l.c.config.retention.Milliseconds(), l.c.config.retained)
	}
	if l.pending == nil && len(l.repairs) > 0 {
		l.pending = l.gatherRepair()
	} else if l.pending == nil {
		l.pending = l.gather()
	}
	if l.pending == nil {
		return nil
	}
	script := l.c.batchScript.of(&l.c.scripts.Batch)
	switch {
	case l.pending.repair:
		script = l.c.mergeScript.of(&l.c.scripts.Merge)
	case l.pending.short:
		script = l.c.shortScript.of(&l.c.scripts.BatchShortOfMemory)
	}
	args := l.pending.args
	args[0], args[1], args[2] = "evalsha", script.sha, "2"
	if l.useSource {
		args[0], args[1] = "eval", script.source
	}
	args[3], args[4] = l.booksKey, l.timersKey
	return args
}

// scriptArguments are a script's SHA and text as command arguments, which an interface
// takes by an allocation each: they are made once.
type scriptArguments struct {
	once        sync.Once
	sha, source any
}

func (a *scriptArguments) of(script *luascripts.Script) *scriptArguments {
	a.once.Do(func() { a.sha, a.source = script.SHA, script.Source })
	return a
}

// gather makes a batch of what waits, in the order of arrival.
func (l *lane) gather() *batch {
	b := l.spare
	if l.spare = nil; b == nil {
		b = &batch{}
	}
	b = b.again(l.c.nextNumber())
	l.c.telemetry.sent(l.c.ctx, b)
	l.mu.Lock()
	b.calls = slices.Grow(b.calls, min(len(l.queue), luascripts.MaxOperations))
	taken := 0
	for _, c := range l.queue {
		if full := b.add(c, l.session.node); full {
			break
		}
		taken++
	}
	l.queue = slices.Delete(l.queue, 0, taken)
	l.probed, l.flying = 0, len(b.calls)
	l.mu.Unlock()
	if len(b.calls) == 0 {
		l.ended(b, batchUnsent)
		l.spare = b
		return nil
	}
	b.encode(l.session, l.c.clockText(), l.validUntil(), &l.c.config)
	return b
}

// batchValidity is how long a batch may take effect after it was made. What comes
// later is a late duplicate, or stood in a queue for so long that its callers have
// left. It is longer than Redis is ever busy in good health, and the protection of a
// promoted primary from duplicates begins after it.
const batchValidity = 5 * time.Second

// validUntil is batchValidity from now by the family's time, as near as the node
// knows it. Where that is wrong, the refusal tells the right one.
func (l *lane) validUntil() int64 {
	return l.session.time + (l.c.familyTime().Sub(l.session.answeredAt) + batchValidity).Milliseconds()
}

// command builds a script call with few arguments.
func (l *lane) command(script *luascripts.Script, keys int, args ...any) []any {
	name, body, count := "evalsha", script.SHA, "2"
	if l.useSource {
		name, body = "eval", script.Source
	}
	words := make([]any, 0, commandPrefix+len(args))
	if keys == 1 {
		count = "1"
	}
	words = append(words, name, body, count, l.booksKey)
	if keys == 2 {
		words = append(words, l.timersKey)
	}
	return append(words, args...)
}

// again reports whether the lane has more to do, and lets it rest otherwise.
func (l *lane) again() bool {
	if l.c.dead.Load() {
		l.abort()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.c.closed.Load() && l.c.inFlight.Load() == 0 {
		l.queue = nil // whoever is left in it has left
	}
	if l.pending == nil {
		l.flying = 0
	}
	if l.pending != nil || len(l.queue) > 0 || len(l.repairs) > 0 {
		return true
	}
	l.running = false
	defer l.c.busy.Done()
	if l.session.family == "" {
		// Nothing is known of this family, so nothing is lost by forgetting it;
		// else ids that name no tenant would fill the memory.
		l.gone = true
		l.c.drop(l)
	}
	return false
}

// abort ends a lane whose coordinator could not close in time.
func (l *lane) abort() {
	l.failQueue(func(*call) error { return ErrClosed })
	l.repairs = nil
	if b := l.pending; b != nil {
		l.pending = nil
		if b.lost {
			l.ended(b, batchUnknown)
			l.fail(b, func(c *call) error { return &UnknownOutcomeError{ID: c.id, Cause: ErrClosed} })
		} else {
			l.ended(b, batchRefused) // each time that it was sent
			l.fail(b, func(*call) error { return ErrClosed })
		}
	}
	if b := l.superseded; b != nil {
		l.superseded = nil
		l.ended(b, batchUnknown)
		l.fail(b, func(c *call) error { return &UnknownOutcomeError{ID: c.id, Cause: ErrClosed} })
	}
}

// answer tells a caller, and counts the call as resolved. It reports false where
// the caller had left. A kept release is put back instead of failing: while the
// family is there and can be read, what nobody was told of is not left held.
func (l *lane) answer(c *call, a answer) bool {
	if c.kept && a.err != nil {
		if !l.lost && !l.c.dead.Load() && !errors.Is(a.err, ErrCorrupt) && !errors.Is(a.err, ErrLayout) {
			c.state.Store(callQueued)
			l.mu.Lock()
			l.queue = slices.Insert(l.queue, 0, c) // as in releaseAbandoned
			l.mu.Unlock()
			l.owing = true
			return true
		}
		l.c.config.logger.Error("bursar: an abandoned reservation could not be released; it ends at its deadline",
			"reservation", c.id, "error", a.err)
	}
	delivered := c.deliver(a)
	if delivered || c.state.Load() != callLeft { // whoever leaves an unsent call counts it
		l.c.leave() // before the caller is woken, or its next call finds this one waiting still
		if c.unasked {
			l.c.unasked.Add(-1)
		}
	}
	if delivered {
		c.wake()
	}
	return delivered
}

// takeQueue removes the first n waiting calls.
func (l *lane) takeQueue(n int) []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := slices.Clone(l.queue[:n])
	l.queue = slices.Delete(l.queue, 0, n)
	l.probed = 0
	return taken
}

// takeBack returns the calls of a batch that did not take effect to the head of
// the queue, in order, and forgets those whose callers have left: what nobody
// waits for need not happen.
func (l *lane) takeBack(b *batch) {
	if b.repair {
		return
	}
	kept := make([]*call, 0, len(b.calls))
	for _, c := range b.calls {
		if c.unsend() {
			kept = append(kept, c)
		} else {
			l.c.leave()
		}
	}
	l.mu.Lock()
	l.queue = slices.Insert(l.queue, 0, kept...)
	l.mu.Unlock()
}

// ended tells the instruments; whoever is answered afterwards finds it told.
func (l *lane) ended(b *batch, result string) { l.c.telemetry.resolved(l.c.ctx, b, result) }

// fail answers every call of a batch with an error.
func (l *lane) fail(b *batch, reason func(*call) error) {
	if b.repair {
		return // what it was to merge is still to be merged
	}
	for _, c := range b.calls {
		l.answer(c, answer{err: reason(c)})
	}
}

// doubt answers the calls of a batch of which nobody can tell any more whether it
// took effect. What it may hold is released; that is harmless where it does not.
func (l *lane) doubt(b *batch, cause error) {
	l.ended(b, batchUnknown)
	if b.repair {
		return // as in fail
	}
	for _, c := range b.calls {
		id, reserves := c.id, c.reserves()
		l.answer(c, answer{err: &UnknownOutcomeError{ID: id, Cause: cause}})
		if reserves {
			l.releaseAbandoned(id)
		}
	}
}

func (l *lane) failQueue(reason func(*call) error) {
	l.mu.Lock()
	n := len(l.queue)
	l.mu.Unlock()
	for _, c := range l.takeQueue(n) {
		l.answer(c, answer{err: reason(c)})
	}
}
