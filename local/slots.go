package local

import (
	"github.com/calybris/bursar/coordinator/budget"
)

// slot is an open hold, or the record of an ended one. Its size is 32 bytes, so that no
// slot straddles two cache lines.
type slot struct {
	// generation is the second word of the ID, unique among all holds of an account, with the
	// hold's level set in its low bits. It outlives the hold, until the slot is reused.
	generation uint64
	held       budget.Microcents // while open; once ended, -1 minus the final amount
	since      int64             // creation, or once ended the end, Unix ms
	until      int64             // deadline, Unix ms, or never; once ended, the outcome
}

func (s *slot) open() bool { return s.held > 0 }

const (
	// A level set has bit k for the k-th level counted from the tenant. It has the tenant's
	// own bit in every hold.
	setBits = budget.MaxTenantLevels
	setMask = 1<<setBits - 1
	ownSet  = 1
)

// set returns the levels that the hold debited.
func (s *slot) set() uint64 { return s.generation & setMask }

// end records the outcome. It stores the amount as -1-amount, which is negative even for
// zero, because a positive held means an open hold.
func (s *slot) end(outcome budget.Outcome, amount budget.Microcents, now int64) {
	s.held, s.since, s.until = -1-amount, now, int64(outcome)
}

// fate returns the state of the hold, or NotKnown once its end is forgotten.
func (s *slot) fate(now int64) budget.Fate {
	if s.open() {
		return budget.Fate{Outcome: budget.Reserved, Amount: s.held, At: instant(s.since), Deadline: deadline(s.until)}
	}
	outcome := s.prior(now)
	if outcome == budget.Unknown {
		return budget.Fate{Outcome: budget.NotKnown}
	}
	return budget.Fate{Outcome: outcome, Amount: -1 - s.held, At: instant(s.since)}
}

// retention is the time for which the end of a hold is remembered, in ms.
const retention = 10 * 60 * 1000

// prior returns the outcome with which the hold ended, or Unknown after retention.
func (s *slot) prior(now int64) budget.Outcome {
	if now-s.since > retention {
		return budget.Unknown
	}
	return budget.Outcome(s.until) //nolint:gosec // until holds an Outcome here
}

const (
	// remembered is the number of ended holds that an account keeps: the slot of one is not
	// reused before as many others have ended.
	remembered = 32

	// The first word of an ID is the number of the account and, in the low bits, that of
	// the slot; the second is the generation.
	slotBits = 32
	slotMask = 1<<slotBits - 1 // also the highest slot number
)

// slots holds the holds of one account. It is guarded by the account's lock.
//
// The slot that left the ring of remembered holds last is reused first, so the slots in
// use stay few and in the cache.
type slots struct {
	blocks [][]slot

	free    []uint32           // ended and no longer remembered; the capacity covers every slot
	ring    [remembered]uint32 // the slots whose holds ended last
	endings uint64             // number of holds that have ended

	// earliest has a lower bound of the deadlines of each block. A settle doesn't update the
	// bounds, which keeps it short; expire tightens those that it visits.
	earliest bounds
}

// at returns the slot with that number, or nil.
func (s *slots) at(number uint64) *slot {
	if block := number >> fanOutBits; block < uint64(len(s.blocks)) {
		if in := s.blocks[block]; number%fanOut < uint64(len(in)) {
			return &in[number%fanOut]
		}
	}
	return nil
}

// count returns the number of open holds: the slots that are neither free nor in the ring.
func (s *slots) count() int {
	last := len(s.blocks) - 1
	if last < 0 {
		return 0
	}
	return last*fanOut + len(s.blocks[last]) - len(s.free) - int(min(s.endings, remembered))
}

// countIn returns the number of open holds in whose sets one of the levels is.
func (s *slots) countIn(levels uint64) (holds int64) {
	if s.count() == 0 {
		return 0
	}
	for _, block := range s.blocks {
		for i := range block {
			if h := &block[i]; h.open() && h.set()&levels != 0 {
				holds++
			}
		}
	}
	return holds
}

// anyMade reports whether an open hold in whose set one of the levels is was made at a time.
func (s *slots) anyMade(at int64, levels uint64) bool {
	if s.count() == 0 {
		return false
	}
	for _, block := range s.blocks {
		for i := range block {
			if h := &block[i]; h.open() && h.since == at && h.set()&levels != 0 {
				return true
			}
		}
	}
	return false
}

// add stores a hold and returns the number of its slot.
func (s *slots) add(h slot) uint64 {
	var number uint64
	if last := len(s.free) - 1; last >= 0 {
		number = uint64(s.free[last])
		s.free = s.free[:last]
	} else {
		number = s.grow()
	}
	s.blocks[number>>fanOutBits][number%fanOut] = h
	s.earliest.lower(number>>fanOutBits, h.until)
	return number
}

// grow adds a slot and returns its number. The first block grows like any slice, so that a
// tenant with few holds takes little memory.
func (s *slots) grow() uint64 {
	last := len(s.blocks) - 1
	if last < 0 || len(s.blocks[last]) == fanOut {
		s.growBlock()
		last++
	}
	s.blocks[last] = append(s.blocks[last], slot{})
	number := uint64(last*fanOut + len(s.blocks[last]) - 1) //nolint:gosec // an index
	if number > slotMask {
		panic("local: one tenant has more than 4,294,967,296 open holds; an id cannot name another")
	}
	if number >= uint64(cap(s.free)) {
		// Allocate here, in the reserve, so that the end of a hold never allocates.
		s.free = make([]uint32, 0, max(2*cap(s.free), 8))
	}
	return number
}

func (s *slots) growBlock() {
	var block []slot
	if len(s.blocks) > 0 {
		block = make([]slot, 0, fanOut)
	}
	s.blocks = append(s.blocks, block)
	s.earliest.add()
}

// settle ends the open hold in a slot as committed at the actual amount, or as released.
func (s *slots) settle(number uint64, h *slot, outcome budget.Outcome, actual budget.Microcents, now int64) {
	amount := h.held
	if outcome == budget.Committed {
		amount = actual
	}
	s.end(number, h, outcome, amount, now)
}

// end ends the open hold in a slot.
func (s *slots) end(number uint64, h *slot, outcome budget.Outcome, amount budget.Microcents, now int64) {
	h.end(outcome, amount, now)
	oldest := &s.ring[s.endings%remembered]
	if s.endings >= remembered {
		s.free = append(s.free, *oldest)
	}
	*oldest = uint32(number) //nolint:gosec // at most slotMask
	s.endings++
}

// freed are the sums of holds that have ended.
type freed struct {
	amount budget.Microcents
	holds  int64
}

func (f *freed) add(amount budget.Microcents) {
	f.amount += amount
	f.holds++
}

// expire ends every hold that is due. It returns copies of those that were made before since,
// and the sums of the others, by the distance of a level from the tenant: for each level those
// of the holds in whose sets it is.
func (s *slots) expire(now, since int64) (sums [budget.MaxTenantLevels]freed, earlier []slot) {
	s.earliest.visit(now, func(i int) int64 {
		least := int64(never)
		for in := range s.blocks[i] {
			h := &s.blocks[i][in]
			switch {
			case !h.open():
			case h.until <= now && h.since < since:
				earlier = append(earlier, *h)
				s.end(uint64(i*fanOut+in), h, budget.Expired, h.held, now) //nolint:gosec // an index
			case h.until <= now:
				sums[0].add(h.held)
				for k, others := 1, h.set()>>1; others != 0; k, others = k+1, others>>1 {
					if others&1 != 0 {
						sums[k].add(h.held)
					}
				}
				s.end(uint64(i*fanOut+in), h, budget.Expired, h.held, now) //nolint:gosec // an index
			default:
				least = min(least, h.until)
			}
		}
		return least
	})
	return sums, earlier
}

// numbered is a copy of an open hold, with the number of its slot.
type numbered struct {
	slot
	number uint64
}

// list returns copies of the open holds in whose sets one of the levels is, in the order of
// their slots.
func (s *slots) list(levels uint64) []numbered {
	count := s.count()
	if count == 0 {
		return nil
	}
	open := make([]numbered, 0, count)
	for i, block := range s.blocks {
		for in := range block {
			if h := &block[in]; h.open() && h.set()&levels != 0 {
				open = append(open, numbered{*h, uint64(i*fanOut + in)})
			}
		}
	}
	return open
}
