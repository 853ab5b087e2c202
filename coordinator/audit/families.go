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

// EachFamily visits the root tenants of all families under a key prefix, page by page
// as SCAN finds them on every master, each once. A family that is made meanwhile, or
// that moves from one master to another, is visited or not. It ends with the first
// error of visit, which it returns as it is.
func EachFamily(ctx context.Context, client redis.UniversalClient, prefix string, visit func(page []budget.TenantID) error) error {
	v := &visitor{prefix: prefix, visit: visit, seen: make(map[budget.TenantID]bool)}
	if cluster, ok := client.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return v.scan(ctx, node) })
	}
	return v.scan(ctx, client)
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

// visitor brings the pages of all masters, which are asked at one time, to one visit.
type visitor struct {
	prefix string
	visit  func(page []budget.TenantID) error
	mu     sync.Mutex
	seen   map[budget.TenantID]bool // SCAN may repeat a key
	failed bool                     // visit has; the other masters are no longer asked
}

func (v *visitor) scan(ctx context.Context, node redis.Cmdable) error {
	for cursor := uint64(0); ; {
		keys, next, err := node.Scan(ctx, cursor, layout.BooksPattern(v.prefix), pageSize).Result()
		if err != nil {
			return fmt.Errorf("finding families under %q: %w", v.prefix, err)
		}
		if goOn, err := v.page(keys); err != nil || !goOn || next == 0 {
			return err
		}
		cursor = next
	}
}

func (v *visitor) page(keys []string) (goOn bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.failed {
		return false, nil
	}
	var page []budget.TenantID
	for _, key := range keys {
		if root, ok := layout.RootOf(v.prefix, key); ok && !v.seen[root] {
			v.seen[root] = true
			page = append(page, root)
		}
	}
	if len(page) == 0 {
		return true, nil
	}
	slices.Sort(page)
	err = v.visit(page)
	v.failed = err != nil
	return err == nil, err
}
