package coordinator

import (
	"fmt"
	"strconv"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// Repair: when Redis has lost writes that it had acknowledged, each node that was
// told of them tells Redis again (PROTOCOL.md, R1 to R8). A lane retains what it
// was told, and after a gap merges all of it, in numbered batches, before it sends
// anything else.

// repairs reports whether the coordinator keeps what a repair needs.
func (c *config) repairs() bool { return c.repairWindow > 0 }

// retain notes what a batch came to.
func (l *lane) retain(b *batch, answers []answer) {
	if !l.c.config.repairs() {
		return
	}
	at, window := b.appliedAt, l.c.config.repairWindow.Milliseconds()
	added := 0
	keep := func(id budget.ReservationID, h retainedHold) {
		l.retained.keep(id, h)
		added++
	}
	for i, c := range b.calls {
		switch a := answers[i]; {
		case a.outcome == budget.Reserved && c.reserves():
			h := retainedHold{state: stateOpen, amount: c.amount, at: at, number: b.number}
			if ttl := l.c.ttlOf(c); ttl > 0 {
				h.until = at + ttl
			}
			keep(c.id, h)
		case a.outcome == budget.Released && c.settles():
			keep(c.id, retainedHold{state: stateReleased, amount: a.returned, at: at, number: b.number})
		case a.outcome == budget.Committed && c.settles():
			keep(c.id, retainedHold{state: stateCommitted, amount: a.actual, at: at, number: b.number})
		case a.outcome == budget.Created, a.outcome == budget.Granted, a.outcome == budget.Withdrawn:
			l.retained.grants = append(l.retained.grants, retainedGrant{b.number, a.outcome.String(), c.tenant, c.amount, at})
		}
	}
	if added > 0 {
		l.toldAt.Store(l.c.config.now().UnixMilli())
	}
	l.account(added, at, window)
}

// account keeps what all lanes retain within its bound.
func (l *lane) account(added int, at, window int64) {
	full := l.c.retained.Add(int64(added)) > int64(l.c.config.repairBytes/retainedBytes) && !l.c.forgetIdle()
	must := 0
	if full {
		must = added
	}
	gone, early := l.retained.forget(at, window, must)
	l.c.retained.Add(-int64(gone))
	if early > 0 {
		l.c.telemetry.forgotten.Add(l.c.ctx, int64(early))
	}
}

// forgetIdle makes room: what lanes retain that rest for longer than the window is of
// no use. It reports whether there is room now. Lanes are many, so it looks about once
// a second.
func (c *Coordinator) forgetIdle() bool {
	at := c.config.now().UnixMilli()
	last := c.forgotAt.Load()
	if at-last < time.Second.Milliseconds() || !c.forgotAt.CompareAndSwap(last, at) {
		return false
	}
	gone := 0
	c.allLanes(func(l *lane) {
		if l.toldAt.Load() < at-c.config.repairWindow.Milliseconds() {
			l.mu.Lock()
			if !l.running { // else what it retains belongs to whoever runs it
				gone += l.retained.len()
				l.retained = retained{}
			}
			l.mu.Unlock()
		}
	})
	return c.retained.Add(int64(-gone)) <= int64(c.config.repairBytes/retainedBytes)
}

func (c *Coordinator) ttlOf(op *call) int64 {
	if op.kind == luascripts.KindReserveTTL {
		return op.holdTTL.Milliseconds()
	}
	return c.config.holdTTL.Milliseconds()
}

// doubtMissing: a reservation that is not there, of a batch that Redis does not have
// either, may be one that a failover has lost, and that its node is about to merge
// (R6). It may also be one that never was, under another tenant's name; so it is
// doubted only where something has failed within the window. What the coordinator
// itself wants released needs no more where it is not there.
func (l *lane) doubtMissing(b *batch, answers []answer) {
	for i, c := range b.calls {
		if answers[i].code == luascripts.CodeLost && !c.kept && l.c.config.now().UnixMilli()-l.c.failedAt.Load() < l.c.config.repairWindow.Milliseconds() {
			answers[i] = answer{err: fmt.Errorf("%w: reservation %s is not there, nor is the batch that made it; its node restores it if it lives: repeat the operation", ErrGap, c.id)}
		}
	}
}

// giveUpIDs retains that the reserves of a batch never were, so that a late
// duplicate of it that reaches a promoted replica is undone by a repair (R3).
func (l *lane) giveUpIDs(b *batch) {
	if !l.c.config.repairs() {
		return
	}
	added := 0
	for _, c := range b.calls {
		if c.reserves() && c.id != (budget.ReservationID{}) {
			l.retained.keep(c.id, retainedHold{state: stateReleased, amount: c.amount, at: l.session.time, number: b.number})
			added++
		}
	}
	l.account(added, l.session.time, l.c.config.repairWindow.Milliseconds())
}

// duplicate is the result of the copy of a batch that Redis applied last. After a
// failover it may be another copy than the one whose reply the node received.
type duplicate struct {
	node, number uint64
	codes        string
}

func newDuplicate(node uint64, last applied, reply string) duplicate {
	r := reader{rest: reply}
	if r.next() != luascripts.Applied {
		return duplicate{}
	}
	return duplicate{node, last.number, r.next()}
}

// made reports whether the duplicate made a reservation that is retained as open. The
// reservation's id has the number of the batch and the index of the operation.
func (d duplicate) made(h retainedHold) bool {
	place := int(h.lo & (1<<indexBits - 1))
	return h.state == stateOpen && h.hi == d.node && h.lo>>indexBits == d.number &&
		place < len(d.codes) && d.codes[place] == luascripts.CodeReserved
}

// startRepair collects what is to be merged: the acknowledged results of batches beyond
// the last one that Redis has, whose stored reply is given. A lost grant or ensure is
// logged, since only its caller may repeat it (R7).
func (l *lane) startRepair(last applied, reply string) {
	again := newDuplicate(l.session.node, last, reply)
	l.repairs = l.retained.merges(l.session.time, l.c.config.repairWindow.Milliseconds(), last, again)
	l.repairSince = last.since()
	if l.retained.otherwise(last, again) {
		l.repairSince = min(l.repairSince, last.number-1)
	}
	kept := l.retained.grants[:0]
	for _, g := range l.retained.grants {
		if g.number <= last.number {
			kept = append(kept, g)
			continue
		}
		l.c.config.logger.Error("bursar: Redis lost what was granted; it is not made again by itself",
			"tenant", g.tenant, "lost", g.verb, "amount", g.amount)
	}
	l.retained.grants = kept
	l.repair = repairTally{}
	l.c.lossFound()
}

// repairTally is what a repair came to.
type repairTally struct {
	merged, over, lost int
}

// gatherRepair makes a batch of what is to be merged next.
func (l *lane) gatherRepair() *batch {
	b := &batch{number: l.c.nextNumber(), repair: true}
	l.c.telemetry.sent(l.c.ctx, b)
	for _, h := range l.repairs {
		if b.add(l.retained.merge(h), l.session.node) {
			break
		}
	}
	b.since = strconv.FormatUint(l.repairSince, 10)
	if len(b.calls) < len(l.repairs) {
		b.behind = "-" + b.since
	}
	b.encode(l.session, l.c.clockText(), l.validUntil(), &l.c.config)
	return b
}

// repaired takes note of what was merged.
func (l *lane) repaired(b *batch, answers []answer) {
	for i, c := range b.calls {
		h := l.repairs[i]
		h.number = b.number // Redis was told again
		l.retained.keep(c.id, h)
		switch answers[i].code {
		case luascripts.CodeAsHigh:
		case luascripts.CodeMergedOver:
			l.repair.over++
			l.c.config.logger.Warn("bursar: a repair found that a reservation had ended otherwise meanwhile", "reservation", c.id, "merged", c.merge)
			l.repair.merged++
		case luascripts.CodeMerged:
			l.repair.merged++
		default:
			l.repair.lost++
			l.c.config.logger.Error("bursar: a repair could not restore a reservation",
				"reservation", c.id, "state", c.merge, "reason", unmergedReason(answers[i].code))
		}
	}
	l.account(len(b.calls), b.appliedAt, l.c.config.repairWindow.Milliseconds())
	if l.repairs = l.repairs[len(b.calls):]; len(l.repairs) == 0 {
		l.c.telemetry.merged.Add(l.c.ctx, int64(l.repair.merged))
		l.c.telemetry.unmerged.Add(l.c.ctx, int64(l.repair.lost))
		l.c.config.logger.Warn("bursar: repaired what Redis had lost", "family", l.root,
			"merged", l.repair.merged, "ended_otherwise", l.repair.over, "not_restored", l.repair.lost)
	}
}

func unmergedReason(code byte) string {
	switch code {
	case luascripts.CodeNoTenant:
		return "the tenant is not there"
	case luascripts.CodeForgotten:
		return "it has ended otherwise since, and how is forgotten"
	case luascripts.CodeOverflow:
		return "a sum would overflow"
	default:
		return fmt.Sprintf("unknown code %q", code)
	}
}
