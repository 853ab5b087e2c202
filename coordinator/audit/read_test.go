package audit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/enginetest"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

func TestReadFindsOnlyTenantsOfItsPrefix(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]redis.UniversalClient{"single": redistest.Start(t).Client(), "cluster": redistest.StartCluster(t).Client()} {
		tenants := slices.Concat([]budget.TenantID{"acme/search", "acme", "{x}%*", "Zoë"}, names("t%d", 50))
		e := enginetest.Start(t, client, enginetest.Config{Partitions: 8})
		last := fill(t, e, tenants...)
		fill(t, enginetest.Start(t, client, enginetest.Config{Prefix: "other"}), "theirs")
		do(t, e, luascripts.KindEnsure, "gone", 5, budget.ReservationID{})
		do(t, e, luascripts.KindDelete, "gone", 0, budget.ReservationID{})
		all, err := audit.Read(t.Context(), client, "bursar")
		if err != nil || len(all) != len(tenants) {
			t.Fatalf("%s: %d tenants, %v", name, len(all), err)
		}
		for _, tenant := range tenants {
			got := all[tenant]
			if got.Audit() != nil || got.Outcome != budget.Found || got.Balance.Reserved != 20 || len(got.Holds) != 2 || got.Holds[1].Made.Before(got.Holds[0].Made) {
				t.Errorf("%s: %s: %+v, %v", name, tenant, got, got.Audit())
			}
		}
		some, err := audit.Read(t.Context(), client, "bursar", "acme", "ghost", "t3")
		if err != nil || len(some) != 2 || len(some["acme"].Holds) != 2 || some["t3"].Balance.Granted != granted {
			t.Errorf("%s: %+v, %v", name, some, err)
		}
		checkEach(t, client, tenants, last)
	}
}

func checkEach(t *testing.T, client redis.UniversalClient, tenants []budget.TenantID, last budget.ReservationID) {
	t.Helper()
	var found []budget.TenantID
	err := audit.EachAccount(t.Context(), client, "bursar", func(tenant budget.TenantID, b budget.Balance) error {
		if found = append(found, tenant); b.Granted != 1000 || b.Remaining != 980 || b.Reserved != 20 || b.Outcome != budget.Found {
			t.Errorf("%s: %+v", tenant, b)
		}
		return nil
	})
	slices.Sort(found)
	if want := slices.Sorted(slices.Values(tenants)); err != nil || !slices.Equal(found, want) {
		t.Errorf("accounts %q, %v", found, err)
	}
	for tenant, want := range map[budget.TenantID]int{"": 2 * len(tenants), last.Tenant(): 2, "ghost": 0} {
		seen := make(map[budget.ReservationID]bool)
		err := audit.EachHold(t.Context(), client, "bursar", tenant, func(h budget.Hold) error {
			seen[h.ID] = true
			if h.Held != 10 || h.ID == last && h.Deadline.Sub(h.Made) != time.Hour {
				t.Errorf("%+v", h)
			}
			return nil
		})
		if err != nil || len(seen) != want || seen[last] != (want > 0) {
			t.Errorf("holds of %q: %d, want %d, %v", tenant, len(seen), want, err)
		}
	}
	stop := errors.New("stop")
	calls := 0
	for _, err := range []error{
		audit.EachAccount(t.Context(), client, "bursar", func(budget.TenantID, budget.Balance) error { calls++; return stop }),
		audit.EachHold(t.Context(), client, "bursar", "", func(budget.Hold) error { calls++; return stop }),
	} {
		if err != stop { //nolint:errorlint // the identical error
			t.Errorf("visit's error became %v", err)
		}
	}
	if calls != 2 {
		t.Errorf("%d calls after an error", calls)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := audit.EachAccount(ended, client, "bursar", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
}

// An account's holds are those that debited it, also of tenants below.
func TestReadHoldsOfLevels(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	id := reserve(t, s.engine, "acme/search", time.Hour)
	for _, tenants := range [][]budget.TenantID{nil, {"acme", "acme/search", "acme/spare"}} {
		all, err := audit.Read(t.Context(), s.client, "bursar", tenants...)
		if err != nil {
			t.Fatal(err)
		}
		for tenant, holds := range map[budget.TenantID]int{"acme": 3, "acme/search": 3, "acme/spare": 2} {
			list := all[tenant]
			has := slices.ContainsFunc(list.Holds, func(h budget.Hold) bool { return h.ID == id })
			if list.Audit() != nil || len(list.Holds) != holds || has != (tenant != "acme/spare") {
				t.Errorf("%s: %+v, %v", tenant, list, list.Audit())
			}
		}
	}
}

// Damaged records don't hide others, and an account that doesn't balance is returned.
func TestReadOfDamagedRecords(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	ctx := t.Context()
	s.account("acme").add(remainingAt, 8, 1)
	s.held(s.hold).add(heldAt, 8, 1)
	all, err := audit.Read(ctx, s.client, "bursar")
	if err != nil || all["acme"].Audit() == nil || all["acme/search"].Audit() == nil || all["acme/spare"].Audit() != nil {
		t.Errorf("%+v, %v", all, err)
	}
	s.account("acme").set("junk")
	s.held(s.hold).set("junk")
	if _, err := audit.Read(ctx, s.client, "bursar"); !errors.Is(err, audit.ErrUnreadable) || !strings.Contains(err.Error(), s.keys.Ledger) {
		t.Errorf("Read: %v", err)
	}
	accounts, holds := 0, 0
	err = audit.EachAccount(ctx, s.client, "bursar", func(budget.TenantID, budget.Balance) error { accounts++; return nil })
	if !errors.Is(err, audit.ErrUnreadable) || !strings.Contains(err.Error(), `tenant "acme"`) || accounts != 22 {
		t.Errorf("EachAccount: %d, %v", accounts, err)
	}
	err = audit.EachHold(ctx, s.client, "bursar", "", func(budget.Hold) error { holds++; return nil })
	if !errors.Is(err, audit.ErrUnreadable) || !strings.Contains(err.Error(), "1 record could not be read") || holds != 45 {
		t.Errorf("EachHold: %d, %v", holds, err)
	}
	s.field("f").set("4 8 0 0123456789abcdef")
	accounts = 0
	err = audit.EachAccount(ctx, s.client, "bursar", func(budget.TenantID, budget.Balance) error { accounts++; return nil })
	if !errors.Is(err, audit.ErrUnreadable) || !strings.Contains(err.Error(), "its header is of partition 0 of 8") || accounts == 0 || accounts > 20 {
		t.Errorf("a foreign partition: %d accounts, %v", accounts, err)
	}
}

// If there are more fields than a page has, each is found once.
func TestEachByPages(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	e := enginetest.Start(t, client, enginetest.Config{})
	fill(t, e, names("t/%04d", 3000)...)
	accounts, holds := make(map[budget.TenantID]int), make(map[budget.ReservationID]int)
	errAccounts := audit.EachAccount(t.Context(), client, "bursar", func(tenant budget.TenantID, _ budget.Balance) error { accounts[tenant]++; return nil })
	errHolds := audit.EachHold(t.Context(), client, "bursar", "", func(h budget.Hold) error { holds[h.ID]++; return nil })
	if errAccounts != nil || errHolds != nil || len(accounts) != 3000 || len(holds) != 6000 {
		t.Errorf("%d accounts, %v; %d holds, %v", len(accounts), errAccounts, len(holds), errHolds)
	}
	for id, n := range holds {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
	if stats := client.Info(t.Context(), "commandstats").Val(); strings.Contains(stats, "cmdstat_hgetall") {
		t.Error("a ledger was read in one go")
	}
}

// A partition that moves to another server while it is read is scanned with gaps, which
// are not reported as damages.
func TestVerifyWhileAPartitionMoves(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	e := enginetest.Start(t, cluster.Client(), enginetest.Config{})
	fill(t, e, names("t%d", 3000)...)
	slot := store.SlotOf(1, 0)
	for _, at := range []int64{0, 1, 3, 6, 9, 12, 15} {
		client := cluster.Client()
		hook := &before{name: "evalsha", at: at, do: func() {
			from, err := cluster.Owner(t.Context(), slot)
			if err == nil {
				i := slices.Index(cluster.Masters(), from)
				err = cluster.MigrateSlot(t.Context(), slot, cluster.Masters()[(i+1)%len(cluster.Masters())])
			}
			if err != nil {
				t.Error(err)
			}
		}}
		client.AddHook(hook)
		r := verify(t, client)
		if len(r.Damages)+len(r.Unsettled) > 0 || r.Tenants != 3000 || r.Holds != 6000 || hook.seen <= at {
			t.Errorf("moved at page %d: %d damages %.300s, %d tenants, %d holds, %d pages", at, len(r.Damages), fmt.Sprint(r.Damages), r.Tenants, r.Holds, hook.seen)
		}
	}
}
