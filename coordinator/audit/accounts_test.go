package books_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/calybris/bursar/coordinator/books"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

func TestAccounts(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	fill(t, startNode(t, client), "acme", "acme/search", "acme/b/c")
	client.HSet(t.Context(), key, "a/gone", "-")
	accounts, err := books.Accounts(t.Context(), client, "bursar", "acme")
	var tenants []budget.TenantID
	for _, a := range accounts {
		tenants = append(tenants, a.Tenant)
		if b := a.Balance; b.Granted != 1000 || b.Remaining != 980 || b.Reserved != 20 || b.Committed != 0 || b.Outcome != budget.Found {
			t.Errorf("%+v", a)
		}
	}
	if err != nil || !slices.Equal(tenants, []budget.TenantID{"acme", "acme/b/c", "acme/search"}) {
		t.Errorf("%v, %v", tenants, err)
	}
	if none, err := books.Accounts(t.Context(), client, "bursar", "ghost"); err != nil || len(none) != 0 {
		t.Errorf("no family: %v, %v", none, err)
	}
	for field, want := range map[string]string{"a/search": "acme/search", "axyz": "no possible tenant", "a/x//y": "no possible tenant"} {
		was := client.HGet(t.Context(), key, field).Val()
		client.HSet(t.Context(), key, field, "1 2")
		if _, err := books.Accounts(t.Context(), client, "bursar", "acme"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("field %s: %v", field, err)
		}
		client.HDel(t.Context(), key, field)
		if was != "" {
			client.HSet(t.Context(), key, field, was)
		}
	}
}

// More accounts than a page has are all found, and none twice.
func TestAccountsByPages(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	const tenants = 5000
	fields := []any{"f", "1 0123456789abcdef"}
	for i := range tenants {
		fields = append(fields, fmt.Sprintf("a/%04d", i), fmt.Sprintf("%d %d 0 0", i, i))
	}
	client.HSet(t.Context(), key, fields...)
	accounts, err := books.Accounts(t.Context(), client, "bursar", "acme")
	if err != nil || len(accounts) != tenants {
		t.Fatalf("%d accounts, %v", len(accounts), err)
	}
	for i, a := range accounts {
		if a.Tenant != budget.TenantID(fmt.Sprintf("acme/%04d", i)) || a.Balance.Granted != budget.Microcents(i) {
			t.Fatalf("account %d: %+v", i, a)
		}
	}
	if all := client.Info(t.Context(), "commandstats").Val(); strings.Contains(all, "cmdstat_hgetall") {
		t.Error("the family was read in one go")
	}
}
