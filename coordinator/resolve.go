package coordinator

import (
	"fmt"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/luascripts"
)

// handle takes the reply to the command that next gave, and returns how long to
// wait before the next one. value is nil where Redis answered nil.
func (l *lane) handle(value any, err error) time.Duration {
	if err != nil {
		return l.failed(err)
	}
	l.useSource = false
	l.backoff = 0
	text, _ := value.(string)
	switch l.step {
	case stepProbe:
		l.familyProbed(text, value == nil)
	case stepCreateTimers:
		l.step = stepCreateBooks
	case stepCreateBooks:
		l.step = stepOpen
	case stepOpen:
		l.sessionOpened(text)
	case stepBatch:
		if l.sweeping {
			l.swept(text)
		} else {
			l.batchAnswered(text)
		}
	}
	return 0
}

// familyProbed decides what becomes of the calls that waited when the probe was
// sent; it says nothing about later ones.
func (l *lane) familyProbed(text string, missing bool) {
	if missing {
		l.familyMissing()
		return
	}
	version, incarnation, err := layout.ParseFamily(text)
	switch {
	case err != nil:
		l.failQueue(func(*call) error { return l.corrupt(err.Error()) })
	case version != layout.Version:
		l.failQueue(func(*call) error { return l.layoutError(version) })
	default:
		l.adopt(incarnation)
	}
}

// adopt takes note of the family's incarnation; one that differs from what is
// known is never adopted (S10).
func (l *lane) adopt(incarnation string) {
	if l.session.incarnation != "" && l.session.incarnation != incarnation {
		l.failQueue(func(*call) error { return l.recreated() })
		return
	}
	l.session.incarnation = incarnation
	l.met.Store(&incarnation)
	l.step = stepOpen
}

// familyMissing answers for a family that was never met here; only an ensure
// creates it. A family that was met is lost, and is not created again.
func (l *lane) familyMissing() {
	if l.session.incarnation != "" {
		l.failQueue(l.lostFamily)
		return
	}
	l.mu.Lock()
	ensure := 0
	for ensure < l.probed && l.queue[ensure].kind != luascripts.KindEnsure {
		ensure++
	}
	l.mu.Unlock()
	if ensure < l.probed {
		l.step = stepCreateTimers
	}
	for _, c := range l.takeQueue(ensure) {
		outcome := budget.MissingTenant
		if c.settles() {
			outcome = budget.MissingReservation
		}
		c.deliver(answer{outcome: outcome})
		l.c.leave()
	}
}

func (l *lane) sessionOpened(reply string) {
	word, words, _ := strings.Cut(reply, " ")
	switch word {
	case luascripts.Opened:
	case luascripts.NoFamily:
		l.step = stepProbe
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
	if o.last > l.openNumber {
		l.renumber()
		return
	}
	l.adopt(o.incarnation)
	if l.session.incarnation == o.incarnation {
		l.session.last, l.session.open, l.session.answeredAt = o.last, true, l.c.familyTime()
		l.step, l.openNumber, l.proposed = stepBatch, 0, ""
	}
}

// renumber takes a new node number: another process uses this one, as after a
// virtual machine was copied.
func (l *lane) renumber() {
	incarnation := l.session.incarnation
	l.session = newSession(l.c.renumber(l.session.node))
	l.session.incarnation = incarnation
	l.step, l.openNumber = stepOpen, 0
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
		l.session.last, l.session.answeredAt = b.number, l.c.familyTime()
		if given := l.superseded; given != nil {
			// A higher number was applied without it, so it never will be.
			l.superseded = nil
			l.fail(given, func(*call) error { return ErrUnavailable })
		}
		l.resolve(b, reply)
	case luascripts.More:
		l.sweeping = true
	case luascripts.Gap:
		l.gapFound(b, words)
	default:
		l.refused(b, word, words)
	}
}

// resolve tells the callers. A reserve whose caller has left is released: nobody
// else will ever know of it.
func (l *lane) resolve(b *batch, reply string) {
	answers, err := b.decode(reply)
	if err != nil {
		l.c.config.logger.Error("bursar: a batch took effect and its reply cannot be read", "family", l.root, "error", err)
		l.fail(b, func(c *call) error { return &UnknownOutcomeError{ID: c.id, Cause: err} })
		return
	}
	for i, c := range b.calls {
		// After deliver the call may be another caller's already.
		id, outcome := c.id, answers[i].outcome
		if !c.deliver(answers[i]) && outcome == budget.Reserved {
			l.releaseAbandoned(id)
		}
		l.c.leave()
	}
}

func (l *lane) releaseAbandoned(id budget.ReservationID) {
	release := &call{kind: luascripts.KindRelease, tenant: id.Tenant(), id: id, done: make(chan struct{}, 1)}
	l.c.enter()
	l.mu.Lock()
	l.queue = append(l.queue, release)
	l.mu.Unlock()
}

// gapFound looks for every unresolved number first (S8): where the last batch
// that Redis has is the one that was given up, it took effect. Else Redis has
// lost writes that it had acknowledged.
func (l *lane) gapFound(b *batch, words string) {
	g, err := parseGap(words)
	if err != nil {
		l.refused(b, luascripts.Corrupt, err.Error())
		return
	}
	l.pending = nil
	given := l.superseded
	l.superseded = nil
	lastKnown := l.session.last
	l.session.last = g.last
	if given != nil && given.number == g.last && given.digest == g.digest {
		l.resolve(given, g.reply)
		l.fail(b, func(*call) error { return ErrUnavailable })
		return
	}
	l.c.config.logger.Error("bursar: Redis lost acknowledged writes", "family", l.root, "node", l.session.nodeText,
		"last_acknowledged", lastKnown, "last_in_redis", g.last)
	lost := fmt.Errorf("%w: family %q is at this node's batch %d, and %d was acknowledged; the operation did not take effect", ErrGap, l.root, g.last, lastKnown)
	l.fail(b, func(*call) error { return lost })
	if given != nil {
		l.fail(given, func(*call) error { return lost })
	}
}

// refused handles the replies that wrote nothing, so the batch took no effect.
func (l *lane) refused(b *batch, word, words string) {
	l.pending = nil
	if given := l.superseded; given != nil {
		l.superseded = nil
		l.fail(given, func(*call) error { return ErrUnavailable })
	}
	switch word {
	case luascripts.NoSession:
		l.sessionMissing(b)
	case luascripts.Cloned, luascripts.Stale:
		l.c.config.logger.Warn("bursar: another process uses this node's number; taking a new one", "family", l.root, "node", l.session.nodeText)
		l.takeBack(b)
		l.renumber()
	case luascripts.NoFamily:
		l.fail(b, l.lostFamily)
	case luascripts.Incarnation:
		l.fail(b, func(*call) error { return l.recreated() })
	case luascripts.Layout:
		l.fail(b, func(*call) error { return l.layoutError(words) })
	default:
		err := l.corrupt(strings.TrimSpace(word + " " + words))
		l.c.config.logger.Error("bursar: stored state is corrupt", "family", l.root, "error", err)
		l.fail(b, func(*call) error { return err })
	}
}

// sessionMissing: soon after Redis answered, the session was lost with what it
// had acknowledged; long after, it went by its retention (S10).
func (l *lane) sessionMissing(b *batch) {
	l.step, l.openNumber, l.session.open = stepOpen, 0, false
	if l.c.familyTime().Sub(l.session.answeredAt) > sessionRetention {
		l.takeBack(b)
		return
	}
	l.c.config.logger.Error("bursar: Redis lost acknowledged writes", "family", l.root, "node", l.session.nodeText,
		"last_acknowledged", l.session.last, "last_in_redis", "none")
	lost := fmt.Errorf("%w: family %q no longer knows this node, whose batch %d was acknowledged; the operation did not take effect", ErrGap, l.root, l.session.last)
	l.fail(b, func(*call) error { return lost })
}

// lostFamily is what a call hears of a family that was there and is not.
func (l *lane) lostFamily(c *call) error {
	if c.kind == luascripts.KindEnsure {
		return l.recreated()
	}
	return fmt.Errorf("%w: family %q is gone; the operation did not take effect", ErrGap, l.root)
}

func (l *lane) recreated() error {
	return fmt.Errorf("%w: %q, known here as %s; look at what happened to Redis, then restart this node", ErrRecreated, l.root, l.session.incarnation)
}

func (l *lane) layoutError(version string) error {
	return fmt.Errorf("%w: family %q is stored in layout %s, and this program knows %s: upgrade it", ErrLayout, l.root, version, layout.Version)
}

func (l *lane) corrupt(what string) error {
	return fmt.Errorf("%w: %s: %s", ErrCorrupt, l.keys.Books, what)
}
