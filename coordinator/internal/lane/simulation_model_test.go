package lane

import (
	"cmp"
	"encoding/binary"
	"math/big"
	"slices"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// simCall is an operation as it was sent: a call that is sent again gets another id.
type simCall struct {
	kind   byte
	tenant budget.TenantID
	amount budget.Microcents
	id     budget.ReservationID
	change *budget.Change

	at      int64 // in the epoch to read
	renewal *renewal
	merged  state
}

func simCalls(b *Batch) []simCall {
	calls := make([]simCall, len(b.calls))
	for i, c := range b.calls {
		calls[i] = simCall{c.kind, c.tenant, c.amount, c.id, c.change, c.at, c.renewal, c.merged}
	}
	return calls
}

// simModel decides the operations of a batch by the rules of budget.Engine, one by one, from
// the accounts before it.
type simModel struct {
	before   *simLedger
	now      int64 // partition time
	sequence uint64
	accounts map[budget.TenantID]*simAccount
	ended    map[string]bool  // holds
	made     map[string]int64 // times of the merged holds
	maxHolds int64
	late     map[lateSettle]budget.Microcents // that then remained
}

// undecided are the codes of operations that changed nothing, whatever the rules demand.
const undecided = string(luascripts.CodeCorrupt) + string(luascripts.CodeOverdue)

// needsMemory are the codes of operations that a Redis past maxmemory refuses.
const needsMemory = "RIEGFVp"

// checkModel checks the codes of a batch and the accounts that it left behind, and computes
// the answers that its node must give.
func (s *simulation) checkModel(p *simPartition, before *simLedger, m *message, text string) {
	argv := m.argv()
	accounts := argv[9:][:binary.BigEndian.Uint16([]byte(argv[5][6:]))]
	m.crossings = nil
	s.checkClosed(p, before, m, accounts)
	reply, err := store.ParseReply(text, len(m.calls), len(accounts))
	if err != nil {
		s.failf("%d: %v", m.name, err)
		return
	}
	model := s.newSimModel(p, before, argv[0], accounts, &reply)
	m.answers = make([]Answer, len(m.calls))
	for i, c := range m.calls {
		code := reply.Codes[i]
		if c.kind == luascripts.KindLookup || strings.IndexByte(undecided, code) >= 0 {
			continue
		}
		reached := model.crossed(c.tenant)
		if c.kind == luascripts.KindMerge {
			if code == luascripts.CodeMerged || code == luascripts.CodeMergedOver {
				model.merge(c)
			}
		} else if !s.checkDecision(m, model, i, code) {
			return
		}
		m.crossings = append(m.crossings, model.crossings(c.tenant, reached)...)
	}
	s.checkLeft(p, m, model)
	s.checkConserved(p, before, m)
	s.checkWindows(p, m, model, accounts, &reply)
}

// checkDecision checks the code of an operation, and carries the operation out in the model.
func (s *simulation) checkDecision(m *message, model *simModel, i int, code byte) bool {
	c := m.calls[i]
	want := model.decide(c, &m.answers[i])
	memory := code == luascripts.CodeMemory && strings.IndexByte(needsMemory, want) >= 0
	if memory || want == 0 && strings.IndexByte("CLOV", code) < 0 {
		m.answers[i] = Answer{}
		return true
	}
	if code != want {
		s.failf("%d decided %c of %s %d as %c, want %c: %+v", m.name, c.kind, c.tenant, c.amount, code, max(want, '?'), model.levels(c.tenant, store.AllLevels))
		return false
	}
	model.apply(i, c, code, &m.answers[i])
	return true
}

// checkLeft checks the accounts that a batch left behind.
func (s *simulation) checkLeft(p *simPartition, m *message, model *simModel) {
	for field, made := range model.made {
		if h, _ := p.ledger.state(field); h.Made != made {
			s.failf("%d merged %q, made at %d, as %+v", m.name, field, made, h)
		}
	}
	for tenant := range p.ledger.accounts {
		if model.accounts[tenant] == nil {
			s.failf("%d left %s, which must not exist", m.name, tenant)
		}
	}
	for tenant, want := range model.accounts {
		if _, exists := p.ledger.accounts[tenant]; !exists {
			s.failf("%d left no %s, want %s", m.name, tenant, want)
			continue
		}
		if is := p.ledger.copyAccount(tenant); !is.equals(want) {
			s.failf("%d left %s with %s, want %s", m.name, tenant, is, want)
		}
	}
}

// checkClosed checks that a closed account stays closed.
func (s *simulation) checkClosed(p *simPartition, before *simLedger, m *message, accounts []string) {
	for _, field := range accounts {
		tenant := budget.TenantID(field[1:])
		is, exists := p.ledger.accounts[tenant]
		if was := before.accounts[tenant]; exists && was.Serial == is.Serial && was.Settings.Closed && !is.Settings.Closed {
			s.failf("%d opened %s, which was closed", m.name, tenant)
		}
	}
}

// crossed returns the thresholds that the levels of a tenant have reached.
func (model *simModel) crossed(tenant budget.TenantID) map[budget.TenantID]budget.Thresholds {
	all := make(map[budget.TenantID]budget.Thresholds)
	for _, level := range model.levels(tenant, store.AllLevels) {
		all[level.tenant] = level.Balance().Crossed()
	}
	return all
}

// crossings returns the events of an operation of a tenant, from the levels before it.
func (model *simModel) crossings(tenant budget.TenantID, before map[budget.TenantID]budget.Thresholds) (events []budget.Crossing) {
	for _, level := range model.levels(tenant, store.AllLevels) {
		for _, percent := range level.Balance().Crossed().Beyond(before[level.tenant]) {
			events = append(events, budget.Crossing{Tenant: level.tenant, Percent: percent, Committed: level.Committed, Granted: level.Granted})
		}
	}
	return events
}

// newSimModel returns the accounts as they are once the due holds have ended and, for those
// of the batch, the epoch of now has begun.
func (s *simulation) newSimModel(p *simPartition, before *simLedger, config string, accounts []string, reply *store.Reply) *simModel {
	model := &simModel{
		before: before, now: reply.Time, sequence: p.ledger.control.Sequence, accounts: make(map[budget.TenantID]*simAccount, len(before.accounts)), ended: make(map[string]bool), made: make(map[string]int64),
		maxHolds: int64(binary.BigEndian.Uint32([]byte(config[24:]))), late: make(map[lateSettle]budget.Microcents),
	}
	for tenant := range before.accounts {
		model.accounts[tenant] = before.copyAccount(tenant)
	}
	var expired []string
	for field, h := range p.ledger.holds {
		if was := before.holds[field]; was.Open() && h.State == luascripts.HoldExpired && h.EndedSeq == p.ledger.control.Sequence {
			expired = append(expired, field)
		}
	}
	slices.SortFunc(expired, func(a, b string) int {
		return cmp.Or(cmp.Compare(before.holds[a].Deadline, before.holds[b].Deadline), cmp.Compare(a, b))
	})
	for _, field := range expired {
		model.end(-1, field, before.holds[field], 0)
	}
	for _, field := range accounts {
		tenant := budget.TenantID(field[1:])
		a := model.accounts[tenant]
		if a != nil && !s.isBad(p, field) && (a.rolls() || !a.overdue(reply)) {
			a.enter(model.now)
		}
	}
	return model
}

// overdue reports whether a batch that left due holds open finds that the account may have one.
// It then refuses all operations on the account.
func (a *simAccount) overdue(reply *store.Reply) bool {
	due := func(bound int64) bool { return bound != 0 && bound <= reply.Time }
	return reply.Flags&(luascripts.FlagMoreDue|luascripts.FlagNotWhole) != 0 && a.Holds > 0 && (due(a.Deadline) || due(a.Young))
}

// end ends a hold by an operation, or by its deadline.
func (model *simModel) end(operation int, field string, h store.Hold, actual budget.Microcents) {
	model.ended[field] = true
	for _, level := range store.LevelsOf(h.Tenant, h.Levels) {
		if a := model.accounts[level]; a != nil && h.Debited(a.Serial) {
			a.Holds--
			if operation < 0 && h.Sequence <= a.Turn {
				if a.Older--; a.Older == 0 {
					a.Deadline, a.Young, a.Older, a.Turn = a.Young, 0, a.Holds, model.sequence
				}
			}
			if a.move(h.Made, -h.Held, actual) && operation >= 0 {
				model.late[lateSettle{operation, level}] = a.Remaining
			}
		}
	}
}

// levels returns the accounts of a set of levels that exist, the tenant's first.
func (model *simModel) levels(tenant budget.TenantID, set byte) (levels []simLevel) {
	for _, level := range store.LevelsOf(tenant, set) {
		if a := model.accounts[level]; a != nil {
			levels = append(levels, simLevel{level, a})
		}
	}
	return levels
}

type simLevel struct {
	tenant budget.TenantID
	*simAccount
}

// leastOf returns the level that can give least, the nearest of equals.
func leastOf(levels []simLevel, give func(simLevel) *big.Int) simLevel {
	least := levels[0]
	for _, level := range levels {
		if give(level).Cmp(give(least)) < 0 {
			least = level
		}
	}
	return least
}

func remainingOf(l simLevel) *big.Int { return bigOf(l.Remaining) }

// decide returns the code that an operation must have, and fills in the answer unless the
// operation has an effect; 0 for one that must end or find nothing.
func (model *simModel) decide(c simCall, a *Answer) (code byte) {
	own := model.accounts[c.tenant]
	if model.waits(c) {
		return luascripts.CodeWindow
	}
	switch c.kind {
	case luascripts.KindReserve, luascripts.KindReserveTTL:
		return model.decideReserve(c, a)
	case luascripts.KindCommit, luascripts.KindCommitAvailable, luascripts.KindRelease:
		return model.decideSettle(c, a)
	case luascripts.KindEnsure, luascripts.KindEnsureWith:
		if own != nil {
			*a = Answer{Outcome: budget.Exists, Level: c.tenant, Remaining: own.Remaining}
			return luascripts.CodeExists
		}
		return luascripts.CodeCreated
	}
	if own == nil {
		return luascripts.CodeNoTenant
	}
	switch c.kind {
	case luascripts.KindConfigure:
		others := *c.change
		others.SetClosed = false
		if own.Settings.Closed && !(c.change.SetClosed && others.IsZero()) {
			a.Outcome = budget.Closed
			return luascripts.CodeClosed
		} else if copied := *own; !copied.configure(c.change, model.now, false) {
			return luascripts.CodeOverflow
		}
		return luascripts.CodeConfigured
	case luascripts.KindGrant:
		if own.Settings.Closed {
			a.Outcome = budget.Closed
			return luascripts.CodeClosed
		} else if bigOf(c.amount).Cmp(own.room(own.Granted)) > 0 {
			return luascripts.CodeOverflow
		}
		return luascripts.CodeGranted
	case luascripts.KindWithdraw:
		if c.amount > own.Remaining {
			*a = Answer{Outcome: budget.Insufficient, Level: c.tenant, Remaining: max(own.Remaining, 0), Required: c.amount}
			return luascripts.CodeInsufficient
		}
		return luascripts.CodeWithdrawn
	case luascripts.KindRemaining:
		least := leastOf(model.levels(c.tenant, store.AllLevels), remainingOf)
		*a = Answer{Outcome: budget.Found, Level: least.tenant, Remaining: max(least.Remaining, 0)}
		return luascripts.CodeRemaining
	case luascripts.KindRenew:
		return luascripts.CodeRenewed
	case luascripts.KindEpoch:
		balance, kept := own.at(c.at)
		if !kept {
			return luascripts.CodeNoEpoch
		}
		*a = Answer{Outcome: budget.Found, Level: c.tenant, Remaining: own.Remaining, Balance: &balance}
		return luascripts.CodeEpoch
	}
	balance := own.Balance()
	*a = Answer{Outcome: budget.Found, Level: c.tenant, Remaining: own.Remaining, Balance: &balance, Holds: int64(own.Holds)}
	code = luascripts.CodeBalance
	switch {
	case c.kind == luascripts.KindBalance:
	case own.Holds > 0:
		code, a.Outcome = luascripts.CodeHoldsOpen, budget.HoldsOpen
	default:
		code, a.Outcome, a.Remaining = luascripts.CodeDeleted, budget.Deleted, 0
	}
	balance.Outcome = a.Outcome
	return code
}

func (model *simModel) decideReserve(c simCall, a *Answer) (code byte) {
	own, levels := model.accounts[c.tenant], model.levels(c.tenant, store.AllLevels)
	if own == nil {
		return luascripts.CodeNoTenant
	}
	first := func(is func(simLevel) bool) bool {
		i := slices.IndexFunc(levels, is)
		if i >= 0 {
			a.Level = levels[i].tenant
		}
		return i >= 0
	}
	switch {
	case first(func(l simLevel) bool { return l.Settings.Closed }):
		a.Outcome = budget.Closed
		return luascripts.CodeClosed
	case first(func(l simLevel) bool { return l.Settings.Frozen }):
		a.Outcome = budget.Frozen
		return luascripts.CodeFrozen
	case model.maxHolds > 0 && int64(own.Holds) >= model.maxHolds:
		return luascripts.CodeHoldsFull
	case first(func(l simLevel) bool {
		a.Cap, a.CapLimit = l.Settings.CappedBy(c.amount, l.Reserved+l.endedReserved(), int64(l.Holds))
		return a.Cap != budget.NoCap
	}):
		a.Outcome = budget.Capped
		return luascripts.CodeCapped
	}
	full := slices.ContainsFunc(levels, func(l simLevel) bool { return !bigSum(l.Reserved, l.endedReserved(), c.amount).IsInt64() })
	if least := leastOf(levels, remainingOf); full || least.Remaining < c.amount {
		*a = Answer{Outcome: budget.Insufficient, Level: least.tenant, Remaining: max(least.Remaining, 0), Required: c.amount}
		return luascripts.CodeInsufficient
	}
	return luascripts.CodeReserved
}

func (model *simModel) decideSettle(c simCall, a *Answer) (code byte) {
	h, levels := model.openHold(c)
	if len(levels) == 0 {
		return 0
	}
	levels = slices.DeleteFunc(levels, func(l simLevel) bool { return l.outside(h.Made) }) // it costs those nothing
	var least simLevel
	payable := budget.MaxMicrocents
	if len(levels) > 0 {
		coverOf := func(l simLevel) *big.Int { return l.cover(h.Made) }
		least = leastOf(levels, coverOf)
		excess := max(coverOf(least).Int64(), 0)
		payable = h.Held + min(budget.Microcents(excess), budget.MaxMicrocents-h.Held)
	}
	if c.amount > payable && c.kind == luascripts.KindCommit {
		*a = Answer{Outcome: budget.Overrun, Level: least.tenant, Remaining: least.Remaining}
		return luascripts.CodeOverrun
	}
	if a.Actual = c.amount; c.kind == luascripts.KindCommitAvailable {
		a.Actual = min(c.amount, payable)
		a.Shortfall = c.amount - a.Actual
	}
	for _, level := range levels {
		committed := level.Committed
		if e := level.epochOf(h.Made); e != nil {
			committed = e.Committed
		}
		if a.Actual > budget.MaxMicrocents-committed {
			*a = Answer{}
			return luascripts.CodeOverflow
		}
	}
	if c.kind == luascripts.KindRelease {
		return luascripts.CodeReleased
	}
	return luascripts.CodeCommitted
}

// openHold returns the open hold that a call names, and its levels; none if it has ended, or
// its tenant's account is another one.
func (model *simModel) openHold(c simCall) (h store.Hold, levels []simLevel) {
	field := store.HoldField(c.id)
	h = model.before.holds[field]
	own := model.accounts[c.tenant]
	if !h.Open() || model.ended[field] || h.Tenant != c.tenant || own == nil || !h.Debited(own.Serial) {
		return h, nil
	}
	levels = model.levels(h.Tenant, h.Levels)
	return h, slices.DeleteFunc(levels, func(l simLevel) bool { return !h.Debited(l.Serial) })
}

// apply changes the accounts as an operation with this code does, and fills in its answer.
func (model *simModel) apply(operation int, c simCall, code byte, a *Answer) {
	own := model.accounts[c.tenant]
	switch code {
	case luascripts.CodeReserved:
		levels := model.levels(c.tenant, store.AllLevels)
		for _, level := range levels {
			level.Remaining -= c.amount
			level.Reserved += c.amount
			level.Holds++
		}
		least := leastOf(levels, remainingOf)
		*a = Answer{Outcome: budget.Reserved, Level: least.tenant, Remaining: least.Remaining}
	case luascripts.CodeCommitted, luascripts.CodeReleased:
		h, levels := model.openHold(c)
		if a.Outcome = budget.Committed; code == luascripts.CodeReleased {
			*a = Answer{Outcome: budget.Released, Returned: h.Held}
		}
		model.end(operation, store.HoldField(c.id), h, a.Actual)
		least := leastOf(levels, remainingOf)
		a.Level, a.Remaining = least.tenant, least.Remaining
	case luascripts.CodeCreated:
		// No hold debited it: an account's serial is larger than all before.
		own = &simAccount{Account: store.Account{Granted: c.amount, Remaining: c.amount, Serial: 1 << 62}}
		if c.change != nil {
			own.configure(c.change, model.now, true)
		}
		model.accounts[c.tenant] = own
		*a = Answer{Outcome: budget.Created, Level: c.tenant, Remaining: own.Remaining}
	case luascripts.CodeGranted, luascripts.CodeWithdrawn:
		outcome, amount := budget.Granted, c.amount
		if code == luascripts.CodeWithdrawn {
			outcome, amount = budget.Withdrawn, -c.amount
		}
		own.Granted += amount
		own.Remaining += amount
		*a = Answer{Outcome: outcome, Level: c.tenant, Remaining: own.Remaining}
	case luascripts.CodeConfigured:
		own.configure(c.change, model.now, false)
		settings := own.Settings
		*a = Answer{Outcome: budget.Configured, Settings: &settings}
	case luascripts.CodeRenewed:
		// The boundaries that it leaves out must have passed.
		times, omits := c.renewal.Boundaries, c.renewal.Omitted > 0
		if own.Epochs != nil && simCalendar(own.Settings.Window) == c.renewal.window && own.Epochs.Mark == c.renewal.mark && !(omits && times[1] > model.now) {
			own.renew(times[len(times)-1], model.now)
		}
		*a = Answer{Outcome: budget.Found, Level: c.tenant, Remaining: own.Remaining}
	case luascripts.CodeDeleted:
		delete(model.accounts, c.tenant)
	}
}
