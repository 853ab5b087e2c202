package books

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
)

// pageSize is what one SCAN or HSCAN is asked for: Redis looks at about so many keys
// or fields before it answers others.
const pageSize = 1000

// EachFamily visits the root tenants of all families under a key prefix, page by page
// as SCAN finds them on every master, each once. It ends with the first error of
// visit, which it returns as it is.
func EachFamily(ctx context.Context, client redis.UniversalClient, prefix string, visit func(page []budget.TenantID) error) error {
	seen := make(map[budget.TenantID]bool) // SCAN may repeat a key
	var mu sync.Mutex                      // masters are asked at one time
	scan := func(ctx context.Context, node redis.Cmdable) error {
		for cursor := uint64(0); ; {
			keys, next, err := node.Scan(ctx, cursor, layout.BooksPattern(prefix), pageSize).Result()
			if err != nil {
				return fmt.Errorf("finding families under %q: %w", prefix, err)
			}
			mu.Lock()
			err = visitPage(prefix, keys, seen, visit)
			mu.Unlock()
			if err != nil || next == 0 {
				return err
			}
			cursor = next
		}
	}
	if cluster, ok := client.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return scan(ctx, node) })
	}
	return scan(ctx, client)
}

func visitPage(prefix string, keys []string, seen map[budget.TenantID]bool, visit func([]budget.TenantID) error) error {
	var page []budget.TenantID
	for _, key := range keys {
		if root, ok := layout.RootOf(prefix, key); ok && !seen[root] {
			seen[root] = true
			page = append(page, root)
		}
	}
	if len(page) == 0 {
		return nil
	}
	slices.Sort(page)
	return visit(page)
}

// Families returns the root tenants of all families under a key prefix, sorted.
func Families(ctx context.Context, client redis.UniversalClient, prefix string) ([]budget.TenantID, error) {
	roots := []budget.TenantID{}
	err := EachFamily(ctx, client, prefix, func(page []budget.TenantID) error {
		roots = append(roots, page...)
		return nil
	})
	slices.Sort(roots)
	return roots, err
}
