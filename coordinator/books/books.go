// Package books reads Bursar's state out of Redis as it is stored, without the
// scripts that wrote it: for audits after a benchmark, for tests, and for an
// operator who wants a second opinion.
//
// What belongs here only reads. Each family is one HGETALL, so its figures are
// of one instant; holds whose deadline has passed, but which nobody has asked
// about since, are still open there.
package books

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/luascripts"
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

// Families returns the root tenants of all families under a key prefix, sorted,
// found by SCAN on every master.
func Families(ctx context.Context, client redis.UniversalClient, prefix string) ([]budget.TenantID, error) {
	var mu sync.Mutex
	found := make(map[budget.TenantID]bool)
	scan := func(ctx context.Context, node redis.Cmdable) error {
		keys := node.Scan(ctx, 0, layout.BooksPattern(prefix), 1000).Iterator()
		for keys.Next(ctx) {
			if root, ok := layout.RootOf(prefix, keys.Val()); ok {
				mu.Lock()
				found[root] = true
				mu.Unlock()
			}
		}
		return keys.Err()
	}
	var err error
	if cluster, ok := client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return scan(ctx, node) })
	} else {
		err = scan(ctx, client)
	}
	if err != nil {
		return nil, fmt.Errorf("finding families under %q: %w", prefix, err)
	}
	roots := make([]budget.TenantID, 0, len(found))
	for root := range found {
		roots = append(roots, root)
	}
	slices.Sort(roots)
	return roots, nil
}

// ErrLayout: the family is stored in a layout that this version cannot read.
var ErrLayout = errors.New("unreadable layout")

// ReadFamily returns the accounts of one family; none where it does not exist.
func ReadFamily(ctx context.Context, client redis.UniversalClient, prefix string, root budget.TenantID) (map[budget.TenantID]budget.HoldList, error) {
	key := layout.KeysOf(prefix, root).Books
	fields, err := client.HGetAll(ctx, key).Result()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	accounts, err := parseFamily(root, fields)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	return accounts, nil
}

func parseFamily(root budget.TenantID, fields map[string]string) (map[budget.TenantID]budget.HoldList, error) {
	accounts := make(map[budget.TenantID]budget.HoldList)
	if len(fields) == 0 {
		return accounts, nil
	}
	version, _, err := layout.ParseFamily(fields[layout.FamilyField])
	if err != nil {
		return nil, err
	}
	if !luascripts.Known.Readable(version) {
		return nil, fmt.Errorf("%w: version %s, and this reads %s: use the bursar that wrote it", ErrLayout, version, luascripts.Known)
	}
	for field, text := range fields {
		if tenant, ok := layout.TenantOfAccount(root, field); ok && text != layout.DeletedAccount {
			balance, err := layout.ParseAccount(text)
			if err != nil {
				return nil, fmt.Errorf("tenant %q: %w", tenant, err)
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
			return nil, err
		}
		if !open {
			continue
		}
		account, ok := accounts[hold.ID.Tenant()]
		if !ok {
			return nil, fmt.Errorf("hold %s is of a tenant that does not exist", hold.ID)
		}
		account.Holds = append(account.Holds, hold)
		accounts[hold.ID.Tenant()] = account
	}
	for tenant := range accounts {
		slices.SortFunc(accounts[tenant].Holds, layout.CompareHolds)
	}
	return accounts, nil
}
