// Package books reads Bursar's state out of Redis as it is stored, without the
// scripts that wrote it: for audits after a benchmark, for tests, and for an
// operator who wants a second opinion.
//
// Read and ReadFamily take a family in one HGETALL, so its figures are of one instant.
// EachFamily, Accounts, EachHold and Verify go page by page, so that a busy Redis
// answers others in between. Holds whose deadline has passed, but which nobody has
// asked about since, are still open there.
//
// What belongs here only reads.
package books

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
)

// Read returns every account under a key prefix with its open holds. Its cost
// grows with all that is stored under the prefix.
func Read(ctx context.Context, client redis.UniversalClient, prefix string) (map[budget.TenantID]budget.HoldList, error) {
	all := make(map[budget.TenantID]budget.HoldList)
	roots, err := Families(ctx, client, prefix)
	if err != nil {
		return nil, err
	}
	for _, root := range roots {
		family, err := ReadFamily(ctx, client, prefix, root)
		if err != nil {
			return nil, err
		}
		for tenant, account := range family {
			all[tenant] = account
		}
	}
	return all, nil
}

// ErrLayout: the family is stored in a layout that this version cannot read.
var ErrLayout = errors.New("unreadable layout")

// ErrUnreadable: what is stored is not what a node writes. Look at the named key;
// Verify tells all that is wrong with the family.
var ErrUnreadable = errors.New("unreadable books")

// ReadFamily returns the accounts of one family; none where it does not exist.
func ReadFamily(ctx context.Context, client redis.UniversalClient, prefix string, root budget.TenantID) (map[budget.TenantID]budget.HoldList, error) {
	key := layout.KeysOf(prefix, root).Books
	fields, err := client.HGetAll(ctx, key).Result()
	if err != nil {
		return nil, reading(key, err)
	}
	return parseFamily(key, root, fields)
}

func parseFamily(key string, root budget.TenantID, fields map[string]string) (map[budget.TenantID]budget.HoldList, error) {
	accounts := make(map[budget.TenantID]budget.HoldList)
	if len(fields) == 0 {
		return accounts, nil
	}
	if err := checkLayout(key, fields[layout.FamilyField]); err != nil {
		return nil, err
	}
	for field, text := range fields {
		if tenant, ok := layout.TenantOfAccount(root, field); ok && text != layout.DeletedAccount {
			balance, err := layout.ParseAccount(text)
			if err != nil {
				return nil, unreadable(key, fmt.Errorf("tenant %q: %w", tenant, err))
			}
			account := accounts[tenant]
			account.Outcome, account.Balance = budget.Found, balance
			accounts[tenant] = account
		}
	}
	for field, text := range fields {
		if !layout.IsHold(field) {
			continue
		}
		hold, open, err := layout.ParseHold(root, field, text)
		if err != nil {
			return nil, unreadable(key, err)
		}
		if !open {
			continue
		}
		account, ok := accounts[hold.ID.Tenant()]
		if !ok {
			return nil, unreadable(key, fmt.Errorf("hold %s is of a tenant that does not exist", hold.ID))
		}
		account.Holds = append(account.Holds, hold)
		accounts[hold.ID.Tenant()] = account
	}
	for tenant := range accounts {
		slices.SortFunc(accounts[tenant].Holds, layout.CompareHolds)
	}
	return accounts, nil
}
