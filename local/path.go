package local

import "github.com/calybris/bursar/coordinator/budget"

// path is a set of locked levels of one tenant, with their remaining amounts, by distance
// from the tenant. The zero path is ready to be opened.
type path struct {
	levels    [budget.MaxTenantLevels]*account // nil for one that is not locked
	remaining [budget.MaxTenantLevels]budget.Microcents
	n         int    // the distance of the farthest, plus 1
	set       uint64 // the levels that take part, all of which exist and are locked
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
		if l.remaining.Load() != missing || withRoot && l.parent == nil {
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
	p.set = 0
	for k := p.n - 1; k >= 0; k-- {
		if l := p.levels[k]; l != nil {
			p.remaining[k] = l.open()
			if p.remaining[k] != missing {
				p.set |= 1 << k
			}
		}
	}
}

// close unlocks the levels and sets their remaining amounts. It begins with the root, for
// which most goroutines wait.
func (p *path) close() {
	for k := p.n - 1; k >= 0; k-- {
		if l := p.levels[k]; l != nil {
			l.close(p.remaining[k])
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
