package lane

import (
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// The windows of accounts in a simulation.

// someWindow returns a window, or none. Most have the same boundaries, so that a change often
// keeps them.
func (s *simulation) someWindow(tenant budget.TenantID) budget.Window {
	s.renewing[tenant] = true
	unit := simBudget(tenant) / 500
	w := budget.Window{Period: budget.Hour, Zone: "UTC"}
	switch s.random.IntN(10) {
	case 0, 1:
		return budget.Window{}
	case 2:
		w.Zone = "Asia/Kolkata"
	case 3:
		w.Period = []budget.Period{budget.Day, budget.Week, budget.Month}[s.random.IntN(3)]
		if w.Period == budget.Month {
			w.Day = 15
		}
	}
	switch s.random.IntN(8) {
	case 0, 1:
	case 2:
		w.Amount = budget.MaxMicrocents - simBudget(tenant)*budget.Microcents(s.random.IntN(3))
	default:
		w.Amount = unit * budget.Microcents(1+s.random.IntN([]int{100, 900}[s.random.IntN(2)]))
	}
	switch s.random.IntN(3) {
	case 0:
		w.Carry = unit * budget.Microcents(1+s.random.IntN(300))
	case 1:
		w.Carry = budget.CarryAll
	}
	if s.random.IntN(5) < 2 {
		w = s.someRolling(w)
	}
	return w
}

// boundaries returns the starts and the boundaries that are stored for an account.
func (s *simulation) boundaries(id store.AccountID) (times []int64) {
	if e := s.partitionOf(id.Tenant).ledger.accounts[id].Epochs; e != nil {
		times = append(slices.Concat(e.Kept, e.Ahead), e.Start)
	}
	return times
}

// someTime returns a time that may be in an epoch of the account's.
func (s *simulation) someTime(id store.AccountID) int64 {
	times := append(s.boundaries(id), s.server.Now)
	return times[s.random.IntN(len(times))] - 1 + s.random.Int64N(3)
}

// simFar is the sum of the jumps of a schedule, after which it has none: no node may be silent
// until its sessions expire.
const simFar = 5 * 24 * 3_600_000

// someAccount returns the account of the tenant's base limit, or that of one of its limits.
func (s *simulation) someAccount(tenant budget.TenantID) store.AccountID {
	id := baseOf(tenant)
	if limits := s.partitionOf(tenant).ledger.accounts[id].Settings.Limits.All(); len(limits) > 0 && s.random.IntN(3) > 0 {
		id.Limit = limits[s.random.IntN(len(limits))]
	}
	return id
}

// jump advances the clock to about the next boundary of an account, or beyond several.
func (s *simulation) jump() {
	id := s.someAccount(simTenants[s.random.IntN(len(simTenants))])
	account := s.partitionOf(id.Tenant).ledger.copyAccount(id)
	window, now, to, far := account.Settings.Window, s.server.Now, int64(0), false
	switch {
	case window.Period == budget.NoPeriod:
		return
	case account.rolls():
		to, far = s.rollTime(account, now)
	default:
		to = s.boundaryTime(window, now)
	}
	// Beyond that sessions expire: see pause.
	if to <= now || far && (s.mode.failovers || len(s.cloned) > 0) || !far && s.jumped+to-now > simFar {
		return
	}
	if !far {
		s.jumped += to - now
	}
	if long := to-now > 30_000; far || long && (s.mode.failovers || s.random.IntN(2) == 0) {
		s.comeToRest()
	}
	s.server.Now = to
	s.logf("the time jumps to %d", s.server.Now-simBegan)
	if s.mode.failovers {
		s.truncateHistory()
	}
}

// boundaryTime returns about the next boundary of a window, or one after several.
func (s *simulation) boundaryTime(window budget.Window, now int64) int64 {
	to := simNext(window, now)
	switch s.random.IntN(8) {
	case 0:
		to--
	case 1:
		to++
	case 2:
		for range s.random.IntN(13) {
			to = simNext(window, to)
		}
		to += s.random.Int64N(5)
	case 3, 4, 5:
		to -= s.random.Int64N(3000)
	}
	return to
}

func (l *simLedger) addEpoch(field string, epoch store.EndedEpoch) {
	id, start, _ := store.EpochOfField(field)
	if l.epochs[id] == nil {
		l.epochs[id] = make(map[int64]store.EndedEpoch)
	}
	l.epochs[id][start] = epoch
}

// hasRolled reports whether an epoch of the account may have ended: its committed sum is then
// that of some of its holds.
func (s *simulation) hasRolled(id store.AccountID) bool {
	return id.Limit != budget.NoPeriod || s.renewing[id.Tenant]
}

// checkEpochs checks the invariants of ended epochs, each against the holds that were made in
// it.
func (s *simulation) checkEpochs(p *simPartition) {
	l := &p.ledger
	for id, epochs := range l.epochs {
		kept := 0
		if e := l.accounts[id].Epochs; e != nil {
			kept = len(e.Kept)
		}
		if len(epochs) != kept && s.orphaned[id.Tenant] == 0 {
			s.failf("%s has the records of %d epochs, want %d", id, len(epochs), kept)
		}
	}
	reserved := make(map[store.AccountID]map[*simEpoch]budget.Microcents)
	accounts := make(map[store.AccountID]*simAccount)
	for id, account := range l.accounts {
		if account.Epochs == nil {
			continue
		}
		a := l.copyAccount(id)
		accounts[id], reserved[id] = a, make(map[*simEpoch]budget.Microcents)
		s.checkAccountEpochs(l, id, a)
		s.checkStoredRing(p, id, a)
	}
	for _, h := range l.holds {
		if !h.Open() {
			continue
		}
		for level := range l.levels(h) {
			if a := accounts[level]; a != nil {
				reserved[level][a.epochOf(h.Made)] += h.Held
			}
		}
	}
	for id, a := range accounts {
		if a.Reserved != reserved[id][nil] {
			s.failf("%s has reserved %d in its epoch from %d, but its holds sum up to %d", id, a.Reserved, a.Epochs.Start, reserved[id][nil])
		}
		for _, e := range a.ended {
			if e.Reserved != reserved[id][e] {
				s.failf("%s has %+v, but its holds sum up to %d", id, *e, reserved[id][e])
			}
		}
	}
}

// checkAccountEpochs checks the epochs of an account as they are stored.
func (s *simulation) checkAccountEpochs(l *simLedger, id store.AccountID, a *simAccount) {
	for _, start := range a.Epochs.Kept {
		if _, is := l.epochs[id][start]; !is {
			s.failf("%s has no record of its epoch from %d", id, start)
		}
	}
	sum, end := budget.Microcents(0), int64(0)
	for _, e := range a.ended {
		sum += e.Reserved
		if e.Remaining < 0 || e.Reserved < 0 || e.Committed < 0 || bigSum(e.Remaining, e.Reserved, e.Committed).Cmp(bigOf(e.Granted)) != 0 {
			s.failf("%s has the ended epoch %+v", id, *e)
		}
		if e.start < end || e.End <= e.start {
			s.failf("%s has the ended epoch %+v after one that ended at %d", id, *e, end)
		}
		end = e.End
	}
	if a.Epochs.Ended != sum {
		s.failf("%s reserves %d in ended epochs, but %d by the record of the account", id, sum, a.Epochs.Ended)
	}
	if a.Epochs.Start < end || bigSum(a.Remaining, a.Reserved, a.Committed).Cmp(bigOf(a.Granted)) != 0 {
		s.failf("%s has %+v after an epoch that ended at %d", id, a, end)
	}
	ahead := a.Epochs.Ahead
	for i, at := range ahead {
		if i > 0 && at != simNext(a.Settings.Window, ahead[i-1]) {
			s.failf("%s has the boundaries %d", id, ahead)
		}
	}
	if len(ahead) > 0 && (ahead[0] <= a.Epochs.Start || a.Epochs.Mark != ahead[len(ahead)-1]) {
		s.failf("%s has the boundaries %d of an epoch from %d, up to %d", id, ahead, a.Epochs.Start, a.Epochs.Mark)
	}
}

// equals reports whether the account is as the model wants it.
func (a *simAccount) equals(want *simAccount) bool {
	if a.Balance() != want.Balance() || a.Holds != want.Holds || (a.Epochs == nil) != (want.Epochs == nil) {
		return false
	} else if a.Epochs == nil {
		return true
	}
	return (!a.hasPeriod() || a.Epochs.Mark == want.Epochs.Mark) && a.Epochs.Start == want.Epochs.Start && maps.Equal(a.ring, want.ring) && slices.Equal(a.Epochs.Ahead, want.Epochs.Ahead) &&
		slices.EqualFunc(a.ended, want.ended, func(a, b *simEpoch) bool { return *a == *b })
}

// checkConserved checks that an account which no operation granted more or less, and which began
// no epoch, is granted the same in all its epochs together: what leaves one arrives in another.
func (s *simulation) checkConserved(p *simPartition, before *simLedger, m *message) {
	for id, a := range p.ledger.accounts {
		was := before.accounts[id]
		if was.Serial != a.Serial || was.Epochs == nil || a.Epochs == nil || was.Epochs.Start != a.Epochs.Start {
			continue
		}
		changes := slices.ContainsFunc(m.calls, func(c simCall) bool {
			return c.tenant == id.Tenant && strings.IndexByte(budgetKinds, c.kind) >= 0
		})
		if is, had := p.ledger.granted(id), before.granted(id); !changes && is.Cmp(had) != 0 {
			s.failf("%d left %s with %d granted in its epochs, which had %d", m.name, id, is, had)
		}
	}
}

// budgetKinds are the kinds of operations that change what an account is granted.
const budgetKinds = string(luascripts.KindGrant) + string(luascripts.KindWithdraw) + string(luascripts.KindConfigure)

// granted returns what an account is granted in its epochs together.
func (l *simLedger) granted(id store.AccountID) *big.Int {
	sum := bigOf(l.accounts[id].Granted)
	for _, e := range l.copyAccount(id).ended {
		sum.Add(sum, bigOf(e.Granted))
	}
	return sum
}

// lateSettle is a settle into an ended epoch of an account, or outside of its rolling window.
type lateSettle struct {
	operation int
	id        store.AccountID
}

// checkWindows checks what a reply says of windows, and adds to the answers when a budget
// renews.
func (s *simulation) checkWindows(p *simPartition, m *message, model *simModel, accounts []string, reply *store.Reply) {
	var want []store.WindowAhead
	for i, field := range accounts {
		id := idOf(field)
		a := model.accounts[id]
		if a != nil && a.hasPeriod() && !s.isBad(p, field) {
			w := store.WindowAhead{Account: i}
			if !a.waits {
				w.Next = a.next()
			}
			if w.Next == 0 {
				w.Mark, w.Window = a.Epochs.Mark, calendarOf(a.Settings.Window)
			}
			want = append(want, w)
		}
		for operation := range m.calls {
			is, late := reply.LateRemaining(operation, i)
			if wanted, is2 := model.late[lateSettle{operation, id}]; late != is2 || is != wanted {
				s.failf("%d: operation %d left %d to %s (in an ended epoch: %t), want %d (%t)", m.name, operation, is, id, late, wanted, is2)
			}
		}
		for j := range m.answers {
			if a := &m.answers[j]; a.Level == id.Tenant && a.Limit == id.Limit && (a.Outcome == budget.Insufficient && simKinds[m.calls[j].kind].makes ||
				a.Outcome == budget.Found && m.calls[j].kind == luascripts.KindRemaining) {
				a.Renews = reply.Renews(i)
			}
		}
	}
	if len(model.late) == 0 && !strings.ContainsAny(reply.Codes, "IQw") {
		want = nil // no operation needs them
	}
	if !slices.Equal(reply.Windows, want) {
		s.failf("%d is answered with the windows %+v, want %+v", m.name, reply.Windows, want)
	}
}

// waits returns the code of an operation that is not decided: the batch lacks limits of an
// account, or the next boundary of one is not stored; else 0.
func (model *simModel) waits(c simCall) (code byte) {
	own := store.AccountID{Tenant: c.tenant, Limit: c.limit}
	levels := byte(0)
	switch c.kind {
	case luascripts.KindReserve, luascripts.KindReserveTTL, luascripts.KindRemaining:
		levels = store.AllLevels
	case luascripts.KindDelete, luascripts.KindListLimits:
		levels = store.OwnLevel
	case luascripts.KindCommit, luascripts.KindCommitAvailable, luascripts.KindRelease:
		field := store.HoldField(c.id)
		h, own := model.before.holds[field], model.accounts[own]
		if !h.Open() || model.ended[field] || h.Tenant != c.tenant || own != nil && own.Serial > h.Serial {
			return 0
		}
		levels = h.Levels
	}
	accounts := model.levels(c.tenant, levels)
	if a := model.accounts[own]; levels == 0 && a != nil {
		accounts = append(accounts, simLevel{own, a})
	}
	for _, a := range accounts {
		switch {
		case a.lacks:
			return luascripts.CodeLimits
		case a.waits && c.kind != luascripts.KindRenew:
			return luascripts.CodeWindow
		}
	}
	return 0
}

// merge carries out a merge that was not refused, epoch by epoch.
func (model *simModel) merge(c simCall) {
	field := store.HoldField(c.id)
	was, levels, made := model.before.holds[field], c.merged.levels, c.merged.at
	known := was.State != 0
	if known {
		levels, made = was.Levels, was.Made
	} else if c.tenant.Parent() == "" {
		levels = store.OwnLevel
	}
	accounts := model.levels(c.tenant, levels)
	if known {
		accounts = slices.DeleteFunc(accounts, func(l simLevel) bool { return !was.Debited(l.Serial) })
	} else {
		accounts = beganBy(accounts, made)
	}
	for _, a := range accounts {
		if !model.named[a.id] {
			a.enter(model.now)
		}
	}
	if !known {
		for _, a := range accounts {
			made = min(made, model.now, a.last())
		}
	}
	model.made[field] = made
	if !known && c.merged.state == luascripts.HoldOpen && c.merged.until != 0 && c.merged.until <= model.now {
		return // it ends at once
	}
	reserved, committed, holds := budget.Microcents(0), budget.Microcents(0), 0
	switch {
	case was.Open() && !model.ended[field]:
		reserved, holds = -was.Held, -1
	case was.State == luascripts.HoldCommitted:
		committed = -was.Actual
	}
	switch c.merged.state {
	case luascripts.HoldOpen:
		reserved, holds = reserved+c.amount, holds+1
	case luascripts.HoldCommitted:
		committed += c.amount
	}
	for _, a := range accounts {
		a.Holds = uint32(int(a.Holds) + holds)
		a.move(made, reserved, committed)
	}
	model.ended[field] = true
}

// last returns the last time that is in the current epoch, as far as boundaries are stored.
func (a *simAccount) last() int64 {
	switch {
	case !a.hasPeriod(), a.rolls():
		return 1 << 62
	case len(a.Epochs.Ahead) > 0:
		return a.Epochs.Ahead[0] - 1
	}
	return a.Epochs.Mark
}
