package books

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/luascripts"
)

// Account is a tenant with its balance.
type Account struct {
	Tenant  budget.TenantID
	Balance budget.Balance
}

// Accounts returns the accounts of a family, by tenant, without reading its holds;
// none where it does not exist. Each balance is of one instant.
func Accounts(ctx context.Context, client redis.UniversalClient, prefix string, root budget.TenantID) ([]Account, error) {
	texts, err := accountTexts(ctx, client, prefix, root)
	if err != nil {
		return nil, err
	}
	var accounts []Account
	for tenant, text := range texts {
		balance, err := layout.ParseAccount(text)
		if err != nil {
			return nil, fmt.Errorf("tenant %q: %w", tenant, err)
		}
		accounts = append(accounts, Account{tenant, balance})
	}
	slices.SortFunc(accounts, func(a, b Account) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return accounts, nil
}

// accountTexts reads the accounts as they are stored.
func accountTexts(ctx context.Context, client redis.UniversalClient, prefix string, root budget.TenantID) (map[budget.TenantID]string, error) {
	texts := make(map[budget.TenantID]string)
	if exists, err := checkFamily(ctx, client, prefix, root); err != nil || !exists {
		return texts, err
	}
	err := eachField(ctx, client, layout.KeysOf(prefix, root).Books, "a*", func(field, text string) error {
		if tenant, ok := layout.TenantOfAccount(root, field); ok && text != layout.DeletedAccount {
			texts[tenant] = text
		}
		return nil
	})
	return texts, err
}

// EachHold visits the open holds of a family, page by page, each once. What begins or
// ends meanwhile is visited or not. It ends with the first error of visit, which it
// returns as it is.
func EachHold(ctx context.Context, client redis.UniversalClient, prefix string, root budget.TenantID, visit func(budget.Hold) error) error {
	if exists, err := checkFamily(ctx, client, prefix, root); err != nil || !exists {
		return err
	}
	seen := make(map[string]bool) // HSCAN may repeat a field
	return eachField(ctx, client, layout.KeysOf(prefix, root).Books, "h*", func(field, text string) error {
		hold, open, err := layout.ParseHold(root, field, text)
		if err != nil || !open || seen[field] {
			return err
		}
		seen[field] = true
		return visit(hold)
	})
}

// checkFamily reports whether the family is there, in a layout that is known.
func checkFamily(ctx context.Context, client redis.UniversalClient, prefix string, root budget.TenantID) (bool, error) {
	key := layout.KeysOf(prefix, root).Books
	text, err := client.HGet(ctx, key, layout.FamilyField).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", key, err)
	}
	return true, checkLayout(key, text)
}

func checkLayout(key, family string) error {
	version, _, err := layout.ParseFamily(family)
	if err != nil {
		return fmt.Errorf("reading %s: %w", key, err)
	}
	if !luascripts.Known.Readable(version) {
		return fmt.Errorf("reading %s: %w: version %s, and this reads %s: use the bursar that wrote it", key, ErrLayout, version, luascripts.Known)
	}
	return nil
}

// eachField visits the fields of a hash that match, page by page; a field may come
// more than once.
func eachField(ctx context.Context, client redis.UniversalClient, key, match string, visit func(field, value string) error) error {
	for cursor := uint64(0); ; {
		page, next, err := client.HScan(ctx, key, cursor, match, pageSize).Result()
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		for i := 0; i+1 < len(page); i += 2 {
			if err := visit(page[i], page[i+1]); err != nil {
				return err
			}
		}
		if next == 0 {
			return nil
		}
		cursor = next
	}
}
