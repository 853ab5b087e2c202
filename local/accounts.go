package local

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// accounts finds an account by its tenant or by its number, without a lock and
// without an allocation. The table only grows: an account that is deleted stays in it, as
// missing, and so do the missing ancestors of an account that was created.
//
// An account is complete before a pointer to it is stored, and a larger table is
// complete before it replaces the smaller one. So a reader finds every account whose
// create returned before the reader started.
type accounts struct {
	seed  uint64
	table atomic.Pointer[table]

	mu    sync.Mutex // held by writers
	count uint32
}

// table is a hash table with linear probing. At least half of its places are
// empty, so that probes are short and always end.
type table struct {
	places   []atomic.Pointer[account] // the length is a power of two
	byNumber []atomic.Pointer[account] // half as many as places
}

const (
	minAccounts = 8
)

func newTable(accounts int) *table {
	return &table{
		places:   make([]atomic.Pointer[account], 2*accounts),
		byNumber: make([]atomic.Pointer[account], accounts),
	}
}

func (s *accounts) init() {
	s.seed = rand.Uint64() //nolint:gosec // a hash seed needs no crypto/rand
	s.table.Store(newTable(minAccounts))
}

// find returns the tenant's account, or nil.
func (s *accounts) find(tenant budget.TenantID) *account {
	return s.table.Load().find(tenant, hash(s.seed, string(tenant)))
}

// numbered returns the account with that number if it belongs to the tenant, or nil.
func (s *accounts) numbered(number uint64, tenant budget.TenantID) *account {
	t := s.table.Load()
	if number >= uint64(len(t.byNumber)) {
		return nil
	}
	a := t.byNumber[number].Load()
	if a == nil || a.tenant != tenant {
		return nil
	}
	return a
}

func (t *table) find(tenant budget.TenantID, hash uint64) *account {
	places := t.places
	last := uint64(len(places) - 1) //nolint:gosec // an index
	for i := hash; ; i++ {
		a := places[i&last].Load()
		if a == nil || a.hash == hash && a.tenant == tenant {
			return a
		}
	}
}

// insert stores the account under its number first: a caller that finds it by name can
// reserve, and the ID that it gets names the account by number.
func (t *table) insert(a *account) {
	t.byNumber[a.number].Store(a)
	last := uint64(len(t.places) - 1) //nolint:gosec // an index
	i := a.hash
	for t.places[i&last].Load() != nil {
		i++
	}
	t.places[i&last].Store(a)
}

// create returns the tenant's account, advanced to now, and reports whether this call created it.
func (s *accounts) create(tenant budget.TenantID, granted budget.Microcents, settings budget.Settings, limits []budget.LimitChange, now int64) (*account, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(tenant)
	if a == nil {
		// Copy the ID, since the caller's string may be a small part of a large one.
		a = s.insert(budget.TenantID(strings.Clone(string(tenant))))
	}
	a.advance(now)
	return a, a.create(granted, settings, limits)
}

// insert inserts an account that doesn't exist yet, after those of its ancestors.
func (s *accounts) insert(tenant budget.TenantID) *account {
	a := newAccount(tenant)
	if up := tenant.Parent(); up != "" {
		if a.parent = s.find(up); a.parent == nil {
			a.parent = s.insert(up)
		}
		a.join()
	}
	a.hash, a.number = hash(s.seed, string(tenant)), s.count
	s.count++
	t := s.table.Load()
	if uint64(s.count) > uint64(len(t.byNumber)) {
		t = t.grown()
		t.insert(a)
		s.table.Store(t)
	} else {
		t.insert(a)
	}
	return a
}

// delete deletes the account.
func (s *accounts) delete(a *account) budget.Balance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return a.delete()
}

func (t *table) grown() *table {
	larger := newTable(2 * len(t.byNumber))
	for i := range t.byNumber {
		larger.insert(t.byNumber[i].Load())
	}
	return larger
}
