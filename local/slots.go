package local

import (
	"math"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
)

// slot is an open hold, or the record of an ended one. Its size is 32 bytes, so that no
// slot straddles two cache lines.
type slot struct {
	// generation is the second word of the ID, unique among all holds of an account. It
	// outlives the hold, until the slot is reused.
	generation uint64
	held       budget.Microcents // while open; once ended, -1 minus the final amount
	since      int64             // creation, or once ended the end, Unix ms
	until      int64             // deadline, Unix ms, or never; once ended, the outcome
}

// never is the deadline of a hold without one.
const never = math.MaxInt64

func (s *slot) open() bool { return s.held > 0 }

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
	// fanOut is the number of slots in a block, and of minima below one of the next level.
	fanOut     = 64
	fanOutBits = 6

	// remembered is the number of ended holds that an account keeps: the slot of one is not
	// reused before as many others have ended.
	remembered = 32

	// The first word of an ID is the number of the account and, in the low bits, that of
	// the slot; the second is the generation.
	slotBits = 32
	slotMask = 1<<slotBits - 1 // also the highest slot number
)

// slots holds the holds of one account. It is guarded by the account's mark.
//
// The slot that left the ring of remembered holds last is reused first, so the slots in
// use stay few and in the cache.
type slots struct {
	blocks [][]slot
	count  int // open holds

	free    []uint32           // ended and no longer remembered; the capacity covers every slot
	ring    [remembered]uint32 // the slots whose holds ended last
	endings uint64             // number of holds that have ended

	// earliest[0][i] is a lower bound of the deadlines in block i, and earliest[l+1][i] a
	// lower bound of the fanOut numbers of earliest[l] from i*fanOut on. The last level has
	// one number. A settle doesn't update the bounds, which keeps it short; expire tightens
	// those that it visits.
	earliest [][]int64
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
	s.count++
	i := number >> fanOutBits
	for level := range s.earliest {
		least := &s.earliest[level][i]
		if *least <= h.until {
			break // so the bounds above it are low enough, too
		}
		*least = h.until
		i >>= fanOutBits
	}
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
	for level, i := 0, len(s.blocks)-1; ; level, i = level+1, i/fanOut {
		if level == len(s.earliest) {
			least := int64(never)
			if level > 0 {
				least = slices.Min(s.earliest[level-1])
			}
			s.earliest = append(s.earliest, []int64{least})
		} else if i == len(s.earliest[level]) {
			s.earliest[level] = append(s.earliest[level], never)
		}
		if len(s.earliest[level]) == 1 {
			return
		}
	}
}

// end ends the open hold in a slot.
func (s *slots) end(number uint64, h *slot, outcome budget.Outcome, amount budget.Microcents, now int64) {
	h.end(outcome, amount, now)
	s.count--
	oldest := &s.ring[s.endings%remembered]
	if s.endings >= remembered {
		s.free = append(s.free, *oldest)
	}
	*oldest = uint32(number) //nolint:gosec // at most slotMask
	s.endings++
}

// expire ends every hold that is due and returns the sum of their amounts.
func (s *slots) expire(now int64) budget.Microcents {
	top := len(s.earliest) - 1
	if top < 0 || s.earliest[top][0] > now {
		return 0
	}
	return s.expireBelow(top, 0, now)
}

func (s *slots) expireBelow(level, i int, now int64) (expired budget.Microcents) {
	least := int64(never)
	if level == 0 {
		for in := range s.blocks[i] {
			h := &s.blocks[i][in]
			switch {
			case !h.open():
			case h.until <= now:
				expired += h.held
				s.end(uint64(i*fanOut+in), h, budget.Expired, h.held, now) //nolint:gosec // an index
			default:
				least = min(least, h.until)
			}
		}
	} else {
		below := s.earliest[level-1]
		for j := i * fanOut; j < min((i+1)*fanOut, len(below)); j++ {
			if below[j] <= now {
				expired += s.expireBelow(level-1, j, now)
			}
			least = min(least, below[j])
		}
	}
	s.earliest[level][i] = least
	return expired
}

// numbered is a copy of an open hold, with the number of its slot.
type numbered struct {
	slot
	number uint64
}

// list returns copies of the open holds in the order of their slots.
func (s *slots) list() []numbered {
	if s.count == 0 {
		return nil
	}
	open := make([]numbered, 0, s.count)
	for i, block := range s.blocks {
		for in := range block {
			if block[in].open() {
				open = append(open, numbered{block[in], uint64(i*fanOut + in)})
			}
		}
	}
	return open
}
