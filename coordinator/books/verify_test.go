package books_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/books"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/coordinator/redistest"
)

// largeFamily has more open holds than are read at once, written as a node writes
// them; a node can go on with it.
const largeHolds = 6000

func largeFamily(t *testing.T, client *redis.Client) {
	t.Helper()
	fields := []any{"a", fmt.Sprintf("%d %d %d 0", 2*largeHolds, largeHolds, largeHolds)}
	for i := range largeHolds {
		field := layout.AppendHoldField(nil, budget.NewReservationID("acme", 7, uint64(i)))
		fields = append(fields, string(field), "o1 1700000000000 0")
	}
	for chunk := range slices.Chunk(fields, 2000) {
		if err := client.HSet(t.Context(), key, chunk...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t *testing.T, client redis.UniversalClient, atOnce bool) books.Report {
	t.Helper()
	r, err := books.Verify(t.Context(), client, "bursar", "acme", atOnce)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What somebody's hand in the books does is found, in families of both sizes, and
// hides nothing else.
func TestVerifyFindsEach(t *testing.T) {
	t.Parallel()
	for _, large := range []bool{false, true} {
		client := redistest.Start(t).Client()
		fill(t, startNode(t, client), "acme", "acme/search", "acme/spare")
		holds := 6
		if large {
			largeFamily(t, client)
			holds = largeHolds + 6
			// Two of acme's own belong to the account that was written over.
			list, err := books.ReadFamily(t.Context(), client, "bursar", "acme")
			if err != nil {
				t.Fatal(err)
			}
			client.HSet(t.Context(), key, "a", fmt.Sprintf("%d %d %d 0", 2*largeHolds, largeHolds-20, largeHolds+20))
			if n := len(list["acme"].Holds); n != largeHolds+2 {
				t.Fatalf("acme has %d holds", n)
			}
		}
		if r := verify(t, client, false); r.Tenants != 3 || r.Holds != holds || len(r.Differences) != 0 || r.Unsettled || r.Root != "acme" {
			t.Fatalf("a sound family: %+v", r)
		}
		sound := client.HGetAll(t.Context(), key).Val()
		hold := anyHold(sound)
		for _, c := range []struct {
			name, field, text string
			tenant            budget.TenantID
			want              string
		}{
			{"a term", "a", "5 1 1 1", "acme", "the law is broken"},
			{"reserved and remaining", "a/search", "1000 979 21 0", "acme/search", "sum up to 20, but reserved is 21"},
			{"a hold's amount", hold, "o11 1700000000000 0", "acme/spare", "sum up to 21"},
			{"an account that cannot be read", "a/search", "1000 980 20", "acme/search", "want granted"},
			{"a hold that cannot be read", hold, "o11 x 0", "acme", "invalid syntax"},
			{"a hold without an account", string(layout.AppendHoldField(nil, budget.NewReservationID("acme/ghost", 1, 1))), "o1 1 0", "acme/ghost", "does not exist"},
		} {
			client.HSet(t.Context(), key, c.field, c.text)
			r := verify(t, client, false)
			i := slices.IndexFunc(r.Differences, func(d books.Difference) bool {
				return d.Tenant == c.tenant && strings.Contains(d.What.Error(), c.want)
			})
			if i < 0 || r.Unsettled {
				t.Errorf("large %t, %s: %+v, want %s: %s", large, c.name, r, c.tenant, c.want)
			}
			if text, was := sound[c.field]; was {
				client.HSet(t.Context(), key, c.field, text)
			} else {
				client.HDel(t.Context(), key, c.field)
			}
		}
		client.HDel(t.Context(), key, hold)
		if r := verify(t, client, large); len(r.Differences) != 1 || r.Differences[0].Tenant != "acme/spare" {
			t.Errorf("large %t, a hold that is gone: %+v", large, r)
		}
		client.HSet(t.Context(), key, "f", "9 0123456789abcdef")
		if _, err := books.Verify(t.Context(), client, "bursar", "acme", false); !errors.Is(err, books.ErrLayout) {
			t.Errorf("large %t, a newer layout: %v", large, err)
		}
	}
}

// anyHold is a field of a hold of acme/spare.
func anyHold(fields map[string]string) string {
	for field := range fields {
		if strings.HasPrefix(field, "h") && strings.HasSuffix(field, "/spare") {
			return field
		}
	}
	return ""
}

// A large family under load is settled or said to be unsettled, and never reported as
// broken; read at once it is settled.
func TestVerifyUnderLoad(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	node := startNode(t, client)
	fill(t, node, "acme")
	largeFamily(t, client)
	client.HSet(t.Context(), key, "a", fmt.Sprintf("%d %d %d 0", 3*largeHolds, 2*largeHolds-20, largeHolds+20))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				r, err := node.TryReserve(ctx, "acme", 3)
				if err == nil && r.Outcome == budget.Reserved {
					_, err = node.Commit(context.WithoutCancel(ctx), r.ID, 0)
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	unsettled := 0
	for range 20 {
		r := verify(t, client, false)
		if len(r.Differences) > 0 {
			t.Errorf("a moving family is said to be broken: %v", r.Differences)
		}
		if r.Unsettled {
			unsettled++
		}
	}
	for range 5 {
		if r := verify(t, client, true); r.Unsettled || len(r.Differences) > 0 || r.Holds < largeHolds {
			t.Errorf("at once: %+v", r)
		}
	}
	stop()
	wg.Wait()
	if unsettled == 0 {
		t.Error("the family was settled each time: there was no load")
	}
	if r := verify(t, client, false); r.Unsettled || len(r.Differences) > 0 {
		t.Errorf("after the load: %+v", r)
	}
}

// interrupter lets so many commands of a kind through, and no more.
type interrupter struct {
	name string
	left atomic.Int64
}

var errGone = errors.New("the server is gone")

func (h *interrupter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *interrupter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *interrupter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == h.name && h.left.Add(-1) < 0 {
			cmd.SetErr(errGone)
			return errGone
		}
		return next(ctx, cmd)
	}
}

// A Redis that goes between two pages is an error, wherever it goes.
func TestRedisGoesBetweenPages(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	fill(t, startNode(t, server.Client()), "acme")
	largeFamily(t, server.Client())
	visitHolds := func(ctx context.Context, client redis.UniversalClient) error {
		return books.EachHold(ctx, client, "bursar", "acme", func(budget.Hold) error { return nil })
	}
	visitFamilies := func(ctx context.Context, client redis.UniversalClient) error {
		return books.EachFamily(ctx, client, "bursar", func([]budget.TenantID) error { return nil })
	}
	accounts := func(ctx context.Context, client redis.UniversalClient) error {
		_, err := books.Accounts(ctx, client, "bursar", "acme")
		return err
	}
	verified := func(atOnce bool) func(context.Context, redis.UniversalClient) error {
		return func(ctx context.Context, client redis.UniversalClient) error {
			_, err := books.Verify(ctx, client, "bursar", "acme", atOnce)
			return err
		}
	}
	for _, c := range []struct {
		name string
		left int64
		do   func(context.Context, redis.UniversalClient) error
	}{
		{"hget", 0, visitHolds},
		{"hscan", 1, visitHolds},
		{"scan", 0, visitFamilies},
		{"hget", 0, accounts},
		{"hscan", 1, accounts},
		{"hlen", 0, verified(false)},
		{"hscan", 0, verified(false)},
		{"hscan", 8, verified(false)}, // of the holds
		{"hmget", 0, verified(false)},
		{"hmget", 1, verified(false)},
		{"hget", 1, verified(false)}, // of the accounts afterwards
		{"hgetall", 0, verified(true)},
	} {
		client := server.Client()
		gone := &interrupter{name: c.name}
		gone.left.Store(c.left)
		client.AddHook(gone)
		if err := c.do(t.Context(), client); !errors.Is(err, errGone) {
			t.Errorf("after %d %s: %v", c.left, c.name, err)
		}
	}
}

func TestEachHoldAndAccounts(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	node := startNode(t, client)
	fill(t, node, "acme", "acme/search")
	largeFamily(t, client)
	seen := make(map[budget.ReservationID]bool)
	err := books.EachHold(t.Context(), client, "bursar", "acme", func(h budget.Hold) error {
		if seen[h.ID] || h.Held <= 0 || h.Made.IsZero() {
			t.Errorf("hold %+v", h)
		}
		seen[h.ID] = true
		return nil
	})
	if err != nil || len(seen) != largeHolds+4 {
		t.Errorf("%d holds, %v", len(seen), err)
	}
	accounts, err := books.Accounts(t.Context(), client, "bursar", "acme")
	if err != nil || len(accounts) != 2 || accounts[0].Tenant != "acme" || accounts[1].Tenant != "acme/search" || accounts[1].Balance.Reserved != 20 {
		t.Errorf("%+v, %v", accounts, err)
	}
	stop := errors.New("enough")
	for _, visit := range []error{
		books.EachHold(t.Context(), client, "bursar", "acme", func(budget.Hold) error { return stop }),
		books.EachFamily(t.Context(), client, "bursar", func([]budget.TenantID) error { return stop }),
	} {
		if !errors.Is(visit, stop) {
			t.Errorf("a visitor's error came back as %v", visit)
		}
	}
	none, err := books.Accounts(t.Context(), client, "bursar", "ghost")
	if err != nil || len(none) != 0 {
		t.Errorf("no family: %v, %v", none, err)
	}
	if r, err := books.Verify(t.Context(), client, "bursar", "ghost", true); err != nil || r.Tenants != 0 || len(r.Differences) != 0 {
		t.Errorf("no family: %+v, %v", r, err)
	}
	client.HSet(t.Context(), key, "a/search", "1 2")
	if _, err := books.Accounts(t.Context(), client, "bursar", "acme"); err == nil || !strings.Contains(err.Error(), "acme/search") {
		t.Errorf("an account that cannot be read: %v", err)
	}
}

// Families are found once each, also by pages.
func TestEachFamily(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	pipe := client.Pipeline()
	const families = 3000
	for i := range families {
		pipe.HSet(t.Context(), fmt.Sprintf("bursar:{tenant-%d}:books", i), "f", "1 0123456789abcdef")
		pipe.Set(t.Context(), fmt.Sprintf("other:%d", i), "theirs", time.Hour)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	pages, seen := 0, make(map[budget.TenantID]bool)
	err := books.EachFamily(t.Context(), client, "bursar", func(page []budget.TenantID) error {
		pages++
		for _, root := range page {
			if seen[root] {
				t.Errorf("%s came twice", root)
			}
			seen[root] = true
		}
		return nil
	})
	if err != nil || len(seen) != families || pages < 2 {
		t.Errorf("%d families in %d pages, %v", len(seen), pages, err)
	}
}
