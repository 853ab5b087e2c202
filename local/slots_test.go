package local

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/calybris/bursar/coordinator/budget"
)

func TestSizes(t *testing.T) {
	t.Parallel()
	if size := unsafe.Sizeof(slot{}); size != 32 {
		t.Errorf("a slot has %d bytes, want 32: two to a cache line, none across two", size)
	}
	if end := unsafe.Offsetof(account{}.reserved) + unsafe.Sizeof(account{}.reserved); end > 64 {
		t.Errorf("the fields that a reserve needs first end at byte %d of an account, want them in one cache line", end)
	}
	// If the allocator's size class for an account is a multiple of a cache line, no two
	// accounts share one.
	size := unsafe.Sizeof(account{})
	if allocated := cap(append([]byte(nil), make([]byte, size)...)); allocated%64 != 0 {
		t.Errorf("an account has %d bytes, for which the allocator uses %d, want a multiple of 64", size, allocated)
	}
}

// model is a slots with the open holds that it must have, by slot number.
type model struct {
	slots
	open       map[uint64]slot
	generation uint64
	now        int64
}

func (m *model) make(until int64) {
	m.generation += setMask + 1
	h := slot{generation: m.generation | ownSet | m.generation>>setBits%7<<1, held: budget.Microcents(m.generation>>setBits%100 + 1), since: m.now, until: until}
	m.open[m.add(h)] = h
}

func (m *model) settle(number uint64) {
	m.end(number, m.at(number), budget.Committed, 1, m.now)
	delete(m.open, number)
}

func (m *model) expireAt(t *testing.T, now int64) {
	t.Helper()
	since := m.now - 50
	m.now = now
	var want [budget.MaxTenantLevels]freed
	var earlier []slot
	for number, h := range m.open {
		if h.until <= now {
			if h.since < since {
				earlier = append(earlier, h)
			}
			for k := 0; k < len(want) && h.since >= since; k++ {
				if h.set()>>k&1 != 0 {
					want[k].add(h.held)
				}
			}
			delete(m.open, number)
		}
	}
	got, gotEarlier := m.expire(now, since)
	if got != want {
		t.Fatalf("at %d the expired holds sum up to %+v, want %+v", now, got, want)
	}
	byGeneration := func(a, b slot) int { return cmp.Compare(a.generation, b.generation) }
	slices.SortFunc(earlier, byGeneration)
	slices.SortFunc(gotEarlier, byGeneration)
	if !slices.Equal(gotEarlier, earlier) {
		t.Fatalf("at %d the expired holds from before %d are %+v, want %+v", now, since, gotEarlier, earlier)
	}
}

func (m *model) check(t *testing.T) {
	t.Helper()
	listed := m.list(ownSet)
	if len(listed) != len(m.open) || m.count() != len(m.open) {
		t.Fatalf("%d holds are listed and %d counted, want %d", len(listed), m.count(), len(m.open))
	}
	for i, h := range listed {
		if m.open[h.number] != h.slot {
			t.Fatalf("slot %d holds %+v, want %+v", h.number, h.slot, m.open[h.number])
		}
		if i > 0 && listed[i-1].number >= h.number {
			t.Fatalf("slot %d is listed after slot %d", h.number, listed[i-1].number)
		}
		for level, in := 0, h.number/fanOut; level < len(m.earliest); level, in = level+1, in/fanOut {
			if m.earliest[level][in] > h.until {
				t.Fatalf("slot %d ends at %d, but level %d has no end before %d", h.number, h.until, level, m.earliest[level][in])
			}
		}
	}
	if top := m.earliest[len(m.earliest)-1]; len(top) != 1 || top[0] <= m.now {
		t.Fatalf("the last level is %d at %d, want one time that is later", top, m.now)
	}
}

func TestSlotsAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 3))
		m := &model{open: make(map[uint64]slot)}
		for range 2000 {
			switch random.IntN(8) {
			case 0, 1, 2:
				m.make(m.now + 1 + random.Int64N(500))
			case 3:
				m.make(never)
			case 4, 5, 6:
				for number := range m.open {
					m.settle(number)
					break
				}
			case 7:
				m.expireAt(t, m.now+random.Int64N(40))
			}
		}
		m.make(never)
		m.expireAt(t, m.now)
		m.check(t)
	}
}

// TestManyDeadlines has enough holds for three levels of minima.
func TestManyDeadlines(t *testing.T) {
	t.Parallel()
	const holds = fanOut*fanOut*fanOut + 1000
	m := &model{open: make(map[uint64]slot, holds)}
	for i := range int64(holds) {
		m.make(1 + i*7919%holds) // 7919 is a prime, so each deadline occurs once
	}
	if len(m.earliest) < 4 {
		t.Fatalf("%d holds have %d levels, want at least 4", holds, len(m.earliest))
	}
	m.check(t)
	for _, now := range []int64{1, 2, holds / 2, holds - 1} {
		m.expireAt(t, now)
		m.check(t)
	}
	m.make(never)
	m.expireAt(t, holds)
	m.check(t)
}

func TestSlotReuse(t *testing.T) {
	t.Parallel()
	m := &model{open: make(map[uint64]slot)}
	endedAt := make(map[uint64]uint64) // by slot: the index of its last ending
	for i := range uint64(500) {
		m.make(never)
		for number := range m.open {
			if last, used := endedAt[number]; used && i-last < remembered {
				t.Fatalf("slot %d is used again after %d endings, want %d remembered", number, i-last, remembered)
			}
			endedAt[number] = i
			m.settle(number)
		}
	}
	if len(m.blocks) != 1 || len(m.blocks[0]) != remembered+1 {
		t.Errorf("one hold at a time took %d blocks, the first of %d slots; want one of %d", len(m.blocks), len(m.blocks[0]), remembered+1)
	}
}

func TestPriorIsReturnedForTenMinutes(t *testing.T) {
	t.Parallel()
	var h slot
	h.end(budget.Released, 5, 1000)
	if got := h.prior(1000 + retention); got != budget.Released {
		t.Errorf("after ten minutes: %s, want released", got)
	}
	if got := h.prior(1001 + retention); got != budget.Unknown {
		t.Errorf("a millisecond later: %s, want unknown", got)
	}
}
