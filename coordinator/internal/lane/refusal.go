package lane

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Replies that a batch wrote nothing, and the losses that they show.

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

func (l *Lane) corrupt(what string) error {
	return fmt.Errorf("%w: partition %d: %q: run bursar inspect --partition %d", ErrCorrupt, l.index, what, l.index)
}
