package lane

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/simredis"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// The faults of a simulation: of messages, clocks, nodes, servers, and stored records.

// faults returns the choices that are rare.
func (s *simulation) faults() []choice {
	choices := []choice{
		{3, s.crash},
		{2, s.server.Forget},
		{3, func() { s.server.Full = !s.server.Full }},
		{2, s.loseTimers},
		{1, s.damageRecord},
		{1, s.closeNode},
		{1, s.pause},
		{1, s.probe},
	}
	if s.mode.failovers {
		return append(choices, choice{5, s.failover})
	}
	return append(choices, choice{1, s.clone}, choice{1, func() { s.removeAccount(simTemporary[s.random.IntN(len(simTemporary))]) }})
}

func (s *simulation) refuse(m *message) {
	f := []Failure{FailureUnsent, FailureTransient, FailureTransient}[s.random.IntN(3)]
	s.logf("%d is refused: %s", m.name, f)
	s.end(m, nil, errors.New("refused"), f)
}

// lose ends a message without a reply. Whether the command was executed or not, it may
// arrive (again) later.
func (s *simulation) lose(m *message) {
	s.logf("%d is lost", m.name)
	s.late = append(s.late, m.copy())
	if m.lane.node.alive && s.random.IntN(2) == 0 {
		m.lane.l.Abandoned()
	}
	s.end(m, nil, errors.New("lost"), FailureLost)
}

func (s *simulation) deliverLate() {
	i := s.random.IntN(len(s.late))
	m := s.late[i]
	if s.random.IntN(2) == 0 {
		s.late = slices.Delete(s.late, i, i+1)
	}
	s.logf("%d arrives late", m.name)
	_, _ = s.execute(m)
}

func (s *simulation) passTime() {
	s.server.Now += 1 + s.random.Int64N(1500)
	s.logf("the time is %d", s.server.Now-simBegan)
}

// pause lets everything come to rest, and then advances the clock until tombstones
// expire, or sessions.
func (s *simulation) pause() {
	s.comeToRest()
	long := simRetention
	if s.random.IntN(2) == 0 && !s.mode.failovers && len(s.cloned) == 0 {
		// Sessions expire. Without the maker's session a repair can't decide whether a
		// hold was lost, and a clone would use its numbers again.
		long = 8 * 24 * time.Hour
	}
	s.server.Now += long.Milliseconds() + s.random.Int64N(60_000)
	s.logf("after a pause the time is %d", s.server.Now-simBegan)
	s.truncateHistory()
}

// comeToRest finishes everything in progress, and restores everything that was lost.
func (s *simulation) comeToRest() {
	full := s.server.Full
	s.server.Full = false
	s.rest()
	s.probe()
	s.rest()
	s.server.Full = full
	s.late = nil
}

// truncateHistory makes the stored state the oldest that a replica can have.
func (s *simulation) truncateHistory() {
	for _, p := range s.partitions {
		p.past = []*simredis.Store{p.store.Clone()}
	}
}

func (s *simulation) crash() {
	nodes := s.living()
	n := nodes[s.random.IntN(len(nodes))]
	s.logf("%s crashes", n.name)
	s.removeNode(n)
	s.addNode()
}

// removeNode ends a node. Its commands stay in flight.
func (s *simulation) removeNode(n *simNode) {
	n.alive = false
	s.inFlight = slices.DeleteFunc(s.inFlight, func(m *message) bool {
		if m.lane.node == n {
			s.late = append(s.late, m.copy())
		}
		return m.lane.node == n
	})
}

// closeNode ends a node that is at rest, as Close does.
func (s *simulation) closeNode() {
	for _, n := range s.living() {
		if n.n.InFlight() > 0 || slices.ContainsFunc(n.lanes, func(l *simLane) bool { return l.l.running }) {
			continue
		}
		s.logf("%s closes", n.name)
		n.alive = false
		for _, l := range n.lanes {
			if !l.l.session.open {
				continue
			}
			m := s.message(nil, l.l.Index(), l.l.command(&s.scripts.Close, 2,
				nodeText(l.l.session.node), l.l.session.last.Mark()[:8], l.l.session.header, l.l.node.clockText()))
			m.args[0], m.args[1] = "eval", s.scripts.Close.Source
			if s.random.IntN(2) == 0 {
				s.deliver(m)
			} else {
				s.late = append(s.late, m)
			}
		}
		s.addNode()
		return
	}
}

// clone starts a copy of a node's machine: a node with the same ID and number.
func (s *simulation) clone() {
	nodes := s.living()
	of := nodes[s.random.IntN(len(nodes))]
	n := s.addNode()
	n.n.id.Store(of.n.ID())
	n.n.numbers.Store(of.n.numbers.Load())
	for _, l := range n.lanes {
		l.l.session = n.n.newSession(of.n.ID())
	}
	s.cloned[of.n.ID()] = true
	s.logf("%s is a clone of %s", n.name, of.name)
}

// failover promotes replicas that lagged, if only by nothing, of one partition or of all.
func (s *simulation) failover() {
	failed := s.partitions
	if s.random.IntN(2) == 0 {
		i := s.random.IntN(len(s.partitions))
		failed = s.partitions[i : i+1]
	}
	for _, p := range failed {
		i := len(p.past) - 1 - s.random.IntN(min(len(p.past), 1+s.random.IntN(24)))
		s.logf("failover of partition %d: %d commands are lost", p.index, len(p.past)-1-i)
		p.store = p.past[i].Clone()
		p.past = append(p.past[:0], p.past[i])
		if s.twin == nil {
			p.server = s.random.Uint64()
		}
		p.ledger, p.audit = s.readLedger(p), nil
	}
	// It takes longer than a batch is valid, and another machine has another clock.
	s.server.Now += s.random.Int64N(60)
	if !s.mode.quick {
		s.server.Now += batchValidity.Milliseconds() + 1
	} else if s.windows && s.random.IntN(2) == 0 {
		s.server.Now -= s.random.Int64N(10_000)
	}
}

// loseTimers deletes or evicts a partition's timers.
func (s *simulation) loseTimers() {
	p := s.partitions[s.random.IntN(len(s.partitions))]
	s.logf("the timers of partition %d are lost", p.index)
	p.store.DeleteKey(p.keys.Timers)
	s.changedByHand(p)
}

// changedByHand makes the twin, if there is one, load a change made without a command.
func (s *simulation) changedByHand(p *simPartition) {
	if s.twin != nil {
		s.twin.loaded[p.index] = nil
	}
	p.ledger = s.readLedger(p)
}

// damageRecord cuts or falsifies the record of an account or of an open hold.
func (s *simulation) damageRecord() {
	p := s.partitions[s.random.IntN(len(s.partitions))]
	hash := p.store.Hash(p.keys.Ledger)
	var fields []string
	for field, record := range hash {
		if field[0] == luascripts.FieldAccount || field[0] == luascripts.FieldHold && record[0] == luascripts.HoldOpen {
			fields = append(fields, field)
		}
	}
	if len(fields) == 0 {
		return
	}
	slices.SortFunc(fields, func(a, b string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a, b)) })
	field := fields[s.random.IntN(len(fields))]
	if _, is := p.damages[field]; is {
		return
	}
	good := hash[field]
	bad := good[:s.random.IntN(luascripts.HoldBytes)]
	tenant := idOf(field).Tenant
	if field[0] == luascripts.FieldHold {
		hold, err := store.ParseHold(good)
		if err != nil {
			s.failf("%q: %v", field, err)
			return
		}
		tenant, bad = hold.Tenant, good[:1+s.random.IntN(luascripts.HoldBytes-1)]
	} else if settings := len(good) - luascripts.AccountBytes; settings > 0 && s.random.IntN(2) == 0 {
		bad = good[:luascripts.AccountBytes+s.random.IntN(settings)]
	} else if i := s.random.IntN(32); s.random.IntN(2) == 0 {
		bad = good[:i] + string([]byte{good[i] ^ 1<<s.random.IntN(8)}) + good[i+1:]
	}
	if isTemporary(tenant) {
		return
	}
	s.logf("%q is damaged", field)
	s.damaged[tenant.Root()] = true
	p.damages[field] = simDamage{bad, good}
	p.store.Set(p.keys.Ledger, field, bad)
	s.changedByHand(p)
}

// repairRecords restores the damaged records that are still stored as they were damaged.
func (s *simulation) repairRecords() {
	for _, p := range s.partitions {
		for field, d := range p.damages {
			if p.store.Hash(p.keys.Ledger)[field] == d.bad {
				p.store.Set(p.keys.Ledger, field, d.good)
			}
		}
		clear(p.damages)
		s.changedByHand(p)
	}
}

// isDamaged reports whether a record of one of the tenant's levels, or of one below it,
// was damaged once: a hold of several levels can't end while one of them is damaged.
func (s *simulation) isDamaged(tenant budget.TenantID) bool { return s.damaged[tenant.Root()] }

// isBad reports whether a record is stored as it was damaged.
func (s *simulation) isBad(p *simPartition, field string) bool {
	d, is := p.damages[field]
	return is && p.store.Hash(p.keys.Ledger)[field] == d.bad
}

// isOrphan reports whether an account of the hold's levels was removed by hand.
func (s *simulation) isOrphan(h store.Hold) bool {
	for _, level := range store.LevelsOf(h.Tenant, h.Levels) {
		if s.orphaned[level] > 0 {
			return true
		}
	}
	return false
}

// removeAccount removes an account by hand, with its limits. Its holds have no account from then
// on.
func (s *simulation) removeAccount(tenant budget.TenantID) {
	p := s.partitionOf(tenant)
	if p.store.Delete(p.keys.Ledger, store.AccountField(tenant)) == 0 {
		return
	}
	for limit := budget.Hour; limit <= budget.Last30Days; limit++ {
		p.store.Delete(p.keys.Ledger, store.AccountID{Tenant: tenant, Limit: limit}.Field())
	}
	s.logf("the account of %s is removed by hand", tenant)
	s.orphaned[tenant]++
	s.changedByHand(p)
}
