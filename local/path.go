package local

import (
	"math"

	"github.com/calybris/bursar/coordinator/budget"
)

// path is a set of locked levels of one tenant, with their remaining amounts, by distance
// from the tenant. The zero path is ready to be opened.
type path struct {
	levels    [budget.MaxTenantLevels]*account // nil for one that is not locked
	remaining [budget.MaxTenantLevels]budget.Microcents
	n         int    // the distance of the farthest, plus 1
	set       uint64 // the levels that take part, all of which exist and are locked
	special   bool   // a locked level is missing or has a managed
}

// open locks the levels of a tenant in a set and the tenant itself. They all take part,
// unless they are missing.
func (p *path) open(tenant *account, set uint64) {
	p.choose(tenant, set|ownSet)
	p.lock()
}

// openExisting locks the levels of a tenant that exist and the tenant itself, and with them
// the root even if it is missing. Existing levels take part.
func (p *path) openExisting(tenant *account, withRoot bool) {
	if tenant.parent == nil {
		p.open(tenant, ownSet)
		return
	}
	for attempt := 0; ; attempt++ {
		shape := tenant.family.shape.Load()
		if shape&1 == 0 {
			p.choose(tenant, tenant.existing(withRoot))
			p.lock()
			if tenant.family.shape.Load() == shape {
				return
			}
			p.close()
		}
		pause(attempt)
	}
}

// existing returns the tenant and those of its ancestors that exist or are locked.
func (a *account) existing(withRoot bool) uint64 {
	set := uint64(ownSet)
	for bit, l := uint64(2), a.parent; l != nil; bit, l = bit<<1, l.parent {
		if l.word.Load() != missingWord || withRoot && l.parent == nil {
			set |= bit
		}
	}
	return set
}

func (p *path) choose(tenant *account, set uint64) {
	p.n = 0
	for k, l := 0, tenant; l != nil && set>>k != 0; k, l = k+1, l.parent {
		p.levels[k] = nil
		if set>>k&1 != 0 {
			p.levels[k], p.n = l, k+1
		}
	}
}

// lock locks the levels from the root to the tenant.
func (p *path) lock() {
	p.set, p.special = 0, false
	for k := p.n - 1; k >= 0; k-- {
		l := p.levels[k]
		if l == nil {
			continue
		}
		// The first attempt of open, without the call.
		if word := l.word.Load(); word >= 0 && l.word.CompareAndSwap(word, locked) {
			p.remaining[k] = budget.Microcents(word)
			p.set |= 1 << k
			continue
		}
		p.remaining[k] = l.open()
		if p.remaining[k] != missing {
			p.set |= 1 << k
		}
		p.special = p.special || l.managed != nil || p.remaining[k] == missing
	}
}

// close unlocks the levels and sets their remaining amounts. It begins with the root, for
// which most goroutines wait.
func (p *path) close() {
	for k := p.n - 1; k >= 0; k-- {
		if l := p.levels[k]; l != nil {
			if p.special {
				l.close(p.remaining[k])
			} else {
				l.closePlain(p.remaining[k])
			}
		}
	}
}

// least returns the distance of the level with the least remaining, of equals the nearest.
// The tenant must take part.
func (p *path) least() (least int) {
	for k := 1; k < p.n; k++ {
		if p.set>>k&1 != 0 && p.remaining[k] < p.remaining[least] {
			least = k
		}
	}
	return least
}

// overfull reports whether a level would have more reserved in all epochs than fits 64 bits. In one
// epoch the invariant of the account bounds it.
func (p *path) overfull(cost budget.Microcents) bool {
	if !p.special {
		return false
	}
	for k := range p.n {
		if l := p.levels[k]; l != nil && l.managed != nil && l.reservedInAll() > budget.MaxMicrocents-cost {
			return true
		}
	}
	return false
}

// tightest returns the distance of the level with the least room for an excess of a hold that was
// made at a time, of equals the nearest, and its room. The tenant must take part.
func (p *path) tightest(made int64) (tightest int, room budget.Microcents) {
	room = p.levels[0].room(p.remaining[0], made)
	for k := 1; k < p.n; k++ {
		if p.set>>k&1 == 0 {
			continue
		}
		if r := p.levels[k].room(p.remaining[k], made); r < room {
			tightest, room = k, r
		}
	}
	return tightest, room
}

// roll begins the epochs of now at all levels that take part, and moves rolling windows there. now
// must be the family's time, read after the levels were locked: then no level is in a later epoch
// or part, and a hold that is made at now is in the current ones of each.
func (p *path) roll(now int64) {
	if !p.special {
		return
	}
	for k := range p.n {
		if l := p.levels[k]; l != nil && l.managed != nil {
			p.remaining[k] = l.roll(p.remaining[k], now)
		}
	}
}

// expire ends the holds of the tenant that are due by now. The path must have all levels.
func (p *path) expire(now int64) {
	// All holds that were made since then are in the current epoch of each level, so their sums
	// suffice. They commit nothing, so no ring changes.
	current := int64(math.MinInt64)
	for k := range p.n {
		if m := p.levels[k].managed; m != nil {
			current = max(current, m.epochs.lastEnd())
		}
	}
	sums, earlier := p.levels[0].holds.expire(now, current)
	for k := range p.n {
		l := p.levels[k]
		p.remaining[k] += sums[k].amount // 0 if it is missing
		l.reserved -= sums[k].amount
		if k > 0 {
			l.addBelow(-sums[k].holds)
		}
	}
	for i := range earlier {
		h := &earlier[i]
		for k := range p.n {
			if h.set()>>k&1 != 0 {
				p.remaining[k] = p.levels[k].settleAt(h.since, h.held, 0, p.remaining[k])
				if k > 0 {
					p.levels[k].addBelow(-1)
				}
			}
		}
	}
}
