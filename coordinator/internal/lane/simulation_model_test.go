package lane

import (
	"cmp"
	"encoding/binary"
	"math/big"
	"math/bits"
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
	limit  budget.Period
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
		calls[i] = simCall{c.kind, c.tenant, c.limit, c.amount, c.id, c.change, c.at, c.renewal, c.merged}
	}
	return calls
}

// simModel decides the operations of a batch by the rules of budget.Engine, one by one, from
// the accounts before it.
type simModel struct {
	before   *simLedger
	now      int64 // partition time
	sequence uint64
	accounts map[store.AccountID]*simAccount
	named    map[store.AccountID]bool // by the batch
	lacking  []store.Lacking
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
	accounts := argv[9:][:int(argv[5][7])]
	m.crossings = nil
	s.checkClosed(p, before, m, accounts)
	reply, err := store.ParseReply(text, len(m.calls), len(accounts))
	if err != nil {
		s.failf("%d: %v", m.name, err)
		return
	}
	model := s.newSimModel(p, before, m, accounts, &reply)
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
	slices.SortFunc(reply.Lacking, func(a, b store.Lacking) int { return a.Account - b.Account })
	if !slices.Equal(reply.Lacking, model.lacking) {
		s.failf("%d is answered that it lacks %+v, want %+v", m.name, reply.Lacking, model.lacking)
	}
}

// checkDecision checks the code of an operation, and carries the operation out in the model.
func (s *simulation) checkDecision(m *message, model *simModel, i int, code byte) bool {
	c := m.calls[i]
	want := model.decide(c, &m.answers[i])
	memory := code == luascripts.CodeMemory && (strings.IndexByte(needsMemory, want) >= 0 || model.addsLimit(c))
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
	for id := range p.ledger.accounts {
		if model.accounts[id] == nil {
			s.failf("%d left %s, which must not exist", m.name, id)
		}
	}
	for id, want := range model.accounts {
		if _, exists := p.ledger.accounts[id]; !exists {
			s.failf("%d left no %s, want %s", m.name, id, want)
			continue
		}
		if is := p.ledger.copyAccount(id); !is.equals(want) {
			s.failf("%d left %s with %s, want %s", m.name, id, is, want)
		}
	}
}

// checkClosed checks that a closed account stays closed.
func (s *simulation) checkClosed(p *simPartition, before *simLedger, m *message, accounts []string) {
	for _, field := range accounts {
		id := idOf(field)
		is, exists := p.ledger.accounts[id]
		if was := before.accounts[id]; exists && was.Serial == is.Serial && was.Settings.Closed && !is.Settings.Closed {
			s.failf("%d opened %s, which was closed", m.name, id)
		}
	}
}

// crossed returns the thresholds that the levels of a tenant have reached.
func (model *simModel) crossed(tenant budget.TenantID) map[store.AccountID]budget.Thresholds {
	all := make(map[store.AccountID]budget.Thresholds)
	for _, level := range model.levels(tenant, store.AllLevels) {
		if !level.Settings.Thresholds.IsZero() {
			all[level.id] = level.crossed()
		}
	}
	return all
}

// crossings returns the events of an operation of a tenant, from the levels before it. A merge
// into a limit that the batch doesn't name has none.
func (model *simModel) crossings(tenant budget.TenantID, before map[store.AccountID]budget.Thresholds) (events []budget.Crossing) {
	for _, level := range model.levels(tenant, store.AllLevels) {
		if level.Settings.Thresholds.IsZero() || !model.named[level.id] {
			continue
		}
		for _, percent := range level.crossed().Beyond(before[level.id]) {
			events = append(events, budget.Crossing{Tenant: level.id.Tenant, Limit: level.id.Limit, Percent: percent, Committed: level.Committed, Granted: level.Granted})
		}
	}
	return events
}

// newSimModel returns the accounts as they are once the due holds have ended and, for those
// of the batch, the epoch of now has begun.
func (s *simulation) newSimModel(p *simPartition, before *simLedger, m *message, accounts []string, reply *store.Reply) *simModel {
	model := &simModel{
		before: before, now: reply.Time, sequence: p.ledger.control.Sequence, accounts: make(map[store.AccountID]*simAccount, len(before.accounts)), ended: make(map[string]bool), made: make(map[string]int64),
		maxHolds: int64(binary.BigEndian.Uint32([]byte(m.argv()[0][24:]))), named: make(map[store.AccountID]bool, len(accounts)), late: make(map[lateSettle]budget.Microcents),
	}
	for id := range before.accounts {
		model.accounts[id] = before.copyAccount(id)
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
	for place, field := range accounts {
		id := idOf(field)
		model.named[id] = true
		a := model.accounts[id]
		if a == nil || s.isBad(p, field) {
			continue
		}
		refuses := a.overdue(reply)
		if !refuses && !s.merges(m) {
			refuses = s.lacks(p, model, accounts, place)
		}
		if a.rolls() || !refuses {
			a.enter(model.now)
		}
	}
	return model
}

// lacks reports whether the batch lacks limits of an account, or one of them is damaged: it then
// refuses all operations on the account.
func (s *simulation) lacks(p *simPartition, model *simModel, accounts []string, place int) bool {
	id := idOf(accounts[place])
	a := model.accounts[id]
	lacking := a.Settings.Limits
	for next := place + 1; next < len(accounts) && idOf(accounts[next]).Limit != budget.NoPeriod; next++ {
		limit := idOf(accounts[next])
		if lacking.Has(limit.Limit) && s.isBad(p, limit.Field()) {
			return true
		}
		lacking = lacking.Without(limit.Limit)
	}
	if lacking != 0 {
		a.lacks = true
		model.lacking = append(model.lacking, store.Lacking{Account: place, Limits: a.Settings.Limits})
	}
	return lacking != 0
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
	for _, a := range model.levels(h.Tenant, h.Levels) {
		if !h.Debited(a.Serial) {
			continue
		}
		a.Holds--
		if operation < 0 && h.Sequence <= a.Turn {
			if a.Older--; a.Older == 0 {
				a.Deadline, a.Young, a.Older, a.Turn = a.Young, 0, a.Holds, model.sequence
			}
		}
		if a.move(h.Made, -h.Held, actual) && operation >= 0 {
			model.late[lateSettle{operation, a.id}] = a.Remaining
		}
	}
}

// levels returns the accounts of a set of levels that exist, each with its limits, the tenant's
// first.
func (model *simModel) levels(tenant budget.TenantID, set byte) (levels []simLevel) {
	for _, level := range store.LevelsOf(tenant, set) {
		id := baseOf(level)
		base := model.accounts[id]
		if base == nil {
			continue
		}
		levels = append(levels, simLevel{id, base})
		for limits := base.Settings.Limits; limits != 0; limits = limits.Without(id.Limit) {
			id.Limit = budget.Period(bits.TrailingZeros8(uint8(limits)) + 1)
			if a := model.accounts[id]; a != nil {
				levels = append(levels, simLevel{id, a})
			}
		}
	}
	return levels
}

type simLevel struct {
	id store.AccountID
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
	own := model.accounts[store.AccountID{Tenant: c.tenant, Limit: c.limit}]
	if code := model.waits(c); code != 0 {
		return code
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
	switch {
	case own == nil && c.kind != luascripts.KindRenew && model.accounts[baseOf(c.tenant)] != nil:
		return luascripts.CodeNoLimit
	case own == nil:
		return luascripts.CodeNoTenant
	}
	switch c.kind {
	case luascripts.KindConfigure:
		return model.decideConfigure(c, own, a)
	case luascripts.KindListLimits:
		*a = Answer{Outcome: budget.Found, Limits: model.list(c.tenant)}
		return luascripts.CodeLimitList
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
		*a = Answer{Outcome: budget.Found, Level: least.id.Tenant, Limit: least.id.Limit, Remaining: max(least.Remaining, 0)}
		return luascripts.CodeRemaining
	case luascripts.KindRenew:
		return luascripts.CodeRenewed
	case luascripts.KindEpoch:
		balance, kept := own.at(c.at)
		if !kept {
			return luascripts.CodeNoEpoch
		}
		balance.Limit = c.limit
		*a = Answer{Outcome: budget.Found, Level: c.tenant, Remaining: own.Remaining, Balance: &balance}
		return luascripts.CodeEpoch
	}
	balance := own.Balance()
	balance.Limit = c.limit
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
	own, levels := model.accounts[baseOf(c.tenant)], model.levels(c.tenant, store.AllLevels)
	if own == nil {
		return luascripts.CodeNoTenant
	}
	first := func(is func(simLevel) bool) bool {
		i := slices.IndexFunc(levels, is)
		if i >= 0 {
			a.Level = levels[i].id.Tenant
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
		*a = Answer{Outcome: budget.Insufficient, Level: least.id.Tenant, Limit: least.id.Limit, Remaining: max(least.Remaining, 0), Required: c.amount}
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
		*a = Answer{Outcome: budget.Overrun, Level: least.id.Tenant, Limit: least.id.Limit, Remaining: least.Remaining}
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
	own := model.accounts[baseOf(c.tenant)]
	if !h.Open() || model.ended[field] || h.Tenant != c.tenant || own == nil || !h.Debited(own.Serial) {
		return h, nil
	}
	levels = model.levels(h.Tenant, h.Levels)
	return h, slices.DeleteFunc(levels, func(l simLevel) bool { return !h.Debited(l.Serial) })
}

// apply changes the accounts as an operation with this code does, and fills in its answer.
func (model *simModel) apply(operation int, c simCall, code byte, a *Answer) {
	own := model.accounts[store.AccountID{Tenant: c.tenant, Limit: c.limit}]
	switch code {
	case luascripts.CodeReserved:
		levels := model.levels(c.tenant, store.AllLevels)
		for _, level := range levels {
			level.Remaining -= c.amount
			level.Reserved += c.amount
			level.Holds++
		}
		least := leastOf(levels, remainingOf)
		*a = Answer{Outcome: budget.Reserved, Level: least.id.Tenant, Limit: least.id.Limit, Remaining: least.Remaining}
	case luascripts.CodeCommitted, luascripts.CodeReleased:
		h, levels := model.openHold(c)
		if a.Outcome = budget.Committed; code == luascripts.CodeReleased {
			*a = Answer{Outcome: budget.Released, Returned: h.Held}
		}
		model.end(operation, store.HoldField(c.id), h, a.Actual)
		least := leastOf(levels, remainingOf)
		a.Level, a.Limit, a.Remaining = least.id.Tenant, least.id.Limit, least.Remaining
	case luascripts.CodeCreated:
		own = newSimAccount(c.amount)
		model.accounts[baseOf(c.tenant)] = own
		if c.change != nil {
			own.configure(c.change, model.now, true)
			model.setLimits(c)
		}
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
		model.setLimits(c)
		settings := own.Settings
		*a = Answer{Outcome: budget.Configured, Settings: &settings}
	case luascripts.CodeRenewed:
		// The boundaries that it leaves out must have passed.
		times, omits := c.renewal.Boundaries, c.renewal.Omitted > 0
		calendar := calendarOf(own.Settings.Window) == c.renewal.window
		if own.hasPeriod() && !own.rolls() && calendar && own.Epochs.Mark == c.renewal.mark && !(omits && times[1] > model.now) {
			own.renew(times[len(times)-1], model.now)
		}
		*a = Answer{Outcome: budget.Found, Level: c.tenant, Remaining: own.Remaining}
	case luascripts.CodeDeleted:
		for _, level := range model.levels(c.tenant, store.OwnLevel) {
			delete(model.accounts, level.id)
		}
	}
}
