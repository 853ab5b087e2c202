package local

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// accounts finds an account by its tenant or by its number, without a lock and
// without an allocation. An account stays for as long as its engine does, so the
// table only fills up.
//
// An account is complete before a pointer to it is stored, and a larger table
// before it takes the place of the former. So a reader finds every account whose
// creation had ended when it began to look.
type accounts struct {
	seed  uint64
	table atomic.Pointer[table]

	mu    sync.Mutex // for writers
	count uint64
}

// table is a hash table with linear probing. At least half of its places are
// empty, so that probes are short and always end.
type table struct {
	places   []atomic.Pointer[account] // a power of two
	byNumber []atomic.Pointer[account] // half as many
}

const (
	leastAccounts = 8
)

func newTable(accounts int) *table {
	return &table{
		places:   make([]atomic.Pointer[account], 2*accounts),
		byNumber: make([]atomic.Pointer[account], accounts),
	}
}

func (s *accounts) init() {
	s.seed = rand.Uint64() //nolint:gosec // it spreads load, and protects nothing
	s.table.Store(newTable(leastAccounts))
}

// find returns the tenant's account, or nil.
func (s *accounts) find(tenant budget.TenantID) *account {
	return s.table.Load().find(tenant, hash(s.seed, string(tenant)))
}

// numbered returns the account of that number if it is the tenant's, or nil.
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

// insert stores the number first: who finds the account can have an id of it.
func (t *table) insert(a *account) {
	t.byNumber[a.number].Store(a)
	last := uint64(len(t.places) - 1) //nolint:gosec // an index
	i := a.hash
	for t.places[i&last].Load() != nil {
		i++
	}
	t.places[i&last].Store(a)
}

// create returns the tenant's account and whether this call made it.
func (s *accounts) create(tenant budget.TenantID, granted budget.Microcents) (*account, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.find(tenant); a != nil {
		return a, false
	}
	// A copy, since the caller's string may be a small part of a large one.
	tenant = budget.TenantID(strings.Clone(string(tenant)))
	a := newAccount(tenant, granted)
	a.hash, a.number = hash(s.seed, string(tenant)), s.count
	s.count++
	t := s.table.Load()
	if s.count > uint64(len(t.byNumber)) {
		t = t.grown()
		t.insert(a)
		s.table.Store(t)
	} else {
		t.insert(a)
	}
	return a, true
}

func (t *table) grown() *table {
	larger := newTable(2 * len(t.byNumber))
	for i := range t.byNumber {
		larger.insert(t.byNumber[i].Load())
	}
	return larger
}
