package lane

import (
	"fmt"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Repair: when Redis has lost acknowledged writes, each node restores those that were
// acknowledged to it (PROTOCOL.md, Repair). A lane records acknowledgements in its
// journal, and after a gap merges the lost ones, in numbered batches, before it sends
// anything else.

// record adds the results of a batch to the journal.
func (l *Lane) record(b *Batch, answers []Answer) {
	if !l.node.repairs() {
		return
	}
	at, added, changed := b.appliedAt, 0, false
	for i, c := range b.calls {
		p, done := c.properties(), attempt{b.number, uint16(i), answers[i].code}
		keep := func(id budget.ReservationID, s state) {
			s.at = at
			s.acknowledged(done)
			l.journal.record(id, s)
			added++
		}
		switch a := answers[i]; {
		case a.Outcome == budget.Reserved && p.makes:
			s := state{state: luascripts.HoldOpen, amount: c.amount, levels: a.levels}
			if ttl := l.node.ttlOf(c); ttl > 0 {
				s.until = at + ttl
			}
			keep(c.id, s)
		case a.Outcome == budget.Released && p.settles:
			keep(c.id, state{state: luascripts.HoldReleased, amount: a.Returned, levels: a.levels})
		case a.Outcome == budget.Committed && p.settles:
			if c.kind == luascripts.KindCommitAvailable {
				done.code = 0 // it doesn't show the amount, so no late duplicate repeats it
			}
			keep(c.id, state{state: luascripts.HoldCommitted, amount: a.Actual, levels: a.levels})
		case a.Outcome == budget.Configured && c.change.IsZero():
		case a.Outcome == budget.Created, a.Outcome == budget.Granted, a.Outcome == budget.Withdrawn, a.Outcome == budget.Configured:
			l.journal.changes = append(l.journal.changes, changeRecord{done, c.deferred, a.Outcome.String(), c.tenant, c.amount, c.change, at})
			changed = true
		}
	}
	if added > 0 || changed {
		l.acknowledged.Store(l.node.config.Now().UnixMilli())
	}
	l.enforceLimit(added, at)
}

// enforceLimit keeps the journals of all lanes within their limit.
func (l *Lane) enforceLimit(added int, at int64) {
	limit := int64(l.node.config.RepairBytes / stateBytes)
	must := 0
	if l.node.recorded.Add(int64(added)) > limit && !l.node.evictIdle(limit) {
		must = added
	}
	evicted, early := l.journal.evict(at, l.node.config.RepairWindow.Milliseconds(), must)
	l.node.recorded.Add(-int64(evicted))
	if early > 0 {
		l.node.config.Observer.Evicted(early)
	}
}

// evictIdle clears the journals of lanes that have been idle for longer than the window,
// at most once a second. It reports whether there is room now.
func (n *Node) evictIdle(limit int64) bool {
	at := n.config.Now().UnixMilli()
	last := n.evicted.Load()
	if at-last < time.Second.Milliseconds() || !n.evicted.CompareAndSwap(last, at) {
		return false
	}
	dropped := 0
	for _, l := range n.lanes {
		if l.acknowledged.Load() < at-n.config.RepairWindow.Milliseconds() {
			l.mu.Lock()
			if !l.running { // else the journal belongs to the goroutine that runs the lane
				dropped += l.journal.states
				l.journal = journal{}
			}
			l.mu.Unlock()
		}
	}
	return n.recorded.Add(int64(-dropped)) <= limit
}

func (n *Node) ttlOf(c *Call) int64 {
	if c.kind == luascripts.KindReserveTTL {
		return c.holdTTL.Milliseconds()
	}
	return n.config.Store.HoldTTL
}

// deferMissing replaces the answer for a missing reservation by ErrGap if the batch that
// made it is missing too and something has failed within the repair window: a failover
// may have lost it, and its node may be about to restore it. Otherwise it never existed.
// The node's own release of an abandoned hold is complete if the hold is missing.
func (l *Lane) deferMissing(b *Batch, answers []Answer) {
	for i, c := range b.calls {
		if answers[i].code == luascripts.CodeLost && !c.retried && l.node.failedWithin(l.node.config.RepairWindow) {
			answers[i] = Answer{Err: fmt.Errorf("%w: reservation %s not found, and the batch that made it is missing too; its node restores it if it is alive: retry", ErrGap, c.id)}
		}
	}
}

// recordAbandoned records the reserves of a batch as released, so that a repair undoes a
// late duplicate of the batch that reaches a promoted replica. The levels that the
// duplicate debits are those of its hold; without a hold, a release moves nothing.
func (l *Lane) recordAbandoned(b *Batch) {
	if !l.node.repairs() {
		return
	}
	added := 0
	for _, c := range b.calls {
		if c.properties().makes && !c.id.IsZero() {
			l.journal.record(c.id, state{state: luascripts.HoldReleased, amount: c.amount, at: l.session.time, number: b.number, levels: store.AllLevels})
			added++
		}
	}
	l.enforceLimit(added, l.session.time)
}

// startRepair collects the lost acknowledgements: those of batches beyond the session
// that Redis has, "" for none, and those of its last batch that differ from the stored
// reply. Changes of accounts aren't states: see findLostChanges.
func (l *Lane) startRepair(last appliedBatch) {
	l.merges = l.journal.pendingMerges(l.session.time, l.node.config.RepairWindow.Milliseconds(), last)
	if l.repairSince = 0; last.session != "" {
		l.repairSince = last.session.Since()
		if l.journal.diverged(last) {
			l.repairSince = min(l.repairSince, last.session.Number()-1)
		}
	}
	l.findLostChanges(last)
	l.repaired = repairTally{}
	l.node.ProbeAll()
}

// findLostChanges reports the lost changes of budgets and settings, since only their callers
// may repeat them. A lost freeze or close is repeated, unless this node has unfrozen the
// account since; a lost unfreeze is not: an account that may be frozen stays frozen.
func (l *Lane) findLostChanges(last appliedBatch) {
	var lost []changeRecord
	stopped := make(map[budget.TenantID]*budget.Change)
	kept := l.journal.changes[:0]
	for _, g := range l.journal.changes {
		has := last.hasChange(&g)
		if has {
			kept = append(kept, g)
		} else {
			lost = append(lost, g)
		}
		switch {
		case g.resumes() && stopped[g.tenant] != nil && !stopped[g.tenant].SetClosed:
			delete(stopped, g.tenant)
		case g.stops() && !has && (stopped[g.tenant] == nil || !stopped[g.tenant].SetClosed):
			stopped[g.tenant] = g.change
		}
	}
	l.journal.changes = kept
	for _, g := range lost {
		switch {
		case g.stops() && stopped[g.tenant] == g.change:
			l.node.config.Logger.Warn("bursar: repeating a lost freeze", "tenant", g.tenant)
			l.insist(&Call{kind: luascripts.KindConfigure, tenant: g.tenant, change: g.change})
		case g.stops() && stopped[g.tenant] != nil: // the later one is repeated
		case g.verb == budget.Configured.String():
			l.node.config.Logger.Error("bursar: Redis lost a change of settings", "tenant", g.tenant, "remedy", "repeat it by hand")
		default:
			l.node.config.Logger.Error("bursar: Redis lost a grant", "tenant", g.tenant, "lost", g.verb, "amount", g.amount, "remedy", "repeat it by hand")
		}
	}
}

// repairTally counts the results of a repair.
type repairTally struct {
	merged, conflicts, unmerged int
}

// gatherMerges makes a batch of the next merges.
func (l *Lane) gatherMerges() *Batch {
	b := (&Batch{}).reset(l.node.nextNumber())
	b.repair, b.since, b.known = true, l.repairSince, l.limits
	l.node.config.Observer.BatchSent(b)
	for _, m := range l.merges {
		if b.add(m.call(), l.session.node) {
			break
		}
	}
	b.more = len(b.calls) < len(l.merges)
	l.encode(b)
	return b
}

// mergesApplied handles the results of a batch of merges.
func (l *Lane) mergesApplied(b *Batch, answers []Answer) {
	for i, c := range b.calls {
		s := l.merges[i].state
		s.acknowledged(attempt{b.number, uint16(i), answers[i].code})
		l.journal.record(c.id, s)
		switch answers[i].code {
		case luascripts.CodeAsHigh:
		case luascripts.CodeMergedOver:
			l.repaired.conflicts++
			l.node.config.Logger.Warn("bursar: repair overrode another settlement", "reservation", c.id, "amount", s.amount)
			l.repaired.merged++
		case luascripts.CodeMerged:
			l.repaired.merged++
		default:
			l.repaired.unmerged++
			l.node.config.Logger.Error("bursar: could not restore reservation",
				"reservation", c.id, "state", string(s.state), "amount", s.amount, "reason", unmergedReason(answers[i].code))
		}
	}
	l.enforceLimit(len(b.calls), b.appliedAt)
	if l.merges = l.merges[len(b.calls):]; len(l.merges) == 0 {
		l.node.config.Observer.Repaired(l.repaired.merged, l.repaired.unmerged)
		l.node.config.Logger.Warn("bursar: repair complete", "partition", l.index,
			"merged", l.repaired.merged, "conflicts", l.repaired.conflicts, "unmerged", l.repaired.unmerged)
	}
}

func unmergedReason(code byte) string {
	switch code {
	case luascripts.CodeNoTenant:
		return "its tenant is missing"
	case luascripts.CodeForgotten:
		return "it has ended since, and its end is forgotten"
	case luascripts.CodeOverflow:
		return "a sum would overflow"
	case luascripts.CodeCorrupt:
		return "its account or its hold is corrupt"
	default:
		return fmt.Sprintf("unknown code %q", code)
	}
}
