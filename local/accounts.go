package local

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// accounts finds an account by its tenant, without a lock and without an
// allocation. It is an open-addressed table of pointers that only ever fills
// up: an account stays for as long as its engine does.
//
// A reader probes from the tenant's place to the first empty one. An account is
// complete before its pointer is stored, and a larger table is complete before
// it takes the place of the former. So a reader finds every account whose
// creation had ended when it began to look.
type accounts struct {
	seed  maphash.Seed
	table atomic.Pointer[table]

	mu    sync.Mutex // for writers
	count int
}

// table has a power of two of places, at most half of them in use, so that
// probes are short and always end.
type table []atomic.Pointer[account]

const leastPlaces = 16

func (s *accounts) init() {
	s.seed = maphash.MakeSeed()
	t := make(table, leastPlaces)
	s.table.Store(&t)
}

func (s *accounts) find(tenant budget.TenantID) *account {
	hash := maphash.String(s.seed, string(tenant))
	return s.table.Load().find(tenant, hash)
}

func (t *table) find(tenant budget.TenantID, hash uint64) *account {
	places := *t
	last := uint64(len(places) - 1)
	for i := hash & last; ; i = (i + 1) & last {
		a := places[i].Load()
		if a == nil || a.hash == hash && a.tenant == tenant {
			return a
		}
	}
}

func (t *table) insert(a *account) {
	places := *t
	last := uint64(len(places) - 1)
	i := a.hash & last
	for places[i].Load() != nil {
		i = (i + 1) & last
	}
	places[i].Store(a)
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
	a := newAccount(tenant, maphash.String(s.seed, string(tenant)), granted)
	t := s.table.Load()
	if s.count++; 2*s.count > len(*t) {
		t = t.grown()
		t.insert(a)
		s.table.Store(t)
	} else {
		t.insert(a)
	}
	return a, true
}

func (t *table) grown() *table {
	larger := make(table, 2*len(*t))
	for i := range *t {
		if a := (*t)[i].Load(); a != nil {
			larger.insert(a)
		}
	}
	return &larger
}
