package lane

import (
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// check compares the answers to every caller with the stored state.
func (s *simulation) check() {
	known := make(map[string]*simHold)
	for _, h := range s.holds {
		known[h.field()] = h
	}
	for _, op := range s.ops {
		unsent := op.abandoned && !op.sent // its id may be another's
		if !op.reserves() || unsent || op.c.id.IsZero() || op.acknowledged(budget.Reserved) {
			continue
		}
		h := &simHold{id: op.c.id, made: op}
		if known[h.field()] == nil {
			s.checkNotReserved(op, h)
			known[h.field()] = h
		}
	}
	for _, p := range s.partitions {
		for _, holds := range []map[string]store.Hold{p.ledger.holds, p.ledger.forgotten} {
			for field, state := range holds {
				// A node restores the operations that it gave up at a gap as released. A
				// late duplicate may make a hold for a call that was overdue when it was
				// answered, and that then got another id.
				id, _ := store.ReservationOf(state.Tenant, field)
				node, _ := store.MakerOf(id)
				switch {
				case known[field] != nil:
				case (s.mode.failovers || s.cloned[node]) && state.State == luascripts.HoldReleased:
				case s.mode.quick && (state.Open() || state.State == luascripts.HoldExpired):
				default:
					s.failf("no call accounts for %q = %+v", field, state)
				}
			}
		}
	}
	for _, h := range s.holds {
		if tenant := h.id.Tenant(); s.orphaned[tenant] > 0 || s.mode.failovers && (s.isDamaged(tenant) || isTemporary(tenant)) {
			continue // no node could restore its lost holds
		}
		// An end after the failover may be forgotten before it can be corrected.
		if state, forgotten := s.state(h); !forgotten || !s.mode.failovers {
			s.checkHold(h, state, forgotten)
		}
	}
	for _, tenant := range simTenants {
		s.checkGrants(tenant)
		s.checkStops(tenant)
	}
}

// state returns the stored state of a hold, or the last one before Redis forgot it.
func (s *simulation) state(h *simHold) (state store.Hold, forgotten bool) {
	return s.partitionOf(h.id.Tenant()).ledger.state(h.field())
}

// checkNotReserved checks that an operation without a reservation left no hold.
func (s *simulation) checkNotReserved(op *simOp, h *simHold) {
	state, _ := s.state(h)
	switch {
	case state.State == 0:
	case s.mode.quick && (state.Open() || state.State == luascripts.HoldExpired):
	case s.cloned[idNode(h)]: // it may be the clone's
	case !op.unknown() && !(s.mode.failovers && state.State == luascripts.HoldReleased):
		s.failf("%s returned that nothing is held, but Redis has %+v", op, state)
	case state.Open() && op.node.alive && !s.isDamaged(op.tenant) && s.orphaned[op.tenant] == 0:
		s.failf("%s is unknown, but its hold %s is still open", op, h)
	}
}

func idNode(h *simHold) uint64 {
	node, _ := store.MakerOf(h.id)
	return node
}

func (s *simulation) checkHold(h *simHold, state store.Hold, forgotten bool) {
	settled := 0
	for _, op := range s.ops {
		if op.hold != h {
			continue
		}
		lasting := !s.mode.failovers || op.node.alive // otherwise acknowledged writes may be lost
		if op.acknowledged(budget.Committed) {
			settled++
			// Another node's commit of more may be merged over this one.
			if lasting && (state.State != luascripts.HoldCommitted || state.Actual < op.answer.Actual || !s.mode.failovers && state.Actual != op.answer.Actual) {
				s.failf("%s returned committed, but Redis has %+v", op, state)
			}
		}
		if op.acknowledged(budget.Released) {
			settled++
			if lasting && (state.State == 0 || state.Open() || !s.mode.failovers && state.State != luascripts.HoldReleased) {
				s.failf("%s returned released, but Redis has %+v", op, state)
			}
		}
		if op.acknowledged(budget.MissingReservation) && !s.mode.failovers {
			s.checkMissing(op, state, forgotten)
		}
		if op.kind == luascripts.KindLookup && op.returned && op.answer.Err == nil && !s.mode.failovers {
			s.checkLookup(op, state)
		}
	}
	if settled > 1 && !s.mode.failovers {
		s.failf("%s was settled %d times", h, settled)
	}
	if state.State == 0 && (!s.mode.failovers || h.made.node.alive) {
		s.failf("%s returned reserved, but Redis has no record", h.made)
	}
	// A commit that is restored without its hold has its own amount as Held, also after
	// another node's commit of more was merged over it.
	restored := s.mode.failovers && slices.ContainsFunc(s.ops, func(op *simOp) bool {
		return op.hold == h && op.mayCharge(state.Held)
	})
	if state.State != 0 && state.Held != h.made.amount && !restored {
		s.failf("%s returned reserved, but Redis has %+v", h.made, state)
	}
	ended := state.State == luascripts.HoldCommitted || state.State == luascripts.HoldReleased
	if ended && !s.mode.quick && !s.attributable(h, state) && !(s.mode.failovers && state.State == luascripts.HoldReleased) && !s.cloned[idNode(h)] {
		s.failf("%s: no call accounts for %+v", h, state)
	}
}

var priorStates = map[budget.Outcome]byte{
	budget.Committed: luascripts.HoldCommitted, budget.Released: luascripts.HoldReleased, budget.Expired: luascripts.HoldExpired,
}

func (s *simulation) checkMissing(op *simOp, state store.Hold, forgotten bool) {
	// A tombstone is not shown after the retention, even if it is still stored.
	if op.answer.Prior == budget.Unknown && (forgotten || state.State != 0 && s.server.Now-state.Ended > simRetention.Milliseconds()) {
		return
	}
	if state.State == 0 || state.State != priorStates[op.answer.Prior] {
		s.failf("%s returned the prior outcome %s, but Redis has %+v", op, op.answer.Prior, state)
	}
}

// checkLookup checks that the answer matches the stored state.
func (s *simulation) checkLookup(op *simOp, state store.Hold) {
	if want, ended := priorStates[op.answer.Outcome]; ended && state.State != want {
		s.failf("%s returned %s, but Redis has %+v", op, op.answer.Outcome, state)
	}
	if op.answer.Outcome == budget.Reserved && op.answer.Actual != op.hold.made.amount {
		s.failf("%s returned %d held, want %d", op, op.answer.Actual, op.hold.made.amount)
	}
}

// attributable reports whether a call that may have taken effect explains a hold's end.
func (s *simulation) attributable(h *simHold, state store.Hold) bool {
	for _, op := range s.ops {
		switch {
		case op.hold != h:
		case state.State == luascripts.HoldCommitted && op.mayCharge(state.Actual) && (op.acknowledged(budget.Committed) || op.unknown()):
			return true
		case state.State == luascripts.HoldReleased && op.kind == luascripts.KindRelease && (op.acknowledged(budget.Released) || op.unknown()):
			return true
		}
	}
	return false
}

// checkGrants checks which grants and withdrawals took effect: each has an amount of its
// own, a power of two, so granted shows it.
func (s *simulation) checkGrants(tenant budget.TenantID) {
	acknowledged, maybe := budget.Microcents(0), []budget.Microcents{}
	created, deleted, unsureCreated, unsureDeleted := 0, s.orphaned[tenant], 0, 0
	for _, op := range s.ops {
		if op.tenant != tenant {
			continue
		}
		unknown := op.unknown()
		switch amount := op.amount; op.kind {
		case luascripts.KindGrant, luascripts.KindWithdraw:
			if op.kind == luascripts.KindWithdraw {
				amount = -amount
			}
			took := op.acknowledged(budget.Granted) || op.acknowledged(budget.Withdrawn)
			switch {
			case unknown || s.mode.quick || took && s.mode.failovers:
				maybe = append(maybe, amount)
			case took:
				acknowledged += amount
			}
		case luascripts.KindEnsure, luascripts.KindEnsureWith:
			created += count(op.acknowledged(budget.Created))
			unsureCreated += count(unknown)
		case luascripts.KindDelete:
			deleted += count(op.acknowledged(budget.Deleted))
			unsureDeleted += count(unknown)
		}
	}
	account, exists := s.partitionOf(tenant).ledger.accounts[baseOf(tenant)]
	switch n := count(exists); {
	case s.mode.failovers && isTemporary(tenant):
	case n < created-deleted-unsureDeleted || n > created+unsureCreated-deleted:
		s.failf("%s exists: %t, and was created %d and %d times, deleted %d and %d times", tenant, exists, created, unsureCreated, deleted, unsureDeleted)
	}
	if extra := account.Granted - simBudget(tenant) - acknowledged; exists && !s.renewing[tenant] && !isSum(extra, maybe) {
		s.failf("%s was granted %d more than acknowledged, of %d that are unknown", tenant, extra, maybe)
	}
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

func isSum(sum budget.Microcents, of []budget.Microcents) bool {
	if len(of) == 0 {
		return sum == 0
	}
	return isSum(sum, of[1:]) || isSum(sum-of[0], of[1:])
}

// checkEnded checks that no hold is open after its deadline.
func (s *simulation) checkEnded() {
	for _, p := range s.partitions {
		for field, h := range p.ledger.holds {
			if h.Open() && h.Deadline != 0 && h.Deadline <= s.server.Now && s.orphaned[h.Tenant] == 0 {
				s.failf("%q is open after its deadline: %+v", field, h)
			}
		}
	}
}

// forgotten reports whether the holds that deadlines and repairs ended are gone, and
// checks that the timers are whole.
func (s *simulation) forgotten() bool {
	for _, p := range s.partitions {
		names, _ := p.store.Members(p.keys.Timers)
		if len(p.ledger.accounts) > 0 && (len(names) == 0 || names[len(names)-1] != luascripts.Sentinel) {
			s.failf("the timers of partition %d are not whole", p.index)
		}
		for field, record := range p.store.Hash(p.keys.Ledger) {
			if field[0] == luascripts.FieldEndings && number48(record[:6]) <= uint64(s.server.Now) {
				return false
			}
		}
	}
	return true
}
