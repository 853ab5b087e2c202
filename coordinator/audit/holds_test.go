package books_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/books"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

func TestEachHold(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	node := startNode(t, client)
	fill(t, node, "acme", "acme/search")
	ended, err := node.TryReserve(t.Context(), "acme", 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Commit(t.Context(), ended.ID, 5); err != nil {
		t.Fatal(err)
	}
	largeFamily(t, client)
	seen := make(map[budget.ReservationID]bool)
	visit := func(h budget.Hold) error {
		if seen[h.ID] || h.ID == ended.ID || h.Held <= 0 || h.Made.IsZero() {
			t.Errorf("hold %+v", h)
		}
		seen[h.ID] = true
		return nil
	}
	if err := books.EachHold(t.Context(), client, "bursar", "acme", visit); err != nil || len(seen) != largeHolds+4 {
		t.Errorf("%d holds, %v", len(seen), err)
	}
	if err := books.EachHold(t.Context(), client, "bursar", "ghost", visit); err != nil {
		t.Errorf("no family: %v", err)
	}
	visits, enough := 0, errors.New("enough")
	err = books.EachHold(t.Context(), client, "bursar", "acme", func(budget.Hold) error { visits++; return enough })
	if !errors.Is(err, enough) || visits != 1 {
		t.Errorf("%d visits, %v", visits, err)
	}
	client.HSet(t.Context(), key, "h"+strings.Repeat("0", 32), "o1 x 0")
	err = books.EachHold(t.Context(), client, "bursar", "acme", func(budget.Hold) error { return nil })
	if err == nil || !strings.Contains(err.Error(), key) {
		t.Errorf("a hold that cannot be read: %v", err)
	}
}

// repeats is a Redis whose HSCAN gives each field twice, as it may where the hash
// becomes smaller meanwhile.
type repeats struct{ before }

func (h *repeats) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if scan, ok := cmd.(*redis.ScanCmd); ok {
			page, cursor := scan.Val()
			scan.SetVal(slices.Concat(page, page), cursor)
		}
		return err
	}
}

func TestScansThatRepeat(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	fill(t, startNode(t, client), "acme", "acme/search")
	largeFamily(t, client)
	client.AddHook(&repeats{})
	seen := make(map[budget.ReservationID]bool)
	err := books.EachHold(t.Context(), client, "bursar", "acme", func(h budget.Hold) error {
		if seen[h.ID] {
			t.Errorf("%s came twice", h.ID)
		}
		seen[h.ID] = true
		return nil
	})
	if err != nil || len(seen) != largeHolds+4 {
		t.Errorf("%d holds, %v", len(seen), err)
	}
	if accounts, err := books.Accounts(t.Context(), client, "bursar", "acme"); err != nil || len(accounts) != 2 {
		t.Errorf("%v, %v", accounts, err)
	}
	if roots, err := books.Families(t.Context(), client, "bursar"); err != nil || len(roots) != 1 {
		t.Errorf("%v, %v", roots, err)
	}
	if r := verify(t, client, false); r.Holds != largeHolds+4 || len(r.Differences) != 0 || r.Unsettled {
		t.Errorf("%+v", r)
	}
}
