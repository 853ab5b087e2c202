package books

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
)

// Account is a tenant with its balance.
type Account struct {
	Tenant  budget.TenantID
	Balance budget.Balance
}

// Accounts returns the accounts of a family, by tenant, without reading its holds;
// none where it does not exist. Each balance is of one instant. An account that is
// made or deleted meanwhile may be missing; so may any, if the family moves to
// another server meanwhile.
func Accounts(ctx context.Context, client redis.UniversalClient, prefix string, root budget.TenantID) ([]Account, error) {
	key := layout.KeysOf(prefix, root).Books
	if exists, err := checkFamily(ctx, client, key); err != nil || !exists {
		return nil, err
	}
	texts, err := accountTexts(ctx, client, key)
	if err != nil {
		return nil, err
	}
	accounts := make([]Account, 0, len(texts))
	for field, text := range texts {
		tenant, balance, err := parseAccount(root, field, text)
		if err != nil {
			return nil, unreadable(key, err)
		}
		accounts = append(accounts, Account{tenant, balance})
	}
	slices.SortFunc(accounts, func(a, b Account) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return accounts, nil
}

// accountTexts reads the accounts' fields as they are stored, page by page.
func accountTexts(ctx context.Context, client redis.UniversalClient, key string) (map[string]string, error) {
	texts := make(map[string]string)
	err := eachField(ctx, client, key, "a*", func(field, text string) error {
		if text == layout.DeletedAccount {
			delete(texts, field) // HSCAN may repeat a field, with a newer text
			return nil
		}
		texts[field] = text
		return nil
	})
	return texts, err
}

// parseAccount returns the tenant also where its text cannot be read, and the root
// where the field is no tenant's.
func parseAccount(root budget.TenantID, field, text string) (budget.TenantID, budget.Balance, error) {
	tenant, _ := layout.TenantOfAccount(root, field)
	if !belongs(tenant, root) {
		return root, budget.Balance{}, fmt.Errorf("field %q is of no possible tenant", field)
	}
	balance, err := layout.ParseAccount(text)
	if err != nil {
		err = fmt.Errorf("tenant %q: %w", tenant, err)
	}
	return tenant, balance, err
}

func belongs(tenant, root budget.TenantID) bool {
	return tenant.Root() == root && tenant.Validate() == nil
}
