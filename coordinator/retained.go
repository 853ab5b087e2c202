package coordinator

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// retained is what a lane keeps of what Redis told it, so that it can tell Redis
// where a failover has lost it (PROTOCOL.md, R3): of each reservation the latest
// state, and of each grant and ensure that it took effect. It is kept in two
// generations: the older goes as a whole, which costs nothing a reservation.
type retained struct {
	young, old map[budget.ReservationID]retainedHold
	turned     int64 // when young began, in the family's milliseconds
	grants     []retainedGrant
}

// retainedHold is a state that Redis had told: open, released (also: given up, so
// that it never was), or committed.
type retainedHold struct {
	amount budget.Microcents // held or, of a commit, what it cost
	at     int64             // in the family's milliseconds
	until  int64             // of an open hold: its deadline, 0 for none
	number uint64            // of the batch that told it last
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

// retainedBytes is about what an entry takes, for the bound: BenchmarkRepair.
const retainedBytes = 160

// keep notes a state, the latest of its reservation.
func (r *retained) keep(id budget.ReservationID, h retainedHold) (added int) {
	if r.young == nil {
		r.young, r.turned = make(map[budget.ReservationID]retainedHold), h.at
	}
	before := len(r.young) + len(r.old)
	delete(r.old, id)
	r.young[id] = h
	return len(r.young) + len(r.old) - before
}

// turn begins a new generation where the young one is as old as the window, or
// where it must. It returns how many entries went, and how many of them within
// the window.
func (r *retained) turn(at, window int64, must bool) (gone, early int) {
	if at-r.turned < window && !must || len(r.young)+len(r.old) == 0 {
		return 0, 0
	}
	for _, h := range r.old {
		if at-h.at < window {
			early++
		}
	}
	gone = len(r.old)
	r.old, r.young, r.turned = r.young, make(map[budget.ReservationID]retainedHold), at
	r.grants = slices.DeleteFunc(r.grants, func(g retainedGrant) bool { return at-g.at >= window })
	return gone, early
}

// retold notes that a batch has told Redis the state again.
func (r *retained) retold(id budget.ReservationID, number uint64) {
	for _, generation := range []map[budget.ReservationID]retainedHold{r.old, r.young} {
		if h, ok := generation[id]; ok {
			h.number = number
			generation[id] = h
		}
	}
}

// otherwise reports whether the batch of that number came to something else in Redis
// than the node was told: it was applied at another time, by a late duplicate.
func (r *retained) otherwise(last applied) bool {
	for _, generation := range []map[budget.ReservationID]retainedHold{r.old, r.young} {
		for _, h := range generation {
			if h.number == last.number && h.at != last.at() {
				return true
			}
		}
	}
	return false
}

// merges is what is retained, not older than the window, and lost where last is the
// node's last batch in Redis, in the order of the ids.
func (r *retained) merges(at, window int64, last applied) []*call {
	var merges []*call
	for _, generation := range []map[budget.ReservationID]retainedHold{r.old, r.young} {
		for id, h := range generation {
			there := h.number < last.number || h.number == last.number && h.at == last.at()
			if there || at-h.at >= window {
				continue
			}
			merges = append(merges, &call{kind: luascripts.KindMerge, tenant: id.Tenant(), id: id, amount: h.amount, merge: h.text()})
		}
	}
	slices.SortFunc(merges, func(a, b *call) int {
		aHi, aLo := a.id.Bits()
		bHi, bLo := b.id.Bits()
		return cmp.Or(cmp.Compare(aHi, bHi), cmp.Compare(aLo, bLo))
	})
	return merges
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
