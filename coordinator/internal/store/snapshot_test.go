package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/enginetest"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

var pageScript = redis.NewScript(luascripts.Compose(luascripts.Redis).Page.Source)

// readPage adds a page of a partition to a snapshot.
func readPage(ctx context.Context, client redis.UniversalClient, keys store.Keys, s *store.Snapshot) error {
	reply, err := pageScript.Run(ctx, client, []string{keys.Ledger, keys.Timers}, s.Args()...).Slice()
	if err != nil {
		return err
	}
	return s.Add(reply)
}

// a world is a partition with a clock, on which a test operates.
type world struct {
	t      *testing.T
	rand   *rand.Rand
	client *redis.Client
	engine *enginetest.Engine
	keys   store.Keys
	now    time.Time
	open   []budget.ReservationID
	// tenants are those that may exist.
	tenants []budget.TenantID
	serial  int
}

// newWorld returns a world whose ledger is a hash table from the first field on, so that
// pages are small.
func newWorld(t *testing.T, seed uint64, ring int, retention time.Duration) *world {
	t.Helper()
	server := redistest.Start(t, redistest.WithConfig("hash-max-listpack-entries 0"))
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 0)), client: server.Client(), now: time.UnixMilli(1_800_000_000_000)}
	w.engine = enginetest.Start(t, w.client, enginetest.Config{
		HoldTTL: time.Minute, Retention: retention, Ring: ring, Clock: func() time.Time { return w.now },
	})
	w.keys = w.engine.Keys("any")
	return w
}

func (w *world) do(kind byte, tenant budget.TenantID, amount budget.Microcents, id budget.ReservationID) {
	w.t.Helper()
	if _, _, err := w.engine.Do(w.t.Context(), kind, tenant, amount, id); err != nil {
		w.t.Fatal(err)
	}
}

// step performs a random operation.
func (w *world) step() {
	w.t.Helper()
	switch n := w.rand.IntN(100); {
	case n < 5 || len(w.tenants) == 0:
		w.serial++
		tenant := budget.TenantID(fmt.Sprintf("t%d", w.serial%40))
		w.do(luascripts.KindEnsure, tenant, 1_000_000, budget.ReservationID{})
		w.tenants = append(w.tenants, tenant)
	case n < 55:
		tenant := w.tenants[w.rand.IntN(len(w.tenants))]
		ttl := []time.Duration{0, time.Second, time.Minute}[w.rand.IntN(3)]
		id, err := w.engine.Reserve(w.t.Context(), tenant, budget.Microcents(1+w.rand.IntN(50)), ttl)
		if err != nil {
			w.t.Fatal(err)
		}
		if !id.IsZero() {
			w.open = append(w.open, id)
		}
	case n < 90 && len(w.open) > 0:
		i := w.rand.IntN(len(w.open))
		id := w.open[i]
		w.open = slices.Delete(w.open, i, i+1)
		kind := []byte{luascripts.KindCommit, luascripts.KindRelease}[w.rand.IntN(2)]
		a, _, err := w.engine.Do(w.t.Context(), kind, id.Tenant(), budget.Microcents(w.rand.IntN(40)), id)
		if err != nil {
			w.t.Fatal(err)
		}
		if a.Outcome == budget.Overrun {
			w.open = append(w.open, id)
		}
	case n < 94:
		w.now = w.now.Add(time.Duration(w.rand.IntN(4000)) * time.Millisecond)
	case n < 96: // end all that a tenant holds, and delete it
		i := w.rand.IntN(len(w.tenants))
		tenant := w.tenants[i]
		w.open = slices.DeleteFunc(w.open, func(id budget.ReservationID) bool {
			if id.Tenant() == tenant {
				w.do(luascripts.KindRelease, tenant, 0, id)
			}
			return id.Tenant() == tenant
		})
		w.do(luascripts.KindDelete, tenant, 0, budget.ReservationID{})
		w.tenants = slices.Delete(w.tenants, i, i+1)
	default:
		w.do([]byte{luascripts.KindGrant, luascripts.KindWithdraw, luascripts.KindEnsure}[w.rand.IntN(3)],
			w.tenants[w.rand.IntN(len(w.tenants))], budget.Microcents(1+w.rand.IntN(1000)), budget.ReservationID{})
	}
}

// snapshot reads the partition, with steps between pages. It begins again if it fell
// behind.
func (w *world) snapshot(tenant budget.TenantID, thorough bool, steps func() int) *store.Snapshot {
	w.t.Helper()
	header := w.client.HGet(w.t.Context(), w.keys.Ledger, store.HeaderField).Val()
	fields := int(w.client.HLen(w.t.Context(), w.keys.Ledger).Val())
	for range 100 {
		s := store.NewSnapshot(header, tenant, true)
		s.Thorough, s.PageFields = thorough, 1+fields/(10+w.rand.IntN(50))
		var err error
		for err == nil && !s.Done() {
			err = readPage(w.t.Context(), w.client, w.keys, s)
			for range steps() {
				w.step()
			}
		}
		if err == nil {
			return s
		}
		if !errors.Is(err, store.ErrBehind) {
			w.t.Fatal(err)
		}
	}
	w.t.Fatal("a snapshot fell behind 100 times")
	return nil
}

// Whatever happens between two pages, every account's reserved is the sum of its holds.
func TestSnapshotIsExactBetweenAnySteps(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			ring := []int{20, 200, 16384}[seed%3]
			retention := []time.Duration{time.Hour, 3 * time.Second}[seed%2]
			w := newWorld(t, seed, ring, retention)
			for range 400 {
				w.step()
			}
			most := 1 + int(seed%5)*2
			steps := func() int {
				if w.rand.IntN(100) == 0 {
					return 60 // more than the small ring and the short retention remember
				}
				return w.rand.IntN(most)
			}
			for range 12 {
				s := w.snapshot("", true, steps)
				if len(s.Damages) > 0 || !s.TimersWhole {
					t.Fatalf("ring of %d: %+v", ring, s.Damages)
				}
				for tenant, a := range s.Accounts {
					if !a.Matches() || !a.Balanced() || len(a.Holds) != a.Count {
						t.Fatalf("%q: %+v", tenant, a)
					}
				}
				if len(s.Accounts) == 0 {
					t.Error("no accounts")
				}
				tenant := w.tenants[w.rand.IntN(len(w.tenants))]
				one := w.snapshot(tenant, false, steps)
				if a := one.Accounts[store.AccountID{Tenant: tenant}]; a != nil && !a.Matches() || len(one.Damages) > 0 || len(one.Accounts) > 1 {
					t.Fatalf("%q alone: %+v, %+v", tenant, a, one.Damages)
				}
			}
			// At rest it finds the holds that the test has made.
			s := w.snapshot("", true, func() int { return 0 })
			count := 0
			for _, a := range s.Accounts {
				count += a.Count
			}
			if count != s.Open || count > len(w.open) {
				t.Errorf("%d open holds by accounts, %d in all, and at most %d were not settled", count, s.Open, len(w.open))
			}
		})
	}
}

// beginSnapshot returns a snapshot with its first page.
func (w *world) beginSnapshot() *store.Snapshot {
	w.t.Helper()
	s := store.NewSnapshot(w.client.HGet(w.t.Context(), w.keys.Ledger, store.HeaderField).Val(), "", false)
	s.PageFields = 10
	if err := readPage(w.t.Context(), w.client, w.keys, s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// A snapshot that misses something fails.
func TestSnapshotFallsBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1, time.Minute)
	w.do(luascripts.KindEnsure, "acme", 1_000_000, budget.ReservationID{})
	var ids []budget.ReservationID
	for range 200 {
		id, err := w.engine.Reserve(t.Context(), "acme", 7)
		if err != nil || id.IsZero() {
			t.Fatal(id, err)
		}
		ids = append(ids, id)
	}
	expectNext := func(what string, s *store.Snapshot, want error) {
		t.Helper()
		if err := readPage(t.Context(), w.client, w.keys, s); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	expectNext("nothing happened", w.beginSnapshot(), nil)

	s := w.beginSnapshot()
	for _, id := range ids[:100] {
		w.do(luascripts.KindRelease, "acme", 0, id)
	}
	expectNext("tombstones of settled holds went", s, store.ErrBehind)

	s = w.beginSnapshot()
	w.now = w.now.Add(time.Minute)
	w.do(luascripts.KindRemaining, "acme", 0, budget.ReservationID{})
	w.now = w.now.Add(time.Minute)
	w.do(luascripts.KindRemaining, "acme", 0, budget.ReservationID{})
	expectNext("tombstones of expired holds went", s, store.ErrBehind)

	control := []byte(w.client.HGet(t.Context(), w.keys.Ledger, "c").Val())
	for what, record := range map[string][]byte{
		"the sequence went back":         slices.Concat(control[:12], []byte("\x00\x00\x00\x00\x00\x01"), control[18:]),
		"the control record was cut":     control[:45],
		"the control record was emptied": nil,
	} {
		s = w.beginSnapshot()
		w.client.HSet(t.Context(), w.keys.Ledger, "c", record)
		expectNext(what, s, store.ErrBehind)
		w.client.HSet(t.Context(), w.keys.Ledger, "c", control)
	}

	s = w.beginSnapshot()
	w.client.HSet(t.Context(), w.keys.Ledger, "f", "4 1 0 0123456789abcdef")
	expectNext("another partition replaced it", s, store.Refusal(store.WordIncarnation+" 4 1 0 0123456789abcdef"))
	w.client.HSet(t.Context(), w.keys.Ledger, "f", "3 1 0 0123456789abcdef")
	expectNext("of another layout", s, store.Refusal(store.WordLayout+" 3"))
	w.client.Del(t.Context(), w.keys.Ledger)
	expectNext("deleted", s, store.Refusal(store.WordNoPartition))
}

// A page with many ended holds scans fewer fields, so that no page takes long.
func TestPagesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 16384, time.Hour)
	w.do(luascripts.KindEnsure, "acme", 1_000_000, budget.ReservationID{})
	ids := make([]budget.ReservationID, 400)
	for i := range ids {
		id, err := w.engine.Reserve(t.Context(), "acme", 7)
		if err != nil || id.IsZero() {
			t.Fatal(id, err)
		}
		ids[i] = id
	}
	s := w.beginSnapshot()
	for s.Args()[2] != "h*" {
		if err := readPage(t.Context(), w.client, w.keys, s); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		w.do(luascripts.KindRelease, "acme", 0, id)
	}
	s.PageFields = 1000
	count := func() (scanned, ended int) {
		reply, err := pageScript.Run(t.Context(), w.client, []string{w.keys.Ledger, w.keys.Timers}, s.Args()...).Slice()
		if err == nil {
			err = s.Add(reply)
		}
		if err != nil {
			t.Fatal(err)
		}
		return len(reply[7].([]any)) / 2, len(reply[9].([]any)) / 2
	}
	if scanned, ended := count(); scanned > 120 || ended < 300 || ended > 360 {
		t.Errorf("a page of %d fields and %d endings", scanned, ended)
	}
	if scanned, ended := count(); scanned < 120 || ended != 400-350 {
		t.Errorf("then one of %d fields and %d endings", scanned, ended)
	}
}
