package books_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/books"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

const key = "bursar:{acme}:books"

func startNode(t *testing.T, client redis.UniversalClient) *coordinator.Coordinator {
	t.Helper()
	c, err := coordinator.New(t.Context(), client, coordinator.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func fill(t *testing.T, c *coordinator.Coordinator, tenants ...budget.TenantID) {
	t.Helper()
	for _, tenant := range tenants {
		if _, err := c.EnsureTenant(t.Context(), tenant, 1000); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if r, err := c.TryReserve(t.Context(), tenant, 10); err != nil || r.Outcome != budget.Reserved {
				t.Fatal(r, err)
			}
		}
	}
}

func TestReadFindsEveryTenantOfItsPrefixAlone(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	tenants := []budget.TenantID{"acme", "acme/search", "{x}%*", "Zoë"}
	fill(t, startNode(t, client), tenants...)
	client.Set(t.Context(), "other:{acme}:books", "theirs", 0)
	client.Set(t.Context(), "bursar:{%zz}:books", "theirs", 0)
	all, err := books.Read(t.Context(), client, "bursar")
	if err != nil || len(all) != len(tenants) {
		t.Fatalf("%v, %v", all, err)
	}
	for _, tenant := range tenants {
		if got := all[tenant]; got.Audit() != nil || got.Balance.Reserved != 20 || len(got.Holds) != 2 {
			t.Errorf("%s: %+v, %v", tenant, got, got.Audit())
		}
	}
}

func TestReadSeesEveryMasterOfACluster(t *testing.T) {
	t.Parallel()
	client := redistest.StartCluster(t).Client()
	tenants := strings.Fields("a b c d e f g h i j")
	c := startNode(t, client)
	for _, tenant := range tenants {
		fill(t, c, budget.TenantID(tenant))
	}
	if all, err := books.Read(t.Context(), client, "bursar"); err != nil || len(all) != len(tenants) {
		t.Errorf("%d tenants, %v; want %d", len(all), err, len(tenants))
	}
}

func TestCorruptingAnyStoredTermIsNoticed(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	fill(t, startNode(t, client), "acme")
	sound := client.HGetAll(t.Context(), key).Val()
	var hold string
	for field, value := range sound {
		if strings.HasPrefix(field, "h") && strings.HasPrefix(value, "o") {
			hold = field
		}
	}
	if sound["a"] != "1000 980 20 0" || hold == "" {
		t.Fatalf("%v", sound)
	}
	for name, corrupt := range map[string][2]string{
		"granted": {"a", "1001 980 20 0"}, "remaining": {"a", "1000 981 20 0"},
		"reserved": {"a", "1000 980 21 0"}, "committed": {"a", "1000 980 20 1"},
		"reserved for remaining": {"a", "1000 979 21 0"}, "the account's text": {"a", "1000 980"},
		"a hold's amount": {hold, "o11 1 0"}, "a hold's text": {hold, "o10"}, "a hold": {hold, "c10 1"},
		"an extra hold": {"h" + strings.Repeat("0", 32), "o1 1 0"}, "a hold of no tenant": {"h" + strings.Repeat("0", 32) + "/gone", "o1 1 0"},
		"the layout": {"f", "9 0123456789abcdef"}, "the family": {"f", "1"},
	} {
		client.HSet(t.Context(), key, corrupt[0], corrupt[1])
		all, err := books.Read(t.Context(), client, "bursar")
		if err == nil && all["acme"].Audit() == nil {
			t.Errorf("corrupting %s is not noticed", name)
		}
		if name == "the layout" && !errors.Is(err, books.ErrLayout) {
			t.Errorf("a newer layout: %v", err)
		}
		client.Del(t.Context(), key)
		client.HSet(t.Context(), key, sound)
	}
	if all, err := books.Read(t.Context(), client, "bursar"); err != nil || all["acme"].Audit() != nil {
		t.Errorf("restored: %v, %v", all, err)
	}
}
