package lane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// simLedger is a partition as stored, read without the scripts. Damaged records have
// their values from before the damage.
type simLedger struct {
	control   store.Control
	accounts  map[store.AccountID]store.Account
	epochs    map[store.AccountID]map[int64]store.EndedEpoch // by their starts
	holds     map[string]store.Hold
	forgotten map[string]store.Hold // that were deleted, with their last state
	sessions  map[string]string
}

func (s *simulation) readLedger(p *simPartition) simLedger {
	l := simLedger{
		accounts: make(map[store.AccountID]store.Account), epochs: make(map[store.AccountID]map[int64]store.EndedEpoch), holds: make(map[string]store.Hold),
		forgotten: make(map[string]store.Hold), sessions: make(map[string]string),
	}
	var errs []error
	for field, record := range p.store.Hash(p.keys.Ledger) {
		if d, is := p.damages[field]; is && record == d.bad {
			record = d.good
		}
		switch field[0] {
		case luascripts.FieldControl:
			control, err := store.ParseControl(record)
			l.control, errs = control, append(errs, err)
		case luascripts.FieldAccount:
			account, ok, err := store.ParseAccount(record)
			if errs = append(errs, err); ok {
				l.accounts[idOf(field)] = account
			}
		case luascripts.FieldEpoch:
			epoch, err := store.ParseEpoch(record)
			errs = append(errs, err)
			l.addEpoch(field, epoch)
		case luascripts.FieldHold:
			hold, err := store.ParseHold(record)
			l.holds[field], errs = hold, append(errs, err)
		case luascripts.FieldSession:
			l.sessions[field] = record
		}
	}
	for field, record := range p.store.Deleted(p.keys.Ledger) {
		if field[0] == luascripts.FieldHold {
			hold, err := store.ParseHold(record)
			l.forgotten[field], errs = hold, append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		s.failf("partition %d cannot be read: %v", p.index, err)
	}
	return l
}

// state returns the state of a hold, the zero Hold for none, and whether Redis has
// forgotten it.
func (l *simLedger) state(field string) (h store.Hold, forgotten bool) {
	if h, is := l.holds[field]; is {
		return h, false
	}
	h, forgotten = l.forgotten[field]
	return h, forgotten
}

// sums are the totals of the holds that debited an account.
type sums struct {
	reserved, committed budget.Microcents
	open, older         uint32
	deadline, young     int64 // the earliest of the older and of the younger ones, 0 for none
}

// idOf returns the account whose record a field is.
func idOf(field string) store.AccountID {
	id, _ := store.AccountOfField(field)
	return id
}

// baseOf returns the account of a tenant's base limit.
func baseOf(tenant budget.TenantID) store.AccountID { return store.AccountID{Tenant: tenant} }

// levels yields the accounts of a hold's levels that still are those that it debited.
func (l *simLedger) levels(h store.Hold) iter.Seq2[store.AccountID, store.Account] {
	return func(yield func(store.AccountID, store.Account) bool) {
		for _, level := range store.LevelsOf(h.Tenant, h.Levels) {
			id := baseOf(level)
			base, is := l.accounts[id]
			if is && h.Debited(base.Serial) && !yield(id, base) {
				return
			}
			for _, id.Limit = range base.Settings.Limits.All() {
				if a, is := l.accounts[id]; is && h.Debited(a.Serial) && !yield(id, a) {
					return
				}
			}
		}
	}
}

func (l *simLedger) sums() map[store.AccountID]sums {
	all := make(map[store.AccountID]sums)
	add := func(h store.Hold, level store.AccountID, turn uint64) {
		a := all[level]
		switch h.State {
		case luascripts.HoldOpen:
			a.reserved += h.Held
			a.open++
			first := &a.young
			if h.Sequence <= turn {
				a.older++
				first = &a.deadline
			}
			if h.Deadline != 0 && (*first == 0 || h.Deadline < *first) {
				*first = h.Deadline
			}
		case luascripts.HoldCommitted:
			a.committed += h.Actual
		}
		all[level] = a
	}
	addAll := func(h store.Hold) {
		for level, a := range l.levels(h) {
			add(h, level, a.Turn)
		}
	}
	for _, h := range l.holds {
		addAll(h)
	}
	for field, h := range l.forgotten {
		if _, there := l.holds[field]; !there {
			addAll(h)
		}
	}
	return all
}

// isLate reports whether a bound of deadlines is above the earliest one; 0 means none.
func isLate(bound, earliest int64) bool {
	return earliest != 0 && (bound == 0 || bound > earliest)
}

// checkPartition checks the invariants that always hold.
func (s *simulation) checkPartition(p *simPartition) {
	l := s.readLedger(p)
	p.ledger = l
	all := l.sums()
	serials := make(map[uint64]store.AccountID)
	for id, a := range l.accounts {
		serials[a.Serial] = id
		sum := all[id]
		switch {
		case !a.Balanced():
			s.failf("the balance doesn't add up: %s %+v", id, a)
		case a.Reserved != sum.reserved-l.copyAccount(id).endedReserved() || a.Committed != sum.committed && !s.hasRolled(id) || a.Holds != sum.open || a.Older != sum.older:
			s.failf("%s has %+v, but its holds sum up to %+v", id, a, sum)
		case !s.isDamaged(id.Tenant) && (isLate(a.Deadline, sum.deadline) || isLate(a.Young, sum.young)):
			s.failf("%s has %+v, but its holds sum up to %+v", id, a, sum)
		case a.Remaining < -s.overdrafts[id] && !s.mode.failovers && !s.lowering[id]:
			s.failf("overspent: %s %+v, its overdraft was at most %d", id, a, s.overdrafts[id])
		case a.Granted > 0 && a.Settings.Overdraft > budget.MaxMicrocents-a.Granted:
			s.failf("the budget and the overdraft don't fit 64 bits: %s %+v", id, a)
		case s.config.MaxHolds > 0 && int(a.Holds) > s.config.MaxHolds && !s.mode.failovers && id.Limit == budget.NoPeriod && !hasLevelsBelow(id.Tenant):
			s.failf("%s has %d open holds, at most %d are allowed", id, a.Holds, s.config.MaxHolds)
		}
		if a.Serial > l.control.LastSerial {
			s.failf("%s has the serial %d, but the last one is %d", id, a.Serial, l.control.LastSerial)
		}
		s.checkLimits(l, id, a)
	}
	if len(serials) < len(l.accounts) {
		s.failf("partition %d has a serial twice: %v", p.index, l.accounts)
	}
	for field, h := range l.holds {
		debited := byte(0)
		for id := range l.levels(h) {
			debited += byte(count(id.Limit == budget.NoPeriod))
		}
		if h.Open() && int(debited) != bits.OnesCount8(h.Levels) && !s.isOrphan(h) {
			s.failf("%q is an open hold of %s, levels %08b, account %d, of which one is gone", field, h.Tenant, h.Levels, h.Serial)
		}
		// A commit that was acknowledged before a failover has priority. A hold that a
		// late duplicate made again is merged again, and ends at its deadline.
		if was, is := l.forgotten[field]; is && (h.Open() && !s.mode.quick || was.State == luascripts.HoldCommitted) {
			s.failf("%q ended as %+v, was forgotten, and is now %+v", field, was, h)
		}
	}
	for field, h := range l.forgotten {
		if _, there := l.holds[field]; !there && h.State == luascripts.HoldExpired && l.control.Time < h.Ended+simRetention.Milliseconds() {
			s.failf("%q expired at %d, but is forgotten at %d", field, h.Ended, l.control.Time)
		}
	}
	s.checkEpochs(p)
	s.checkTimers(p)
	s.checkRing(p)
}

// checkLimits checks that the limits that a tenant's account names are those that exist.
func (s *simulation) checkLimits(l simLedger, id store.AccountID, a store.Account) {
	if id.Limit != budget.NoPeriod {
		if base := l.accounts[baseOf(id.Tenant)]; !base.Settings.Limits.Has(id.Limit) {
			s.failf("%s exists, but its tenant has %+v", id, base)
		}
		return
	}
	if a.Settings.Limits.Len() > budget.MaxLimits {
		s.failf("%s has too many limits: %+v", id, a)
	}
	for _, id.Limit = range a.Settings.Limits.All() {
		if _, exists := l.accounts[id]; !exists {
			s.failf("%s doesn't exist, but its tenant has %+v", id, a)
		}
	}
}

// checkTimers checks that, if the timers are whole, every hold with a deadline is among
// them, and none is due before the partition's next due time.
func (s *simulation) checkTimers(p *simPartition) {
	timers := make(map[string]int64)
	whole := false
	names, scores := p.store.Members(p.keys.Timers)
	for i, name := range names {
		if name == luascripts.Sentinel {
			whole = math.IsInf(scores[i], 1)
		} else {
			timers[name] = int64(scores[i])
		}
	}
	l := &p.ledger
	due := l.control.Due
	for field, h := range l.holds {
		if !h.Open() || h.Deadline == 0 {
			continue
		}
		if due == 0 || due > h.Deadline && !s.isDamaged(h.Tenant) {
			s.failf("nothing is due before %d, but %q is at %d", due, field, h.Deadline)
		}
		if at, is := timers[field]; whole && (!is || at != h.Deadline && !s.isDamaged(h.Tenant)) {
			s.failf("%q is due at %d, but its timer at %d", field, h.Deadline, at)
		}
	}
	if !whole {
		return
	}
	for name, at := range timers {
		if (due == 0 || due > at) && !isRebuildMark(name) {
			s.failf("nothing is due before %d, but the timer %q is at %d", due, name, at)
		}
	}
	for field := range p.store.Hash(p.keys.Ledger) {
		if _, is := timers[field]; !is && field[0] == luascripts.FieldEndings {
			s.failf("record %q has no timer", field)
		}
	}
}

func isRebuildMark(member string) bool { return member[0] == 'b' }

// checkRing checks that the ring's records are those from its tail to its head, and name
// as many tombstones as it counts.
func (s *simulation) checkRing(p *simPartition) {
	c, records, names := p.ledger.control, uint64(0), 0
	for field, record := range p.store.Hash(p.keys.Ledger) {
		if field[0] != luascripts.FieldRing {
			continue
		}
		records++
		names += (len(record) - 6) / store.HoldFieldBytes
		if n := number48(field[1:]); n < c.RingTail || n >= c.RingHead {
			s.failf("ring record %d is outside of %d to %d", n, c.RingTail, c.RingHead)
		}
	}
	if records != c.RingHead-c.RingTail || names != int(c.RingCount) {
		s.failf("the ring has %d records of %d tombstones, but its control is %+v", records, names, c)
	}
	if names > s.config.Ring && records > 1 { // the last record stays, however many holds its batch settled
		s.failf("the ring has %d tombstones, at most %d are kept", names, s.config.Ring)
	}
}

func number48(text string) uint64 {
	return binary.BigEndian.Uint64(append([]byte{0, 0}, text...))
}

// decided are the codes of operations that depend on the state of their account, and that
// are therefore decided after all due holds of it have ended.
const decided = "RICLOEeGVWBQXHFSPjN"

// checkExecuted checks how a batch changed the stored state.
func (s *simulation) checkExecuted(p *simPartition, before simLedger, m *message, reply any) {
	text, _ := reply.(string)
	sequence, fresh := before.control.Sequence, false
	if s.isBatch(m) && text != "" && text[0] == store.WordApplied {
		session, mark := "s"+m.argv()[0][:8], m.argv()[4]
		has := func(l simLedger) bool { s := l.sessions[session]; return len(s) >= 17 && s[1:17] == mark }
		fresh = !has(before) && has(p.ledger)
	}
	if fresh {
		sequence++
	}
	if p.ledger.control.Sequence != sequence {
		s.failf("%d made the sequence %d, want %d", m.name, p.ledger.control.Sequence, sequence)
	}
	if p.ledger.control.Time < before.control.Time {
		s.failf("%d made the time %d, it was %d", m.name, p.ledger.control.Time, before.control.Time)
	}
	if fresh {
		s.checkDecided(p, m, text)
		s.checkModel(p, &before, m, text)
	}
}

// checkDecided checks that no operation is decided before its account's due holds end.
func (s *simulation) checkDecided(p *simPartition, m *message, reply string) {
	now := store.AppliedTime(reply)
	overdue := make(map[store.AccountID]string)
	for field, h := range p.ledger.holds {
		if !h.Open() || h.Deadline == 0 || h.Deadline > now || s.isDamaged(h.Tenant) {
			continue
		}
		for level := range p.ledger.levels(h) {
			overdue[level] = field
		}
	}
	argv := m.argv()
	kinds, places, fields := argv[6], argv[7], argv[9:]
	codes := reply[8 : 8+len(kinds)]
	m.remaining = make(map[store.AccountID]budget.Microcents)
	for place := range int(argv[5][7]) {
		id := idOf(fields[place])
		if account, is := p.ledger.accounts[id]; is {
			m.remaining[id] = account.Remaining
		}
	}
	named := fields[int(argv[5][7]):]
	for i := range kinds {
		place := 0
		if places != "" {
			place = int(places[i]) - 1
		}
		own := idOf(fields[place])
		tenant := own.Tenant
		hold, limits := store.Hold{Tenant: tenant, Levels: store.OwnLevel}, true
		switch properties := simKinds[kinds[i]]; {
		case properties.names:
			if h, _ := p.ledger.state(named[0]); h.State != 0 && codes[i] != luascripts.CodeNoHold && h.Tenant == tenant {
				hold = h
			}
			named = named[1:]
		case properties.makes && codes[i] == luascripts.CodeReserved:
			node, number := binary.BigEndian.Uint64([]byte(argv[0])), binary.BigEndian.Uint64([]byte(argv[4]))
			hold, _ = p.ledger.state(store.HoldField(store.NewID(tenant, node, number, i)))
			s.checkLevels(p, m, hold, strings.ContainsAny(codes, "EX"))
		case properties.makes, kinds[i] == luascripts.KindRemaining:
			hold.Levels = store.AllLevels
		case kinds[i] != luascripts.KindDelete && kinds[i] != luascripts.KindListLimits:
			limits = false
		}
		for _, id := range p.ledger.chain(tenant, hold.Levels) {
			account := p.ledger.accounts[id]
			if !limits && id != own || hold.Serial != 0 && !hold.Debited(account.Serial) {
				continue
			}
			if overdue[id] != "" && strings.IndexByte(decided, codes[i]) >= 0 && kinds[i] != luascripts.KindMerge {
				s.failf("%d decided %c of %s as %c, but %q of %s is due and open", m.name, kinds[i], tenant, codes[i], overdue[id], id)
			}
		}
	}
}

// chain returns the accounts of a set of a tenant's levels that exist, each with its limits.
func (l *simLedger) chain(tenant budget.TenantID, set byte) (ids []store.AccountID) {
	for _, level := range store.LevelsOf(tenant, set) {
		id := baseOf(level)
		base, is := l.accounts[id]
		if !is {
			continue
		}
		ids = append(ids, id)
		for _, id.Limit = range base.Settings.Limits.All() {
			ids = append(ids, id)
		}
	}
	return ids
}

// simKinds is the simulation's own view of the kinds of operations.
var simKinds = map[byte]properties{
	luascripts.KindReserve: {makes: true}, luascripts.KindReserveTTL: {makes: true}, luascripts.KindCommit: {names: true},
	luascripts.KindRelease: {names: true}, luascripts.KindLookup: {names: true}, luascripts.KindMerge: {names: true},
	luascripts.KindCommitAvailable: {names: true},
}

// checkLevels checks that a new hold debited every level that exists, unless the batch
// also created or deleted accounts.
func (s *simulation) checkLevels(p *simPartition, m *message, h store.Hold, changed bool) {
	exist := byte(0)
	for distance, level := range store.LevelsOf(h.Tenant, store.AllLevels) {
		if _, is := p.ledger.accounts[baseOf(level)]; is {
			exist |= 1 << distance
		}
	}
	if h.Levels != exist && !changed {
		s.failf("%d reserved at the levels %08b of %s, but %08b exist", m.name, h.Levels, h.Tenant, exist)
	}
}

// checkAnswers checks that the node computes the remaining that is stored, and the answers.
func (s *simulation) checkAnswers(m *message, b *Batch, reply string) {
	if m.remaining == nil || b == nil || reply == "" || reply[0] != store.WordApplied || m.argv()[4] != b.mark {
		return
	}
	remaining := make([]budget.Microcents, len(b.accounts))
	answers, _, _, err := b.replay(reply, remaining)
	if err != nil {
		s.failf("%d: %v", m.name, err)
		return
	}
	if !slices.Equal(b.crossings, m.crossings) {
		s.failf("%d crossed the thresholds %+v, want %+v", m.name, b.crossings, m.crossings)
	}
	if b.repair {
		return
	}
	for place, id := range b.accounts {
		stored, is := m.remaining[id]
		if is && remaining[place] != stored && !s.isDamaged(id.Tenant) || !is && b.nested && remaining[place] != store.NoAccount {
			s.failf("%d left %d to %s (exists: %t), but the node computes %d", m.name, stored, id, is, remaining[place])
		}
	}
	for i, want := range m.answers {
		is, c := answers[i], m.calls[i]
		if want.Outcome == budget.Unknown || s.isDamaged(c.tenant) {
			continue
		}
		if (want.Balance == nil) != (is.Balance == nil) || want.Balance != nil && *want.Balance != *is.Balance {
			s.failf("%d: %c of %s is answered with the balance %+v, want %+v", m.name, c.kind, c.tenant, is.Balance, want.Balance)
		}
		if (want.Settings == nil) != (is.Settings == nil) || want.Settings != nil && *want.Settings != *is.Settings {
			s.failf("%d: %c of %s is answered with the settings %+v, want %+v", m.name, c.kind, c.tenant, is.Settings, want.Settings)
		}
		if (want.Limits == nil) != (is.Limits == nil) || want.Limits != nil && !slices.Equal(want.Limits.Limits, is.Limits.Limits) {
			s.failf("%d: %c of %s is answered with the limits %+v, want %+v", m.name, c.kind, c.tenant, is.Limits, want.Limits)
		}
		is.Balance, is.levels, is.code, is.epochs, want.Balance = nil, 0, 0, nil, nil
		is.Settings, want.Settings, is.Limits, want.Limits = nil, nil, nil, nil
		if is != want {
			s.failf("%d: %c of %s is answered %+v, want %+v", m.name, c.kind, c.tenant, is, want)
		}
	}
}

// readPage reads a page of an audit, which continues between other steps.
func (s *simulation) readPage() {
	p := s.partitions[s.random.IntN(len(s.partitions))]
	header, is := p.store.Hash(p.keys.Ledger)[store.HeaderField]
	if !is {
		return
	}
	if p.audit == nil {
		tenant := budget.TenantID("")
		if s.random.IntN(4) == 0 {
			tenant = simTenants[s.random.IntN(len(simTenants))]
		}
		p.audit = store.NewSnapshot(header, tenant, s.random.IntN(2) == 0)
		p.audit.Thorough = tenant == "" && s.random.IntN(2) == 0
	}
	for range 1 + s.random.IntN(3) {
		if s.addPage(p, p.audit); p.audit == nil || p.audit.Done() {
			p.audit = nil
			return
		}
	}
}

func (s *simulation) addPage(p *simPartition, audit *store.Snapshot) {
	args := append([]any{"eval", s.scripts.Page.Source, "2", p.keys.Ledger, p.keys.Timers}, audit.Args()...)
	reply, err := s.do(p, simArgs(args))
	if err == nil {
		words, _ := reply.([]any)
		err = audit.Add(words)
	}
	switch {
	case errors.Is(err, store.ErrBehind):
		p.audit = nil
	case err != nil:
		s.failf("an audit of partition %d: %v", p.index, err)
	case audit.Done():
		s.checkAudit(p, audit)
	}
}

// auditAtOnce reads a whole audit without other steps in between.
func (s *simulation) auditAtOnce(p *simPartition) {
	header, is := p.store.Hash(p.keys.Ledger)[store.HeaderField]
	if !is {
		return
	}
	fields, interrupted := s.server.ScanFields, p.audit
	s.server.ScanFields = 1 << 20
	audit := store.NewSnapshot(header, "", false)
	for audit.Thorough = true; !audit.Done() && len(s.wrong) == 0; {
		s.addPage(p, audit)
	}
	s.server.ScanFields, p.audit = fields, interrupted
}

// checkAudit checks that an audit that was read while batches ran finds nothing wrong.
func (s *simulation) checkAudit(p *simPartition, audit *store.Snapshot) {
	for id, a := range audit.Accounts {
		if (!a.Matches() || !a.Balanced()) && !s.isDamaged(id.Tenant) {
			s.failf("an audit of %s finds %+v", id, a)
		}
	}
	for _, d := range audit.Damages {
		h := store.Hold{Tenant: d.Tenant, Levels: store.OwnLevel}
		if d.Field[0] == luascripts.FieldHold {
			h, _ = p.ledger.state(d.Field)
		}
		if !s.isDamaged(h.Tenant) && !s.isOrphan(h) {
			s.failf("an audit of partition %d finds %+v", p.index, d)
		}
	}
	if audit.Tenant == "" {
		for id := range p.ledger.accounts {
			if audit.Accounts[id] == nil && id.Limit == budget.NoPeriod && !s.isDamaged(id.Tenant) && !isTemporary(id.Tenant) {
				s.failf("an audit of partition %d does not find %s", p.index, id)
			}
		}
	}
	s.logf("an audit of partition %d is complete: %s", p.index, fmt.Sprint(len(audit.Accounts)))
}
