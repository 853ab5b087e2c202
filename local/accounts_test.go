package local

import (
	"fmt"
	"sync"
	"testing"
	"unsafe"

	"github.com/calybris/bursar/coordinator/budget"
)

func TestAccountsGrowUnderReaders(t *testing.T) {
	t.Parallel()
	const tenants = 5000
	var s accounts
	s.init()
	name := func(i int) budget.TenantID { return budget.TenantID(fmt.Sprintf("tenant-%d", i)) }
	var made [tenants]*account
	for i := range 10 {
		made[i], _ = s.create(name(i), budget.Microcents(i), budget.Settings{}, nil, 0)
	}
	var group sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				want := made[i%10]
				if got := s.find(want.tenant); got != want {
					t.Errorf("%q exists but is not found", want.tenant)
					return
				}
				if got := s.numbered(uint64(want.number), want.tenant); got != want {
					t.Errorf("%q exists but is not found by its number", want.tenant)
					return
				}
			}
		})
	}
	for i := 10; i < tenants; i++ {
		var created bool
		if made[i], created = s.create(name(i), budget.Microcents(i), budget.Settings{}, nil, 0); !created {
			t.Errorf("%q exists before it is created", name(i))
		}
	}
	close(stop)
	group.Wait()
	for i, a := range made {
		again, created := s.create(name(i), 7, budget.Settings{}, nil, 0)
		if created || again != a || s.find(name(i)) != a || s.numbered(uint64(a.number), name(i)) != a || a.granted != budget.Microcents(i) {
			t.Fatalf("%q is not the account that was created", name(i))
		}
		if s.numbered(uint64(a.number), name(i+1)) != nil {
			t.Fatalf("%q is found by another's number", name(i+1))
		}
	}
	if s.find("ghost") != nil || s.numbered(tenants, "ghost") != nil || s.numbered(1<<31, "ghost") != nil {
		t.Error("a tenant that was never created is found")
	}
}

func TestAccountsKeepTheirOwnName(t *testing.T) {
	t.Parallel()
	var s accounts
	s.init()
	page := "a large page, of which acme is a part"
	tenant := budget.TenantID(page[23:27])
	a, _ := s.create(tenant, 1, budget.Settings{}, nil, 0)
	if a.tenant != "acme" || unsafe.StringData(string(a.tenant)) == unsafe.StringData(string(tenant)) {
		t.Errorf("the account keeps the caller's memory of %q", a.tenant)
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	seen := make(map[uint64]string)
	add := func(s string) {
		h := hash(1, s)
		if other, taken := seen[h]; taken && other != s {
			t.Fatalf("%q and %q have the same hash", s, other)
		}
		seen[h] = s
	}
	for length := range 70 { // each bit and the length must change the hash
		text := make([]byte, length)
		add(string(text))
		for i := range text {
			for bit := range 8 {
				text[i] ^= 1 << bit
				add(string(text))
				text[i] ^= 1 << bit
			}
		}
	}
	var places [1 << 12]int
	for i := range 4 * len(places) {
		places[hash(1, fmt.Sprintf("tenant-%d", i))%uint64(len(places))]++
	}
	for place, n := range places {
		if n > 20 { // the average is 4; more than 20 has a chance below 1 in 10 million
			t.Errorf("slot %d of the table has %d names, want about 4", place, n)
		}
	}
	if hash(1, "acme") == hash(2, "acme") {
		t.Error("the hash does not depend on the seed")
	}
}
