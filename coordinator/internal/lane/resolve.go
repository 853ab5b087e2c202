package lane

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// A Reply is the reply to a lane's command. Failure is the class of Err.
type Reply struct {
	Value   any
	Text    string // Value, if it is a string
	Err     error
	Failure Failure
	// Early allows the lane to make its next batch before it answers the callers of this
	// one. Call Answer after the next Next, and before the next Handle.
	Early bool
}

// Handle processes the reply to the command that Next returned, and returns the time to
// wait before the next one.
func (l *Lane) Handle(r Reply) time.Duration {
	if r.Err != nil {
		return l.failed(r.Err, r.Failure)
	}
	if !l.readable(r.Text) {
		return l.failed(Unreadable(r.Value), FailureUnknown)
	}
	l.useSource, l.unknown = false, 0
	switch l.phase {
	case opening:
		l.sessionOpened(r.Text)
	case creatingRecord:
		l.phase = checkingRecord
	case checkingRecord:
		l.recordChecked(r.Text)
	case checkingTimers:
		l.timersChecked(r.Value)
	case creatingTimers:
		l.phase = creatingControl
	case creatingControl:
		l.phase = creatingLedger
	case creatingLedger:
		l.phase = opening
	case inFlight, givingUp:
		l.batchReplied(r.Text, r.Early)
	case rebuilding:
		l.rebuilt(r.Text)
	case closing:
		l.closeReplied(r.Text)
	case ready, lost:
	}
	if l.retryLater {
		l.retryLater = false
		return l.nextBackoff()
	}
	l.backoff = 0
	return 0
}

// readable reports whether the command in flight can have this reply.
func (l *Lane) readable(text string) bool {
	word, rest := store.CutWord(text)
	if word == store.WordLayout || word == store.WordCorrupt || word == store.WordNoPartition || word == store.WordPartitions {
		return true
	}
	switch l.phase {
	case opening:
		return word == store.WordOpen
	case inFlight, givingUp:
		switch word {
		case store.WordGap:
			_, err := store.ParseGap(rest)
			return err == nil
		case store.WordIncarnation, store.WordExpired, store.WordStale, store.WordCloned, store.WordNoSession:
			return true
		}
		_, err := store.ParseReply(text, len(l.pending.calls), len(l.pending.tenants))
		return err == nil
	case creatingRecord, checkingRecord, checkingTimers, creatingTimers, creatingControl, creatingLedger, ready, rebuilding, lost, closing:
	}
	return true
}

// Unreadable returns an error that describes a reply which is not an error and which no
// script returns.
func Unreadable(value any) error {
	switch value := value.(type) {
	case nil:
		return errors.New("nil")
	case string:
		return errors.New(value)
	case int64:
		return errors.New(strconv.FormatInt(value, 10))
	case []any:
		return fmt.Errorf("an array of %d", len(value))
	default:
		return errors.New("a reply of another type")
	}
}

func (l *Lane) sessionOpened(reply string) {
	word, rest := store.CutWord(reply)
	switch word {
	case store.WordOpen:
	case store.WordNoPartition:
		l.partitionMissing()
		return
	case store.WordLayout:
		l.failQueue(func(*Call) error { return l.layoutError(rest) })
		return
	case store.WordPartitions:
		l.failQueue(func(*Call) error { return l.partitionsError(rest) })
		return
	default:
		l.failQueue(func(*Call) error { return l.corrupt(reply) })
		return
	}
	o, err := store.ParseOpened(rest)
	if err != nil {
		l.failQueue(func(*Call) error { return l.corrupt(err.Error()) })
		return
	}
	known := l.openNumber
	if l.session.last != "" {
		known = max(known, l.session.last.Number())
	}
	if o.Session.Number() > known || o.Session.State() == luascripts.SessionClosed {
		l.renumber()
		return
	}
	if l.session.header != "" && l.session.header != o.Header {
		l.partitionGone(o.Header)
		l.failQueue(func(*Call) error { return l.recreated() })
		return
	}
	l.session.header, l.timersLeft = o.Header, false
	l.header.Store(&o.Header)
	l.opened = l.openNumber
	l.session.last, l.session.open, l.session.answeredAt = o.Session, true, l.node.partitionClock()
	l.session.time = o.Session.Time()
	l.session.acknowledged = max(l.session.acknowledged, o.Session.Number())
	l.phase, l.openNumber, l.incarnation = ready, 0, ""
	if l.reopening {
		l.reopening = false
		l.node.config.Logger.Info("bursar: session reopened", "partition", l.index, "node", store.HexID(l.session.node))
	}
}

// partitionGone records that the partition is gone, and logs it once. A lane never adopts
// another one in its place. The states that a repair was to restore are lost with it.
func (l *Lane) partitionGone(found string) {
	l.phase = lost
	if l.lossLogged {
		return
	}
	l.lossLogged = true
	l.node.config.Observer.Gap(l.index)
	if len(l.merges) == 0 { // no repair had begun
		l.merges = l.journal.pendingMerges(l.session.time, l.node.config.RepairWindow.Milliseconds(), appliedBatch{node: l.session.node})
	}
	l.node.config.Logger.Error("bursar: partition lost or recreated", "partition", l.index, "known", l.session.header, "found", found,
		"unmerged", len(l.merges), "remedy", "find out what happened to Redis, then restart this node")
	l.merges = nil
}

// partitionMissing handles a partition that doesn't exist. If this node has never used
// it, the calls that were queued when OPEN was sent are answered, unless an ensure of
// their tenant is queued before them, which creates the partition; the reply shows
// nothing about later calls. A partition that this node has used is lost, and is not
// created again.
func (l *Lane) partitionMissing() {
	if l.session.header != "" {
		l.partitionGone("")
		l.failQueue(l.lostPartition)
		return
	}
	var missing []*Call
	ensured := make(map[budget.TenantID]bool)
	l.mu.Lock()
	l.queue.each(func(c *Call) bool {
		root := c.tenant.Root()
		if !c.opening || ensured[root] {
			return false
		}
		if c.ensures() {
			ensured[root] = true
			return false
		}
		missing = append(missing, c)
		return true
	})
	l.mu.Unlock()
	if len(ensured) > 0 {
		l.phase = creatingRecord
	}
	for _, c := range missing {
		outcome := budget.MissingTenant
		switch p := c.properties(); {
		case p.settles:
			outcome = budget.MissingReservation
		case p.names:
			outcome = budget.NotKnown
		}
		l.deliver(c, Answer{Outcome: outcome})
	}
}

// recordChecked creates the partition only if the prefix has as many partitions as the
// node expects: under another number, tenants would have a second account elsewhere.
func (l *Lane) recordChecked(text string) {
	if record, err := store.ParseRecord(text); err == nil && record == l.node.record() {
		l.phase = checkingTimers
		return
	}
	l.phase = opening
	l.failQueue(func(*Call) error {
		return fmt.Errorf("%w: %s is %q, and this node started with %q: restart it, so that it adopts the record",
			ErrLayout, store.RecordKey(l.node.config.Prefix), text, l.node.record())
	})
}

// timersChecked doesn't create a partition if its timers exist without a ledger: the lost
// budgets would be handed out again. Another node may have just created it, so the first
// time the lane looks for the ledger once more.
func (l *Lane) timersChecked(members any) {
	if found, _ := members.([]any); len(found) == 0 {
		l.phase = creatingTimers
		return
	}
	l.phase = opening
	if !l.timersLeft {
		l.timersLeft = true
		return
	}
	l.timersLeft = false
	l.failQueue(func(*Call) error {
		return fmt.Errorf("%w: partition %d has timers (key %s) but no ledger: restore key %s, or delete the timers to start from nothing",
			ErrCorrupt, l.index, l.keys.Timers, l.keys.Ledger)
	})
}

// renumber takes a new node ID because another process uses this one, as after a virtual
// machine was copied.
func (l *Lane) renumber() {
	header := l.session.header
	l.node.config.Logger.Warn("bursar: node ID in use elsewhere", "partition", l.index, "node", store.HexID(l.session.node))
	l.session = l.node.newSession(l.node.renumber(l.session.node))
	l.session.header = header
	l.phase, l.openNumber, l.opened = opening, 0, 0
}

func (l *Lane) batchReplied(reply string, early bool) {
	b := l.pending
	if reply != "" && reply[0] == store.WordApplied {
		l.pending, l.phase = nil, ready
		l.applied(b, reply)
		if given := l.superseded; given != nil {
			// A batch with a higher number was applied, so this one never will be.
			l.superseded = nil
			l.end(given, Refused)
			l.recordAbandoned(given)
			l.fail(given, func(*Call) error { return ErrUnavailable })
		}
		if l.unanswered, l.reply = b, reply; !early || !l.mayWait(b, reply) {
			l.Answer()
		}
		return
	}
	word, rest := store.CutWord(reply)
	if word == store.WordGap {
		l.gapFound(b, rest)
		return
	}
	l.refused(b, word, rest)
}

// mayWait reports whether the next batch may be made before the callers of b are answered:
// there are calls for it, and the reply changes nothing that it depends on.
func (l *Lane) mayWait(b *Batch, reply string) bool {
	if queued, _ := l.Calls(); queued == 0 || b.repair || l.backlog || l.rebuild != "" || store.AppliedFlags(reply) != 0 {
		return false
	}
	// Overdue calls and releases that are repeated are queued before all others.
	return strings.IndexByte(store.AppliedCodes(reply, len(b.calls)), luascripts.CodeOverdue) < 0 &&
		!slices.ContainsFunc(b.calls, func(c *Call) bool { return c.retried })
}

// Answering reports whether there are callers for Answer.
func (l *Lane) Answering() bool { return l.unanswered != nil }

// Answer answers the callers that Handle has left to it. It may be called while the next
// command is in flight.
func (l *Lane) Answer() {
	b := l.unanswered
	if b == nil {
		return
	}
	l.unanswered = nil
	l.resolve(b, l.reply)
	l.reuse(b)
}

// applied advances the session to a batch that was applied.
func (l *Lane) applied(b *Batch, reply string) {
	l.session.time = store.AppliedTime(reply)
	l.session.last = store.AppliedSession(b.mark, l.session.time, b.more, b.since, store.AppliedCodes(reply, len(b.calls)))
	l.session.answeredAt, l.session.acknowledged = l.node.partitionClock(), b.number
	l.alternate = len(b.calls) > 0
	l.lossLogged = false
}

// resolve answers the callers. If a caller has given up, a hold that was made for it is
// released, since no other caller knows it; a hold that it only looked up is not.
func (l *Lane) resolve(b *Batch, text string) {
	answers, reply, damaged, err := b.decode(text)
	if err != nil {
		l.node.config.Logger.Error("bursar: reply cannot be read", "partition", l.index, "error", err)
		l.failUnknown(b, err)
		return
	}
	l.end(b, Applied)
	l.observe(reply.Flags, damaged, answers, b)
	if b.repair {
		l.mergesApplied(b, answers)
		return
	}
	l.record(b, answers)
	l.deferMissing(b, answers)
	released := 0
	var overdue []*Call
	for i, c := range b.calls {
		// Once delivered, the call may already be in use by another caller.
		id, retried, makes := c.id, c.retried, c.properties().makes
		if answers[i].code == luascripts.CodeOverdue {
			c.deferred = append(c.deferred, attempt{number: b.number, place: uint16(i)})
			overdue = append(overdue, c)
			continue
		}
		if retried && answers[i].Outcome == budget.Released {
			released++
		}
		if !l.deliver(c, answers[i]) && makes && answers[i].Outcome == budget.Reserved {
			l.releaseAbandoned(id)
		}
	}
	l.requeueCalls(overdue)
	if released > 0 {
		l.node.config.Observer.Released(released)
		l.node.config.Logger.Info("bursar: released abandoned holds", "partition", l.index, "holds", released)
	}
}

// observe records a backlog, lost timers and damage.
func (l *Lane) observe(flags byte, damaged string, answers []Answer, b *Batch) {
	l.backlog = flags&luascripts.FlagMoreDue != 0
	if flags&luascripts.FlagNotWhole != 0 && l.rebuild == "" {
		l.startRebuild()
		l.node.config.Observer.TimersLost(l.index)
		l.node.config.Logger.Error("bursar: timers lost", "partition", l.index, "key", l.keys.Timers, "remedy", "they are rebuilt; set maxmemory-policy to noeviction")
	}
	for i := range answers {
		if answers[i].code == luascripts.CodeCorrupt && damaged == "" {
			damaged = store.AccountField(b.calls[i].tenant)
		}
	}
	if damaged != "" && damaged != l.damage {
		l.node.config.Logger.Error("bursar: stored state is corrupt", "partition", l.index, "field", strconv.Quote(damaged))
		l.damage = damaged
	}
}

// startRebuild begins a rebuild of the timers, or begins it again. Its ID is new, so that
// a late page of an earlier rebuild is not taken for one of this rebuild.
func (l *Lane) startRebuild() {
	l.rebuild = "0"
	l.rebuildID = nodeText(l.session.node) + nodeText(l.node.nextNumber())
}

// rebuilt handles the reply to a page of a rebuild.
func (l *Lane) rebuilt(reply string) {
	l.phase = ready
	switch word, rest := store.CutWord(reply); word {
	case store.WordNext:
		l.rebuild = rest
	case store.WordAgain:
		l.startRebuild()
	case store.WordDone:
		l.rebuild = ""
		l.node.config.Logger.Info("bursar: timers rebuilt", "partition", l.index)
	default:
		l.rebuild = "" // the next batch returns the error
	}
}

func (l *Lane) releaseAbandoned(id budget.ReservationID) {
	release := &Call{kind: luascripts.KindRelease, tenant: id.Tenant(), id: id, done: make(chan struct{}, 1), retried: true, internal: true}
	l.node.internal.Add(1)
	l.node.inFlight.Add(1)
	l.mu.Lock()
	// Before the queued calls, so that a queued Lookup of the id finds it released.
	l.queue.pushFront(release)
	l.mu.Unlock()
}

// gapFound handles a gap. If the last batch in Redis is the one that was given up, that
// one took effect. If this node never sent it, another process uses the node's ID.
// Otherwise Redis has lost acknowledged writes.
func (l *Lane) gapFound(b *Batch, rest string) {
	g, err := store.ParseGap(rest)
	if err != nil {
		l.refused(b, store.WordGap, rest)
		return
	}
	l.pending, l.phase = nil, ready
	given := l.superseded
	l.superseded = nil
	acknowledged := l.session.acknowledged
	l.session.last = g.Session
	if given != nil && given.mark == g.Session.Mark() {
		l.session.acknowledged = given.number
		l.resolve(given, g.Reply)
		l.recordAbandoned(b)
		l.end(b, Refused)
		l.fail(b, func(*Call) error { return ErrUnavailable })
		return
	}
	// A batch that this node never sent, or a session that this node never closed.
	if g.Session.Number() > acknowledged || g.Session.Number() == acknowledged && g.Session.State() == luascripts.SessionClosed {
		l.cloned(b, given)
		return
	}
	l.lossFound(acknowledged, strconv.FormatUint(g.Session.Number(), 10))
	l.end(b, Lost)
	last := appliedBatch{l.session.node, g.Session, g.Reply}
	if l.node.repairs() {
		l.recordAbandoned(b)
		l.requeue(b)
		l.resolveDeferred(last)
		if given != nil {
			l.end(given, Lost)
			l.recordAbandoned(given)
			l.fail(given, func(*Call) error { return ErrUnavailable })
		}
		l.startRepair(last)
		return
	}
	gap := fmt.Errorf("%w: partition %d has this node's batch %d, and %d was acknowledged; the operation did not take effect", ErrGap, l.index, g.Session.Number(), acknowledged)
	l.fail(b, func(c *Call) error {
		made, late := last.tookEffect(c)
		switch {
		case late && c.properties().makes:
			l.releaseAbandoned(made)
		case late:
			return &UnknownOutcomeError{ID: c.id, Cause: errTookEffectLate}
		}
		return gap
	})
	l.resolveDeferred(last)
	if given != nil {
		l.end(given, Lost)
		l.fail(given, func(*Call) error { return gap })
	}
}

var errTookEffectLate = errors.New("a failover lost its batch, and a late duplicate of the batch was applied")

// resolveDeferred keeps a queued call from taking effect twice. If a late duplicate of the
// batch that put it off has been applied, a hold that it made is released, since the
// repeated reserve makes another; a settlement or a grant is not repeated.
func (l *Lane) resolveDeferred(last appliedBatch) {
	var made []budget.ReservationID
	var done []*Call
	l.mu.Lock()
	l.queue.each(func(c *Call) bool {
		id, late := last.tookEffect(c)
		switch {
		case late && c.properties().makes:
			made = append(made, id)
			return false
		case late:
			done = append(done, c)
		}
		return late
	})
	l.mu.Unlock()
	for _, id := range made {
		l.releaseAbandoned(id)
	}
	for _, c := range done {
		l.deliver(c, Answer{Err: &UnknownOutcomeError{ID: c.id, Cause: errTookEffectLate}})
	}
}

// lossFound reports that Redis has lost acknowledged batches.
func (l *Lane) lossFound(acknowledged uint64, found string) {
	l.node.config.Logger.Error("bursar: Redis lost acknowledged writes", "partition", l.index, "node", store.HexID(l.session.node),
		"last_acknowledged", acknowledged, "last_in_redis", found)
	l.node.config.Observer.Gap(l.index)
	l.node.Failed()
}

// cloned handles a session that another process has advanced under this node's ID: it no
// longer shows whether a batch took effect whose reply was lost.
func (l *Lane) cloned(b, given *Batch) {
	l.renumber()
	if given != nil {
		l.failUnknown(given, ErrUnavailable)
	}
	l.repeat(b)
}

// repeat queues the calls of a batch again if it certainly took no effect.
func (l *Lane) repeat(b *Batch) {
	if b.lost {
		l.failUnknown(b, errors.New("its session was lost with its reply"))
		return
	}
	l.requeue(b)
	l.end(b, Refused)
}

// refused handles the replies that wrote nothing. They prove that this attempt took no
// effect; an earlier one, whose reply was lost, may have.
func (l *Lane) refused(b *Batch, word, rest string) {
	l.pending, l.phase = nil, ready
	given := l.superseded
	l.superseded = nil
	switch word {
	case store.WordNoSession:
		l.sessionMissing(b, given)
		return
	case store.WordExpired:
		l.expired(b, given, rest)
		return
	case store.WordCloned, store.WordStale:
		if word == store.WordCloned {
			b.lost = false // another batch has its number, so it never took effect
		}
		l.cloned(b, given)
		return
	case store.WordNoPartition:
		l.partitionGone("")
		l.end(b, Lost)
		l.fail(b, l.lostPartition)
	case store.WordIncarnation:
		l.partitionGone(rest)
		l.end(b, Lost)
		l.fail(b, func(*Call) error { return l.recreated() })
	case store.WordLayout:
		l.reject(b, l.layoutError(rest))
	case store.WordCorrupt:
		err := l.corrupt(rest)
		if l.damage != rest {
			l.damage = rest
			l.node.config.Logger.Error("bursar: stored state is corrupt", "partition", l.index, "field", strconv.Quote(rest))
		}
		l.reject(b, err)
	default:
		l.failUnknown(b, l.corrupt(fmt.Sprintf("unreadable reply %.60q", word+" "+rest)))
	}
	if given != nil {
		l.failUnknown(given, ErrUnavailable)
	}
}

// expired handles a batch that came too late: it took no effect and never will, nor will
// a batch that was given up before it.
func (l *Lane) expired(b, given *Batch, rest string) {
	if at, err := strconv.ParseInt(rest, 10, 64); err == nil {
		l.session.time, l.session.answeredAt = at, l.node.partitionClock()
	}
	l.end(b, Refused)
	l.recordAbandoned(b)
	l.requeue(b)
	if given != nil {
		l.end(given, Refused)
		l.recordAbandoned(given)
		l.fail(given, func(*Call) error { return ErrUnavailable })
	}
}

// reject answers the calls of a batch that would be refused again.
func (l *Lane) reject(b *Batch, err error) {
	if b.lost {
		l.failUnknown(b, err)
		return
	}
	l.end(b, Refused)
	l.fail(b, func(*Call) error { return err })
}

// sessionRetention is the time for which Redis keeps the session of a silent node, less a
// day for clocks and delays.
const sessionRetention = luascripts.SessionRetentionMS*time.Millisecond - 24*time.Hour

// sessionMissing handles a missing session. Soon after the session's last batch, it was
// lost with acknowledged writes; long after it, the retention has ended. An answer of
// EXPIRED moves the partition's time, but does not prolong the session.
func (l *Lane) sessionMissing(b, given *Batch) {
	acknowledged := l.session.acknowledged
	silent := time.Duration(l.session.time-l.session.last.Time())*time.Millisecond + l.node.partitionClock().Sub(l.session.answeredAt)
	l.phase, l.openNumber, l.session.open = opening, 0, false
	l.reopening = true
	if given != nil {
		l.failUnknown(given, ErrUnavailable)
	}
	if silent > sessionRetention {
		l.repeat(b)
		return
	}
	l.lossFound(acknowledged, "none")
	if l.node.repairs() {
		l.end(b, Lost)
		l.recordAbandoned(b)
		l.requeue(b)
		l.startRepair(appliedBatch{node: l.session.node})
		return
	}
	l.reject(b, fmt.Errorf("%w: partition %d no longer has this node's session, and batch %d was acknowledged; the operation did not take effect", ErrGap, l.index, acknowledged))
}

// lostPartition returns the error of a call to a partition that is gone.
func (l *Lane) lostPartition(c *Call) error {
	if c.kind == luascripts.KindEnsure {
		return l.recreated()
	}
	return fmt.Errorf("%w: partition %d of tenant %q is gone; the operation did not take effect", ErrGap, l.index, c.tenant)
}

func (l *Lane) recreated() error {
	return fmt.Errorf("%w: partition %d, known here as %q: find out what happened to Redis, then restart this node", ErrRecreated, l.index, l.session.header)
}

func (l *Lane) layoutError(layout string) error {
	return fmt.Errorf("%w: partition %d is in layout %s, and this program reads %d: use the program that wrote it, or another prefix", ErrLayout, l.index, layout, luascripts.Layout)
}

func (l *Lane) partitionsError(header string) error {
	return fmt.Errorf("%w: partition %d of %d has the header %q: restart this node, so that it adopts the record", ErrLayout, l.index, l.node.config.Partitions, header)
}

func (l *Lane) corrupt(what string) error {
	return fmt.Errorf("%w: partition %d: %q: run bursar inspect --partition %d", ErrCorrupt, l.index, what, l.index)
}
