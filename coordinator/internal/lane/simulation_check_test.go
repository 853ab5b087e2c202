package coordinator

import (
	"errors"
	"fmt"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/luascripts"
)

// simOp is one caller's operation, and what the caller was told.
type simOp struct {
	name   int
	node   *simNode
	c      *call
	kind   byte
	tenant budget.TenantID
	amount budget.Microcents
	hold   *simHold // that it settles or looks up

	left     bool // gave up
	unsure   bool // after it was sent
	answered bool
	answer   answer
}

func (op *simOp) String() string {
	text := fmt.Sprintf("op %d (%c %s %d) of %s", op.name, op.kind, op.tenant, op.amount, op.node.name)
	if op.hold != nil {
		text += " on " + op.hold.String()
	}
	return text
}

// What the caller may believe.
func (op *simOp) unknown() bool {
	return op.unsure || op.answered && errors.Is(op.answer.err, ErrUnknownOutcome) ||
		!op.node.alive && !op.left && !op.answered
}

// told reports whether the operation ended with this outcome.
func (op *simOp) told(outcome budget.Outcome) bool {
	return op.answered && op.answer.err == nil && op.answer.outcome == outcome && op.kind != luascripts.KindLookup
}

// simHold is a reservation that a caller was told of.
type simHold struct {
	id   budget.ReservationID
	made *simOp
	ends []*simOp
}

func (h *simHold) String() string { return string(h.field()) }

func (h *simHold) field() []byte { return layout.AppendHoldField(nil, h.id) }

func (s *simulation) call(n *simNode, op *simOp) {
	op.name, op.node = len(s.ops), n
	var id budget.ReservationID
	if op.hold != nil {
		id = op.hold.id
		op.tenant = id.Tenant()
	}
	op.c = &call{kind: op.kind, tenant: op.tenant, amount: op.amount, id: id, done: make(chan struct{}, 1)}
	s.ops = append(s.ops, op)
	s.say("%s asks", op)
	n.c.enter()
	l := s.lane(n, op.tenant.Root())
	start, ok, err := l.l.enqueue(op.c)
	if !ok || err != nil {
		s.fail("%s is not taken: %v", op, err)
	}
	if start {
		l.ready = true
	}
}

func (s *simulation) somebodyAsks() {
	nodes := s.living()
	n := nodes[s.random.IntN(len(nodes))]
	op := &simOp{tenant: simTenants[s.random.IntN(len(simTenants))]}
	pick := s.random.IntN(100)
	if len(s.holds) == 0 && pick < 46 {
		pick = 99
	}
	switch {
	case pick < 28:
		op.kind, op.hold = luascripts.KindCommit, s.someHold()
		held := op.hold.made.amount
		op.amount = budget.Microcents(s.random.Int64N(int64(held + held/4 + 1)))
	case pick < 42:
		op.kind, op.hold = luascripts.KindRelease, s.someHold()
	case pick < 46:
		op.kind, op.hold = luascripts.KindLookup, s.someHold()
	case pick < 50:
		op.kind = luascripts.KindBalance
	case pick < 54 && s.adjusts < 20:
		op.kind, op.amount = luascripts.KindGrant, 1<<s.adjusts
		s.adjusts++
	case pick < 57 && s.adjusts < 20:
		op.kind, op.amount = luascripts.KindWithdraw, 1<<s.adjusts
		s.adjusts++
	case pick < 59:
		op.kind, op.amount = luascripts.KindEnsure, simBudget(op.tenant)
	default:
		op.kind, op.amount = luascripts.KindReserve, budget.Microcents(1+s.random.Int64N(300))*simScale
		if op.tenant.Root() == "globex" {
			op.amount = simHuge - budget.Microcents(s.random.Int64N(1<<55))
		}
	}
	s.call(n, op)
}

// someHold prefers late ones, which are less likely settled.
func (s *simulation) someHold() *simHold {
	i := max(s.random.IntN(len(s.holds)), s.random.IntN(len(s.holds)))
	return s.holds[i]
}

func (s *simulation) waitingOps() []*simOp {
	var ops []*simOp
	for _, op := range s.ops {
		if op.node.alive && !op.left && !op.answered {
			ops = append(ops, op)
		}
	}
	return ops
}

// giveUp is a caller whose context ends.
func (s *simulation) giveUp(op *simOp) {
	left, err := op.c.leave(errors.New("patience"))
	if left {
		op.node.c.leave()
	}
	op.left, op.unsure = true, !left
	s.say("%s gives up: %v", op, err)
}

// hear takes note of what a node told its callers.
func (s *simulation) hear(n *simNode) {
	for _, op := range s.ops {
		if op.node != n || op.left || op.answered {
			continue
		}
		select {
		case <-op.c.done:
			op.answered, op.answer = true, op.c.answer
			s.say("%s is told %s %d %v", op, op.answer.outcome, op.answer.remaining, op.answer.err)
			s.learn(op)
		default:
		}
	}
}

func (s *simulation) learn(op *simOp) {
	switch {
	case op.told(budget.Reserved) && op.kind == luascripts.KindReserve:
		s.holds = append(s.holds, &simHold{id: op.c.id, made: op})
	case op.hold != nil && op.kind != luascripts.KindLookup:
		op.hold.ends = append(op.hold.ends, op)
	}
}

// simBooks is a family as Redis has it.
type simBooks struct {
	accounts map[budget.TenantID]budget.Balance
	holds    map[string]string // open and ended, also those whose end Redis has forgotten
}

func (s *simulation) books(root budget.TenantID) simBooks {
	b := simBooks{accounts: make(map[budget.TenantID]budget.Balance), holds: make(map[string]string)}
	key := layout.KeysOf(layout.DefaultPrefix, root).Books
	for field, text := range s.server.Store.Deleted(key) {
		if layout.IsHold(field) {
			b.holds[field] = text
		}
	}
	for field, text := range s.server.Store.Hash(key) {
		if tenant, is := layout.TenantOfAccount(root, field); is {
			balance, err := layout.ParseAccount(text)
			if err != nil {
				s.fail("%s: %v", tenant, err)
			}
			b.accounts[tenant] = balance
		} else if layout.IsHold(field) {
			// Committed is what a node was told before a failover; that is higher. A
			// hold that a late duplicate made anew is merged anew, and ends at its deadline.
			if was := b.holds[field]; was != "" && (text[0] == 'o' && !s.mode.quick || was[0] == 'c') {
				s.fail("%s ended as %s, was forgotten, and is %s now", field, was, text)
			}
			b.holds[field] = text
		}
	}
	return b
}

// checkLaw holds at every instant.
func (s *simulation) checkLaw(root budget.TenantID) {
	b := s.books(root)
	reserved, committed := b.sums(root)
	for tenant, a := range b.accounts {
		if a.Remaining+a.Reserved+a.Committed != a.Granted {
			s.fail("the law is broken: %s %+v", tenant, a)
		}
		if a.Reserved != reserved[tenant] || a.Committed != committed[tenant] {
			s.fail("%s has %d reserved and %d committed, its holds sum up to %d and %d", tenant, a.Reserved, a.Committed, reserved[tenant], committed[tenant])
		}
		if a.Remaining < 0 && !s.mode.failovers {
			s.fail("overspent: %s %+v", tenant, a)
		}
	}
}

func (b simBooks) sums(root budget.TenantID) (reserved, committed map[budget.TenantID]budget.Microcents) {
	reserved, committed = make(map[budget.TenantID]budget.Microcents), make(map[budget.TenantID]budget.Microcents)
	for field, text := range b.holds {
		tenant := root + budget.TenantID(field[33:])
		switch text[0] {
		case 'o':
			reserved[tenant] += simAmount(text)
		case 'c':
			committed[tenant] += simAmount(text)
		}
	}
	return reserved, committed
}

func simAmount(text string) budget.Microcents {
	word, _, _ := strings.Cut(text[1:], " ")
	var amount budget.Microcents
	for _, digit := range word {
		amount = amount*10 + budget.Microcents(digit-'0')
	}
	return amount
}

// state is what became of a hold, "" for nothing, and whether Redis has forgotten it.
func (s *simulation) state(h *simHold) (text string, forgotten bool) {
	key := layout.KeysOf(layout.DefaultPrefix, h.id.Tenant().Root()).Books
	if text, is := s.server.Store.Hash(key)[h.String()]; is {
		return text, false
	}
	text, forgotten = s.server.Store.Deleted(key)[h.String()]
	return text, forgotten
}

// check compares what every caller was told with what Redis has.
func (s *simulation) check() {
	known := make(map[string]*simHold)
	for _, h := range s.holds {
		known[h.String()] = h
	}
	for _, op := range s.ops {
		unsent := op.left && !op.unsure // its id may be another's
		if op.kind != luascripts.KindReserve || unsent || op.c.id.IsZero() || op.told(budget.Reserved) {
			continue
		}
		h := &simHold{id: op.c.id, made: op}
		text, _ := s.state(h)
		switch {
		case text == "":
		case s.mode.quick && (text[0] == 'o' || text[0] == 'x'):
		case !op.unknown() && !(s.mode.failovers && text[0] == 'l'):
			s.fail("%s was told that nothing is held, and Redis has %s", op, text)
		case text[0] == 'o' && op.node.alive:
			s.fail("%s is unknown, and its hold %s is left behind", op, h)
		}
		known[h.String()] = h
	}
	for _, root := range simFamilies {
		for field, text := range s.books(root).holds {
			// What a node gave up at a gap it retains as released.
			if known[field] == nil && !(s.mode.failovers && text[0] == 'l') {
				s.fail("nobody asked for %s = %s", field, text)
			}
		}
	}
	for _, h := range s.holds {
		// How a hold ended since the failover may be forgotten before it can be set right.
		if text, forgotten := s.state(h); !forgotten || !s.mode.failovers {
			s.checkHold(h, text, forgotten)
		}
	}
	s.checkGrants()
}

func (s *simulation) checkHold(h *simHold, text string, forgotten bool) {
	settled := 0
	for _, op := range s.ops {
		if op.hold != h {
			continue
		}
		if op.told(budget.Committed) {
			settled++
			if !s.mode.failovers && (text == "" || text[0] != 'c' || simAmount(text) != op.amount) {
				s.fail("%s was told committed, and Redis has %q", op, text)
			}
			if s.mode.failovers && op.node.alive && (text == "" || text[0] != 'c' || simAmount(text) < op.amount) {
				s.fail("%s was told committed by a living node, and Redis has %q", op, text)
			}
		}
		if op.told(budget.Released) {
			settled++
			if !s.mode.failovers && (text == "" || text[0] != 'l') {
				s.fail("%s was told released, and Redis has %q", op, text)
			}
			if s.mode.failovers && op.node.alive && (text == "" || text[0] == 'o') {
				s.fail("%s was told released by a living node, and Redis has %q", op, text)
			}
		}
		if op.told(budget.MissingReservation) && !s.mode.failovers {
			s.checkMissing(op, text, forgotten)
		}
	}
	if settled > 1 && !s.mode.failovers {
		s.fail("%s was settled %d times", h, settled)
	}
	if text == "" && (!s.mode.failovers || h.made.node.alive) {
		s.fail("%s was told reserved, and Redis has nothing", h.made)
	}
	if text != "" && text[0] != 'o' && text[0] != 'x' && !s.mode.quick && !s.attributable(h, text) && !(s.mode.failovers && text[0] == 'l') {
		s.fail("%s: nobody asked for %s", h, text)
	}
}

func (s *simulation) checkMissing(op *simOp, text string, forgotten bool) {
	if forgotten && op.answer.prior == budget.Unknown {
		return
	}
	want := map[budget.Outcome]byte{budget.Committed: 'c', budget.Released: 'l', budget.Expired: 'x'}[op.answer.prior]
	if text == "" || text[0] != want {
		s.fail("%s was told that it was %s, and Redis has %q", op, op.answer.prior, text)
	}
}

// attributable reports whether somebody asked for what became of a hold, and was
// not told that nothing happened.
func (s *simulation) attributable(h *simHold, text string) bool {
	for _, op := range s.ops {
		switch {
		case op.hold != h:
		case text[0] == 'c' && op.kind == luascripts.KindCommit && op.amount == simAmount(text) && (op.told(budget.Committed) || op.unknown()):
			return true
		case text[0] == 'l' && op.kind == luascripts.KindRelease && (op.told(budget.Released) || op.unknown()):
			return true
		}
	}
	return false
}

// checkGrants: each grant and withdrawal has an amount of its own, a power of two,
// so that what was granted tells which took effect.
func (s *simulation) checkGrants() {
	for _, tenant := range simTenants {
		told, maybe := budget.Microcents(0), []budget.Microcents{}
		for _, op := range s.ops {
			if op.tenant != tenant || op.kind != luascripts.KindGrant && op.kind != luascripts.KindWithdraw {
				continue
			}
			amount := op.amount
			if op.kind == luascripts.KindWithdraw {
				amount = -amount
			}
			took := op.told(budget.Granted) || op.told(budget.Withdrawn)
			switch {
			case op.unknown() || s.mode.quick || took && s.mode.failovers:
				maybe = append(maybe, amount)
			case took:
				told += amount
			}
		}
		if granted := s.books(tenant.Root()).accounts[tenant].Granted; !isSum(granted-simBudget(tenant)-told, maybe) {
			s.fail("%s was granted %d more than told, of %d that are unknown", tenant, granted-simBudget(tenant)-told, maybe)
		}
	}
}

func isSum(sum budget.Microcents, of []budget.Microcents) bool {
	if len(of) == 0 {
		return sum == 0
	}
	return isSum(sum, of[1:]) || isSum(sum-of[0], of[1:])
}

// checkEnded: after all deadlines nothing is held.
func (s *simulation) checkEnded() {
	for _, root := range simFamilies {
		for tenant, a := range s.books(root).accounts {
			if a.Reserved != 0 {
				s.fail("%s has %d reserved after all deadlines", tenant, a.Reserved)
			}
		}
	}
}
