package lane

import (
	"fmt"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Opening a session, and creating a partition.

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

// lostPartition returns the error of a call to a partition that is gone.
func (l *Lane) lostPartition(c *Call) error {
	if c.properties().creates {
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
