package coordinator

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// retained is what a lane keeps of what Redis told it, so that it can tell Redis
// where a failover has lost it (PROTOCOL.md, R3): the states of reservations in the
// order in which they were told, and of each grant and ensure that it took effect.
// Which state is a reservation's latest is found out when it is needed.
//
// The states are in chunks, since all of the lane's callers wait while room is made:
// one slice that grew to 64 MiB was copied for 30 ms at a time: BenchmarkRepair/pause.
type retained struct {
	chunks  [][]retainedHold
	spare   []retainedHold    // a chunk that went; its memory is used again
	states  int               // in all chunks
	tenants []budget.TenantID // of the family
	places  map[budget.TenantID]uint32
	grants  []retainedGrant
}

// A chunk is a quarter of what there is, so that little goes with the oldest state, and
// no larger than what is made in some 50 µs.
const (
	smallestChunk = 8
	largestChunk  = 4096
)

// retainedHold is a state that Redis had told: open, released (also: given up, so
// that it never was), or committed. It has no pointers, so that the collector passes
// it by however many there are.
type retainedHold struct {
	hi, lo uint64            // the reservation's id
	amount budget.Microcents // held or, of a commit, what it cost
	at     int64             // in the family's milliseconds
	until  int64             // of an open hold: its deadline, 0 for none
	number uint64            // of the batch that told it
	tenant uint32            // its place in tenants
	state  byte              // as endings.lua writes it: o, l, c
}

// retainedGrant is what a failover can lose and nobody restores: it is reported.
type retainedGrant struct {
	number uint64
	verb   string
	tenant budget.TenantID
	amount budget.Microcents
	at     int64
}

// retainedBytes is about what a state takes, for the bound: BenchmarkRepair.
const retainedBytes = 64

// keep notes a state of a reservation.
func (r *retained) keep(id budget.ReservationID, h retainedHold) {
	place, known := r.places[id.Tenant()]
	if !known {
		if r.places == nil {
			r.places = make(map[budget.TenantID]uint32)
		}
		place = uint32(len(r.tenants)) //nolint:gosec // a count
		r.places[id.Tenant()] = place
		r.tenants = append(r.tenants, id.Tenant())
	}
	h.hi, h.lo = id.Bits()
	h.tenant = place
	last := len(r.chunks) - 1
	if last < 0 || len(r.chunks[last]) == cap(r.chunks[last]) {
		r.chunks = append(r.chunks, r.chunk())
		last++
	}
	r.chunks[last] = append(r.chunks[last], h)
	r.states++
}

func (r *retained) chunk() []retainedHold {
	chunk := r.spare
	if r.spare = nil; chunk == nil {
		chunk = make([]retainedHold, 0, min(max(r.states/4, smallestChunk), largestChunk))
	}
	return chunk[:0]
}

func (r *retained) len() int { return r.states }

// forget lets the chunks go that are as old as the window, and more where so many
// states must go. It returns how many went, and how many of them within the window.
func (r *retained) forget(at, window int64, must int) (gone, early int) {
	for len(r.chunks) > 0 {
		oldest := r.chunks[0]
		if gone >= must && at-oldest[len(oldest)-1].at < window {
			break
		}
		within := 0 // what a repair has merged is older than what was told before it
		for _, h := range oldest {
			if at-h.at < window {
				within++
			}
		}
		if gone >= must && within > 0 {
			break
		}
		gone += len(oldest)
		early += within
		if cap(oldest) == largestChunk {
			r.spare = oldest
		}
		r.chunks = slices.Delete(r.chunks, 0, 1)
	}
	r.states -= gone
	for len(r.grants) > 0 && at-r.grants[0].at >= window {
		r.grants = slices.Delete(r.grants, 0, 1)
	}
	return gone, early
}

// otherwise reports whether the batch of that number has another result in Redis than
// the node received: a late duplicate was applied at another time, and did not make the
// same reservations.
func (r *retained) otherwise(last applied, again duplicate) bool {
	differs := func(h retainedHold) bool {
		return h.number == last.number && h.at != last.at() && !again.made(h)
	}
	return slices.ContainsFunc(r.chunks, func(chunk []retainedHold) bool { return slices.ContainsFunc(chunk, differs) })
}

// merges returns what is retained, is not older than the window, and is lost if last is
// the node's last batch in Redis, ordered by id. A reservation that a late duplicate made
// again is not lost: if it is missing, it has ended since.
func (r *retained) merges(at, window int64, last applied, again duplicate) []retainedHold {
	latest := make(map[[2]uint64]retainedHold)
	for _, chunk := range r.chunks {
		for _, h := range chunk {
			there := h.number < last.number || h.number == last.number && h.at == last.at() || again.made(h)
			if id := [2]uint64{h.hi, h.lo}; there || at-h.at >= window {
				delete(latest, id)
			} else {
				latest[id] = h
			}
		}
	}
	merges := make([]retainedHold, 0, len(latest))
	for _, h := range latest {
		merges = append(merges, h)
	}
	slices.SortFunc(merges, func(a, b retainedHold) int { return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo)) })
	return merges
}

// merge is the call that tells Redis a state.
func (r *retained) merge(h retainedHold) *call {
	tenant := r.tenants[h.tenant]
	return &call{kind: luascripts.KindMerge, tenant: tenant, id: budget.NewReservationID(tenant, h.hi, h.lo), amount: h.amount, merge: h.text()}
}

// text is the hold as endings.lua writes it.
func (h retainedHold) text() string {
	text := string(h.state) + strconv.FormatInt(int64(h.amount), 10) + " " + strconv.FormatInt(h.at, 10)
	if h.state == stateOpen {
		text += " " + strconv.FormatInt(h.until, 10)
	}
	return text
}

// The states, as endings.lua writes them.
const (
	stateOpen      = 'o'
	stateReleased  = 'l'
	stateCommitted = 'c'
)
