package lane

import (
	"encoding/binary"
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
}

func simCalls(b *Batch) []simCall {
	calls := make([]simCall, len(b.calls))
	for i, c := range b.calls {
		calls[i] = simCall{c.kind, c.tenant, c.amount, c.id, c.change}
	}
	return calls
}

// simModel decides the operations of a batch by the rules of budget.Engine, one by one, from
// the accounts before it.
type simModel struct {
	before   *simLedger
	accounts map[budget.TenantID]*store.Account
	ended    map[string]bool // holds
	maxHolds int64
}

// undecided are the codes of operations that changed nothing, whatever the rules demand.
const undecided = string(luascripts.CodeCorrupt) + string(luascripts.CodeOverdue)

// needsMemory are the codes of operations that a Redis past maxmemory refuses.
const needsMemory = "RIEGFVp"

// checkModel checks the codes of a batch and the accounts that it left behind, and computes
// the answers that its node must give.
func (s *simulation) checkModel(p *simPartition, before *simLedger, m *message, reply string) {
	argv := m.argv()
	accounts := argv[9:][:binary.BigEndian.Uint16([]byte(argv[5][6:]))]
	m.crossings = nil
	merges := strings.IndexByte(argv[6], luascripts.KindMerge) >= 0
	s.checkSettings(p, before, m, accounts, merges)
	if merges {
		return
	}
	model := newSimModel(p, before, argv[0], accounts)
	m.answers = make([]Answer, len(m.calls))
	for i, c := range m.calls {
		code := reply[8+i]
		if c.kind == luascripts.KindLookup || strings.IndexByte(undecided, code) >= 0 {
			continue
		}
		want := model.decide(c, &m.answers[i])
		memory := code == luascripts.CodeMemory && strings.IndexByte(needsMemory, want) >= 0
		if memory || want == 0 && strings.IndexByte("CLOV", code) < 0 {
			m.answers[i] = Answer{}
			continue
		}
		if code != want {
			s.failf("%d decided %c of %s %d as %c, want %c: %+v", m.name, c.kind, c.tenant, c.amount, code, max(want, '?'), model.levels(c.tenant, store.AllLevels))
			return
		}
		before := model.crossed(c.tenant)
		model.apply(c, code, &m.answers[i])
		m.crossings = append(m.crossings, model.crossings(c.tenant, before)...)
	}
	for _, field := range accounts {
		tenant := budget.TenantID(field[1:])
		is, exists := p.ledger.accounts[tenant]
		want := model.accounts[tenant]
		if exists != (want != nil) {
			s.failf("%d left %s (exists: %t), want %+v", m.name, tenant, exists, want)
		} else if exists && (is.Balance() != want.Balance() || is.Holds != want.Holds) {
			s.failf("%d left %s with %+v, want %+v", m.name, tenant, is, *want)
		}
	}
}

// checkSettings computes the thresholds that merges crossed, and checks that a closed account
// stays closed.
func (s *simulation) checkSettings(p *simPartition, before *simLedger, m *message, accounts []string, merges bool) {
	for _, field := range accounts {
		tenant := budget.TenantID(field[1:])
		is, exists := p.ledger.accounts[tenant]
		was := before.accounts[tenant]
		if !exists {
			continue
		}
		var reached budget.Thresholds
		if was.Serial == is.Serial {
			balance := was.Balance()
			reached = balance.Crossed()
			if was.Settings.Closed && !is.Settings.Closed {
				s.failf("%d opened %s, which was closed", m.name, tenant)
			}
		}
		if is.Settings.Thresholds.IsZero() || !merges {
			continue
		}
		for _, percent := range is.Balance().Crossed().Beyond(reached) {
			m.crossings = append(m.crossings, budget.Crossing{Tenant: tenant, Percent: percent, Committed: is.Committed, Granted: is.Granted})
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

// newSimModel returns the accounts as they are once the due holds have ended.
func newSimModel(p *simPartition, before *simLedger, config string, accounts []string) *simModel {
	model := &simModel{
		before: before, accounts: make(map[budget.TenantID]*store.Account, len(accounts)),
		maxHolds: int64(binary.BigEndian.Uint32([]byte(config[24:]))),
	}
	for _, field := range accounts {
		tenant := budget.TenantID(field[1:])
		if a, is := before.accounts[tenant]; is {
			model.accounts[tenant] = &a
		}
	}
	for field, h := range p.ledger.holds {
		if h.State != luascripts.HoldExpired || h.EndedSeq != p.ledger.control.Sequence {
			continue
		}
		if was := before.holds[field]; was.Open() {
			model.end(field, was, 0)
		}
	}
	return model
}

func (model *simModel) end(field string, h store.Hold, actual budget.Microcents) {
	if model.ended == nil {
		model.ended = make(map[string]bool)
	}
	model.ended[field] = true
	for _, level := range store.LevelsOf(h.Tenant, h.Levels) {
		if a := model.accounts[level]; a != nil && h.Debited(a.Serial) {
			a.Reserved -= h.Held
			a.Remaining += h.Held - actual
			a.Committed += actual
			a.Holds--
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
	*store.Account
}

// leastOf returns the level that can give least, the nearest of equals.
func leastOf(levels []simLevel, give func(simLevel) budget.Microcents) simLevel {
	least := levels[0]
	for _, level := range levels {
		if give(level) < give(least) {
			least = level
		}
	}
	return least
}

func remainingOf(l simLevel) budget.Microcents { return l.Remaining }

func spendableOf(l simLevel) budget.Microcents { return l.Remaining + l.Settings.Overdraft }

// decide returns the code that an operation must have, and fills in the answer unless the
// operation has an effect; 0 for one that must end or find nothing.
func (model *simModel) decide(c simCall, a *Answer) (code byte) {
	own := model.accounts[c.tenant]
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
	overdraft := own.Settings.Overdraft
	switch c.kind {
	case luascripts.KindConfigure:
		others := *c.change
		others.SetClosed = false
		if own.Settings.Closed && !(c.change.SetClosed && others.IsZero()) {
			a.Outcome = budget.Closed
			return luascripts.CodeClosed
		} else if c.change.Apply(own.Settings).Overdraft > budget.MaxMicrocents-own.Granted {
			return luascripts.CodeOverflow
		}
		return luascripts.CodeConfigured
	case luascripts.KindGrant:
		if own.Settings.Closed {
			a.Outcome = budget.Closed
			return luascripts.CodeClosed
		} else if c.amount > budget.MaxMicrocents-own.Granted-overdraft {
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
		a.Cap, a.CapLimit = l.Settings.CappedBy(c.amount, l.Reserved, int64(l.Holds))
		return a.Cap != budget.NoCap
	}):
		a.Outcome = budget.Capped
		return luascripts.CodeCapped
	}
	if least := leastOf(levels, remainingOf); least.Remaining < c.amount {
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
	least := leastOf(levels, spendableOf)
	payable := h.Held + max(spendableOf(least), 0)
	if c.amount > h.Held && c.amount > payable && c.kind == luascripts.KindCommit {
		*a = Answer{Outcome: budget.Overrun, Level: least.tenant, Remaining: least.Remaining}
		return luascripts.CodeOverrun
	}
	if a.Actual = c.amount; c.kind == luascripts.KindCommitAvailable {
		a.Actual = min(c.amount, payable)
		a.Shortfall = c.amount - a.Actual
	}
	for _, level := range levels {
		if a.Actual > budget.MaxMicrocents-level.Committed {
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
func (model *simModel) apply(c simCall, code byte, a *Answer) {
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
		model.end(store.HoldField(c.id), h, a.Actual)
		least := leastOf(levels, remainingOf)
		a.Level, a.Remaining = least.tenant, least.Remaining
	case luascripts.CodeCreated:
		// No hold debited it: an account's serial is larger than all before.
		own = &store.Account{Granted: c.amount, Remaining: c.amount, Serial: 1 << 62}
		if c.change != nil {
			own.Settings = c.change.Apply(own.Settings)
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
		own.Settings = c.change.Apply(own.Settings)
		settings := own.Settings
		*a = Answer{Outcome: budget.Configured, Settings: &settings}
	case luascripts.CodeDeleted:
		delete(model.accounts, c.tenant)
	}
}
