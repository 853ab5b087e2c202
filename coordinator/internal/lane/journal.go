package lane

import (
	"cmp"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// A journal records what Redis acknowledged to a lane, so that the lane can restore it
// after a failover has lost it (PROTOCOL.md, Repair): the states of reservations in the
// order of their acknowledgements, and each change of granted. Which state is a
// reservation's latest is found when it is needed.
//
// States are in chunks, since all of the lane's callers wait while room is made: one
// slice that grew to 64 MiB was copied for 30 ms at a time (BenchmarkRepair/pause).
type journal struct {
	chunks []chunk
	states int // in all chunks
	grants []grantRecord
	// places are those of tenants in the last chunk.
	places map[budget.TenantID]uint32
}

// A chunk holds a quarter of what there is, so that little goes with the oldest state,
// and no more than is copied in some 50 µs. Its tenants go with it.
type chunk struct {
	states  []state
	tenants []budget.TenantID
}

const (
	smallestChunk = 8
	largestChunk  = 4096
)

// state is what Redis acknowledged of a reservation: open, released (also: given up
// before it was made) or committed. It has no pointers, so the collector passes by it.
type state struct {
	hi, lo uint64            // the reservation's id
	amount budget.Microcents // held, or committed
	at     int64             // partition time, Unix ms
	until  int64             // deadline of an open hold, Unix ms, 0 for none
	number uint64            // of the batch that was acknowledged
	tenant uint32            // its place in the chunk's tenants
	state  byte              // luascripts.HoldOpen, HoldReleased or HoldCommitted
}

// grantRecord is a change of a budget. A failover can lose it, no node restores it, and
// its loss is logged.
type grantRecord struct {
	number uint64
	verb   string
	tenant budget.TenantID
	amount budget.Microcents
	at     int64
}

// stateBytes is about the memory of a state, for the bound (BenchmarkRepair).
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
			j.places = make(map[budget.TenantID]uint32)
		}
		place = uint32(len(c.tenants)) //nolint:gosec // at most largestChunk
		j.places[id.Tenant()] = place
		c.tenants = append(c.tenants, id.Tenant())
	}
	s.hi, s.lo = id.Bits()
	s.tenant = place
	c.states = append(c.states, s)
	j.states++
}

// evict drops the chunks that are older than the window, and more until at least must
// states are gone. It returns how many went, and how many of them within the window.
func (j *journal) evict(at, window int64, must int) (gone, early int) {
	for len(j.chunks) > 0 {
		oldest := j.chunks[0].states
		if gone >= must && at-oldest[len(oldest)-1].at < window {
			break
		}
		within := 0 // what a repair has merged is older than what came before it
		for i := range oldest {
			if at-oldest[i].at < window {
				within++
			}
		}
		if gone >= must && within > 0 {
			break
		}
		gone += len(oldest)
		early += within
		j.chunks = slices.Delete(j.chunks, 0, 1)
	}
	j.states -= gone
	for len(j.grants) > 0 && at-j.grants[0].at >= window {
		j.grants = slices.Delete(j.grants, 0, 1)
	}
	if len(j.chunks) == 0 {
		j.places = nil
	}
	return gone, early
}

// appliedBatch is the last batch of a node that Redis has, and its reply. After a
// failover it may be a late duplicate, with another result than was acknowledged.
type appliedBatch struct {
	node    uint64
	session store.Session // "" for none
	reply   string
}

// has reports whether Redis has a recorded state.
func (b appliedBatch) has(s *state) bool {
	if b.session == "" {
		return false
	}
	number := b.session.Number()
	return s.number < number || s.number == number && s.at == b.session.Time() || b.made(s)
}

// made reports whether it made a reservation that is recorded as open. If that is
// missing, it has ended since, and must not be merged.
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

// merge is a state that Redis has lost, with its reservation.
type merge struct {
	id budget.ReservationID
	state
}

// pendingMerges returns what is recorded within the window and lost if last is the
// node's last batch in Redis, in the order of the ids.
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

// call is the operation that restores the state.
func (m merge) call() *Call {
	return &Call{kind: luascripts.KindMerge, tenant: m.id.Tenant(), id: m.id, amount: m.amount, merged: m.state}
}
