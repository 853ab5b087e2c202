package lane

import (
	"errors"
	"fmt"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// simOp is an operation of one caller, with its result.
type simOp struct {
	name   int
	node   *simNode
	c      *Call
	kind   byte
	tenant budget.TenantID
	amount budget.Microcents
	ttl    time.Duration // of a reserve with its own
	change *budget.Change
	at     int64 // in the epoch to read
	limit  budget.Period
	hold   *simHold // that it settles or looks up

	abandoned bool // its caller gave up
	sent      bool // before it was abandoned
	returned  bool
	until     int // number of operations that had begun when it returned
	answer    Answer
}

func (op *simOp) String() string {
	text := fmt.Sprintf("op %d (%c %s %d) of %s", op.name, op.kind, op.tenant, op.amount, op.node.name)
	if op.hold != nil {
		text += " on " + op.hold.String()
	}
	if op.change != nil {
		text += fmt.Sprintf(" %+v", *op.change)
	}
	return text
}

// unknown reports whether the caller can't know if the operation took effect.
func (op *simOp) unknown() bool {
	return op.abandoned && op.sent || op.returned && errors.Is(op.answer.Err, ErrUnknownOutcome) ||
		!op.node.alive && !op.abandoned && !op.returned
}

// acknowledged reports whether the operation, other than a lookup, had this outcome.
func (op *simOp) acknowledged(outcome budget.Outcome) bool {
	return op.returned && op.answer.Err == nil && op.answer.Outcome == outcome && op.kind != luascripts.KindLookup
}

// reserves reports whether the operation makes a hold.
func (op *simOp) reserves() bool { return kinds[op.kind].makes }

// simHold is a reservation that was returned to a caller.
type simHold struct {
	id   budget.ReservationID
	made *simOp
}

func (h *simHold) String() string { return fmt.Sprintf("%q", h.field()) }

func (h *simHold) field() string { return store.HoldField(h.id) }

// call queues an operation.
func (s *simulation) call(n *simNode, op *simOp) {
	op.name, op.node = len(s.ops), n
	var id budget.ReservationID
	if op.hold != nil {
		id = op.hold.id
		op.tenant = id.Tenant()
	}
	op.c = &Call{kind: op.kind, tenant: op.tenant, amount: op.amount, holdTTL: op.ttl, id: id, change: op.change, at: op.at, limit: op.limit, done: make(chan struct{}, 1)}
	s.ops = append(s.ops, op)
	if op.change != nil {
		own := baseOf(op.tenant)
		s.overdrafts[own] = max(s.overdrafts[own], op.change.Overdraft)
		s.lowering[own] = s.lowering[own] || op.change.Window.Period.Rolling()
		for _, l := range op.change.Limits {
			id := store.AccountID{Tenant: op.tenant, Limit: l.Window.Period}
			s.overdrafts[id] = max(s.overdrafts[id], l.Overdraft)
			s.lowering[id] = l.Window.Period.Rolling()
		}
	}
	s.logf("%s is queued", op)
	if err := errors.Join(n.n.Admit(), n.n.LaneOf(op.tenant).enqueue(op.c)); err != nil {
		s.failf("%s is rejected: %v", op, err)
	}
}

// ask starts a random operation.
func (s *simulation) ask() {
	nodes := s.living()
	n := nodes[s.random.IntN(len(nodes))]
	op := &simOp{tenant: simTenants[s.random.IntN(len(simTenants))]}
	pick := s.random.IntN(100)
	if len(s.holds) == 0 && pick < 44 {
		pick = 99
	}
	switch {
	case pick < 26:
		op.kind, op.hold = luascripts.KindCommit, s.someHold()
		held := op.hold.made.amount
		op.amount = budget.Microcents(s.random.Int64N(int64(held + held/4 + 1)))
		beyond := s.random.IntN(4) == 0
		if beyond {
			op.amount *= 3
		}
		if s.random.IntN(4) == 0 {
			if op.kind = luascripts.KindCommitAvailable; beyond && s.random.IntN(2) == 0 {
				op.amount = budget.MaxMicrocents
			}
		}
	case pick < 40:
		op.kind, op.hold = luascripts.KindRelease, s.someHold()
	case pick < 44:
		op.kind, op.hold = luascripts.KindLookup, s.someHold()
	case pick < 46:
		op.kind = luascripts.KindBalance
		if s.limits && s.random.IntN(3) == 0 {
			op.limit = []budget.Period{budget.Hour, budget.Last24Hours, budget.Day}[s.random.IntN(3)]
		}
		if s.windows && s.random.IntN(4) > 0 {
			op.kind, op.at = luascripts.KindEpoch, s.someTime(store.AccountID{Tenant: op.tenant, Limit: op.limit})
		}
		if s.limits && s.random.IntN(4) == 0 {
			op.kind, op.limit = luascripts.KindListLimits, budget.NoPeriod
		}
	case pick < 47:
		op.kind = luascripts.KindRemaining
	case pick < 55:
		s.askForAccount(op)
	case pick < 55+s.configures:
		s.askForSettings(op)
	default:
		op.kind, op.amount = luascripts.KindReserve, budget.Microcents(1+s.random.Int64N(300))*simScale
		if op.tenant == "globex" {
			op.amount = simHuge - budget.Microcents(s.random.Int64N(1<<55))
		}
		if s.random.IntN(4) == 0 {
			op.kind, op.ttl = luascripts.KindReserveTTL, time.Duration(s.random.IntN(3))*1500*time.Millisecond
		}
	}
	s.call(n, op)
}

// askForAccount makes the operation one on the account itself.
func (s *simulation) askForAccount(op *simOp) {
	pick := s.random.IntN(8)
	switch {
	case isTemporary(op.tenant) && pick < 5:
		op.kind = luascripts.KindDelete
	case pick < 6 && !isTemporary(op.tenant) && s.adjusts < simAdjusts:
		op.kind = luascripts.KindGrant
		if pick < 3 {
			op.kind = luascripts.KindWithdraw
		}
		// A power of two for each, in an order that makes the largest, which some
		// accounts can't pay, as likely as the others.
		op.amount = 1 << (10 + (s.adjusts*7+int(s.seed%simAdjusts))%simAdjusts)
		s.adjusts++
	default:
		op.kind, op.amount = luascripts.KindEnsure, simBudget(op.tenant)
	}
}

// someHold returns a hold, preferring late ones, which are less likely to be settled.
func (s *simulation) someHold() *simHold {
	return s.holds[max(s.random.IntN(len(s.holds)), s.random.IntN(len(s.holds)))]
}

func (s *simulation) waitingOps() []*simOp {
	var ops []*simOp
	for _, op := range s.ops {
		if op.node.alive && !op.abandoned && !op.returned {
			ops = append(ops, op)
		}
	}
	return ops
}

// abandon ends the context of the operation's caller.
func (s *simulation) abandon(op *simOp) {
	unsent, err := op.c.abandon(errors.New("patience"))
	if unsent {
		op.node.n.Done()
	}
	op.abandoned, op.sent = true, !unsent
	s.logf("%s is abandoned: %v", op, err)
}

// collect stores the answers to a node's callers.
func (s *simulation) collect(n *simNode) {
	for _, op := range s.ops {
		if op.node != n || op.abandoned || op.returned {
			continue
		}
		select {
		case <-op.c.done:
			op.returned, op.answer, op.until = true, op.c.answer, len(s.ops)
			s.logf("%s returns %s %d %v", op, op.answer.Outcome, op.answer.Remaining, op.answer.Err)
			if b := op.answer.Balance; b != nil && b.Remaining+b.Reserved+b.Committed != b.Granted {
				s.failf("%s returned %+v", op, b)
			}
			if errors.Is(op.answer.Err, budget.ErrInvalidSetting) {
				s.failf("%s can't renew: %v", op, op.answer.Err)
			}
			if errors.Is(op.answer.Err, ErrCorrupt) && !s.isDamaged(op.tenant) {
				s.failf("%s finds damage: %v", op, op.answer.Err)
			}
			if op.acknowledged(budget.Reserved) {
				s.holds = append(s.holds, &simHold{id: op.c.id, made: op})
			}
		default:
		}
	}
}
