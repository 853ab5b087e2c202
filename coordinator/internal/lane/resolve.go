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
		_, err := store.ParseReply(text, len(l.pending.calls), len(l.pending.accounts))
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
	if queued, _ := l.Calls(); queued == 0 || b.repair || l.backlog || l.rebuild != "" || store.AppliedFlags(reply)&^luascripts.FlagWindows != 0 {
		return false
	}
	// Undecided calls and releases that are repeated are queued before all others.
	return !strings.ContainsAny(store.AppliedCodes(reply, len(b.calls)), undecidedCodes) &&
		!slices.ContainsFunc(b.calls, func(c *Call) bool { return c.retried })
}

// undecidedCodes are those of calls that are repeated.
const undecidedCodes = string(luascripts.CodeOverdue) + string(luascripts.CodeWindow) + string(luascripts.CodeLimits)

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
	l.session.last = store.AppliedSession(b.mark, l.session.time, b.more, b.since, b.results(reply))
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
	l.learnLimits(b, &reply)
	for _, c := range b.crossings {
		l.node.config.Logger.Info("bursar: threshold crossed", "tenant", c.Tenant, "limit", c.LimitName(), "percent", c.Percent, "committed", c.Committed, "granted", c.Granted)
		l.node.config.Observer.Crossed(c)
	}
	if b.repair {
		l.mergesApplied(b, answers)
		return
	}
	l.record(b, answers)
	l.deferMissing(b, answers)
	released := 0
	var again []*Call
	var renewals []*Call
	for i, c := range b.calls {
		// Once delivered, the call may already be in use by another caller.
		id, retried, makes := c.id, c.retried, c.properties().makes
		if answers[i].code == luascripts.CodeWindow {
			renewals, answers[i].Err = b.appendRenewals(renewals, &reply, i, &answers[i])
		}
		if answers[i].Err == nil && strings.ContainsRune(undecidedCodes, rune(answers[i].code)) {
			c.deferred = append(c.deferred, attempt{number: b.number, place: uint16(i)})
			again = append(again, c)
			continue
		}
		switch {
		case retried && answers[i].Outcome == budget.Released:
			released++
		case retried && c.kind == luascripts.KindConfigure && answers[i].Outcome != budget.Configured && answers[i].Err == nil:
			l.node.config.Logger.Error("bursar: could not repeat a lost freeze", "tenant", c.tenant, "error", answers[i].Outcome.Err())
		}
		if !l.deliver(c, answers[i]) && makes && answers[i].Outcome == budget.Reserved {
			l.releaseAbandoned(id)
		}
	}
	l.requeueCalls(again)
	for _, c := range renewals {
		l.insist(c)
	}
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

// maxKnownLimits is the number of tenants with limits that a lane knows; beyond it the lane
// learns them again.
const maxKnownLimits = 1 << 16

// learnLimits keeps the limits that a batch lacked, and forgets those that it had and that
// don't exist.
func (l *Lane) learnLimits(b *Batch, r *store.Reply) {
	for _, lacking := range r.Lacking {
		if l.limits == nil || len(l.limits) >= maxKnownLimits {
			l.limits = make(map[budget.TenantID]budget.Periods)
		}
		if lacking.Account >= 0 && lacking.Account < len(b.accounts) {
			l.limits[b.accounts[lacking.Account].Tenant] = lacking.Limits
		}
	}
	for place := 0; b.limited && place < len(b.accounts); place++ {
		id := b.accounts[place]
		if id.Limit == budget.NoPeriod || r.Remaining(place) != store.NoAccount {
			continue
		}
		if rest := l.limits[id.Tenant].Without(id.Limit); rest == 0 {
			delete(l.limits, id.Tenant)
		} else {
			l.limits[id.Tenant] = rest
		}
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

// releaseAbandoned releases a hold before the queued calls, so that a queued Lookup of the
// id finds it released.
func (l *Lane) releaseAbandoned(id budget.ReservationID) {
	l.insist(&Call{kind: luascripts.KindRelease, tenant: id.Tenant(), id: id})
}

// insist queues a call of the node's own before all others, and repeats it until it is
// answered.
func (l *Lane) insist(c *Call) {
	c.done, c.retried, c.internal = make(chan struct{}, 1), true, true
	l.node.internal.Add(1)
	l.node.inFlight.Add(1)
	l.mu.Lock()
	l.queue.pushFront(c)
	l.mu.Unlock()
}
