package lane

import (
	"cmp"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// A journal records the states that Redis acknowledged to a lane, so that the lane can
// restore them after a failover has lost them (PROTOCOL.md, Repair): those of
// reservations, in the order of their acknowledgements, and each change of granted. A
// reservation's latest state is determined only when it is needed.
//
// States are kept in chunks, since all of the lane's callers wait while room is made:
// growing a single slice to 64 MiB took 30 ms at a time (BenchmarkJournal/pause).
type journal struct {
	chunks  []chunk
	states  int // in all chunks
	changes []changeRecord
	// places maps tenants to their places in the last chunk.
	places map[budget.TenantID]uint16
}

// A chunk has room for a quarter of the states before it, so that few others are evicted
// with the oldest one, and for no more than can be copied in about 50 µs. Its tenants are
// evicted with it.
type chunk struct {
	states  []state
	tenants []budget.TenantID
}

const (
	smallestChunk = 8
	largestChunk  = 4096
)

// state is the acknowledged state of a reservation: open, released (also if it was given
// up before it was made) or committed. It has no pointers, so the garbage collector
// doesn't scan it.
type state struct {
	hi, lo uint64            // the reservation's id
	amount budget.Microcents // held, or committed
	at     int64             // partition time, Unix ms
	until  int64             // deadline of an open hold, Unix ms, 0 for none
	number uint64            // of the acknowledged batch, as in an attempt, like place and code
	tenant uint16            // index in the chunk's tenants
	place  uint16
	code   byte
	state  byte // luascripts.HoldOpen, HoldReleased or HoldCommitted
	levels byte // that were debited
}

func (s *state) attempt() attempt { return attempt{s.number, s.place, s.code} }

// acknowledged sets the attempt that Redis acknowledged.
func (s *state) acknowledged(a attempt) { s.number, s.place, s.code = a.number, a.place, a.code }

// attempt is an operation of a batch that Redis has applied, and its code in the reply, 0
// if no reply has arrived.
type attempt struct {
	number uint64 // of the batch
	place  uint16 // in the batch
	code   byte
}

// changeRecord is a change of a budget, or of settings. If a failover loses it, the loss is
// logged, and no node restores it unless it froze or closed the account.
type changeRecord struct {
	attempt
	deferred []attempt // earlier ones
	verb     string
	tenant   budget.TenantID
	amount   budget.Microcents
	change   *budget.Change // of settings, or nil
	at       int64
}

// stops reports whether the change froze or closed the account.
func (g *changeRecord) stops() bool {
	return g.change != nil && (g.change.SetFrozen && g.change.Frozen || g.change.SetClosed)
}

// resumes reports whether the change ended a freeze.
func (g *changeRecord) resumes() bool {
	return g.change != nil && g.change.SetFrozen && !g.change.Frozen
}

// stateBytes is the approximate memory of a state (BenchmarkJournal/memory).
const stateBytes = 64

// record adds a state of a reservation.
func (j *journal) record(id budget.ReservationID, s state) {
	last := len(j.chunks) - 1
	if last < 0 || len(j.chunks[last].states) == cap(j.chunks[last].states) {
		size := min(max(j.states/4, smallestChunk), largestChunk)
		j.chunks = append(j.chunks, chunk{states: make([]state, 0, size)})
		clear(j.places)
		last++
	}
	c := &j.chunks[last]
	place, known := j.places[id.Tenant()]
	if !known {
		if j.places == nil {
			j.places = make(map[budget.TenantID]uint16)
		}
		place = uint16(len(c.tenants)) //nolint:gosec // at most largestChunk
		j.places[id.Tenant()] = place
		c.tenants = append(c.tenants, id.Tenant())
	}
	s.hi, s.lo = id.Bits()
	s.tenant = place
	c.states = append(c.states, s)
	j.states++
}

// evict drops the chunks that are older than the window, and further ones until at least
// must states are gone. It returns the number of dropped states, and how many of them
// were within the window.
func (j *journal) evict(at, window int64, must int) (evicted, early int) {
	for len(j.chunks) > 0 {
		oldest := j.chunks[0].states
		if evicted >= must && at-oldest[len(oldest)-1].at < window {
			break
		}
		within := 0 // merged states keep their times, so times may decrease
		for i := range oldest {
			if at-oldest[i].at < window {
				within++
			}
		}
		if evicted >= must && within > 0 {
			break
		}
		evicted += len(oldest)
		early += within
		j.chunks = slices.Delete(j.chunks, 0, 1)
	}
	j.states -= evicted
	for len(j.changes) > 0 && at-j.changes[0].at >= window {
		j.changes = slices.Delete(j.changes, 0, 1)
	}
	if len(j.chunks) == 0 {
		j.places = nil
	}
	return evicted, early
}

// appliedBatch is a node's last batch in Redis, and its reply. After a failover it may be
// a late duplicate whose result differs from the acknowledged one.
type appliedBatch struct {
	node    uint64
	session store.Session // "" for none
	reply   string
}

// has reports whether Redis has a recorded state.
func (b appliedBatch) has(s *state) bool {
	return b.session != "" && (s.number < b.session.Number() || s.at == b.session.Time() && b.repeats(s.attempt()) || b.made(s))
}

// repeats reports whether an operation of the batch has its acknowledged result. A late
// duplicate that reached a promoted replica may have another one.
func (b appliedBatch) repeats(a attempt) bool {
	return a.code != 0 && b.codeOf(a) == a.code
}

// codeOf returns the operation's code in the reply that Redis has, or 0 if it is in another
// batch.
func (b appliedBatch) codeOf(a attempt) byte {
	if b.session == "" || a.number != b.session.Number() {
		return 0
	}
	return store.AppliedCode(b.reply, int(a.place))
}

// tookEffect reports whether the batch had put a call off, and then, as a late duplicate,
// carried it out. It returns the id of a hold that the duplicate made.
func (b appliedBatch) tookEffect(c *Call) (made budget.ReservationID, took bool) {
	for _, a := range c.deferred {
		if b.changed(a) {
			return store.NewID(c.tenant, b.node, a.number, int(a.place)), true
		}
	}
	return budget.ReservationID{}, false
}

// changed reports whether the batch has an operation that changed something.
func (b appliedBatch) changed(a attempt) bool {
	switch b.codeOf(a) {
	case luascripts.CodeReserved, luascripts.CodeCommitted, luascripts.CodeReleased,
		luascripts.CodeCreated, luascripts.CodeGranted, luascripts.CodeWithdrawn, luascripts.CodeDeleted, luascripts.CodeConfigured:
		return true
	}
	return false
}

// hasChange reports whether Redis has a recorded change of a budget or of settings.
func (b appliedBatch) hasChange(g *changeRecord) bool {
	if b.session == "" {
		return false
	}
	return g.number < b.session.Number() || b.repeats(g.attempt) || slices.ContainsFunc(g.deferred, b.changed)
}

// made reports whether the batch made a reservation that is recorded as open. If that one
// is missing, it has ended since, and must not be merged.
func (b appliedBatch) made(s *state) bool {
	return s.state == luascripts.HoldOpen && s.hi == b.node && s.lo/store.MaxPlaces == b.session.Number() &&
		store.AppliedCode(b.reply, int(s.lo%store.MaxPlaces)) == luascripts.CodeReserved
}

// diverged reports whether Redis applied the last batch with another result than it
// acknowledged.
func (j *journal) diverged(last appliedBatch) bool {
	for _, c := range j.chunks {
		for i := range c.states {
			if s := &c.states[i]; s.number == last.session.Number() && !last.has(s) {
				return true
			}
		}
	}
	return false
}

// merge is a lost state and its reservation.
type merge struct {
	id budget.ReservationID
	state
}

// pendingMerges returns the states that were recorded within the window and are lost if
// last is the node's last batch in Redis, ordered by id.
func (j *journal) pendingMerges(at, window int64, last appliedBatch) []merge {
	latest := make(map[[2]uint64]merge)
	for _, c := range j.chunks {
		for i := range c.states {
			s := &c.states[i]
			if id := [2]uint64{s.hi, s.lo}; last.has(s) || at-s.at >= window {
				delete(latest, id)
			} else {
				latest[id] = merge{budget.NewReservationID(c.tenants[s.tenant], s.hi, s.lo), *s}
			}
		}
	}
	merges := make([]merge, 0, len(latest))
	for _, m := range latest {
		merges = append(merges, m)
	}
	slices.SortFunc(merges, func(a, b merge) int { return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo)) })
	return merges
}

// call returns the operation that restores the state.
func (m merge) call() *Call {
	return &Call{kind: luascripts.KindMerge, tenant: m.id.Tenant(), id: m.id, amount: m.amount, merged: m.state}
}
