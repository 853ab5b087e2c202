package local

import (
	"math"

	"github.com/calybris/bursar/coordinator/budget"
)

// path is a set of locked levels of one tenant, with the remaining amounts of their base limits, by
// distance from the tenant. The zero path is ready to be opened.
//
// The limits that take part are a chain: the base limit of the nearest level, its further limits in
// the order of their periods, the base limit of the next level, and so on.
type path struct {
	levels    [budget.MaxTenantLevels]*account // nil for one that is not locked
	remaining [budget.MaxTenantLevels]budget.Microcents
	n         int    // the distance of the farthest, plus 1
	set       uint64 // the levels that take part, all of which exist and are locked
	special   bool   // a locked level is missing or has a managed
	limited   bool   // a locked level has further limits
	// limits are the further limits of each level that take part.
	limits [budget.MaxTenantLevels]budget.Periods
}

// open locks the levels of a tenant in a set and the tenant itself. They all take part with all
// their limits, unless they are missing.
func (p *path) open(tenant *account, set uint64) {
	p.choose(tenant, set|ownSet)
	p.lock()
}

// openExisting locks the levels of a tenant that exist and the tenant itself, and with them
// the root even if it is missing. Existing levels take part with all their limits.
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
	p.set, p.special, p.limited = 0, false, false
	p.limits = [budget.MaxTenantLevels]budget.Periods{}
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
		if m := l.managed; m != nil && m.settings.Limits != 0 {
			p.limits[k], p.limited = m.settings.Limits, true
		}
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

// least returns the limit with the least remaining, of equals the first of the chain, and what
// remains there. The tenant must take part.
func (p *path) least() (least *ledger, remaining budget.Microcents) {
	if p.limited {
		return p.leastInChain()
	}
	k := 0
	for other := 1; other < p.n; other++ {
		if p.set>>other&1 != 0 && p.remaining[other] < p.remaining[k] {
			k = other
		}
	}
	return &p.levels[k].ledger, p.remaining[k]
}

func (p *path) leastInChain() (least *ledger, remaining budget.Microcents) {
	least, remaining, _ = p.leastBy(func(_ *ledger, left budget.Microcents) budget.Microcents { return left })
	return least, remaining
}

// leastBy returns the limit with the least value, of equals the first of the chain, with what
// remains there and the value. The tenant must take part.
func (p *path) leastBy(value func(l *ledger, remaining budget.Microcents) budget.Microcents) (least *ledger, remaining, v budget.Microcents) {
	compare := func(l *ledger, left budget.Microcents) {
		if other := value(l, left); least == nil || other < v {
			least, remaining, v = l, left, other
		}
	}
	for k := range p.n {
		if p.set>>k&1 == 0 {
			continue
		}
		compare(&p.levels[k].ledger, p.remaining[k])
		for l := range p.limitsAt(k) {
			compare(&l.ledger, l.managed.remaining)
		}
	}
	return least, remaining, v
}

// overfull reports whether a level would have more reserved in all epochs than fits 64 bits. In one
// epoch the invariant of the ledger bounds it. A further limit counts no hold that the base limit
// doesn't.
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

// tightest returns the limit with the least room for an excess of a hold that was made at a time, of
// equals the first of the chain, with what remains there and its room. The tenant must take part.
func (p *path) tightest(made int64) (tightest *ledger, remaining, room budget.Microcents) {
	return p.leastBy(func(l *ledger, left budget.Microcents) budget.Microcents { return l.room(left, made) })
}

// roll begins the epochs of now at all limits that take part, and moves rolling windows there. now
// must be the family's time, read after the levels were locked: then no limit is in a later epoch
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
	if p.limited {
		p.rollLimits(now)
	}
}

// expire ends the holds of the tenant that are due by now. The path must have all levels.
func (p *path) expire(now int64) {
	// All holds that were made since then count in the current epoch of each limit of their levels,
	// so their sums suffice. Of those made in the millisecond of a limit, only some may count in it.
	// They commit nothing, so no ring changes.
	current := int64(math.MinInt64)
	for k := range p.n {
		if m := p.levels[k].managed; m != nil {
			current = max(current, m.epochs.lastEnd())
			for _, l := range m.limits {
				current = max(current, l.managed.epochs.lastEnd(), l.created+1)
			}
		}
	}
	sums, earlier := p.levels[0].holds.expire(now, current)
	for k := range p.n {
		l := p.levels[k]
		p.remaining[k] += sums[k].amount // 0 if it is missing
		l.reserved -= sums[k].amount
		for _, limit := range l.limits() {
			limit.managed.remaining += sums[k].amount
			limit.reserved -= sums[k].amount
		}
		if k > 0 {
			l.addBelow(-sums[k].holds)
		}
	}
	for i := range earlier {
		h := &earlier[i]
		for k := range p.n {
			if h.set()>>k&1 != 0 {
				p.remaining[k] = p.levels[k].settleAt(h.since, h.held, 0, p.remaining[k])
				for _, l := range p.levels[k].limits() {
					if l.counts(p.levels[0], h) {
						l.settle(h, 0)
					}
				}
				if k > 0 {
					p.levels[k].addBelow(-1)
				}
			}
		}
	}
}
