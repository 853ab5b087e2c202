package coordinator

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// handle takes the reply to the command that next gave, and returns how long to
// wait before the next one.
func (l *lane) handle(value any, err error) time.Duration {
	if err != nil {
		return l.failed(err)
	}
	text, _ := value.(string)
	if !l.readable(text) {
		return l.failed(unreadable(value))
	}
	l.useSource, l.unknown = false, 0
	switch l.step {
	case stepOpen:
		l.sessionOpened(text)
	case stepCreateTimers:
		l.step = stepCreateBooks
	case stepCreateBooks:
		l.step = stepOpen
	case stepBatch:
		if l.sweeping {
			l.swept(text)
		} else {
			l.batchAnswered(text)
		}
	}
	if l.owing {
		l.owing = false
		return l.backOff()
	}
	l.backoff = 0
	return 0
}

// readable reports whether a script replies so to what the lane has sent.
func (l *lane) readable(text string) bool {
	if l.step == stepCreateTimers || l.step == stepCreateBooks {
		return true // numbers
	}
	word, words, _ := strings.Cut(text, " ")
	switch word {
	case luascripts.Layout, luascripts.Corrupt, luascripts.NoFamily:
		return true
	case luascripts.Opened:
		return l.step == stepOpen
	case luascripts.Incarnation:
		return l.step == stepBatch
	case luascripts.Swept:
		return l.step == stepBatch && l.sweeping
	case luascripts.Gap:
		_, err := parseGap(words)
		return l.step == stepBatch && !l.sweeping && err == nil
	case luascripts.Applied, luascripts.More, luascripts.Expired, luascripts.Stale, luascripts.Cloned, luascripts.NoSession:
		return l.step == stepBatch && !l.sweeping
	default:
		return false
	}
}

// adopt takes note of the family's incarnation; one that differs from what is
// known is never adopted (S10).
func (l *lane) adopt(family string) {
	if l.session.family != "" && l.session.family != family {
		l.familyGone()
		l.failQueue(func(*call) error { return l.recreated() })
		return
	}
	l.session.family = family
	l.met.Store(&family)
}

// familyGone notes, once, that the family that was known here is not there.
func (l *lane) familyGone() {
	if !l.lost {
		l.lost = true
		l.c.telemetry.gaps.Add(l.c.ctx, 1)
		l.c.config.logger.Error("bursar: a family that this node knows was lost or created anew; its calls fail until the node is restarted",
			"family", l.root, "incarnation", l.session.incarnation())
	}
}

// familyMissing answers for a family that was never met here, those calls that
// waited when it was asked for; it says nothing about later ones. Only an ensure
// creates a family. One that was met is lost, and is not created again.
func (l *lane) familyMissing() {
	if l.session.family != "" {
		l.familyGone()
		l.failQueue(l.lostFamily)
		return
	}
	l.mu.Lock()
	ensure := 0
	for ensure < l.probed && !l.queue[ensure].ensures() {
		ensure++
	}
	if ensure < l.probed {
		l.step = stepCreateTimers
	}
	l.mu.Unlock()
	for _, c := range l.takeQueue(ensure) {
		outcome := budget.MissingTenant
		switch {
		case c.settles():
			outcome = budget.MissingReservation
		case c.names():
			outcome = budget.NotKnown
		}
		l.answer(c, answer{outcome: outcome})
	}
}

func (l *lane) sessionOpened(reply string) {
	word, words, _ := strings.Cut(reply, " ")
	switch word {
	case luascripts.Opened:
	case luascripts.NoFamily:
		l.familyMissing()
		return
	case luascripts.Layout:
		l.failQueue(func(*call) error { return l.layoutError(words) })
		return
	default:
		l.failQueue(func(*call) error { return l.corrupt(words) })
		return
	}
	o, err := parseOpened(words)
	if err != nil {
		l.failQueue(func(*call) error { return l.corrupt(err.Error()) })
		return
	}
	if o.last.number > max(l.openNumber, l.session.applied.number) {
		l.renumber()
		return
	}
	l.adopt(o.family)
	if l.session.family == o.family {
		l.opened = l.openNumber
		l.session.applied, l.session.open, l.session.answeredAt = o.last, true, l.c.familyTime()
		l.session.time = o.time
		l.step, l.openNumber, l.proposed = stepBatch, 0, ""
		if l.reopening {
			l.reopening = false
			l.c.config.logger.Info("bursar: the node's session was opened again", "family", l.root, "node", l.session.nodeText)
		}
	}
}

// renumber takes a new node number: another process uses this one, as after a
// virtual machine was copied.
func (l *lane) renumber() {
	family := l.session.family
	l.c.config.logger.Warn("bursar: another process uses this node's number; taking a new one", "family", l.root, "node", l.session.nodeText)
	if l.first != nil {
		l.session = newSession(l.c.renumberSecond(l.session.node))
	} else {
		l.session = newSession(l.c.renumber(l.session.node))
	}
	l.session.family = family
	l.step, l.openNumber, l.opened = stepOpen, 0, 0
}

func (l *lane) swept(reply string) {
	word, words, _ := strings.Cut(reply, " ")
	if word == luascripts.Swept {
		l.sweeping = words != "0"
		return
	}
	l.sweeping = false
	l.refused(l.pending, word, words)
}

func (l *lane) batchAnswered(reply string) {
	b := l.pending
	word, words, _ := strings.Cut(reply, " ")
	switch word {
	case luascripts.Applied:
		l.pending = nil
		l.tookEffect(b, words)
		if given := l.superseded; given != nil {
			// A higher number was applied without it, so it never will be.
			l.superseded = nil
			l.ended(given, batchRefused)
			l.giveUpIDs(given)
			l.fail(given, func(*call) error { return ErrUnavailable })
		}
		l.resolve(b, reply)
		if !b.left {
			l.spare = b
		}
	case luascripts.More:
		l.sweeping = true
	case luascripts.Gap:
		l.gapFound(b, words)
	default:
		l.refused(b, word, words)
	}
}

// keptWhole is of how many calls a batch and its reply may stay in memory for the sake
// of the session's text, which is a part of them.
const keptWhole = 4

// tookEffect moves the session to a batch that was applied.
func (l *lane) tookEffect(b *batch, words string) {
	l.corrupted = false
	_, rest, _ := strings.Cut(words, " ") // the codes
	at, _, _ := strings.Cut(rest, " ")
	l.session.applied = applied{b.number, b.mark + b.behind, at}
	if len(b.calls) > keptWhole {
		l.session.applied.mark, l.session.applied.when = strings.Clone(b.mark+b.behind), strings.Clone(at)
	}
	l.session.answeredAt = l.c.familyTime()
	l.session.time, _ = strconv.ParseInt(at, 10, 64) // decode tells of what cannot be read
}

// resolve tells the callers. A reserve whose caller has left is released: nobody
// else will ever know of it. Not so a hold that was only looked up.
func (l *lane) resolve(b *batch, reply string) {
	answers, err := b.decode(reply)
	if err == nil {
		l.ended(b, batchApplied)
	} else {
		l.c.config.logger.Error("bursar: a batch took effect and its reply cannot be read", "family", l.root, "error", err)
		l.doubt(b, err)
		return
	}
	if b.repair {
		l.repaired(b, answers)
		return
	}
	l.retain(b, answers)
	l.doubtMissing(b, answers)
	released := int64(0)
	for i, c := range b.calls {
		id, kept, reserves := c.id, c.kept, c.reserves() // after the answer the call may be another caller's already
		if kept && answers[i].outcome == budget.Released {
			released++
		}
		if !l.answer(c, answers[i]) && reserves && answers[i].outcome == budget.Reserved {
			l.releaseAbandoned(id)
		}
	}
	if released > 0 {
		l.c.telemetry.abandoned.Add(l.c.ctx, released)
		l.c.config.logger.Info("bursar: released holds that nobody was told of", "family", l.root, "holds", released)
	}
}

func (l *lane) releaseAbandoned(id budget.ReservationID) {
	release := &call{kind: luascripts.KindRelease, tenant: id.Tenant(), id: id, done: make(chan struct{}, 1), kept: true, unasked: true}
	l.c.unasked.Add(1)
	l.c.enter()
	l.mu.Lock()
	// Before what waits, so that a Lookup of the id, made by now, sees it released.
	l.queue = slices.Insert(l.queue, 0, release)
	l.mu.Unlock()
}

// gapFound looks for every unresolved number first (S8): where the last batch
// that Redis has is the one that was given up, it took effect. Else Redis has
// lost writes that it had acknowledged.
func (l *lane) gapFound(b *batch, words string) {
	g, _ := parseGap(words) // it is readable
	l.pending = nil
	given := l.superseded
	l.superseded = nil
	lastKnown := l.session.applied.number
	l.session.applied = g.last
	if given != nil && given.number == g.last.number && given.digest == g.digest {
		l.resolve(given, g.reply)
		l.giveUpIDs(b)
		l.ended(b, batchRefused)
		l.fail(b, func(*call) error { return ErrUnavailable })
		return
	}
	if g.last.number > lastKnown { // a batch that this node never sent
		l.cloned(b, given)
		return
	}
	l.c.config.logger.Error("bursar: Redis lost acknowledged writes", "family", l.root, "node", l.session.nodeText,
		"last_acknowledged", lastKnown, "last_in_redis", g.last.number)
	l.c.telemetry.gaps.Add(l.c.ctx, 1)
	l.c.failedAt.Store(l.c.config.now().UnixMilli())
	l.ended(b, batchLost)
	if l.c.config.repairs() {
		l.giveUpIDs(b)
		l.takeBack(b)
		if given != nil {
			l.ended(given, batchLost)
			l.giveUpIDs(given)
			l.fail(given, func(*call) error { return ErrUnavailable })
		}
		l.startRepair(g.last, g.reply)
		return
	}
	lost := fmt.Errorf("%w: family %q is at this node's batch %d, and %d was acknowledged; the operation did not take effect", ErrGap, l.root, g.last.number, lastKnown)
	l.fail(b, func(*call) error { return lost })
	if given != nil {
		l.ended(given, batchLost)
		l.fail(given, func(*call) error { return lost })
	}
}

// cloned: another process has gone on under this node's number, so the session
// can no longer tell what became of a batch whose reply was lost.
func (l *lane) cloned(b, given *batch) {
	l.renumber()
	if given != nil {
		l.doubt(given, ErrUnavailable)
	}
	l.repeat(b)
}

// repeat sends the calls of a batch once more where it certainly took no effect.
func (l *lane) repeat(b *batch) {
	if b.lost {
		l.doubt(b, errors.New("its session was lost with its reply"))
		return
	}
	l.takeBack(b)
	l.ended(b, batchRefused)
}

// refused handles the replies that wrote nothing. They say for certain that this
// attempt took no effect; an earlier one, whose reply was lost, may have.
func (l *lane) refused(b *batch, word, words string) {
	l.pending = nil
	given := l.superseded
	l.superseded = nil
	switch word {
	case luascripts.NoSession:
		l.sessionMissing(b, given)
		return
	case luascripts.Expired:
		l.expired(b, given, words)
		return
	case luascripts.Cloned, luascripts.Stale:
		if word == luascripts.Cloned {
			b.lost = false // its number is another batch's, for good
		}
		l.cloned(b, given)
		return
	case luascripts.NoFamily:
		l.familyGone()
		l.ended(b, batchLost)
		l.fail(b, l.lostFamily)
	case luascripts.Incarnation:
		l.familyGone()
		l.ended(b, batchLost)
		l.fail(b, func(*call) error { return l.recreated() })
	case luascripts.Layout:
		l.reject(b, l.layoutError(words))
	case luascripts.Corrupt:
		err := l.corrupt(words)
		if !l.corrupted {
			l.corrupted = true
			l.c.config.logger.Error("bursar: stored state is corrupt", "family", l.root, "error", err)
		}
		l.reject(b, err)
	}
	if given != nil {
		l.doubt(given, ErrUnavailable)
	}
}

// expired: the batch took no effect and never will, nor will one that was given up
// before it.
func (l *lane) expired(b, given *batch, words string) {
	if at, err := strconv.ParseInt(words, 10, 64); err == nil {
		l.session.time, l.session.answeredAt = at, l.c.familyTime()
	}
	l.ended(b, batchRefused)
	l.giveUpIDs(b)
	l.takeBack(b)
	if given != nil {
		l.ended(given, batchRefused)
		l.giveUpIDs(given)
		l.fail(given, func(*call) error { return ErrUnavailable })
	}
}

// reject answers the calls of a batch that is refused as it is.
func (l *lane) reject(b *batch, err error) {
	if b.lost {
		l.doubt(b, err)
		return
	}
	l.ended(b, batchRefused)
	l.fail(b, func(*call) error { return err })
}

// sessionMissing: soon after Redis answered, the session was lost with what it
// had acknowledged; long after, it went by its retention (S10).
func (l *lane) sessionMissing(b, given *batch) {
	l.step, l.openNumber, l.session.open = stepOpen, 0, false
	l.reopening = true
	if given != nil {
		l.doubt(given, ErrUnavailable)
	}
	if l.c.familyTime().Sub(l.session.answeredAt) > sessionRetention {
		l.repeat(b)
		return
	}
	l.c.config.logger.Error("bursar: Redis lost acknowledged writes", "family", l.root, "node", l.session.nodeText,
		"last_acknowledged", l.session.applied.number, "last_in_redis", "none")
	l.c.telemetry.gaps.Add(l.c.ctx, 1)
	l.c.failedAt.Store(l.c.config.now().UnixMilli())
	if l.c.config.repairs() {
		l.ended(b, batchLost)
		l.giveUpIDs(b)
		l.takeBack(b)
		l.startRepair(applied{}, "")
		return
	}
	l.reject(b, fmt.Errorf("%w: family %q no longer knows this node, whose batch %d was acknowledged; the operation did not take effect", ErrGap, l.root, l.session.applied.number))
}

// lostFamily is what a call hears of a family that was there and is not.
func (l *lane) lostFamily(c *call) error {
	if c.kind == luascripts.KindEnsure {
		return l.recreated()
	}
	return fmt.Errorf("%w: family %q is gone; the operation did not take effect", ErrGap, l.root)
}

func (l *lane) recreated() error {
	return fmt.Errorf("%w: %q, known here as %s; look at what happened to Redis, then restart this node", ErrRecreated, l.root, l.session.incarnation())
}

func (l *lane) layoutError(version string) error {
	return fmt.Errorf("%w: family %q is stored in layout %s, and this program knows %s: upgrade it", ErrLayout, l.root, version, l.c.config.layouts)
}

func (l *lane) corrupt(what string) error {
	return fmt.Errorf("%w: family %q: %s", ErrCorrupt, l.root, what)
}
