package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// tree reads a tree in small pages, and calls between after each of them, with the number of
// scans that have ended. It returns that number.
func (w *world) tree(tenant budget.TenantID, between func(page, scans int)) (tree *store.Tree, scans int) {
	w.t.Helper()
	tree = store.NewTree(w.client.HGet(w.t.Context(), w.keys.Ledger, store.HeaderField).Val(), tenant)
	tree.PageFields = 20
	for page := 0; !tree.Done(); page++ {
		reply, err := pageScript.Run(w.t.Context(), w.client, []string{w.keys.Ledger, w.keys.Timers}, tree.Args()...).Slice()
		if err == nil {
			err = tree.Add(reply)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if pattern := tree.Args()[2]; !tree.Done() && pattern == "" {
			scans++ // the next page reads what the scan has found
		}
		between(page, scans)
	}
	return tree, scans
}

func (w *world) create(tenant budget.TenantID) {
	w.t.Helper()
	w.do(luascripts.KindEnsure, tenant, 100, budget.ReservationID{})
}

func (w *world) wantTree(what string, tree *store.Tree, instant bool, accounts int) {
	w.t.Helper()
	all, _, err := tree.Accounts()
	if err != nil || tree.Instant != instant || len(all) != accounts {
		w.t.Errorf("%s: %d accounts, %v, at one instant %t; want %d, %t", what, len(all), err, tree.Instant, accounts, instant)
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 100, time.Hour)
	nothing := func(int, int) {}
	tree, _ := w.tree("acme", nothing)
	w.wantTree("no partition", tree, true, 0)
	for i := range 100 {
		w.create(budget.TenantID(fmt.Sprintf("acme/key-%d", i)))
		w.create(budget.TenantID(fmt.Sprintf("other/key-%d", i)))
	}
	tree, _ = w.tree("acme", nothing)
	w.wantTree("nothing happens", tree, true, 100)

	// The balance is that of the last page, and an account that was deleted before it is gone.
	tree, scans := w.tree("acme", func(page, _ int) {
		if page == 0 {
			w.do(luascripts.KindGrant, "acme/key-7", 1, budget.ReservationID{})
			w.do(luascripts.KindDelete, "acme/key-8", 0, budget.ReservationID{})
		}
	})
	w.wantTree("an account is deleted", tree, true, 99)
	all, _, _ := tree.Accounts()
	for _, a := range all {
		if want := map[bool]budget.Microcents{true: 101, false: 100}[a.Tenant == "acme/key-7"]; a.Balance.Granted != want {
			t.Errorf("%q has %d, want %d", a.Tenant, a.Balance.Granted, want)
		}
	}
	if scans != 1 {
		t.Errorf("%d scans, want one", scans)
	}

	// An account that is created during the scan is part of the instant.
	created := false
	tree, scans = w.tree("acme", func(_, scans int) {
		if scans == 1 && !created {
			created = true
			w.create("acme")
		}
	})
	w.wantTree("an account is created", tree, true, 100)
	if scans != 2 {
		t.Errorf("%d scans, although an account was created after the first", scans)
	}
	n := 0
	tree, _ = w.tree("acme/key-5", func(int, int) {
		n++
		w.create(budget.TenantID(fmt.Sprintf("acme/key-5/%d", n)))
	})
	if all, _, err := tree.Accounts(); err != nil || tree.Instant || len(all) < n/2 {
		t.Errorf("accounts are created all the time: %d of %d accounts, %v, at one instant %t", len(all), n, err, tree.Instant)
	}

	w.client.HSet(t.Context(), w.keys.Ledger, "aacme/key-9", "damaged")
	tree, _ = w.tree("acme", nothing)
	if _, _, err := tree.Accounts(); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("a damaged account: %v", err)
	}
}

func TestLargeTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 100, time.Hour)
	for i := range budget.MaxTreeInstant {
		w.create(budget.TenantID(fmt.Sprintf("acme/key-%d", i)))
	}
	tree, _ := w.tree("acme", func(int, int) {})
	w.wantTree("as many as are read at once", tree, true, budget.MaxTreeInstant)
	w.create("acme")
	tree, _ = w.tree("acme", func(int, int) {})
	w.wantTree("one more", tree, false, budget.MaxTreeInstant+1)
}
